/*
 * Where collections get their types: what is built in, and what the registry
 * has. A collection keeps the descriptors that it was made with, so the registry
 * is asked only when one is made.
 */
#ifndef SERVICES_REPO_TYPES_H
#define SERVICES_REPO_TYPES_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

struct pool;
struct pool_message;
struct rpc_channel;
struct types;

/* @registry is borrowed. */
struct types *types_new(struct rpc_channel *registry);
void types_free(struct types *types);

/* Borrowed: the types that are built in, our own requests among them. */
struct pool *types_builtin(struct types *types);

struct type {
	struct pool *pool; /* the caller's reference */
	const struct pool_message *message;
	struct bytes descriptor_set; /* empty for built-in types; in the caller's arena */
};

/*
 * Find a message type as @ns knows it. @call is the inbound call that it is for.
 * NOT_FOUND: no such type. UNAVAILABLE: the registry is away.
 */
enum status types_find(struct types *types, const char *ns, const char *message_name,
		       void *call, struct arena *arena, struct type *ret,
		       struct error *err) MUST_CHECK;

/*
 * The type that @type_url names, as @ns knows it now; of a collection without a type of
 * its own. INVALID_ARGUMENT: it is not registered. UNAVAILABLE: the registry is away.
 */
enum status types_of_url(struct types *types, const char *ns, const char *type_url, void *call,
			 struct type *ret, struct error *err) MUST_CHECK;

/*
 * All types of @ns as far as they are known, to resolve an Any with; the caller's reference.
 * NULL: they are not known now. It waits for the registry for a short while at most.
 */
struct pool *types_of_namespace(struct types *types, const char *ns, void *call);

/* May a message of this type hold an Any? */
bool types_may_hold_any(const struct pool_message *message);

/* What documents of any type are searched as: paths are taken as they stand. */
void types_dynamic(struct types *types, struct type *ret);

/* The type from a stored set; an empty one means built-in. DATA_LOSS: it is not in there. */
enum status types_load(struct types *types, struct bytes descriptor_set,
		       const char *message_name, struct type *ret,
		       struct error *err) MUST_CHECK;

#endif
