/* Writes packs as index files have them. See index_encode.h. */
#include "index_encode.h"

static const char PACK_START[] = "{\"id\":\"", PACK_BLOBS[] = "\",\"blobs\":[", PACK_END[] = "]}";
static const char BLOB_START[] = "{\"id\":\"", BLOB_TYPE[] = "\",\"type\":\"", BLOB_OFFSET[] = "\",\"offset\":";
static const char BLOB_LENGTH[] = ",\"length\":", BLOB_PLAIN[] = ",\"uncompressed_length\":";

#define LONGEST_NUMBER 10 /* digits of 2^32 - 1 */
#define LONGEST_BLOB \
    (sizeof BLOB_START + sizeof BLOB_TYPE + sizeof BLOB_OFFSET + sizeof BLOB_LENGTH + sizeof BLOB_PLAIN + \
     2 * ID_SIZE + sizeof "data" + 3 * LONGEST_NUMBER + sizeof "},")

static int by_offset(const void *left, const void *right) {
    const IndexEntry *a = *(const IndexEntry *const *)left, *b = *(const IndexEntry *const *)right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

const IndexEntry **index_pack_entries(const IndexTable *table, size_t pack_number, size_t *count) {
    const IndexPack *pack = index_pack(table, pack_number);
    size_t total = 0, filled = 0;
    int sorted = 1;
    for (uint32_t run = pack->first_run; run; run = index_run(table, run - 1)->next_run) {
        total += index_run(table, run - 1)->count;
    }
    const IndexEntry **entries = malloc((total ? total : 1) * sizeof *entries);
    if (entries == NULL) {
        return NULL;
    }
    for (uint32_t run = pack->first_run; run; run = index_run(table, run - 1)->next_run) {
        for (uint32_t i = 0; i < index_run(table, run - 1)->count; i++) {
            entries[filled] = index_entry(table, index_run(table, run - 1)->first_entry + i);
            sorted &= filled == 0 || entries[filled - 1]->offset <= entries[filled]->offset;
            filled++;
        }
    }
    if (!sorted) {
        qsort(entries, total, sizeof *entries, by_offset);
    }
    *count = total;
    return entries;
}

size_t index_pack_json_room(size_t blob_count) {
    return sizeof PACK_START + 2 * ID_SIZE + sizeof PACK_BLOBS + sizeof PACK_END + blob_count * LONGEST_BLOB;
}

static char *put(char *out, const char *text, size_t length) {
    memcpy(out, text, length);
    return out + length;
}

#define PUT(out, text) put(out, text, sizeof text - 1)

static char *put_id(char *out, const uint8_t id[ID_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < ID_SIZE; i++) {
        *out++ = digits[id[i] >> 4];
        *out++ = digits[id[i] & 15];
    }
    return out;
}

static char *put_number(char *out, uint32_t number) {
    char digits[LONGEST_NUMBER];
    size_t first = LONGEST_NUMBER;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(out, digits + first, LONGEST_NUMBER - first);
}

size_t index_pack_json(const uint8_t pack_id[ID_SIZE], const IndexEntry *const *entries, size_t count, char *out) {
    char *const start = out;
    out = put_id(PUT(out, PACK_START), pack_id);
    out = PUT(out, PACK_BLOBS);
    for (size_t i = 0; i < count; i++) {
        const IndexEntry *entry = entries[i];
        if (i > 0) {
            *out++ = ',';
        }
        out = put_id(PUT(out, BLOB_START), entry->id);
        out = PUT(out, BLOB_TYPE);
        out = put(out, entry_kind(entry) ? "tree" : "data", 4);
        out = put_number(PUT(out, BLOB_OFFSET), entry->offset);
        out = put_number(PUT(out, BLOB_LENGTH), entry->length);
        if (entry->plain_length) {
            out = put_number(PUT(out, BLOB_PLAIN), entry->plain_length);
        }
        *out++ = '}';
    }
    out = PUT(out, PACK_END);
    return (size_t)(out - start);
}
