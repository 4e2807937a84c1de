/* A growing array in blocks of fixed size: growth never copies an item, so memory never peaks at twice the size. */
#ifndef LIMPET_BLOCK_ARRAY_H
#define LIMPET_BLOCK_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BITS 14
#define BLOCK_ITEMS ((size_t)1 << BLOCK_BITS)

typedef struct {
    char **blocks;
    size_t block_count, block_capacity;
    size_t count, item_size;
} BlockArray;

static inline void *block_array_at(const BlockArray *array, size_t index) {
    return array->blocks[index >> BLOCK_BITS] + (index & (BLOCK_ITEMS - 1)) * array->item_size;
}

/* Makes room for `count` items in all; 0, or -1 without memory. */
static inline int block_array_reserve(BlockArray *array, size_t count) {
    size_t needed = (count + BLOCK_ITEMS - 1) >> BLOCK_BITS;
    if (needed > array->block_capacity) {
        size_t capacity = needed > 2 * array->block_capacity ? needed : 2 * array->block_capacity;
        char **blocks = realloc(array->blocks, capacity * sizeof *blocks);
        if (blocks == NULL) {
            return -1;
        }
        array->blocks = blocks;
        array->block_capacity = capacity;
    }
    while (array->block_count < needed) {
        char *block = malloc(BLOCK_ITEMS * array->item_size);
        if (block == NULL) {
            return -1;
        }
        array->blocks[array->block_count++] = block;
    }
    return 0;
}

static inline size_t block_array_bytes(const BlockArray *array) {
    return array->block_count * BLOCK_ITEMS * array->item_size + array->block_capacity * sizeof *array->blocks;
}

static inline void block_array_free(BlockArray *array) {
    for (size_t i = 0; i < array->block_count; i++) {
        free(array->blocks[i]);
    }
    free(array->blocks);
    array->blocks = NULL;
    array->block_count = array->block_capacity = array->count = 0;
}

#endif
