/*
 * Keeps the system collections in the repo (published.h) as the registry is. The
 * registry's files are the truth and its versions the queue: the publisher holds,
 * of each namespace, what it has published, and writes the difference to what
 * there is. At the start, and after a failure, it asks the repo what is there.
 * Writing a record twice, or one that is there, does no harm.
 *
 * One thread, which waits for the repo as long as it takes; nobody waits for it.
 */
#ifndef SERVICES_REGISTRY_PUBLISH_H
#define SERVICES_REGISTRY_PUBLISH_H

#include <stdint.h>

struct catalog;
struct publisher;
struct rpc_channel;

/* How far it is, told by its thread. */
struct publisher_progress {
	uint64_t pending; /* namespaces that changed and are not published yet */
	uint64_t written; /* records put or deleted since the start */
	uint64_t refused; /* that the repo did not take, and which are tried again later */
};

struct publisher_observer {
	void (*tell)(void *arg, const struct publisher_progress *progress);
	void *arg;
};

/* Both are borrowed, as the observer is. Nothing happens before publisher_start(). */
struct publisher *publisher_new(struct catalog *catalog, struct rpc_channel *repo,
				const struct publisher_observer *observer);
void publisher_start(struct publisher *p);

/* What is not published by now is at the next start. */
void publisher_free(struct publisher *p);

#endif
