/*
 * What one watcher is still to be told: its position in the changes of the
 * catalog. There is no queue behind it: what changes while it is not asked is told
 * together, from the version that it knows to the one there is then.
 *
 * One thread at a time.
 */
#ifndef SERVICES_REGISTRY_FEED_H
#define SERVICES_REGISTRY_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"

struct catalog;
struct feed;

/* One message's worth, see collector.WatchResponse. Borrowed until the next. */
struct feed_event {
	const char *ns; /* "": all that there was at the start has been told */
	int64_t version;
	const char *const *changed, *const *removed;
	size_t changed_count, removed_count;
	struct strbuf set; /* with descriptors: a FileDescriptorSet of @changed */
	bool complete, more;
};

/* @catalog is borrowed. */
struct feed *feed_new(struct catalog *catalog, bool with_descriptors);
void feed_free(struct feed *f);

/* Before the first event: tell of @ns, and only of those that were wanted. */
void feed_want(struct feed *f, const char *ns);

/* Before the first event: the watcher has @version of @ns. */
void feed_know(struct feed *f, const char *ns, int64_t version);

/* False: there is nothing to tell now. */
bool feed_next(struct feed *f, const struct feed_event **ret_event);

#endif
