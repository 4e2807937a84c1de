/* Drives the parts of the extension that need no Python, built with sanitizers by test_native_sanitized.py.
 *
 * Arguments: a file with JSON lines of index files, and the number of rounds. Each round mutates a line, scans it in
 * memory of exactly its size and loads it into a table; then every level of the chunker cuts buffers of exactly the size
 * it is told, and messages are hashed and sealed in memory of exactly
 * their size.
 */
#include "../../src/limpet/format/native/blob_cipher.h"
#include "../../src/limpet/format/native/chunker.h"
#include "../../src/limpet/format/native/claim_table.h"
#include "../../src/limpet/format/native/blob_marks.h"
#include "../../src/limpet/format/native/index_encode.h"
#include "../../src/limpet/format/native/index_table.h"
#include "../../src/limpet/format/native/sha256.h"

#include <stdio.h>

static uint64_t state = 88172645463325252u;

static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static uint8_t *exact_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    return copy;
}

static size_t mutate(uint8_t *data, size_t size) {
    static const char marks[] = "{}[]\",:0123456789abcdef \n\\";
    for (uint64_t i = chance(4); i > 0 && size > 0; i--) {
        size_t at = chance(size);
        switch (chance(4)) {
        case 0:
            data[at] = (uint8_t)marks[chance(sizeof marks - 1)];
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << chance(8));
            break;
        case 2:
            size = at;
            break;
        default:
            memmove(data + at, data + at + 1, size - at - 1);
            size--;
        }
    }
    return size;
}

/* Surveys the packs with random marks, in memory of exactly the sizes needed, and encodes each of them. */
static void check_marks(const IndexTable *table) {
    size_t count = table->entries.count, pack_count = table->packs.count;
    uint8_t *marks = calloc(count ? count : 1, 1), *kept = calloc(pack_count ? pack_count : 1, 1);
    PackUse *packs = calloc(pack_count ? pack_count : 1, sizeof *packs);
    if (marks == NULL || kept == NULL || packs == NULL) {
        abort();
    }
    BlobMarks all = {table, marks, count};
    for (size_t i = 0; i < count; i++) {
        const IndexEntry *entry = index_entry(table, i);
        uint8_t *mark = blob_marks_of(&all, entry_kind(entry), entry->id);
        *mark = (uint8_t)chance(2);
    }
    UseTotals totals;
    size_t used = blob_marks_number(&all);
    blob_marks_survey(&all, packs, &totals);
    if (totals.used_blobs != used || totals.used_blobs + totals.duplicate_blobs + totals.unused_blobs != count) {
        abort();
    }
    for (size_t i = 0; i < pack_count; i++) {
        size_t blobs;
        const IndexEntry **entries = index_pack_entries(table, i, &blobs);
        char *json = malloc(index_pack_json_room(blobs));
        if (entries == NULL || json == NULL || index_pack_json(index_pack(table, i)->id, entries, blobs, json) == 0) {
            abort();
        }
        free(json);
        free(entries);
        kept[i] = (uint8_t)chance(2);
    }
    blob_marks_clear_packs(&all, kept);
    free(marks);
    free(kept);
    free(packs);
}

static void check_index(const uint8_t *line, size_t length, unsigned long rounds) {
    SipKey key = {{1, 2}};
    IndexTable table;
    unsigned long loaded = 0;
    index_table_init(&table, &key);
    for (unsigned long i = 0; i < rounds; i++) {
        uint8_t *mutated = exact_copy(line, length);
        size_t size = i == 0 ? length : mutate(mutated, length);
        uint8_t *exact = exact_copy(mutated, size);
        ScannedIndex scanned;
        if (index_json_scan(exact, size, &scanned) == SCAN_DONE) {
            loaded++;
            index_table_add_scanned(&table, &scanned);
            for (size_t k = 0; k < scanned.blob_count; k++) {
                IndexCursor cursor = index_table_start(&table, scanned.blobs[k].kind, scanned.blobs[k].id);
                if (!index_table_next(&table, &cursor, scanned.blobs[k].kind, scanned.blobs[k].id)) {
                    abort();
                }
            }
        }
        index_json_free(&scanned);
        free(exact);
        free(mutated);
    }
    check_marks(&table);
    index_table_free(&table);
    if (loaded == 0 && length > 1) {
        abort();
    }
}

static void check_chunkers(unsigned long rounds) {
    Chunker chunker;
    for (const ChunkerLevel *const *level = chunker_levels(); *level != NULL; level++) {
        chunker_init(&chunker, 0x3DA3358B4DC173u, 64 + chance(200), 300 + chance(70000), 12, *level);
        for (unsigned long i = 0; i < rounds; i++) {
            size_t size = 1 + chance(80000), position = 0;
            uint8_t *data = malloc(size);
            if (data == NULL) {
                abort();
            }
            for (size_t k = 0; k < size; k++) {
                data[k] = (uint8_t)chance(256);
            }
            while (position < size) {
                position += chunker_cut(&chunker, data + position, size - position);
            }
            if (position != size) {
                abort();
            }
            free(data);
        }
    }
}

static void check_claims(unsigned long rounds) {
#ifdef HAVE_CLAIM_TABLE
    SipKey key = {{3, 4}};
    uint64_t mask[CLAIM_WORDS] = {5, 6, 7, 8};
    ClaimTable table;
    uint8_t id[ID_SIZE] = {0};
    if (claim_table_init(&table, &key, mask) < 0) {
        abort();
    }
    for (unsigned long i = 0; i < rounds; i++) {
        memcpy(id + i % 3 * 8, &i, sizeof i);
        claim_table_claim(&table, id);
        if (!claim_table_contains(&table, id)) {
            abort();
        }
    }
    claim_table_free(&table);
#else
    (void)rounds;
#endif
}

/* A stream in parts, with messages beside each, against the same bytes hashed at once. */
static void check_sha256(unsigned long rounds) {
#ifdef HAVE_SHA256
    if (!sha256_is_supported()) {
        return;
    }
    uint8_t *whole = calloc(1, 1 << 16);
    for (unsigned long i = 0; whole != NULL && i < rounds; i++) {
        uint8_t digests[4][SHA256_SIZE], expected[SHA256_SIZE];
        Sha256 stream, other;
        size_t length = 0;
        sha256_init(&stream);
        sha256_init(&other);
        for (uint64_t parts = chance(6); parts > 0; parts--) {
            Sha256Job jobs[4];
            uint8_t *copies[4];
            for (unsigned k = 0; k < 4; k++) {
                size_t size = chance(300);
                copies[k] = exact_copy(whole + chance(1000), size);
                jobs[k] = (Sha256Job){copies[k], size, digests[k]};
            }
            size_t size = chance(500);
            for (size_t k = 0; k < size; k++) {
                whole[length + k] = (uint8_t)chance(256);
            }
            uint8_t *part = exact_copy(whole + length, size);
            sha256_update_beside(&stream, part, size, jobs, chance(5));
            sha256_update_two(&stream, part + size, 0, &other, part, chance(size + 1));
            length += size;
            free(part);
            for (unsigned k = 0; k < 4; k++) {
                free(copies[k]);
            }
        }
        sha256_digest(&stream, digests[0]);
        sha256_all(&(Sha256Job){whole, length, expected}, 1);
        if (memcmp(digests[0], expected, SHA256_SIZE) != 0) {
            abort();
        }
    }
    free(whole);
#else
    (void)rounds;
#endif
}

/* Seals and opens in memory of exactly the sizes needed; a changed bit must not pass. */
static void check_cipher(unsigned long rounds) {
#ifdef HAVE_BLOB_CIPHER
    if (!blob_cipher_is_supported()) {
        return;
    }
    for (unsigned long i = 0; i < rounds; i++) {
        uint8_t keys[AES_256_KEY], iv[AES_BLOCK], tag[TAG_SIZE], again[TAG_SIZE];
        BlobCipher cipher;
        for (size_t k = 0; k < sizeof keys; k++) {
            keys[k] = (uint8_t)chance(256);
            iv[k % sizeof iv] = (uint8_t)(chance(3) ? 255 : chance(256));
        }
        blob_cipher_init(&cipher, keys, keys + 1, keys + 2);
        size_t size = chance(500);
        uint8_t *plain = calloc(1, size ? size : 1), *sealed = exact_copy(plain, size);
        blob_cipher_apply(&cipher, iv, plain, size, sealed);
        blob_cipher_tag(&cipher, iv, sealed, size, tag);
        uint8_t *opened = exact_copy(sealed, size);
        blob_cipher_apply(&cipher, iv, opened, size, opened);
        if (memcmp(plain, opened, size) != 0) {
            abort();
        }
        if (size > 0) {
            sealed[chance(size)] ^= (uint8_t)(1u << chance(8));
        }
        blob_cipher_tag(&cipher, iv, sealed, size, again);
        if (blob_cipher_same_tag(tag, again) != (size == 0)) {
            abort();
        }
        free(plain);
        free(sealed);
        free(opened);
    }
#else
    (void)rounds;
#endif
}

int main(int argc, char **argv) {
    static uint8_t line[1 << 16];
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        return 2;
    }
    while (fgets((char *)line, sizeof line, file) != NULL) {
        check_index(line, strlen((char *)line), rounds);
    }
    fclose(file);
    check_chunkers(rounds / 1000);
    check_claims(rounds);
    check_sha256(rounds / 4);
    check_cipher(rounds / 4);
    return 0;
}
