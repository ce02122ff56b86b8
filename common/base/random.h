/* Randomness from the kernel, and the ids made of it. */
#ifndef COMMON_BASE_RANDOM_H
#define COMMON_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Cryptographically strong; aborts in the impossible case that there is none. */
void random_bytes(void *out, size_t size);
uint64_t random_u64(void);

enum { UUID_TEXT_BYTES = 37, HEX_KEY_BYTES = 65 };

/*
 * A UUIDv7 (RFC 9562, section 5.7) of @unix_ms as lower-case text with NUL:
 * ids made later sort later.
 */
void random_uuid7(uint64_t unix_ms, char out[UUID_TEXT_BYTES]);

/* 256 random bits in hex, with NUL. */
void random_hex_key(char out[HEX_KEY_BYTES]);

#endif
