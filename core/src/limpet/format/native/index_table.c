/* The table of all blob locations, without Python. See index_table.h for the layout. */
#include "index_table.h"

#define FIRST_BUCKETS ((size_t)1024)
#define PREFETCH_DISTANCE 16 /* how many entries ahead the buckets are fetched; 8 to 32 measure alike */

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address, 1)
#else
#define PREFETCH(address) ((void)(address))
#endif

static inline uint8_t tag_of(uint64_t hash) {
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

static inline int buckets_are_enough(const HashBuckets *buckets, size_t count) {
    return count <= buckets->bucket_count / 4 * 3;
}

/* Puts `item` into the first empty bucket of its probe sequence. */
static inline void buckets_put(HashBuckets *buckets, uint64_t hash, uint32_t item) {
    size_t mask = buckets->bucket_count - 1;
    size_t bucket = (size_t)hash & mask;
    while (buckets->tags[bucket]) {
        bucket = (bucket + 1) & mask;
    }
    buckets->tags[bucket] = tag_of(hash);
    buckets->items[bucket] = item;
}

static inline void buckets_prefetch(const HashBuckets *buckets, uint64_t hash) {
    size_t bucket = (size_t)hash & (buckets->bucket_count - 1);
    PREFETCH(&buckets->tags[bucket]);
    PREFETCH(&buckets->items[bucket]);
}

static void buckets_free(HashBuckets *buckets) {
    free(buckets->tags);
    free(buckets->items);
    buckets->tags = NULL;
    buckets->items = NULL;
    buckets->bucket_count = 0;
}

typedef uint64_t (*ItemHash)(const IndexTable *table, size_t number);

static uint64_t hash_entry(const IndexTable *table, size_t number) {
    const IndexEntry *entry = index_entry(table, number);
    return siphash_id(&table->key, entry->id, entry_kind(entry));
}

static uint64_t hash_pack(const IndexTable *table, size_t number) {
    return siphash_id(&table->key, index_pack(table, number)->id, 0);
}

/* Makes room for `wanted` items, putting the `present` ones anew in their order; 0, or -1 without memory. */
static int buckets_reserve(const IndexTable *table, HashBuckets *buckets, size_t present, size_t wanted,
                           ItemHash hash_of) {
    if (buckets_are_enough(buckets, wanted)) {
        return 0;
    }
    HashBuckets grown = {NULL, NULL, buckets->bucket_count ? buckets->bucket_count : FIRST_BUCKETS};
    while (!buckets_are_enough(&grown, wanted)) {
        grown.bucket_count *= 2;
    }
    grown.tags = calloc(grown.bucket_count, sizeof *grown.tags);
    grown.items = calloc(grown.bucket_count, sizeof *grown.items);
    if (grown.tags == NULL || grown.items == NULL) {
        buckets_free(&grown);
        return -1;
    }
    buckets_free(buckets);
    uint64_t ahead[PREFETCH_DISTANCE];
    for (size_t i = 0; i < present + PREFETCH_DISTANCE; i++) {
        if (i >= PREFETCH_DISTANCE) {
            buckets_put(&grown, ahead[i % PREFETCH_DISTANCE], (uint32_t)(i - PREFETCH_DISTANCE));
        }
        if (i < present) {
            ahead[i % PREFETCH_DISTANCE] = hash_of(table, i);
            buckets_prefetch(&grown, ahead[i % PREFETCH_DISTANCE]);
        }
    }
    *buckets = grown;
    return 0;
}

static int reserve_entries(IndexTable *table, size_t more) {
    size_t wanted = table->entries.count + more;
    if (wanted > UINT32_MAX) {
        return -1;
    }
    if (buckets_reserve(table, &table->entry_buckets, table->entries.count, wanted, hash_entry) < 0) {
        return -1;
    }
    return block_array_reserve(&table->entries, wanted);
}

static int reserve_packs(IndexTable *table, size_t more) {
    size_t wanted = table->packs.count + more;
    if (wanted > MAX_PACKS) {
        return -1;
    }
    if (buckets_reserve(table, &table->pack_buckets, table->packs.count, wanted, hash_pack) < 0) {
        return -1;
    }
    return block_array_reserve(&table->packs, wanted);
}

static int reserve_runs(IndexTable *table, size_t more) {
    return block_array_reserve(&table->runs, table->runs.count + more);
}

void index_table_init(IndexTable *table, const SipKey *key) {
    memset(table, 0, sizeof *table);
    table->key = *key;
    table->entries.item_size = sizeof(IndexEntry);
    table->packs.item_size = sizeof(IndexPack);
    table->runs.item_size = sizeof(IndexRun);
}

void index_table_free(IndexTable *table) {
    block_array_free(&table->entries);
    block_array_free(&table->packs);
    block_array_free(&table->runs);
    buckets_free(&table->entry_buckets);
    buckets_free(&table->pack_buckets);
}

size_t index_table_bytes(const IndexTable *table) {
    size_t buckets = table->entry_buckets.bucket_count + table->pack_buckets.bucket_count;
    return sizeof *table + block_array_bytes(&table->entries) + block_array_bytes(&table->packs) +
           block_array_bytes(&table->runs) + buckets * (sizeof(uint8_t) + sizeof(uint32_t));
}

int64_t index_table_find_pack(const IndexTable *table, const uint8_t id[ID_SIZE]) {
    const HashBuckets *buckets = &table->pack_buckets;
    if (buckets->bucket_count == 0) {
        return -1;
    }
    uint64_t hash = siphash_id(&table->key, id, 0);
    size_t mask = buckets->bucket_count - 1;
    for (size_t bucket = (size_t)hash & mask; buckets->tags[bucket]; bucket = (bucket + 1) & mask) {
        if (buckets->tags[bucket] == tag_of(hash)) {
            uint32_t number = buckets->items[bucket];
            if (memcmp(index_pack(table, number)->id, id, ID_SIZE) == 0) {
                return number;
            }
        }
    }
    return -1;
}

/* As index_table_add_pack, with the room reserved. */
static uint32_t put_pack(IndexTable *table, const uint8_t id[ID_SIZE]) {
    int64_t known = index_table_find_pack(table, id);
    if (known >= 0) {
        return (uint32_t)known;
    }
    uint32_t number = (uint32_t)table->packs.count++;
    IndexPack *pack = block_array_at(&table->packs, number);
    memcpy(pack->id, id, ID_SIZE);
    pack->first_run = pack->last_run = 0;
    buckets_put(&table->pack_buckets, siphash_id(&table->key, id, 0), number);
    return number;
}

int64_t index_table_add_pack(IndexTable *table, const uint8_t id[ID_SIZE]) {
    return reserve_packs(table, 1) < 0 ? -1 : (int64_t)put_pack(table, id);
}

static void extend_pack(IndexTable *table, uint32_t pack_number, uint32_t entry_number) {
    IndexPack *pack = block_array_at(&table->packs, pack_number);
    IndexRun *last = pack->last_run ? block_array_at(&table->runs, pack->last_run - 1) : NULL;
    if (last != NULL && last->first_entry + last->count == entry_number) {
        last->count++;
        return;
    }
    IndexRun *run = block_array_at(&table->runs, table->runs.count++);
    *run = (IndexRun){entry_number, 1, 0};
    if (last != NULL) {
        last->next_run = (uint32_t)table->runs.count;
    } else {
        pack->first_run = (uint32_t)table->runs.count;
    }
    pack->last_run = (uint32_t)table->runs.count;
}

/* Adds the entry unless exactly it is there, with the room reserved; 1 if added. */
static int put_entry(IndexTable *table, uint64_t hash, const IndexEntry *entry) {
    HashBuckets *buckets = &table->entry_buckets;
    size_t mask = buckets->bucket_count - 1;
    size_t bucket = (size_t)hash & mask;
    for (; buckets->tags[bucket]; bucket = (bucket + 1) & mask) {
        if (buckets->tags[bucket] == tag_of(hash) &&
            memcmp(index_entry(table, buckets->items[bucket]), entry, sizeof *entry) == 0) {
            return 0;
        }
    }
    uint32_t number = (uint32_t)table->entries.count++;
    *(IndexEntry *)block_array_at(&table->entries, number) = *entry;
    buckets->tags[bucket] = tag_of(hash);
    buckets->items[bucket] = number;
    extend_pack(table, entry_pack(entry), number);
    return 1;
}

int index_table_add(IndexTable *table, const IndexEntry *entry) {
    if (reserve_entries(table, 1) < 0 || reserve_runs(table, 1) < 0) {
        return -1;
    }
    return put_entry(table, siphash_id(&table->key, entry->id, entry_kind(entry)), entry);
}

int64_t index_table_add_scanned(IndexTable *table, const ScannedIndex *scanned) {
    /* The blobs of one pack stand together in the file, so it starts at most one run for each of its packs. */
    if (reserve_entries(table, scanned->blob_count) < 0 || reserve_packs(table, scanned->pack_count) < 0 ||
        reserve_runs(table, scanned->pack_count) < 0) {
        return -1;
    }
    int64_t added = 0;
    size_t blob_number = 0;
    uint64_t ahead[PREFETCH_DISTANCE];
    size_t hashed = 0;
    for (size_t i = 0; i < scanned->pack_count; i++) {
        uint32_t pack_number = put_pack(table, scanned->packs[i].id);
        for (uint32_t k = 0; k < scanned->packs[i].blob_count; k++, blob_number++) {
            for (; hashed < scanned->blob_count && hashed < blob_number + PREFETCH_DISTANCE; hashed++) {
                const ScannedBlob *next = &scanned->blobs[hashed];
                ahead[hashed % PREFETCH_DISTANCE] = siphash_id(&table->key, next->id, next->kind);
                buckets_prefetch(&table->entry_buckets, ahead[hashed % PREFETCH_DISTANCE]);
            }
            const ScannedBlob *blob = &scanned->blobs[blob_number];
            IndexEntry entry = {{0}, pack_number << 1 | blob->kind, blob->offset, blob->length, blob->plain_length};
            memcpy(entry.id, blob->id, ID_SIZE);
            added += put_entry(table, ahead[blob_number % PREFETCH_DISTANCE], &entry);
        }
    }
    return added;
}

int64_t index_table_find_entry(const IndexTable *table, unsigned kind, const uint8_t id[ID_SIZE]) {
    const HashBuckets *buckets = &table->entry_buckets;
    if (buckets->bucket_count == 0) {
        return -1;
    }
    uint64_t hash = siphash_id(&table->key, id, kind);
    size_t mask = buckets->bucket_count - 1;
    for (size_t bucket = (size_t)hash & mask; buckets->tags[bucket]; bucket = (bucket + 1) & mask) {
        if (buckets->tags[bucket] == tag_of(hash)) {
            const IndexEntry *entry = index_entry(table, buckets->items[bucket]);
            if (entry_kind(entry) == kind && memcmp(entry->id, id, ID_SIZE) == 0) {
                return buckets->items[bucket];
            }
        }
    }
    return -1;
}

void index_table_prefetch(const IndexTable *table, const IndexEntry *entry) {
    if (table->entry_buckets.bucket_count > 0) {
        buckets_prefetch(&table->entry_buckets, siphash_id(&table->key, entry->id, entry_kind(entry)));
    }
}

IndexCursor index_table_start(const IndexTable *table, unsigned kind, const uint8_t id[ID_SIZE]) {
    uint64_t hash = siphash_id(&table->key, id, kind);
    size_t count = table->entry_buckets.bucket_count;
    return (IndexCursor){hash, count ? (size_t)hash & (count - 1) : 0};
}

const IndexEntry *index_table_next(const IndexTable *table, IndexCursor *cursor, unsigned kind,
                                   const uint8_t id[ID_SIZE]) {
    const HashBuckets *buckets = &table->entry_buckets;
    if (buckets->bucket_count == 0) {
        return NULL;
    }
    size_t mask = buckets->bucket_count - 1;
    while (buckets->tags[cursor->bucket]) {
        size_t bucket = cursor->bucket;
        cursor->bucket = (bucket + 1) & mask;
        if (buckets->tags[bucket] == tag_of(cursor->hash)) {
            const IndexEntry *entry = index_entry(table, buckets->items[bucket]);
            if (entry_kind(entry) == kind && memcmp(entry->id, id, ID_SIZE) == 0) {
                return entry;
            }
        }
    }
    return NULL;
}
