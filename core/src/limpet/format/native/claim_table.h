/* A set of blob ids shared between forked processes, lock-free, in which the first claim of an id wins.
 *
 * One anonymous shared mapping is reserved before the processes fork; the system gives it memory as it is touched. It
 * is cut into segments of doubling size, a segment into buckets of 16 slots. An id may lie in one bucket of each
 * segment, chosen by a keyed hash, and takes the first slot that is empty or already its own. Slots are never freed, so
 * all processes agree on that slot without any count of how full a segment is.
 *
 * A slot is four words, 0 while empty, each set once by compare-and-swap in order. Whoever meets a slot whose first
 * words are its own helps to set the rest; whoever sets the last word has claimed the id. A process that dies in between
 * leaves at worst one useless slot.
 */
#ifndef LIMPET_CLAIM_TABLE_H
#define LIMPET_CLAIM_TABLE_H

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif
#if defined(MAP_ANONYMOUS) && !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
#if ATOMIC_LLONG_LOCK_FREE == 2
#define HAVE_CLAIM_TABLE 1
#endif
#endif
#endif

#ifdef HAVE_CLAIM_TABLE

#include "siphash.h"

#define CLAIM_WORDS (ID_SIZE / 8)

typedef struct {
    _Atomic uint64_t word[CLAIM_WORDS];
} ClaimSlot;

typedef struct {
    _Atomic uint64_t *claimed;    /* number of ids claimed, at the start of the mapping */
    ClaimSlot *slots;             /* all segments, one after the other */
    unsigned segment_count;
    size_t mapping_bytes;
    SipKey key;
    uint64_t mask[CLAIM_WORDS];   /* xored onto the words of an id, so that no known id has a word that reads as empty */
} ClaimTable;

/* 0, or -1 if no mapping is to be had. The key and the mask are the caller's random bytes. */
int claim_table_init(ClaimTable *table, const SipKey *key, const uint64_t mask[CLAIM_WORDS]);
void claim_table_free(ClaimTable *table);
/* 1 if nobody had the id, or if the table is full: a blob stored twice does no harm, a lost one does. */
int claim_table_claim(ClaimTable *table, const uint8_t id[ID_SIZE]);
int claim_table_contains(const ClaimTable *table, const uint8_t id[ID_SIZE]);
uint64_t claim_table_count(const ClaimTable *table);

#endif
#endif
