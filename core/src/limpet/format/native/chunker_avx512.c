/* The search for a cut with AVX-512 and GFNI: 64 lanes, one byte of each lane's fingerprint in one byte of a register.
 *
 * Adding bytes to a fingerprint is linear over GF(2), so what a byte adds to a plane is its product with an 8x8 bit
 * matrix, which `gf2p8affineqb` computes for 64 lanes at once. The input is turned from lanes into columns 64 bytes at
 * a time, which is the window: the byte that leaves stands at the same place one block back.
 */
#include "chunker.h"

#ifdef HAVE_X86_CHUNKERS

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,gfni")))
#define UNROLL _Pragma("GCC unroll 16")
#define LANES 64
#define COLUMNS 64
#define BLOCK_BYTES (LANES * COLUMNS)
#define XOR3 0x96 /* truth tables for ternarylogic: a ^ b ^ c */
#define OR_AND 0xf8 /* a | (b & c) */

typedef struct {
    __m512i planes[PLANES];
} State;

typedef struct {
    __m512i top[PLANES], out[PLANES], in[2], mask[3];
} Constants;

static uint64_t planes_of_in(const Chunker *chunker, uint8_t byte) {
    (void)chunker;
    return (uint64_t)byte << PLANE_SHIFT;
}

/* The matrix that maps a byte to byte number `plane` of the linear function, in the order gf2p8affineqb wants. */
static uint64_t matrix_of(const Chunker *chunker, uint64_t (*function)(const Chunker *, uint8_t), unsigned plane) {
    uint64_t matrix = 0;
    for (unsigned row = 0; row < 8; row++) {
        uint64_t bits = 0;
        for (unsigned column = 0; column < 8; column++) {
            bits |= (function(chunker, (uint8_t)(1u << column)) >> (8 * plane + row) & 1) << column;
        }
        matrix |= bits << 8 * (7 - row);
    }
    return matrix;
}

static void prepare(Chunker *chunker) {
    AffineTables *tables = &chunker->planes.affine;
    for (unsigned plane = 0; plane < PLANES; plane++) {
        tables->top[plane] = matrix_of(chunker, chunker_planes_of_top, plane);
        tables->out[plane] = matrix_of(chunker, chunker_planes_of_out, plane);
    }
    tables->in[0] = matrix_of(chunker, planes_of_in, 0);
    tables->in[1] = matrix_of(chunker, planes_of_in, 1);
}

TARGET static inline void load_constants(const Chunker *chunker, Constants *constants) {
    const AffineTables *tables = &chunker->planes.affine;
    for (unsigned plane = 0; plane < PLANES; plane++) {
        constants->top[plane] = _mm512_set1_epi64((long long)tables->top[plane]);
        constants->out[plane] = _mm512_set1_epi64((long long)tables->out[plane]);
    }
    constants->in[0] = _mm512_set1_epi64((long long)tables->in[0]);
    constants->in[1] = _mm512_set1_epi64((long long)tables->in[1]);
    for (unsigned plane = 0; plane < 3; plane++) {
        constants->mask[plane] = _mm512_set1_epi8((char)(chunker->mask << PLANE_SHIFT >> 8 * plane));
    }
}

/* Turns 64 lanes of 64 bytes into 64 columns of one byte of every lane: byte-wise perfect shuffles of 16 rows. */
TARGET static inline void transpose(const uint8_t *data, size_t lane_size, uint8_t columns[BLOCK_BYTES]) {
    for (unsigned group = 0; group < 4; group++) {
        __m512i a[16], b[16];
        const uint8_t *rows = data + group * 16 * lane_size;
        UNROLL for (unsigned i = 0; i < 16; i++) {
            a[i] = _mm512_loadu_si512(rows + i * lane_size);
        }
        UNROLL for (unsigned round = 0; round < 2; round++) {
            UNROLL for (unsigned i = 0; i < 8; i++) {
                b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
                b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
            }
            UNROLL for (unsigned i = 0; i < 8; i++) {
                a[2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
                a[2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
            }
        }
        UNROLL for (unsigned i = 0; i < 16; i++) {
            uint8_t *column = columns + i * LANES + group * 16;
            _mm_storeu_si128((__m128i *)column, _mm512_castsi512_si128(a[i]));
            _mm_storeu_si128((__m128i *)(column + BLOCK_BYTES / 4), _mm512_extracti32x4_epi32(a[i], 1));
            _mm_storeu_si128((__m128i *)(column + BLOCK_BYTES / 2), _mm512_extracti32x4_epi32(a[i], 2));
            _mm_storeu_si128((__m128i *)(column + BLOCK_BYTES / 4 * 3), _mm512_extracti32x4_epi32(a[i], 3));
        }
    }
}

/* Pushes one byte into every lane and takes the byte out that is 64 older. */
TARGET static inline __attribute__((always_inline)) void push(State *state, const Constants *constants, __m512i byte,
                                                              __m512i old) {
    __m512i top = state->planes[PLANES - 1];
    UNROLL for (int plane = PLANES - 1; plane >= 0; plane--) {
        __m512i below = plane ? state->planes[plane - 1] : _mm512_setzero_si512();
        state->planes[plane] =
            _mm512_ternarylogic_epi64(below, _mm512_gf2p8affine_epi64_epi8(top, constants->top[plane], 0),
                                      _mm512_gf2p8affine_epi64_epi8(old, constants->out[plane], 0), XOR3);
    }
    UNROLL for (unsigned plane = 0; plane < 2; plane++) {
        state->planes[plane] = _mm512_xor_si512(
            state->planes[plane], _mm512_gf2p8affine_epi64_epi8(byte, constants->in[plane], 0));
    }
}

/* One bit for each lane whose masked bits are all 0. */
TARGET static inline __mmask64 hits(const State *state, const Constants *constants) {
    __m512i rest = _mm512_and_si512(state->planes[0], constants->mask[0]);
    rest = _mm512_ternarylogic_epi64(rest, state->planes[1], constants->mask[1], OR_AND);
    rest = _mm512_ternarylogic_epi64(rest, state->planes[2], constants->mask[2], OR_AND);
    return _mm512_testn_epi8_mask(rest, rest);
}

TARGET static size_t search(const Chunker *chunker, const uint8_t *data, size_t lane_size) {
    uint8_t columns[2][BLOCK_BYTES] __attribute__((aligned(64)));
    Constants constants;
    State state;
    size_t first_hit = NO_HIT;
    load_constants(chunker, &constants);
    for (unsigned plane = 0; plane < PLANES; plane++) {
        state.planes[plane] = _mm512_setzero_si512();
    }
    transpose(data - WINDOW_SIZE, lane_size, columns[1]);
    for (const uint8_t *column = columns[1]; column < columns[1] + BLOCK_BYTES; column += LANES) {
        push(&state, &constants, _mm512_load_si512(column), _mm512_setzero_si512());
    }
    for (size_t start = 0; start < lane_size; start += COLUMNS) {
        size_t block = start / COLUMNS % 2;
        const uint8_t *new_columns = columns[block], *old_columns = columns[1 - block];
        transpose(data + start, lane_size, columns[block]);
        for (unsigned i = 0; i < COLUMNS; i++) {
            push(&state, &constants, _mm512_load_si512(new_columns + i * LANES),
                 _mm512_load_si512(old_columns + i * LANES));
            __mmask64 lanes = hits(&state, &constants);
            if (__builtin_expect(lanes != 0, 0)) {
                size_t hit = (size_t)__builtin_ctzll(lanes) * lane_size + start + i;
                first_hit = hit < first_hit ? hit : first_hit;
            }
        }
    }
    return first_hit;
}

const ChunkerLevel chunker_avx512 = {"avx512", search, prepare, LANES, 1024, 0};

#endif
