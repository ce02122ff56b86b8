/*
 * Following a collection: the repo's Watch, as plain structs. Blocks; one thread at a
 * time, but for repo_watch_cancel().
 */
#ifndef COMMON_CLIENT_REPO_WATCH_H
#define COMMON_CLIENT_REPO_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct repo_watch;

/* A record that is there, changed or, if @is_gone, was deleted. */
struct repo_event {
	const char *id;
	bool is_gone;
	struct bytes item; /* the message; as it was before a deletion */
};

/* Borrowed until the next ones. */
struct repo_news {
	struct repo_event *events;
	size_t count;
	bool caught_up; /* all that had happened by then has been told */
};

/*
 * @snapshot: first tell of every record that there is, in place of only what changes from
 * now on. Statuses as rpc_stream_open(); that there is no such collection is told by
 * repo_watch_next().
 */
enum status repo_watch_open(struct rpc_channel *repo, const char *ns, const char *collection,
			    bool snapshot, const struct rpc_options *options,
			    struct repo_watch **ret, struct error *err) MUST_CHECK;
void repo_watch_free(struct repo_watch *w);

/*
 * Wait for the next news. Never ends with OK: UNAVAILABLE, should the repo end it.
 * NOT_FOUND: there is no such collection, or not any more.
 */
enum status repo_watch_next(struct repo_watch *w, struct repo_news *ret,
			    struct error *err) MUST_CHECK;

/* End it: whoever waits gets CANCELLED. Any thread, while it is not freed. */
void repo_watch_cancel(struct repo_watch *w);

#endif
