/* The files that import others, and a namespace without them. */
#ifndef SERVICES_REGISTRY_DEPENDENTS_H
#define SERVICES_REGISTRY_DEPENDENTS_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/status.h"
#include "common/reflect/descriptor.h"
#include "services/registry/breakage.h"

struct pool;

enum dependents_reach {
	DEPENDENTS_DIRECT, /* they import one of the files themselves */
	DEPENDENTS_ALL,    /* or by way of others */
};

/* Those of the files that are keys of @names, which are left out; in import order, in @arena. */
const struct pool_file *const *dependents_of(const struct pool *pool, const struct map *names,
					     enum dependents_reach reach, struct arena *arena,
					     size_t *ret_count);

/*
 * The files of @before with @changed (serialized, their names the keys of @names)
 * in it as far as they link: those that do not are appended to @breakages, as
 * files that import what changes, but for generated ones (collection_services.h).
 * INVALID_ARGUMENT and others of pool_extend(): @changed itself does not link.
 */
enum status dependents_relink(struct pool *builtins, const struct pool *before,
			      const struct map *names, const struct bytes *changed,
			      size_t count, struct breakages *breakages,
			      struct pool **ret_after, struct error *err) MUST_CHECK;

/* @pool without the files that are keys of @names, which no other imports. */
struct pool *dependents_without(struct pool *builtins, const struct pool *pool,
				const struct map *names);

#endif
