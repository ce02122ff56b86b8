/*
 * Is it worth to look for the next event for a while, before a thread sleeps? To sleep and
 * to be woken costs both this process and the one that wakes it more than a look does, and
 * a call that is passed on waits for it twice.
 *
 * It is when enough waits in a row have been short. A look in vain costs its time, gives the
 * processor to whoever wants it, and doubles how many waits that takes; so what is spent in
 * vain is a small part of what is waited. Not thread-safe.
 */
#ifndef COMMON_RPC_PATIENCE_H
#define COMMON_RPC_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
	uint64_t look_ns; /* for so long; a wait is short that is shorter. 0: never */
	unsigned streak;  /* of short waits */
	unsigned enough;  /* so many in a row */
};

enum {
	PATIENCE_FEWEST = 16,
	PATIENCE_MOST = 4096,
	PATIENCE_SLEEP_NS = 5000, /* a wait that took less than this was none */
};

void patience_init(struct patience *p, uint64_t look_ns);

/* Look first? */
bool patience_has(const struct patience *p);

/* A wait, without a look, took so long. */
void patience_waited(struct patience *p, uint64_t waited_ns);

/* There is enough to do without it: begin to count anew. */
void patience_lose(struct patience *p);

/* A look found something, or nothing, after so long. */
void patience_looked(struct patience *p, bool found, uint64_t looked_ns);

#endif
