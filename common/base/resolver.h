/*
 * Names of hosts to their addresses, with a deadline. The C library's lookup has
 * none, so each runs on a thread of its own, which is left to itself when its time
 * is up; how many there are at once is bounded. Thread-safe.
 */
#ifndef COMMON_BASE_RESOLVER_H
#define COMMON_BASE_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct resolver;

enum { RESOLVER_MAX_ADDRESSES = 16, RESOLVER_ADDRESS_BYTES = 46 };

/* Numeric, of either family, in the order in which they should be tried. */
struct resolver_answer {
	char addresses[RESOLVER_MAX_ADDRESSES][RESOLVER_ADDRESS_BYTES];
	size_t count;
};

/* @max_lookups under way at once. */
struct resolver *resolver_new(unsigned max_lookups);
void resolver_free(struct resolver *r);

/*
 * Ask for @host and wait until @deadline_ns on clock_monotonic_ns(). UNAVAILABLE:
 * it has no address, or nobody can be asked now. RESOURCE_EXHAUSTED: too many
 * lookups are under way. DEADLINE_EXCEEDED.
 */
enum status resolver_lookup(struct resolver *r, const char *host, uint64_t deadline_ns,
			    struct resolver_answer *ret, struct error *err) MUST_CHECK;

#endif
