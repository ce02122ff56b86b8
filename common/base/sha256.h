/*
 * SHA-256 (FIPS 180-4), in pieces: what content is known by, wherever it is
 * stored or sent.
 */
#ifndef COMMON_BASE_SHA256_H
#define COMMON_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64 };

struct sha256 {
	uint32_t state[8];
	uint64_t size; /* bytes so far */
	uint8_t block[SHA256_BLOCK_BYTES];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t size);

/* The digest of all that was added; @s must be initialised anew after that. */
void sha256_end(struct sha256 *s, uint8_t out[SHA256_BYTES]);

#endif
