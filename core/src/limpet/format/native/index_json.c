/* A strict scanner for the JSON of an index file.
 *
 * It knows exactly what restic and Limpet write (the packs under "packs", optionally after "supersedes", or the bare
 * array of the first versions; the fields of a blob in their order), with JSON's white space anywhere. Everything else
 * is SCAN_UNEXPECTED, and the caller asks the tolerant decoder. The bytes come from a storage that may be hostile:
 * every read is checked against the end.
 */
#include "index_json.h"

#include <stdlib.h>
#include <string.h>

#define SEAL_OVERHEAD 32 /* no sealed blob is shorter */

typedef struct {
    const uint8_t *next, *end;
} Scanner;

static inline void skip_space(Scanner *s) {
    while (s->next < s->end && (*s->next == ' ' || *s->next == '\n' || *s->next == '\t' || *s->next == '\r')) {
        s->next++;
    }
}

/* Takes one punctuation mark with the white space around it. */
static inline int take(Scanner *s, char mark) {
    skip_space(s);
    if (s->next == s->end || *s->next != (uint8_t)mark) {
        return 0;
    }
    s->next++;
    skip_space(s);
    return 1;
}

static inline int take_text(Scanner *s, const char *text, size_t length) {
    if ((size_t)(s->end - s->next) < length || memcmp(s->next, text, length) != 0) {
        return 0;
    }
    s->next += length;
    return 1;
}

#define TAKE_TEXT(s, literal) take_text(s, literal, sizeof(literal) - 1)
#define TAKE_FIELD(s, name) (TAKE_TEXT(s, "\"" name "\"") && take(s, ':'))

/* Values of hex digits; 0xff for every other byte. */
static const uint8_t HEX[256] = {
#define NONE4 0xff, 0xff, 0xff, 0xff
#define NONE16 NONE4, NONE4, NONE4, NONE4
    NONE16, NONE16, NONE16, /* 0x00 */
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff, 0xff, NONE4, /* 0x30 */
    NONE16, NONE16, /* 0x40 */
    0xff, 10, 11, 12, 13, 14, 15, 0xff, NONE4, NONE4, /* 0x60 */
    NONE16, /* 0x70 */
    NONE16, NONE16, NONE16, NONE16, NONE16, NONE16, NONE16, NONE16, /* 0x80 */
};

static int take_id(Scanner *s, uint8_t id[32]) {
    if (s->end - s->next < 66 || s->next[0] != '"' || s->next[65] != '"') {
        return 0;
    }
    const uint8_t *digits = s->next + 1;
    unsigned all = 0;
    for (unsigned i = 0; i < 32; i++) {
        unsigned high = HEX[digits[2 * i]], low = HEX[digits[2 * i + 1]];
        all |= high | low;
        id[i] = (uint8_t)(high << 4 | low);
    }
    s->next += 66;
    return all < 16;
}

static int take_u32(Scanner *s, uint32_t *number) {
    const uint8_t *start = s->next;
    uint64_t value = 0;
    while (s->next < s->end && *s->next >= '0' && *s->next <= '9') {
        value = value * 10 + (*s->next++ - '0');
        if (value > UINT32_MAX) {
            return 0;
        }
    }
    if (s->next == start || (*start == '0' && s->next - start > 1)) {
        return 0;
    }
    *number = (uint32_t)value;
    return 1;
}

/* Room for one more item; the array doubles, so its size stays below that of the JSON it came from. */
static int grow(void **items, size_t count, size_t *capacity, size_t item_size) {
    if (count < *capacity) {
        return 1;
    }
    size_t wanted = *capacity ? 2 * *capacity : 1024;
    void *grown = realloc(*items, wanted * item_size);
    if (grown == NULL) {
        return 0;
    }
    *items = grown;
    *capacity = wanted;
    return 1;
}

static int scan_blob(Scanner *s, ScannedBlob *blob) {
    if (!take(s, '{') || !TAKE_FIELD(s, "id") || !take_id(s, blob->id) || !take(s, ',') || !TAKE_FIELD(s, "type")) {
        return 0;
    }
    if (TAKE_TEXT(s, "\"data\"")) {
        blob->kind = 0;
    } else if (TAKE_TEXT(s, "\"tree\"")) {
        blob->kind = 1;
    } else {
        return 0;
    }
    if (!take(s, ',') || !TAKE_FIELD(s, "offset") || !take_u32(s, &blob->offset) || !take(s, ',') ||
        !TAKE_FIELD(s, "length") || !take_u32(s, &blob->length)) {
        return 0;
    }
    blob->plain_length = 0;
    if (take(s, ',')) {
        if (!TAKE_FIELD(s, "uncompressed_length") || !take_u32(s, &blob->plain_length)) {
            return 0;
        }
    }
    return blob->length >= SEAL_OVERHEAD && blob->length <= UINT32_MAX - blob->offset && take(s, '}');
}

static ScanResult scan_pack(Scanner *s, ScannedIndex *scanned) {
    if (!grow((void **)&scanned->packs, scanned->pack_count, &scanned->pack_capacity, sizeof *scanned->packs)) {
        return SCAN_NO_MEMORY;
    }
    ScannedPack *pack = &scanned->packs[scanned->pack_count++];
    pack->blob_count = 0;
    if (!take(s, '{') || !TAKE_FIELD(s, "id") || !take_id(s, pack->id) || !take(s, ',') || !TAKE_FIELD(s, "blobs") ||
        !take(s, '[')) {
        return SCAN_UNEXPECTED;
    }
    if (!take(s, ']')) {
        do {
            if (!grow((void **)&scanned->blobs, scanned->blob_count, &scanned->blob_capacity, sizeof *scanned->blobs)) {
                return SCAN_NO_MEMORY;
            }
            if (pack->blob_count == UINT32_MAX || !scan_blob(s, &scanned->blobs[scanned->blob_count])) {
                return SCAN_UNEXPECTED;
            }
            scanned->blob_count++;
            pack->blob_count++;
        } while (take(s, ','));
        if (!take(s, ']')) {
            return SCAN_UNEXPECTED;
        }
    }
    return take(s, '}') ? SCAN_DONE : SCAN_UNEXPECTED;
}

static ScanResult scan_packs(Scanner *s, ScannedIndex *scanned) {
    if (!take(s, '[')) {
        return SCAN_UNEXPECTED;
    }
    if (take(s, ']')) {
        return SCAN_DONE;
    }
    do {
        ScanResult result = scan_pack(s, scanned);
        if (result != SCAN_DONE) {
            return result;
        }
    } while (take(s, ','));
    return take(s, ']') ? SCAN_DONE : SCAN_UNEXPECTED;
}

/* Older versions of restic named the indexes that a new one replaced; today nobody reads the field. */
static int skip_supersedes(Scanner *s) {
    uint8_t ignored[32];
    if (!take(s, ':') || !take(s, '[')) {
        return 0;
    }
    if (!take(s, ']')) {
        do {
            if (!take_id(s, ignored)) {
                return 0;
            }
        } while (take(s, ','));
        if (!take(s, ']')) {
            return 0;
        }
    }
    return take(s, ',');
}

ScanResult index_json_scan(const uint8_t *data, size_t size, ScannedIndex *scanned) {
    memset(scanned, 0, sizeof *scanned);
    Scanner scanner = {data, data + size}, *s = &scanner;
    ScanResult result;
    if (take(s, '{')) {
        if (TAKE_TEXT(s, "\"supersedes\"") && !skip_supersedes(s)) {
            return SCAN_UNEXPECTED;
        }
        if (!TAKE_FIELD(s, "packs")) {
            return SCAN_UNEXPECTED;
        }
        result = scan_packs(s, scanned);
        if (result == SCAN_DONE && !take(s, '}')) {
            return SCAN_UNEXPECTED;
        }
    } else {
        result = scan_packs(s, scanned);
    }
    return result == SCAN_DONE && s->next != s->end ? SCAN_UNEXPECTED : result;
}

void index_json_free(ScannedIndex *scanned) {
    free(scanned->blobs);
    free(scanned->packs);
    memset(scanned, 0, sizeof *scanned);
}
