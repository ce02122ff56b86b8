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

struct pool;
struct snapshot;

/* Full names, map entries left out. */
char **registered_message_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count);
char **registered_service_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count);

/* @pool holds @m. */
Collector__MethodInfo *registered_method(struct arena *arena, const struct pool *pool,
					 const struct pool_method *m);

/* @snapshot's pool holds @s. */
Collector__RegisteredService *registered_service(const struct snapshot *snapshot,
						 const char *ns, struct arena *arena,
						 const struct pool_service *s);

/* Without the descriptor itself. */
Collector__RegisteredProto *registered_proto(const struct snapshot *snapshot, const char *ns,
					     struct arena *arena, const struct pool_file *f);

Collector__Metadata *registered_metadata(struct arena *arena, int64_t created_us,
					 int64_t updated_us);

/* @unix_us as the contract has it. */
Google__Protobuf__Timestamp *registered_time(struct arena *arena, int64_t unix_us);

#endif
