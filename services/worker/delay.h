/*
 * Things to be done later: one thread waits for the earliest. Thread-safe.
 */
#ifndef SERVICES_WORKER_DELAY_H
#define SERVICES_WORKER_DELAY_H

#include <stdbool.h>
#include <time.h>

struct delays;

struct delays *delays_new(void);

/* What is still to come is called with cancelled = true. */
void delays_free(struct delays *d);

/* Call @due(@arg, false) in @delay_ms, on the delays' thread; it must not block. */
void delays_add(struct delays *d, int delay_ms, void (*due)(void *arg, bool cancelled),
		void *arg);

/* For pthread_cond_timedwait(): @delay_ms from now. */
struct timespec delay_until(int delay_ms);

#endif
