/*
 * A thread that follows a collection of the repo (repo_watch.h) for as long as it lives:
 * opened again and again, with a pause that grows, whatever ends the watch.
 */
#ifndef COMMON_CLIENT_REPO_FOLLOWER_H
#define COMMON_CLIENT_REPO_FOLLOWER_H

#include <stdbool.h>

#include "common/client/repo_watch.h"

struct repo_follower;

/* Who is told, on the follower's thread. Texts and @arg are borrowed for its life. */
struct repo_following {
	struct rpc_channel *repo;
	const char *ns, *collection;
	bool snapshot; /* each time it is opened, first all records that there are */
	/* It is opened: what was told until now may be incomplete. */
	void (*opened)(void *arg);
	void (*news)(void *arg, const struct repo_news *news);
	/* It ended, or could not be opened; may be NULL. NOT_FOUND: no such collection. */
	void (*ended)(void *arg, enum status status);
	void *arg;
};

struct repo_follower *repo_follower_start(const struct repo_following *following);

/* Nobody is told anything after it. NULL is fine. */
void repo_follower_stop(struct repo_follower *f);

#endif
