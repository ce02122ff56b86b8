/* The two clocks: one that only goes forward, one that the calendar knows. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_monotonic_ns(void);
uint64_t clock_unix_us(void);

static inline uint64_t clock_unix_ms(void)
{
	return clock_unix_us() / 1000;
}

enum { CLOCK_TEXT_BYTES = 32 };

/* RFC 3339 in UTC with microseconds, "2026-01-02T03:04:05.000006Z". */
void clock_format(uint64_t unix_us, char out[CLOCK_TEXT_BYTES]);

#endif
