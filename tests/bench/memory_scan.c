/*
 * How fast this machine's memory is read by one thread: the yardstick of the search
 * by vector.
 *
 *	memory_scan BYTES SECONDS
 *
 * Adds up all words of so many bytes, again and again; prints "scans/s=N".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { LANES = 8 };

/* Several sums, so that memory is what it waits for. */
static uint64_t scan(const uint64_t *words, size_t count)
{
	uint64_t sums[LANES] = {0}, sum = 0;

	for (size_t i = 0; i + LANES <= count; i += LANES)
		for (size_t k = 0; k < LANES; k++)
			sums[k] += words[i + k];
	for (size_t k = 0; k < LANES; k++)
		sum += sums[k];
	return sum;
}

int main(int argc, char **argv)
{
	const size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	const double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
	const uint64_t start = clock_monotonic_ns();
	uint64_t *words, sum = 0, begun, now, scans = 0;

	if (size < LANES * sizeof(*words)) {
		fputs("usage: memory_scan BYTES SECONDS\n", stderr);
		return 2;
	}
	words = xmalloc(size);
	for (size_t i = 0; i < size / sizeof(*words); i++)
		words[i] = i * start;
	begun = clock_monotonic_ns();
	do {
		sum += scan(words, size / sizeof(*words));
		scans++;
		now = clock_monotonic_ns();
	} while ((double)(now - begun) < seconds * 1e9);
	printf("scans/s=%.3f\n", (double)scans * 1e9 / (double)(now - begun));
	/* The sum is used, or it would not be made. */
	fprintf(stderr, "%llu\n", (unsigned long long)sum);
	free(words);
	return 0;
}
