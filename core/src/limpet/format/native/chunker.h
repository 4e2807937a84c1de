/* restic's cut points, without Python: the Rabin fingerprint of the last 64 bytes ends in 20 zero bits.
 *
 * A cut depends on the last 64 bytes alone, because restic skips the first bytes of a chunk up to 64 before the
 * smallest size. So the bytes after that size can be searched in many lanes at once, each lane warmed up on the 64
 * bytes before its own part; the first hit of the first lane that has one is the cut.
 */
#ifndef LIMPET_CHUNKER_H
#define LIMPET_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

#define WINDOW_SIZE 64
#define MOST_AVERAGE_BITS 20
#define LEAST_DEGREE 8
#define MOST_DEGREE 53
#define NO_HIT SIZE_MAX

#if defined(__clang__)
#define KNOWS_GFNI (__clang_major__ >= 9)
#elif defined(__GNUC__)
#define KNOWS_GFNI (__GNUC__ >= 9)
#else
#define KNOWS_GFNI 0
#endif
#if defined(__x86_64__) && KNOWS_GFNI
#define HAVE_X86_CHUNKERS 1
#endif

typedef struct Chunker Chunker;

/* The first hit in `lanes * lane_size` bytes at `data`, at least 64 of which lie before it; NO_HIT if none. */
typedef size_t (*LaneSearch)(const Chunker *chunker, const uint8_t *data, size_t lane_size);

typedef struct {
    const char *name;
    LaneSearch search;
    void (*prepare)(Chunker *chunker); /* fills the level's own tables, or NULL */
    size_t lanes, lane_size; /* lane_size is a multiple of 64 and may be given smaller ones */
    int any_degree;          /* else only MOST_DEGREE */
} ChunkerLevel;

/* The vector levels hold a fingerprint of 53 bits, shifted left by 3, as 7 planes of one byte a lane, lowest first. */
#define PLANES 7
#define PLANE_SHIFT (8 * PLANES - MOST_DEGREE)

typedef struct {
    uint8_t top[2][PLANES][16]; /* by the low and the high four bits of the byte that is shifted out on top */
    uint8_t out[2][PLANES][16]; /* by those of the byte that leaves the window */
} NibbleTables;

typedef struct {
    uint64_t top[PLANES], out[PLANES], in[2]; /* 8x8 bit matrices from a byte to what it adds to a plane */
} AffineTables;

struct Chunker {
    uint64_t polynomial;
    unsigned shift; /* degree - 8: what lies above it in a fingerprint is the byte to reduce */
    uint64_t mask;
    size_t min_size, max_size;
    const ChunkerLevel *level;
    uint64_t out[256];    /* what a byte adds when it is 63 bytes old, to take it out again */
    uint64_t reduce[256]; /* what the 8 bits above the degree become, with themselves to cancel them */
    union {
        NibbleTables nibbles;
        AffineTables affine;
    } planes;
};

/* What the byte shifted out on top adds to the planes, as one number of 56 bits. */
uint64_t chunker_planes_of_top(const Chunker *chunker, uint8_t byte);
/* What the byte that leaves the window adds to the planes. */
uint64_t chunker_planes_of_out(const Chunker *chunker, uint8_t byte);

/* The levels that this machine has, fastest first, ending with a NULL; always at least the portable one. */
const ChunkerLevel *const *chunker_levels(void);
/* Sets up the tables; the caller has checked the polynomial's degree and the sizes. */
void chunker_init(Chunker *chunker, uint64_t polynomial, size_t min_size, size_t max_size, unsigned average_bits,
                  const ChunkerLevel *level);
/* Length of the first chunk of `size` > 0 bytes, which are all there is or at least the largest chunk. */
size_t chunker_cut(const Chunker *chunker, const uint8_t *data, size_t size);

static inline uint64_t chunker_push(const Chunker *chunker, uint64_t fingerprint, uint8_t byte) {
    return (fingerprint << 8 | byte) ^ chunker->reduce[fingerprint >> chunker->shift];
}

/* The fingerprint of the 64 bytes at `data`. */
static inline uint64_t chunker_warm(const Chunker *chunker, const uint8_t *data) {
    uint64_t fingerprint = 0;
    for (unsigned i = 0; i < WINDOW_SIZE; i++) {
        fingerprint = chunker_push(chunker, fingerprint, data[i]);
    }
    return fingerprint;
}

/* The fingerprint one byte on: data[0] comes, data[-64] goes. */
static inline uint64_t chunker_roll(const Chunker *chunker, uint64_t fingerprint, const uint8_t *data) {
    return chunker_push(chunker, fingerprint ^ chunker->out[data[-WINDOW_SIZE]], data[0]);
}

#ifdef HAVE_X86_CHUNKERS
extern const ChunkerLevel chunker_avx2, chunker_avx512;
#endif

#endif
