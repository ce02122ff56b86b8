#include "common/base/random.h"

#include <errno.h>
#include <stdatomic.h>
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

/*
 * Milliseconds and the 12 bits after them as one number that only grows within
 * this process (RFC 9562, section 6.2, method 1): ids of one millisecond sort as
 * they were made, and so do those made while the clock is set back a little.
 */
static uint64_t next_uuid7_time(uint64_t unix_ms)
{
	enum { CLOCK_SLACK_MS = 10000 };
	static _Atomic uint64_t last;
	uint64_t before = atomic_load(&last), next;

	do {
		if (unix_ms > before >> 12)
			next = unix_ms << 12 | (random_u64() & 0x7ff);
		else if ((before >> 12) - unix_ms < CLOCK_SLACK_MS)
			next = before + 1;
		else
			return unix_ms << 12 | (random_u64() & 0xfff);
	} while (!atomic_compare_exchange_weak(&last, &before, next));
	return next;
}

void random_uuid7(uint64_t unix_ms, char out[UUID_TEXT_BYTES])
{
	const uint64_t time = next_uuid7_time(unix_ms), a = random_u64(), b = random_u64();

	snprintf(out, UUID_TEXT_BYTES, "%08x-%04x-7%03x-%04x-%012llx", (unsigned)(time >> 28),
		 (unsigned)(time >> 12 & 0xffff), (unsigned)(time & 0xfff),
		 (unsigned)(0x8000 | (a & 0x3fff)),
		 (unsigned long long)(b & 0xffffffffffffull));
}

void random_hex_key(char out[HEX_KEY_BYTES])
{
	uint64_t v[4];

	random_bytes(v, sizeof(v));
	snprintf(out, HEX_KEY_BYTES, "%016llx%016llx%016llx%016llx", (unsigned long long)v[0],
		 (unsigned long long)v[1], (unsigned long long)v[2], (unsigned long long)v[3]);
}
