/* AES-256-CTR with the processor's AES instructions, and Poly1305 in three limbs. */
#include "blob_cipher.h"

#ifdef HAVE_BLOB_CIPHER

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("aes,sse4.1")))
#define LANES 8 /* blocks at a time: a round takes four cycles, and two can begin in each */

int blob_cipher_is_supported(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_AES) && (ecx & bit_SSE4_1);
}

/* -- AES ---------------------------------------------------------------------------------------------------------- */

/* The round key of which each word is the sum of all words of `key` up to it, plus `word`. */
TARGET static inline __m128i next_round_key(__m128i key, __m128i word) {
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, word);
}

/* The instruction takes its round constant from its own code, so this cannot be a loop or a function. */
#define ROTATED(key, constant) _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xff)
#define UNROTATED(key) _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, 0), 0xaa)

TARGET static void expand_256(const uint8_t key[AES_256_KEY], uint8_t out[AES_256_ROUNDS + 1][AES_BLOCK]) {
    __m128i *keys = (__m128i *)out;
    __m128i a = _mm_loadu_si128((const __m128i *)key), b = _mm_loadu_si128((const __m128i *)(key + AES_BLOCK));
    _mm_storeu_si128(keys, a);
    _mm_storeu_si128(keys + 1, b);
#define TWO_KEYS(i, constant)                      \
    a = next_round_key(a, ROTATED(b, constant));   \
    b = next_round_key(b, UNROTATED(a));           \
    _mm_storeu_si128(keys + (i), a);               \
    _mm_storeu_si128(keys + (i) + 1, b)
    TWO_KEYS(2, 0x01);
    TWO_KEYS(4, 0x02);
    TWO_KEYS(6, 0x04);
    TWO_KEYS(8, 0x08);
    TWO_KEYS(10, 0x10);
    TWO_KEYS(12, 0x20);
    _mm_storeu_si128(keys + 14, next_round_key(a, ROTATED(b, 0x40)));
}

TARGET static void expand_128(const uint8_t key[AES_128_KEY], uint8_t out[AES_128_ROUNDS + 1][AES_BLOCK]) {
    __m128i *keys = (__m128i *)out;
    __m128i a = _mm_loadu_si128((const __m128i *)key);
    _mm_storeu_si128(keys, a);
#define ONE_KEY(i, constant)                     \
    a = next_round_key(a, ROTATED(a, constant)); \
    _mm_storeu_si128(keys + (i), a)
    ONE_KEY(1, 0x01);
    ONE_KEY(2, 0x02);
    ONE_KEY(3, 0x04);
    ONE_KEY(4, 0x08);
    ONE_KEY(5, 0x10);
    ONE_KEY(6, 0x20);
    ONE_KEY(7, 0x40);
    ONE_KEY(8, 0x80);
    ONE_KEY(9, 0x1b);
    ONE_KEY(10, 0x36);
}

TARGET static inline __m128i round_key(const uint8_t (*keys)[AES_BLOCK], unsigned i) {
    return _mm_loadu_si128((const __m128i *)keys[i]);
}

/* Encrypts each of the blocks by itself. */
TARGET static inline __attribute__((always_inline)) void encrypt_blocks(const uint8_t (*keys)[AES_BLOCK],
                                                                        unsigned rounds, __m128i *blocks,
                                                                        unsigned count) {
    for (unsigned k = 0; k < count; k++) {
        blocks[k] = _mm_xor_si128(blocks[k], round_key(keys, 0));
    }
    for (unsigned i = 1; i < rounds; i++) {
        __m128i key = round_key(keys, i);
#pragma GCC unroll 8
        for (unsigned k = 0; k < count; k++) {
            blocks[k] = _mm_aesenc_si128(blocks[k], key);
        }
    }
    for (unsigned k = 0; k < count; k++) {
        blocks[k] = _mm_aesenclast_si128(blocks[k], round_key(keys, rounds));
    }
}

typedef struct {
    uint64_t high, low;
} Counter;

TARGET static inline __m128i next_counter(Counter *counter) {
    __m128i block = _mm_set_epi64x((long long)__builtin_bswap64(counter->low),
                                   (long long)__builtin_bswap64(counter->high));
    counter->low++;
    counter->high += counter->low == 0;
    return block;
}

TARGET void blob_cipher_apply(const BlobCipher *cipher, const uint8_t iv[AES_BLOCK], const uint8_t *data, size_t size,
                              uint8_t *out) {
    Counter counter;
    __m128i blocks[LANES];
    memcpy(&counter.high, iv, sizeof counter.high);
    memcpy(&counter.low, iv + sizeof counter.high, sizeof counter.low);
    counter.high = __builtin_bswap64(counter.high);
    counter.low = __builtin_bswap64(counter.low);
    while (size >= AES_BLOCK * LANES) {
        for (unsigned k = 0; k < LANES; k++) {
            blocks[k] = next_counter(&counter);
        }
        encrypt_blocks(cipher->encrypt, AES_256_ROUNDS, blocks, LANES);
        for (unsigned k = 0; k < LANES; k++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)data + k);
            _mm_storeu_si128((__m128i *)out + k, _mm_xor_si128(bytes, blocks[k]));
        }
        data += AES_BLOCK * LANES;
        out += AES_BLOCK * LANES;
        size -= AES_BLOCK * LANES;
    }
    if (size > 0) {
        uint8_t stream[AES_BLOCK * LANES];
        for (unsigned k = 0; k < LANES; k++) {
            blocks[k] = next_counter(&counter);
        }
        encrypt_blocks(cipher->encrypt, AES_256_ROUNDS, blocks, LANES);
        memcpy(stream, blocks, sizeof stream);
        for (size_t i = 0; i < size; i++) {
            out[i] = data[i] ^ stream[i];
        }
    }
}

/* -- Poly1305 ----------------------------------------------------------------------------------------------------- */

#define MASK_44 (((uint64_t)1 << 44) - 1)
#define MASK_42 (((uint64_t)1 << 42) - 1)

typedef unsigned __int128 uint128;

/* A number below 2^130 and a bit, in limbs of 44, 44 and 42 bits. */
typedef struct {
    uint64_t limb[3];
} Number;

static inline uint64_t load_word(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word; /* little-endian, as x86 is */
}

/* number = (number + block) * r modulo 2^130 - 5; `top` is the bit above the block, in the last limb. */
static inline void add_block(Number *number, const uint64_t r[3], const uint64_t r5[3], uint64_t low, uint64_t high,
                             uint64_t top) {
    uint64_t a = number->limb[0] + (low & MASK_44);
    uint64_t b = number->limb[1] + ((low >> 44 | high << 20) & MASK_44);
    uint64_t c = number->limb[2] + (high >> 24 | top);
    /* A product above 2^130 comes back times 5; limbs of 44 + 44 bits end at 2^132, so times 20. */
    uint128 x = (uint128)a * r[0] + (uint128)b * r5[2] + (uint128)c * r5[1];
    uint128 y = (uint128)a * r[1] + (uint128)b * r[0] + (uint128)c * r5[2];
    uint128 z = (uint128)a * r[2] + (uint128)b * r[1] + (uint128)c * r[0];
    y += (uint64_t)(x >> 44);
    z += (uint64_t)(y >> 44);
    a = ((uint64_t)x & MASK_44) + (uint64_t)(z >> 42) * 5;
    number->limb[0] = a & MASK_44;
    number->limb[1] = ((uint64_t)y & MASK_44) + (a >> 44);
    number->limb[2] = (uint64_t)z & MASK_42;
}

/* Writes (number modulo 2^130 - 5) + pad, modulo 2^128. */
static void finish(const Number *number, const uint8_t pad[TAG_SIZE], uint8_t tag[TAG_SIZE]) {
    uint64_t a = number->limb[0], b = number->limb[1], c = number->limb[2];
    for (unsigned i = 0; i < 2; i++) { /* carries may run through all limbs twice */
        b += a >> 44;
        a &= MASK_44;
        c += b >> 44;
        b &= MASK_44;
        a += (c >> 42) * 5;
        c &= MASK_42;
    }
    b += a >> 44;
    a &= MASK_44;
    /* Less 2^130 - 5, if that is not negative: the top bit says so. */
    uint64_t d = a + 5, e = b + (d >> 44), f = c + (e >> 44) - ((uint64_t)1 << 42);
    uint64_t keep = (uint64_t)0 - (f >> 63);
    a = (a & keep) | (d & MASK_44 & ~keep);
    b = (b & keep) | (e & MASK_44 & ~keep);
    c = (c & keep) | (f & MASK_42 & ~keep);
    uint128 sum = ((uint128)(b >> 20 | c << 24) << 64 | (a | b << 44));
    sum += (uint128)load_word(pad + 8) << 64 | load_word(pad);
    memcpy(tag, &sum, TAG_SIZE);
}

TARGET static void encrypt_nonce(const BlobCipher *cipher, const uint8_t iv[AES_BLOCK], uint8_t pad[AES_BLOCK]) {
    __m128i block = _mm_loadu_si128((const __m128i *)iv);
    encrypt_blocks(cipher->mac_k, AES_128_ROUNDS, &block, 1);
    _mm_storeu_si128((__m128i *)pad, block);
}

void blob_cipher_tag(const BlobCipher *cipher, const uint8_t iv[AES_BLOCK], const uint8_t *data, size_t size,
                     uint8_t tag[TAG_SIZE]) {
    uint64_t low = cipher->mac_r[0], high = cipher->mac_r[1];
    uint64_t r[3] = {low & MASK_44, (low >> 44 | high << 20) & MASK_44, high >> 24};
    uint64_t r5[3] = {0, r[1] * 20, r[2] * 20};
    uint8_t pad[AES_BLOCK];
    Number number = {{0, 0, 0}};
    for (; size >= AES_BLOCK; size -= AES_BLOCK, data += AES_BLOCK) {
        add_block(&number, r, r5, load_word(data), load_word(data + 8), (uint64_t)1 << 40);
    }
    if (size > 0) {
        uint8_t last[AES_BLOCK] = {0};
        memcpy(last, data, size);
        last[size] = 1;
        add_block(&number, r, r5, load_word(last), load_word(last + 8), 0);
    }
    encrypt_nonce(cipher, iv, pad);
    finish(&number, pad, tag);
}

int blob_cipher_same_tag(const uint8_t a[TAG_SIZE], const uint8_t b[TAG_SIZE]) {
    return ((load_word(a) ^ load_word(b)) | (load_word(a + 8) ^ load_word(b + 8))) == 0;
}

void blob_cipher_init(BlobCipher *cipher, const uint8_t encrypt[AES_256_KEY], const uint8_t mac_k[AES_128_KEY],
                      const uint8_t mac_r[AES_BLOCK]) {
    expand_256(encrypt, cipher->encrypt);
    expand_128(mac_k, cipher->mac_k);
    cipher->mac_r[0] = load_word(mac_r) & 0x0ffffffc0fffffff; /* the bits that Poly1305 wants clear */
    cipher->mac_r[1] = load_word(mac_r + 8) & 0x0ffffffc0ffffffc;
}

int blob_cipher_works(void) {
    enum { SIZE = 2 * AES_BLOCK * LANES + 2 * AES_BLOCK + 12 }; /* both loops, and a last block that is cut */
    static const uint8_t iv[AES_BLOCK] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc}; /* soon runs over */
    static const uint8_t expected[TAG_SIZE] = {0xb8, 0x40, 0xc7, 0x85, 0x1e, 0x14, 0xc7, 0x6f,
                                               0xc4, 0x39, 0x93, 0x6b, 0x5b, 0x3c, 0x3c, 0x4b};
    uint8_t message[SIZE], sealed[SIZE], tag[TAG_SIZE];
    BlobCipher cipher;
    for (size_t i = 0; i < SIZE; i++) {
        message[i] = (uint8_t)i;
    }
    /* The last part has bits where Poly1305 wants none. */
    blob_cipher_init(&cipher, message, message + AES_256_KEY, message + 233);
    blob_cipher_apply(&cipher, iv, message, SIZE, sealed);
    blob_cipher_tag(&cipher, iv, sealed, SIZE, tag);
    return blob_cipher_same_tag(tag, expected);
}

#endif
