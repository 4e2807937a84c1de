/* SipHash-1-3 of a 32-byte id: a keyed hash, so that nobody can choose ids that fall into one bucket.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three finalization
 * rounds as in Rust's and Python's dictionaries. Words are read in the machine's byte order: hashes never leave the
 * process tree.
 */
#ifndef LIMPET_SIPHASH_H
#define LIMPET_SIPHASH_H

#include <stdint.h>
#include <string.h>

#define ID_SIZE 32

typedef struct {
    uint64_t word[2];
} SipKey;

static inline uint64_t rotate_left(uint64_t value, unsigned bits) {
    return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

/* The hash of `id`; `domain` keeps the two kinds of blobs apart. */
static inline uint64_t siphash_id(const SipKey *key, const uint8_t id[ID_SIZE], uint64_t domain) {
    uint64_t v[4] = {
        key->word[0] ^ 0x736f6d6570736575u,
        key->word[1] ^ 0x646f72616e646f6du,
        key->word[0] ^ 0x6c7967656e657261u,
        key->word[1] ^ 0x7465646279746573u,
    };
    uint64_t words[ID_SIZE / 8 + 1];
    memcpy(words, id, ID_SIZE);
    words[ID_SIZE / 8] = ((uint64_t)ID_SIZE << 56) | domain;
    for (unsigned i = 0; i < ID_SIZE / 8 + 1; i++) {
        v[3] ^= words[i];
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
