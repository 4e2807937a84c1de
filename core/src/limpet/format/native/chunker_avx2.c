/* The search for a cut with AVX2: 32 lanes, one byte of each lane's fingerprint in one byte of a register.
 *
 * Adding bytes to a fingerprint is linear over GF(2), so what a byte adds is looked up by its two halves in tables of
 * 16, which `pshufb` does for 32 lanes at once. The input is turned from lanes into columns 32 bytes at a time.
 */
#include "chunker.h"

#ifdef HAVE_X86_CHUNKERS

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define UNROLL _Pragma("GCC unroll 16")
#define LANES 32
#define COLUMNS 32
#define BLOCK_BYTES (LANES * COLUMNS)
#define BLOCKS 4 /* ring of columns: the window is two blocks back */

typedef struct {
    __m256i planes[PLANES];
} State;

typedef struct {
    __m256i top[2][PLANES], out[2][PLANES], mask[3];
} Constants;

static void prepare(Chunker *chunker) {
    NibbleTables *tables = &chunker->planes.nibbles;
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned value = 0; value < 16; value++) {
            uint8_t byte = (uint8_t)(value << 4 * half);
            uint64_t top = chunker_planes_of_top(chunker, byte), out = chunker_planes_of_out(chunker, byte);
            for (unsigned plane = 0; plane < PLANES; plane++) {
                tables->top[half][plane][value] = (uint8_t)(top >> 8 * plane);
                tables->out[half][plane][value] = (uint8_t)(out >> 8 * plane);
            }
        }
    }
}

TARGET static inline __m256i broadcast_table(const uint8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

TARGET static inline void load_constants(const Chunker *chunker, Constants *constants) {
    const NibbleTables *tables = &chunker->planes.nibbles;
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned plane = 0; plane < PLANES; plane++) {
            constants->top[half][plane] = broadcast_table(tables->top[half][plane]);
            constants->out[half][plane] = broadcast_table(tables->out[half][plane]);
        }
    }
    for (unsigned plane = 0; plane < 3; plane++) {
        constants->mask[plane] = _mm256_set1_epi8((char)(chunker->mask << PLANE_SHIFT >> 8 * plane));
    }
}

/* Turns 32 lanes of 32 bytes into 32 columns of one byte of every lane: byte-wise perfect shuffles of 16 rows. */
TARGET static void transpose(const uint8_t *data, size_t lane_size, uint8_t columns[BLOCK_BYTES]) {
    for (unsigned group = 0; group < 2; group++) {
        __m256i a[16], b[16];
        const uint8_t *rows = data + group * 16 * lane_size;
        UNROLL for (unsigned i = 0; i < 16; i++) {
            a[i] = _mm256_loadu_si256((const __m256i *)(rows + i * lane_size));
        }
        for (unsigned round = 0; round < 2; round++) {
            UNROLL for (unsigned i = 0; i < 8; i++) {
                b[2 * i] = _mm256_unpacklo_epi8(a[i], a[i + 8]);
                b[2 * i + 1] = _mm256_unpackhi_epi8(a[i], a[i + 8]);
            }
            UNROLL for (unsigned i = 0; i < 8; i++) {
                a[2 * i] = _mm256_unpacklo_epi8(b[i], b[i + 8]);
                a[2 * i + 1] = _mm256_unpackhi_epi8(b[i], b[i + 8]);
            }
        }
        UNROLL for (unsigned i = 0; i < 16; i++) {
            uint8_t *column = columns + i * LANES + group * 16;
            _mm_storeu_si128((__m128i *)column, _mm256_castsi256_si128(a[i]));
            _mm_storeu_si128((__m128i *)(column + BLOCK_BYTES / 2), _mm256_extracti128_si256(a[i], 1));
        }
    }
}

/* What the 32 bytes add to a plane, from the tables for their low and high halves. */
TARGET static inline __m256i look_up(const __m256i tables[2][PLANES], unsigned plane, __m256i low, __m256i high) {
    return _mm256_xor_si256(_mm256_shuffle_epi8(tables[0][plane], low), _mm256_shuffle_epi8(tables[1][plane], high));
}

/* Pushes one byte into every lane, and with `old` takes the byte out that is 64 older. */
TARGET static inline __attribute__((always_inline)) void push(State *state, const Constants *constants, __m256i byte,
                                                              const __m256i *old) {
    const __m256i low_half = _mm256_set1_epi8(15);
    __m256i top = state->planes[PLANES - 1];
    __m256i top_low = _mm256_and_si256(top, low_half), top_high = _mm256_and_si256(_mm256_srli_epi16(top, 4), low_half);
    __m256i old_low = top_low, old_high = top_high;
    if (old != NULL) {
        old_low = _mm256_and_si256(*old, low_half);
        old_high = _mm256_and_si256(_mm256_srli_epi16(*old, 4), low_half);
    }
    UNROLL for (int plane = PLANES - 1; plane >= 0; plane--) {
        __m256i value = look_up(constants->top, (unsigned)plane, top_low, top_high);
        if (old != NULL) {
            value = _mm256_xor_si256(value, look_up(constants->out, (unsigned)plane, old_low, old_high));
        }
        state->planes[plane] = plane ? _mm256_xor_si256(state->planes[plane - 1], value) : value;
    }
    __m256i in_low = _mm256_and_si256(_mm256_slli_epi16(byte, PLANE_SHIFT), _mm256_set1_epi8((char)0xf8));
    __m256i in_high = _mm256_and_si256(_mm256_srli_epi16(byte, 8 - PLANE_SHIFT), _mm256_set1_epi8(7));
    state->planes[0] = _mm256_xor_si256(state->planes[0], in_low);
    state->planes[1] = _mm256_xor_si256(state->planes[1], in_high);
}

/* One bit for each lane whose masked bits are all 0. */
TARGET static inline unsigned hits(const State *state, const Constants *constants) {
    __m256i rest = _mm256_and_si256(state->planes[0], constants->mask[0]);
    rest = _mm256_or_si256(rest, _mm256_and_si256(state->planes[1], constants->mask[1]));
    rest = _mm256_or_si256(rest, _mm256_and_si256(state->planes[2], constants->mask[2]));
    return (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(rest, _mm256_setzero_si256()));
}

TARGET static size_t search(const Chunker *chunker, const uint8_t *data, size_t lane_size) {
    uint8_t columns[BLOCKS][BLOCK_BYTES] __attribute__((aligned(32)));
    Constants constants;
    State state;
    size_t first_hit = NO_HIT;
    load_constants(chunker, &constants);
    for (unsigned plane = 0; plane < PLANES; plane++) {
        state.planes[plane] = _mm256_setzero_si256();
    }
    transpose(data - 2 * COLUMNS, lane_size, columns[2]);
    transpose(data - COLUMNS, lane_size, columns[3]);
    for (const uint8_t *column = columns[2]; column < columns[BLOCKS - 1] + BLOCK_BYTES; column += LANES) {
        push(&state, &constants, _mm256_load_si256((const __m256i *)column), NULL);
    }
    for (size_t start = 0; start < lane_size; start += COLUMNS) {
        size_t block = start / COLUMNS % BLOCKS;
        const uint8_t *new_columns = columns[block], *old_columns = columns[(block + 2) % BLOCKS];
        transpose(data + start, lane_size, columns[block]);
        for (unsigned i = 0; i < COLUMNS; i++) {
            __m256i old = _mm256_load_si256((const __m256i *)(old_columns + i * LANES));
            push(&state, &constants, _mm256_load_si256((const __m256i *)(new_columns + i * LANES)), &old);
            unsigned lanes = hits(&state, &constants);
            if (__builtin_expect(lanes != 0, 0)) {
                size_t hit = (size_t)__builtin_ctz(lanes) * lane_size + start + i;
                first_hit = hit < first_hit ? hit : first_hit;
            }
        }
    }
    return first_hit;
}

const ChunkerLevel chunker_avx2 = {"avx2", search, prepare, LANES, 2048, 0};

#endif
