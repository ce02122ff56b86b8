/*
 * Calls that wait until something happens to a collection, or until a time. They hold
 * no thread meanwhile; one thread lets them all go on.
 */
#ifndef SERVICES_REPO_WAITS_H
#define SERVICES_REPO_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

struct waits;

struct wait {
	const char *incarnation; /* that it waits for */
	uint64_t until_ns;       /* on clock_monotonic_ns() */
	/* Called once, on the thread of the waits, when it is over. Must not block for long. */
	void (*go_on)(struct wait *w);
	/* The waits'. */
	struct wait *next, **link; /* link NULL: it is in no list */
};

struct waits *waits_new(void);

/* Nothing waits any more: see waits_end(). NULL is fine. */
void waits_free(struct waits *waits);

/*
 * @w lives until it went on or was removed. RESOURCE_EXHAUSTED: too many wait.
 * UNAVAILABLE: after waits_end().
 */
enum status waits_add(struct waits *waits, struct wait *w, struct error *err) MUST_CHECK;

/* True: it will not go on. False: it did, or will at once. */
bool waits_remove(struct waits *waits, struct wait *w);

/* Any thread. */
void waits_wake(struct waits *waits, const char *incarnation);

/* All go on, and nobody waits any more. */
void waits_end(struct waits *waits);

#endif
