/* AES-256-CTR and Poly1305-AES for short blobs: as few instructions as a blob of a few hundred bytes deserves.
 *
 * OpenSSL is quicker for long ones, but for each tag it makes and frees contexts, which takes longer than hashing 8 KiB.
 * Source: FIPS 197, SP 800-38A (counter mode, the counter being all 128 bits, big-endian), and D. J. Bernstein, "The
 * Poly1305-AES message-authentication code". Nothing here branches on, or looks up by, a secret.
 */
#ifndef LIMPET_BLOB_CIPHER_H
#define LIMPET_BLOB_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_BLOB_CIPHER 1
#endif

#ifdef HAVE_BLOB_CIPHER

#define AES_BLOCK 16
#define AES_256_ROUNDS 14
#define AES_128_ROUNDS 10
#define AES_256_KEY 32
#define AES_128_KEY 16
#define TAG_SIZE 16

typedef struct {
    uint8_t encrypt[AES_256_ROUNDS + 1][AES_BLOCK]; /* round keys */
    uint8_t mac_k[AES_128_ROUNDS + 1][AES_BLOCK];
    uint64_t mac_r[2];
} BlobCipher;

/* Whether this processor has the instructions; nothing else here may be called without them. */
int blob_cipher_is_supported(void);
/* Whether a sealed message has the tag that OpenSSL gives it: what a compiler made wrong would open again here, and
 * nowhere else. */
int blob_cipher_works(void);
void blob_cipher_init(BlobCipher *cipher, const uint8_t encrypt[AES_256_KEY], const uint8_t mac_k[AES_128_KEY],
                      const uint8_t mac_r[AES_BLOCK]);
/* Encrypts, or decrypts, which is the same. `out` may be `data`, but not overlap it otherwise. */
void blob_cipher_apply(const BlobCipher *cipher, const uint8_t iv[AES_BLOCK], const uint8_t *data, size_t size,
                       uint8_t *out);
/* The tag of a ciphertext under its IV. */
void blob_cipher_tag(const BlobCipher *cipher, const uint8_t iv[AES_BLOCK], const uint8_t *data, size_t size,
                     uint8_t tag[TAG_SIZE]);
/* 1 if the tags are the same; takes as long whatever they are. */
int blob_cipher_same_tag(const uint8_t a[TAG_SIZE], const uint8_t b[TAG_SIZE]);

#endif
#endif
