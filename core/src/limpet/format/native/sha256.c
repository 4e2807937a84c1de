/* SHA-256 in two lanes: the compression of one block or two, and lanes that take one message after the other. */
#include "sha256.h"

#ifdef HAVE_SHA256

#include <cpuid.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE static inline __attribute__((always_inline))
#define ROUNDS 16 /* of four each */
#define LENGTH_SIZE 8
#define PREFETCH_BYTES 1024 /* where a page begins, the processor waits for its address otherwise */

static const uint32_t round_constants[4 * ROUNDS] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static int has_avx;

int sha256_is_supported(void) {
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSSE3) || !(ecx & bit_SSE4_1)) {
        return 0;
    }
    has_avx = __builtin_cpu_supports("avx"); /* and the system saves its registers */
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA) != 0;
}

/* Other code may have left something in the upper halves of the vector registers. The instructions here would carry
 * that along, which makes them wait for each other: 480 us a MiB instead of 300. */
__attribute__((target("avx"))) static void clear_upper_halves(void) { _mm256_zeroupper(); }

/* -- blocks ------------------------------------------------------------------------------------------------------- */

/* A message's state as the instructions want it, and 16 words of its schedule. */
typedef struct {
    __m128i abef, cdgh, words[4];
} Registers;

TARGET INLINE void load_state(Registers *r, const uint32_t state[8]) {
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    r->abef = _mm_alignr_epi8(cdab, efgh, 8);
    r->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

TARGET INLINE void store_state(const Registers *r, uint32_t state[8]) {
    __m128i feba = _mm_shuffle_epi32(r->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(r->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

TARGET INLINE void load_block(Registers *r, const uint8_t *block) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (unsigned i = 0; i < 4; i++) {
        r->words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + i), swap);
    }
}

/* Four rounds; then the words they have used make room for those of four rounds later. */
TARGET INLINE void four_rounds(Registers *r, unsigned i) {
    __m128i *words = r->words;
    __m128i sums = _mm_add_epi32(words[i % 4], _mm_load_si128((const __m128i *)round_constants + i));
    r->cdgh = _mm_sha256rnds2_epu32(r->cdgh, r->abef, sums);
    r->abef = _mm_sha256rnds2_epu32(r->abef, r->cdgh, _mm_shuffle_epi32(sums, 0x0e));
    if (i < ROUNDS - 4) {
        __m128i next = _mm_sha256msg1_epu32(words[i % 4], words[(i + 1) % 4]);
        next = _mm_add_epi32(next, _mm_alignr_epi8(words[(i + 3) % 4], words[(i + 2) % 4], 4));
        words[i % 4] = _mm_sha256msg2_epu32(next, words[(i + 3) % 4]);
    }
}

/* The state after `count` blocks. */
TARGET static void compress(uint32_t state[8], const uint8_t *blocks, size_t count) {
    Registers r;
    load_state(&r, state);
    for (; count > 0; count--, blocks += SHA256_BLOCK) {
        __m128i abef = r.abef, cdgh = r.cdgh;
        load_block(&r, blocks);
        __builtin_prefetch(blocks + PREFETCH_BYTES);
#pragma GCC unroll 16
        for (unsigned i = 0; i < ROUNDS; i++) {
            four_rounds(&r, i);
        }
        r.abef = _mm_add_epi32(r.abef, abef);
        r.cdgh = _mm_add_epi32(r.cdgh, cdgh);
    }
    store_state(&r, state);
}

/* The same for two messages. */
TARGET static void compress_two(uint32_t state_a[8], const uint8_t *blocks_a, uint32_t state_b[8],
                                const uint8_t *blocks_b, size_t count) {
    Registers a, b;
    load_state(&a, state_a);
    load_state(&b, state_b);
    for (; count > 0; count--, blocks_a += SHA256_BLOCK, blocks_b += SHA256_BLOCK) {
        __m128i abef_a = a.abef, cdgh_a = a.cdgh, abef_b = b.abef, cdgh_b = b.cdgh;
        load_block(&a, blocks_a);
        load_block(&b, blocks_b);
        __builtin_prefetch(blocks_a + PREFETCH_BYTES);
        __builtin_prefetch(blocks_b + PREFETCH_BYTES);
#pragma GCC unroll 16
        for (unsigned i = 0; i < ROUNDS; i++) {
            four_rounds(&a, i);
            four_rounds(&b, i);
        }
        a.abef = _mm_add_epi32(a.abef, abef_a);
        a.cdgh = _mm_add_epi32(a.cdgh, cdgh_a);
        b.abef = _mm_add_epi32(b.abef, abef_b);
        b.cdgh = _mm_add_epi32(b.cdgh, cdgh_b);
    }
    store_state(&a, state_a);
    store_state(&b, state_b);
}

/* -- lanes -------------------------------------------------------------------------------------------------------- */

/* The messages that no lane has taken yet. */
typedef struct {
    const Sha256Job *next, *end;
} Jobs;

/* Blocks of one message: those in place, then those in `tail`, made of its last bytes and the padding. */
typedef struct {
    uint32_t state[8];
    const uint8_t *blocks;
    size_t count;      /* of blocks that are left there */
    size_t tail_count; /* of blocks that follow in `tail` */
    uint8_t *digest;   /* NULL for a stream, whose state is taken over instead */
    Sha256 *stream;
    uint8_t tail[2 * SHA256_BLOCK];
} Lane;

static void store_words(uint8_t *bytes, const uint32_t *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t word = __builtin_bswap32(words[i]);
        memcpy(bytes + 4 * i, &word, sizeof word);
    }
}

/* Writes the last `size` bytes of a message of `length` with their padding to `tail`; the number of blocks there. */
static size_t pad(uint8_t tail[2 * SHA256_BLOCK], const uint8_t *rest, size_t size, uint64_t length) {
    size_t blocks = size + 1 + LENGTH_SIZE > SHA256_BLOCK ? 2 : 1;
    uint64_t bits = __builtin_bswap64(length << 3);
    memset(tail, 0, 2 * SHA256_BLOCK);
    if (size > 0) {
        memcpy(tail, rest, size);
    }
    tail[size] = 0x80;
    memcpy(tail + blocks * SHA256_BLOCK - LENGTH_SIZE, &bits, sizeof bits);
    return blocks;
}

/* Gives the lane its next message; 0 if there is none left. */
static int lane_take(Lane *lane, Jobs *jobs) {
    if (jobs->next == jobs->end) {
        return 0;
    }
    const Sha256Job *job = jobs->next++;
    size_t rest = job->size % SHA256_BLOCK;
    memcpy(lane->state, initial_state, sizeof lane->state);
    lane->blocks = job->data;
    lane->count = job->size / SHA256_BLOCK;
    lane->tail_count = pad(lane->tail, job->data + (job->size - rest), rest, job->size);
    lane->digest = job->digest;
    lane->stream = NULL;
    return 1;
}

/* Whether the lane has a block to work on; finishes its message and takes another where it has not. */
static int lane_ready(Lane *lane, Jobs *jobs) {
    while (lane->count == 0) {
        if (lane->tail_count > 0) {
            lane->blocks = lane->tail;
            lane->count = lane->tail_count;
            lane->tail_count = 0;
            continue;
        }
        if (lane->digest != NULL) {
            store_words(lane->digest, lane->state, 8);
            lane->digest = NULL;
        }
        if (lane->stream != NULL) {
            memcpy(lane->stream->state, lane->state, sizeof lane->state);
            lane->stream = NULL;
        }
        if (!lane_take(lane, jobs)) {
            return 0;
        }
    }
    return 1;
}

static int compare_sizes(const void *a, const void *b) {
    size_t size_a = ((const Sha256Job *)a)->size, size_b = ((const Sha256Job *)b)->size;
    return (size_a < size_b) - (size_a > size_b);
}

/* The longest go first, so that both lanes end at about the same time. */
static Jobs longest_first(Sha256Job *jobs, size_t count) {
    if (count > 1) {
        qsort(jobs, count, sizeof *jobs, compare_sizes);
    }
    return (Jobs){jobs, jobs + count};
}

static void lane_advance(Lane *lane, size_t count) {
    lane->blocks += count * SHA256_BLOCK;
    lane->count -= count;
}

/* Works until both lanes and the jobs are done. */
static void run(Lane *a, Lane *b, Jobs *jobs) {
    if (has_avx) {
        clear_upper_halves();
    }
    int has_a = lane_ready(a, jobs), has_b = lane_ready(b, jobs);
    while (has_a && has_b) {
        size_t count = a->count < b->count ? a->count : b->count;
        compress_two(a->state, a->blocks, b->state, b->blocks, count);
        lane_advance(a, count);
        lane_advance(b, count);
        has_a = lane_ready(a, jobs);
        has_b = lane_ready(b, jobs);
    }
    Lane *last = has_a ? a : b;
    while (has_a || has_b) {
        compress(last->state, last->blocks, last->count);
        lane_advance(last, last->count);
        has_a = has_b = lane_ready(last, jobs);
    }
}

/* A lane that appends to the stream; what is no whole block is kept there. */
static Lane lane_of_stream(Sha256 *stream, const uint8_t *data, size_t size) {
    size_t held = stream->length % SHA256_BLOCK;
    stream->length += size;
    if (held > 0) {
        size_t missing = SHA256_BLOCK - held, taken = size < missing ? size : missing;
        if (taken > 0) {
            memcpy(stream->rest + held, data, taken);
        }
        data += taken;
        size -= taken;
        if (taken == missing) {
            compress(stream->state, stream->rest, 1);
        }
    }
    Lane lane = {.blocks = data, .count = size / SHA256_BLOCK, .stream = stream};
    memcpy(lane.state, stream->state, sizeof lane.state);
    size_t rest = size % SHA256_BLOCK;
    if (rest > 0) {
        memcpy(stream->rest, data + (size - rest), rest);
    }
    return lane;
}

/* -- what others call --------------------------------------------------------------------------------------------- */

void sha256_init(Sha256 *stream) {
    memcpy(stream->state, initial_state, sizeof stream->state);
    stream->length = 0;
}

void sha256_all(Sha256Job *jobs, size_t count) {
    Lane a = {.count = 0}, b = {.count = 0};
    Jobs left = longest_first(jobs, count);
    run(&a, &b, &left);
}

void sha256_update_beside(Sha256 *stream, const uint8_t *data, size_t size, Sha256Job *jobs, size_t count) {
    Lane a = lane_of_stream(stream, data, size), b = {.count = 0};
    Jobs left = longest_first(jobs, count);
    run(&a, &b, &left);
}

void sha256_update_two(Sha256 *first, const uint8_t *data, size_t size, Sha256 *second, const uint8_t *second_data,
                       size_t second_size) {
    Lane a = lane_of_stream(first, data, size), b = lane_of_stream(second, second_data, second_size);
    Jobs none = {NULL, NULL};
    run(&a, &b, &none);
}

void sha256_digest(const Sha256 *stream, uint8_t digest[SHA256_SIZE]) {
    uint8_t tail[2 * SHA256_BLOCK];
    uint32_t state[8];
    memcpy(state, stream->state, sizeof state);
    compress(state, tail, pad(tail, stream->rest, stream->length % SHA256_BLOCK, stream->length));
    store_words(digest, state, 8);
}

int sha256_works(void) {
    enum { LONG = 300, SHORT = 120 }; /* one lane goes on alone; the padding takes one block, and just two */
    static const uint8_t expected[SHA256_SIZE] = {
        0x3a, 0xa8, 0x83, 0x35, 0xc6, 0x4e, 0x32, 0xb8, 0xa1, 0x2f, 0xfb, 0x9e, 0x57, 0xdc, 0xfa, 0x5e,
        0x3c, 0xfa, 0x0a, 0x06, 0xc1, 0xdf, 0x26, 0x42, 0xd9, 0xe5, 0x76, 0x09, 0xe0, 0x28, 0xaa, 0xda,
    };
    uint8_t message[LONG], digests[2 * SHA256_SIZE], digest[SHA256_SIZE];
    for (size_t i = 0; i < LONG; i++) {
        message[i] = (uint8_t)i;
    }
    sha256_all((Sha256Job[]){{message, LONG, digests}, {message, SHORT, digests + SHA256_SIZE}}, 2);
    sha256_all(&(Sha256Job){digests, sizeof digests, digest}, 1);
    return memcmp(digest, expected, sizeof digest) == 0;
}

#endif
