/*
 * Collectors that peers told of. A hint, nothing more: before a call goes to one it is
 * dialled and checked as any peer is. What a peer told is replaced by what it tells next,
 * and forgotten when the peer is no longer up.
 *
 * Thread-safe; bounded for each peer and in all.
 */
#ifndef SERVICES_DISPATCHER_HEARSAY_H
#define SERVICES_DISPATCHER_HEARSAY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"

struct hearsay;

enum {
	HEARSAY_MAX = 4096,
	HEARSAY_MAX_OF_PEER = 1024,
	HEARSAY_MAX_DISTANCE = 5, /* of a collector; 1 is a peer */
};

struct heard {
	const char *id, *address;
	const char *through;           /* the peer that told */
	const char *const *namespaces; /* ends with NULL */
	int distance;                  /* from here: 2 and more */
};

struct hearsay *hearsay_new(void);
void hearsay_free(struct hearsay *h);

/*
 * All that @through tells now; names and addresses were checked. Of what several tell the
 * nearest counts. True: something is different.
 */
bool hearsay_replace(struct hearsay *h, const char *through, const struct heard *told,
		     size_t count);
bool hearsay_forget(struct hearsay *h, const char *through);

/* All, the nearest of each id, ordered by id, in @arena. */
const struct heard *hearsay_list(struct hearsay *h, struct arena *arena, size_t *ret_count);

#endif
