#include "common/base/hash.h"

#include <pthread.h>
#include <string.h>

#include "common/base/random.h"

static uint64_t rotate(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static uint64_t load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v)); /* little-endian machines only, as all we build for */
	return v;
}

static void rounds(uint64_t v[4], int count)
{
	while (count--) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

uint64_t hash_siphash(const uint8_t key[HASH_KEY_BYTES], const void *data, size_t len)
{
	uint64_t k0 = load(key), k1 = load(key + 8), tail = (uint64_t)len << 56;
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
			 k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
	const uint8_t *p = data;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t word = load(p);
		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
	}
	for (size_t i = 0; i < left; i++)
		tail |= (uint64_t)p[i] << (8 * i);
	v[3] ^= tail;
	rounds(v, 2);
	v[0] ^= tail;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint8_t process_key[HASH_KEY_BYTES];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void draw_process_key(void)
{
	random_bytes(process_key, sizeof(process_key));
}

uint64_t hash_bytes(const void *data, size_t len)
{
	pthread_once(&process_key_once, draw_process_key);
	return hash_siphash(process_key, data, len);
}
