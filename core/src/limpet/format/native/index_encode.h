/* A pack of an index table as it stands in an index file. */
#ifndef LIMPET_INDEX_ENCODE_H
#define LIMPET_INDEX_ENCODE_H

#include "index_table.h"

/* The entries of a pack by offset in an array to be freed; NULL without memory. `count` gets their number. */
const IndexEntry **index_pack_entries(const IndexTable *table, size_t pack_number, size_t *count);
/* Enough bytes for the JSON of a pack of so many blobs. */
size_t index_pack_json_room(size_t blob_count);
/* Writes `{"id":..,"blobs":[..]}` as restic does; its length. */
size_t index_pack_json(const uint8_t pack_id[ID_SIZE], const IndexEntry *const *entries, size_t count, char *out);

#endif
