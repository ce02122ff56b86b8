/*
 * Every collection with a type is also a service, collections.<namespace>.<Name>
 * (common/reflect/typed_collection.h). Which there are is the repo's to say; here its
 * catalogue, system/collections, is followed, and a file for each is kept registered, in
 * the collection's namespace and its version history as any other: so that it is looked
 * up, listed, watched and published like what people register.
 *
 * A file is made of the collection's name and type alone, so that the same bytes come of
 * every try and a restart changes nothing. It is there while the collection is and its
 * type is registered, or while files of others import it. It never stands in the way of
 * a change of the type: it follows (registrar.h). While the repo is away, all stays as it
 * was.
 *
 * Two threads: one follows the repo, one registers. Nobody waits for either.
 */
#ifndef SERVICES_REGISTRY_COLLECTION_SERVICES_H
#define SERVICES_REGISTRY_COLLECTION_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct collection_services;
struct rpc_channel;
struct snapshot;

/* Is a file of this name one of theirs? People cannot register such. */
bool collection_services_are_in(const char *file_name);

/* Those of @s's files that are: from the first up to, not including, the end. */
void collection_services_range(const struct snapshot *s, size_t *ret_first, size_t *ret_end);

/* How far it is, told by its thread. */
struct collection_services_observer {
	void (*tell)(void *arg, uint64_t collections, uint64_t pending);
	void *arg;
};

/* All are borrowed. Nothing happens before collection_services_start(). */
struct collection_services *collection_services_new(
	struct catalog *catalog, struct rpc_channel *repo,
	const struct collection_services_observer *observer);
void collection_services_start(struct collection_services *c);

/* What is not registered by now is at the next start. */
void collection_services_free(struct collection_services *c);

#endif
