#include "common/base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *out, size_t size)
{
	unsigned char *p = out;

	while (size) {
		ssize_t got = getrandom(p, size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		p += got;
		size -= (size_t)got;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

void random_uuid7(uint64_t unix_ms, char out[UUID_TEXT_BYTES])
{
	uint64_t a = random_u64(), b = random_u64();

	snprintf(out, UUID_TEXT_BYTES, "%08x-%04x-7%03x-%04x-%012llx",
		 (unsigned)(unix_ms >> 16), (unsigned)(unix_ms & 0xffff), (unsigned)(a & 0xfff),
		 (unsigned)(0x8000 | (a >> 12 & 0x3fff)),
		 (unsigned long long)(b & 0xffffffffffffull));
}

void random_hex_key(char out[HEX_KEY_BYTES])
{
	uint64_t v[4];

	random_bytes(v, sizeof(v));
	snprintf(out, HEX_KEY_BYTES, "%016llx%016llx%016llx%016llx", (unsigned long long)v[0],
		 (unsigned long long)v[1], (unsigned long long)v[2], (unsigned long long)v[3]);
}
