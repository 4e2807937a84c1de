/* Which blobs are used, and what that makes of the packs. See blob_marks.h. */
#include "blob_marks.h"

#define PREFETCH_DISTANCE 16
#define MARK 1
/* While places are counted: one more than their number, so that an unmarked blob stays apart. */
#define MOST_PLACES 254

enum { PLAIN_ENTRY = 1 + 4 + ID_SIZE, COMPRESSED_ENTRY = PLAIN_ENTRY + 4, HEADER_OVERHEAD = 32 + 4 };

uint8_t *blob_marks_of(const BlobMarks *all, unsigned kind, const uint8_t id[ID_SIZE]) {
    int64_t number = index_table_find_entry(all->table, kind, id);
    return number < 0 || (size_t)number >= all->count ? NULL : &all->marks[number];
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

uint8_t *blob_marks_of_hex(const BlobMarks *all, unsigned kind, const char *text, size_t length) {
    uint8_t id[ID_SIZE];
    if (length != 2 * ID_SIZE) {
        return NULL;
    }
    for (size_t i = 0; i < ID_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return NULL;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    return blob_marks_of(all, kind, id);
}

size_t blob_marks_number(const BlobMarks *all) {
    size_t number = 0;
    for (size_t i = 0; i < all->count; i++) {
        number += all->marks[i] != 0;
    }
    return number;
}

/* Calls `visit` with each entry and its blob's byte (NULL if it has none), in the order of the entries. */
typedef void (*Visit)(const IndexEntry *entry, uint8_t *mark, void *context);

static void for_each_entry(const BlobMarks *all, Visit visit, void *context) {
    const IndexTable *table = all->table;
    size_t count = table->entries.count;
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count) {
            index_table_prefetch(table, index_entry(table, i + PREFETCH_DISTANCE));
        }
        const IndexEntry *entry = index_entry(table, i);
        visit(entry, blob_marks_of(all, entry_kind(entry), entry->id), context);
    }
}

typedef struct {
    PackUse *packs;
    UseTotals *totals;
} Survey;

static void count_place(const IndexEntry *entry, uint8_t *mark, void *unused) {
    (void)entry;
    (void)unused;
    if (mark != NULL && *mark != 0 && *mark <= MOST_PLACES) {
        ++*mark;
    }
}

static void take_in(const IndexEntry *entry, uint8_t *mark, void *context) {
    Survey *survey = context;
    UseTotals *totals = survey->totals;
    PackUse *pack = &survey->packs[entry_pack(entry)];
    unsigned places = mark == NULL || *mark == 0 ? 0 : *mark - MARK;
    if (pack->used_bytes == 0) {
        pack->used_bytes = HEADER_OVERHEAD;
    }
    pack->used_bytes += entry->plain_length ? COMPRESSED_ENTRY : PLAIN_ENTRY;
    pack->content |= entry_kind(entry) ? PACK_TREES : PACK_DATA;
    pack->content |= entry->plain_length ? 0 : PACK_UNCOMPRESSED;
    if (places == 1) {
        pack->used_blobs++;
        pack->used_bytes += entry->length;
        totals->used_blobs++;
        totals->used_bytes += entry->length;
        return;
    }
    /* Which place of a duplicate is used is chosen when all packs are known. */
    pack->unused_blobs++;
    pack->unused_bytes += entry->length;
    if (places > 1) {
        pack->duplicate_blobs++;
        totals->duplicate_blobs++;
        totals->duplicate_bytes += entry->length;
    } else {
        totals->unused_blobs++;
        totals->unused_bytes += entry->length;
    }
}

/* As restic chooses: a place in a pack that is needed anyway, or that holds nothing but duplicates (what a prune that
 * was interrupted has left), or else the last. `*mark` counts down the places left; at MARK it is the last, and a blob
 * whose place has been chosen has MARK + 1, as if it had one place only. */
static void choose_place(const IndexEntry *entry, uint8_t *mark, void *context) {
    Survey *survey = context;
    UseTotals *totals = survey->totals;
    PackUse *pack = &survey->packs[entry_pack(entry)];
    if (mark == NULL || *mark == 0 || *mark == MARK + 1) {
        return;
    }
    if (pack->used_blobs > 0 || pack->duplicate_blobs == pack->unused_blobs || *mark == MARK) {
        pack->used_blobs++;
        pack->used_bytes += entry->length;
        pack->unused_blobs--;
        pack->unused_bytes -= entry->length;
        totals->used_blobs++;
        totals->used_bytes += entry->length;
        totals->duplicate_blobs--;
        totals->duplicate_bytes -= entry->length;
        *mark = MARK + 1;
    } else {
        --*mark;
        if (*mark == MARK + 1) {
            *mark = MARK;
        }
    }
}

void blob_marks_survey(const BlobMarks *all, PackUse *packs, UseTotals *totals) {
    Survey survey = {packs, totals};
    *totals = (UseTotals){0, 0, 0, 0, 0, 0};
    for_each_entry(all, count_place, NULL);
    for_each_entry(all, take_in, &survey);
    if (totals->duplicate_blobs > 0) {
        for_each_entry(all, choose_place, &survey);
    }
    for (size_t i = 0; i < all->count; i++) {
        all->marks[i] = all->marks[i] ? MARK : 0;
    }
}

static void clear_if_kept(const IndexEntry *entry, uint8_t *mark, void *context) {
    const uint8_t *kept = context;
    if (mark != NULL && kept[entry_pack(entry)]) {
        *mark = 0;
    }
}

void blob_marks_clear_packs(const BlobMarks *all, const uint8_t *kept) {
    for_each_entry(all, clear_if_kept, (void *)kept);
}
