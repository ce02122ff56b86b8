/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash that is quick on
 * short inputs and, with a secret key, a 64-bit message authentication code.
 */
#ifndef COMMON_BASE_HASH_H
#define COMMON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_KEY_BYTES = 16 };

uint64_t hash_siphash(const uint8_t key[HASH_KEY_BYTES], const void *data, size_t len);

/* With a key drawn once per process: for tables that hold outside names. */
uint64_t hash_bytes(const void *data, size_t len);

#endif
