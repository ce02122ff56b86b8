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

/*
 * The file @name and its imports as they were at the namespace's version @at, as a new
 * reference. NULL: something of that time cannot be had any more.
 */
struct pool *history_pool(struct catalog *c, const char *ns, const struct snapshot *now,
			  const char *name, int64_t at);

struct history_version {
	const struct pool *pool;
	const struct pool_file *file; /* in it */
	int64_t until_us;             /* when the next version was registered */
};

/*
 * Visit the earlier versions of a file, the newest first, one in memory at a time,
 * until @visit returns false or HISTORY_MAX is reached. False: some were not
 * visited, for that or because they are damaged.
 */
bool history_visit(struct catalog *c, const char *ns, const struct snapshot *now,
		   const char *name, bool (*visit)(void *arg, const struct history_version *v),
		   void *arg);

#endif
