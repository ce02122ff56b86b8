/*
 * What is registered, as messages of the contract. Texts that live in a pool are
 * copied into the arena: a reply may outlive the reference.
 */
#ifndef SERVICES_REGISTRY_REGISTERED_H
#define SERVICES_REGISTRY_REGISTERED_H

#include <stddef.h>

#include "collector/registry.pb-c.h"
#include "common/base/arena.h"
#include "common/reflect/descriptor.h"

struct catalog;
struct pool;

/* Full names, map entries left out. */
char **registered_message_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count);
char **registered_service_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count);

/* @pool holds @m. */
Collector__MethodInfo *registered_method(struct arena *arena, const struct pool *pool,
					 const struct pool_method *m);

/* @pool holds @s. */
Collector__RegisteredService *registered_service(struct catalog *catalog, const char *ns,
						 struct arena *arena, const struct pool *pool,
						 const struct pool_service *s);

/* Without the descriptor itself. */
Collector__RegisteredProto *registered_proto(struct catalog *catalog, const char *ns,
					     struct arena *arena, const struct pool_file *f);

#endif
