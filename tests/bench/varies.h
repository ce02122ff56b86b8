/*
 * The part of a request that is another one each time: load.c writes it into requests,
 * raw_sqlite.c into rows, so that both fill indexes alike.
 */
#ifndef TESTS_BENCH_VARIES_H
#define TESTS_BENCH_VARIES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VARIES "########"
enum { VARIES_BYTES = 8 };

/* Where it is in @size bytes; NULL: nowhere. */
static inline char *varies_find(char *data, size_t size)
{
	for (size_t i = 0; i + VARIES_BYTES <= size; i++)
		if (!memcmp(data + i, VARIES, VARIES_BYTES))
			return data + i;
	return NULL;
}

/* Eight digits, every @i its own; those of neighbours are far from each other. */
static inline void varies_write(char *out, uint32_t i)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t value = i * UINT32_C(2654435761);

	for (int k = 0; k < VARIES_BYTES; k++, value >>= 4)
		out[VARIES_BYTES - 1 - k] = digits[value & 0xf];
}

#endif
