/*
 * What a file was before: its earlier versions, each linked with the versions of
 * its imports that were registered with it.
 */
#ifndef SERVICES_REGISTRY_HISTORY_H
#define SERVICES_REGISTRY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct pool;
struct pool_file;
struct snapshot;

enum { HISTORY_MAX = 100 }; /* versions that are looked at, the newest */

struct history_state {
	struct pool *pool;
	const struct pool_file *file; /* in it */
	int64_t until_us;             /* when the next version was registered */
};

struct history {
	struct history_state *states; /* the newest first; not the current version */
	size_t count;
	bool is_whole; /* no version was left out, for its age or because it is damaged */
};

/* Of the file @name of @ns, which is @now. Reads from disk. */
void history_load(struct catalog *c, const char *ns, const struct snapshot *now,
		  const char *name, struct history *ret);
void history_release(struct history *h);

/*
 * The file @name and its imports as they were at the namespace's version @at, as a new
 * reference. NULL: something of that time cannot be had any more.
 */
struct pool *history_pool(struct catalog *c, const char *ns, const struct snapshot *now,
			  const char *name, int64_t at);

#endif
