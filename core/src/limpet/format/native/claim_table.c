/* A set of blob ids shared between forked processes. See claim_table.h for how it works. */
#include "claim_table.h"

#ifdef HAVE_CLAIM_TABLE

#define BUCKET_SLOTS ((size_t)16)
#define FIRST_SEGMENT_BUCKETS ((size_t)1024)
#define HEADER_BYTES ((size_t)4096)
#define MOST_SEGMENTS 17 /* 2^31 slots: 64 GiB of address space where the system allows it */
#define FEWEST_SEGMENTS 4

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

typedef enum { SLOT_OTHER, SLOT_OWN, SLOT_UNCLAIMED } SlotState;

/* Buckets before segment number `segment`. */
static inline size_t buckets_before(unsigned segment) {
    return FIRST_SEGMENT_BUCKETS * (((size_t)1 << segment) - 1);
}

int claim_table_init(ClaimTable *table, const SipKey *key, const uint64_t mask[CLAIM_WORDS]) {
    memset(table, 0, sizeof *table);
    table->key = *key;
    memcpy(table->mask, mask, sizeof table->mask);
    unsigned segments = sizeof(size_t) < 8 ? 8 : MOST_SEGMENTS;
    /* A limit on address space is met by a smaller table. */
    for (; segments >= FEWEST_SEGMENTS; segments--) {
        size_t bytes = HEADER_BYTES + buckets_before(segments) * BUCKET_SLOTS * sizeof(ClaimSlot);
        char *mapping =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapping != MAP_FAILED) {
            table->claimed = (_Atomic uint64_t *)mapping;
            table->slots = (ClaimSlot *)(mapping + HEADER_BYTES);
            table->segment_count = segments;
            table->mapping_bytes = bytes;
            return 0;
        }
    }
    return -1;
}

void claim_table_free(ClaimTable *table) {
    if (table->claimed != NULL) {
        munmap((void *)table->claimed, table->mapping_bytes);
        table->claimed = NULL;
    }
}

/* The masked words of an id; 0 if one of them is 0, once in 2^62 ids: such an id is stored by everyone who meets it. */
static int mask_words(const ClaimTable *table, const uint8_t id[ID_SIZE], uint64_t words[CLAIM_WORDS]) {
    memcpy(words, id, ID_SIZE);
    int storable = 1;
    for (unsigned i = 0; i < CLAIM_WORDS; i++) {
        words[i] ^= table->mask[i];
        storable &= words[i] != 0;
    }
    return storable;
}

static inline ClaimSlot *bucket_of(const ClaimTable *table, uint64_t hash, unsigned segment) {
    size_t within = (size_t)rotate_left(hash, 1 + 3 * segment) & ((FIRST_SEGMENT_BUCKETS << segment) - 1);
    return table->slots + (buckets_before(segment) + within) * BUCKET_SLOTS;
}

/* Claims the slot for the id word by word: SLOT_UNCLAIMED means that nobody had it and it is ours now. */
static SlotState claim_slot(ClaimSlot *slot, const uint64_t words[CLAIM_WORDS]) {
    for (unsigned i = 0; i < CLAIM_WORDS; i++) {
        uint64_t found = atomic_load_explicit(&slot->word[i], memory_order_acquire);
        if (found == 0 && atomic_compare_exchange_strong(&slot->word[i], &found, words[i])) {
            if (i == CLAIM_WORDS - 1) {
                return SLOT_UNCLAIMED;
            }
        } else if (found != words[i]) {
            return SLOT_OTHER;
        }
    }
    return SLOT_OWN;
}

static SlotState look_at_slot(const ClaimSlot *slot, const uint64_t words[CLAIM_WORDS]) {
    for (unsigned i = 0; i < CLAIM_WORDS; i++) {
        uint64_t found = atomic_load_explicit(&slot->word[i], memory_order_acquire);
        if (found == 0) {
            return SLOT_UNCLAIMED;
        }
        if (found != words[i]) {
            return SLOT_OTHER;
        }
    }
    return SLOT_OWN;
}

int claim_table_claim(ClaimTable *table, const uint8_t id[ID_SIZE]) {
    uint64_t words[CLAIM_WORDS];
    if (!mask_words(table, id, words)) {
        return 1;
    }
    uint64_t hash = siphash_id(&table->key, id, 0);
    for (unsigned segment = 0; segment < table->segment_count; segment++) {
        ClaimSlot *bucket = bucket_of(table, hash, segment);
        for (size_t i = 0; i < BUCKET_SLOTS; i++) {
            SlotState state = claim_slot(&bucket[i], words);
            if (state == SLOT_UNCLAIMED) {
                atomic_fetch_add(table->claimed, 1);
            }
            if (state != SLOT_OTHER) {
                return state == SLOT_UNCLAIMED;
            }
        }
    }
    return 1;
}

int claim_table_contains(const ClaimTable *table, const uint8_t id[ID_SIZE]) {
    uint64_t words[CLAIM_WORDS];
    if (!mask_words(table, id, words)) {
        return 0;
    }
    uint64_t hash = siphash_id(&table->key, id, 0);
    for (unsigned segment = 0; segment < table->segment_count; segment++) {
        const ClaimSlot *bucket = bucket_of(table, hash, segment);
        for (size_t i = 0; i < BUCKET_SLOTS; i++) {
            SlotState state = look_at_slot(&bucket[i], words);
            if (state != SLOT_OTHER) {
                return state == SLOT_OWN;
            }
        }
    }
    return 0;
}

uint64_t claim_table_count(const ClaimTable *table) {
    return atomic_load(table->claimed);
}

#endif
