/*
 * Who was away when it was called is asked last for a while: a second, twice as long each
 * time that it is away again, half a minute at most. An answer makes it as good as ever.
 * Lock-free.
 */
#ifndef SERVICES_DISPATCHER_EJECTION_H
#define SERVICES_DISPATCHER_EJECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/clock.h"

enum { EJECTION_FIRST_MS = 1000, EJECTION_MAX_MS = 30000 };

struct ejection {
	atomic_uint times;
	atomic_uint_fast64_t until_ns;
};

static inline void ejection_was_away(struct ejection *e)
{
	unsigned times = atomic_fetch_add(&e->times, 1);
	uint64_t ms = times < 5 ? (uint64_t)EJECTION_FIRST_MS << times : EJECTION_MAX_MS;

	atomic_store(&e->until_ns, clock_monotonic_ns() + ms * 1000000);
}

static inline void ejection_was_there(struct ejection *e)
{
	if (!atomic_load_explicit(&e->times, memory_order_relaxed))
		return; /* the usual case writes nothing that others read */
	atomic_store(&e->times, 0);
	atomic_store(&e->until_ns, 0);
}

static inline bool ejection_is_now(struct ejection *e)
{
	uint64_t until_ns = atomic_load_explicit(&e->until_ns, memory_order_relaxed);

	return until_ns && clock_monotonic_ns() < until_ns;
}

#endif
