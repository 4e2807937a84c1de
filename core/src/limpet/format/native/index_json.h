/* A strict scanner for the JSON of an index file, without Python and without touching any table. */
#ifndef LIMPET_INDEX_JSON_H
#define LIMPET_INDEX_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t id[32];
    uint32_t kind; /* 0 data, 1 tree */
    uint32_t offset, length, plain_length;
} ScannedBlob;

typedef struct {
    uint8_t id[32];
    uint32_t blob_count;
} ScannedPack;

typedef struct {
    ScannedBlob *blobs;
    size_t blob_count, blob_capacity;
    ScannedPack *packs;
    size_t pack_count, pack_capacity;
} ScannedIndex;

typedef enum { SCAN_DONE, SCAN_UNEXPECTED, SCAN_NO_MEMORY } ScanResult;

/* Reads `size` bytes of JSON into `scanned`, which the caller frees with index_json_free whatever the result. */
ScanResult index_json_scan(const uint8_t *data, size_t size, ScannedIndex *scanned);
void index_json_free(ScannedIndex *scanned);

#endif
