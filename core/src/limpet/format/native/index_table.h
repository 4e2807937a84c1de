/* The table of all blob locations, without Python: 48 bytes an entry, 5 bytes a bucket.
 *
 * Entries and packs lie in block arrays in the order they were added; two open-addressed hash tables (linear probing,
 * one tag byte and one 32-bit item number a bucket) find them. Nothing is ever removed, so of several entries with one
 * key the first added is met first, also after a table has grown.
 */
#ifndef LIMPET_INDEX_TABLE_H
#define LIMPET_INDEX_TABLE_H

#include "block_array.h"
#include "index_json.h"
#include "siphash.h"

#define MAX_PACKS ((uint32_t)1 << 31)

typedef struct {
    uint8_t id[ID_SIZE];
    uint32_t pack_and_kind; /* pack number << 1 | kind */
    uint32_t offset, length, plain_length;
} IndexEntry;

typedef struct {
    uint8_t id[ID_SIZE];
    uint32_t first_run, last_run; /* number + 1; 0 = none */
} IndexPack;

/* Entries of one pack that lie side by side: usually all of them. */
typedef struct {
    uint32_t first_entry, count;
    uint32_t next_run; /* number + 1; 0 = none */
} IndexRun;

typedef struct {
    uint8_t *tags; /* 0 = empty bucket, else hash bits that spare most look-ups in the items */
    uint32_t *items;
    size_t bucket_count; /* 0 or a power of two */
} HashBuckets;

typedef struct IndexTable {
    SipKey key;
    BlockArray entries, packs, runs;
    HashBuckets entry_buckets, pack_buckets;
} IndexTable;

typedef struct {
    uint64_t hash;
    size_t bucket;
} IndexCursor;

static inline uint32_t entry_kind(const IndexEntry *entry) { return entry->pack_and_kind & 1; }
static inline uint32_t entry_pack(const IndexEntry *entry) { return entry->pack_and_kind >> 1; }
static inline const IndexEntry *index_entry(const IndexTable *table, size_t number) {
    return block_array_at(&table->entries, number);
}
static inline const IndexPack *index_pack(const IndexTable *table, size_t number) {
    return block_array_at(&table->packs, number);
}
static inline const IndexRun *index_run(const IndexTable *table, size_t number) {
    return block_array_at(&table->runs, number);
}

void index_table_init(IndexTable *table, const SipKey *key);
void index_table_free(IndexTable *table);
size_t index_table_bytes(const IndexTable *table);

/* The number of the pack, new or known; -1 without memory. */
int64_t index_table_add_pack(IndexTable *table, const uint8_t id[ID_SIZE]);
/* The number of the pack or -1. */
int64_t index_table_find_pack(const IndexTable *table, const uint8_t id[ID_SIZE]);
/* 1 if added, 0 if exactly this entry was there, -1 without memory. */
int index_table_add(IndexTable *table, const IndexEntry *entry);
/* Adds a scanned index file whole or not at all; the number of new entries, -1 without memory. */
int64_t index_table_add_scanned(IndexTable *table, const ScannedIndex *scanned);

/* The number of the first entry of a key, or -1. */
int64_t index_table_find_entry(const IndexTable *table, unsigned kind, const uint8_t id[ID_SIZE]);
/* Has the buckets of the entry's key at hand soon. */
void index_table_prefetch(const IndexTable *table, const IndexEntry *entry);

/* The entries of one key, oldest first: start the cursor, then call next until NULL. */
IndexCursor index_table_start(const IndexTable *table, unsigned kind, const uint8_t id[ID_SIZE]);
const IndexEntry *index_table_next(const IndexTable *table, IndexCursor *cursor, unsigned kind,
                                   const uint8_t id[ID_SIZE]);

#endif
