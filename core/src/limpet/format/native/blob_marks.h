/* A mark for every blob that an index table knows, in a byte of the caller's memory, and what follows for its packs.
 *
 * The byte that counts for a blob is that of its first entry, by the entry's number; blobs added to the table later have
 * none. While the packs are surveyed the bytes count a blob's places, afterwards they are marks again.
 */
#ifndef LIMPET_BLOB_MARKS_H
#define LIMPET_BLOB_MARKS_H

#include "index_table.h"

typedef struct {
    const IndexTable *table;
    uint8_t *marks;
    size_t count; /* entries that have a byte */
} BlobMarks;

/* What a pack holds. The used bytes have its header in them. */
typedef struct {
    uint32_t used_blobs, unused_blobs, duplicate_blobs;
    uint32_t content; /* PACK_DATA | PACK_TREES | PACK_UNCOMPRESSED */
    uint64_t used_bytes, unused_bytes;
} PackUse;

enum { PACK_DATA = 1, PACK_TREES = 2, PACK_UNCOMPRESSED = 4 };

/* Blobs and their bytes, of all packs. */
typedef struct {
    uint64_t used_blobs, duplicate_blobs, unused_blobs;
    uint64_t used_bytes, duplicate_bytes, unused_bytes;
} UseTotals;

/* The byte of the blob, NULL if there is none. */
uint8_t *blob_marks_of(const BlobMarks *all, unsigned kind, const uint8_t id[ID_SIZE]);
/* The byte of the blob that the 64 hex digits name; NULL also for what is no id. */
uint8_t *blob_marks_of_hex(const BlobMarks *all, unsigned kind, const char *text, size_t length);
size_t blob_marks_number(const BlobMarks *all);
/* Fills `packs`, one for each pack of the table, all zero before. Of the places of a marked blob one is used, the others
 * are duplicates and count as unused in their packs. */
void blob_marks_survey(const BlobMarks *all, PackUse *packs, UseTotals *totals);
/* Unmarks every blob of which a pack has a copy whose byte in `kept` (one for each pack) is set. */
void blob_marks_clear_packs(const BlobMarks *all, const uint8_t *kept);

#endif
