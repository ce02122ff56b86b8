#include "services/repo/types.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/client/registry_client.h"
#include "common/client/type_cache.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"

enum {
	ASK_MS = 1000,  /* at most so long for what can be done without */
	AWAY_MS = 2000, /* after a failure it is done without */
};

struct types {
	struct rpc_channel *registry;
	struct pool *builtin;
	struct type_cache *cache;           /* of whole namespaces; NULL: without a registry */
	atomic_uint_fast64_t away_until_ns; /* the registry did not answer */
};

struct types *types_new(struct rpc_channel *registry)
{
	struct types *types = xcalloc(1, sizeof(*types));
	struct pool *empty = pool_new();
	struct error err;

	types->registry = registry;
	types->cache = registry ? type_cache_new(registry) : NULL;
	/* Built with this program: they link, or the build is broken. */
	if (pool_extend_set(empty, builtin_descriptor_set(), &types->builtin, &err) !=
	    STATUS_OK)
		abort();
	pool_unref(empty);
	return types;
}

void types_free(struct types *types)
{
	if (!types)
		return;
	type_cache_free(types->cache);
	pool_unref(types->builtin);
	free(types);
}

struct pool *types_builtin(struct types *types)
{
	return types->builtin;
}

static bool find_builtin(struct types *types, const char *message_name, struct type *ret)
{
	const struct pool_message *m =
		pool_message(types->builtin, message_name, strlen(message_name));

	if (!m)
		return false;
	*ret = (struct type){.pool = pool_ref(types->builtin), .message = m};
	return true;
}

enum status types_load(struct types *types, struct bytes descriptor_set,
		       const char *message_name, struct type *ret, struct error *err)
{
	struct pool *empty, *pool;
	enum status status;

	if (!descriptor_set.size)
		return find_builtin(types, message_name, ret)
			       ? STATUS_OK
			       : error_set(err, STATUS_DATA_LOSS, "type %s is not built in",
					   message_name);
	empty = pool_new();
	status = pool_extend_set(empty, descriptor_set, &pool, err);
	pool_unref(empty);
	if (status != STATUS_OK)
		return status;
	*ret = (struct type){
		.pool = pool,
		.message = pool_message(pool, message_name, strlen(message_name)),
		.descriptor_set = descriptor_set,
	};
	if (!ret->message) {
		pool_unref(pool);
		return error_set(err, STATUS_DATA_LOSS, "the descriptors do not hold %s",
				 message_name);
	}
	return STATUS_OK;
}

enum status types_find(struct types *types, const char *ns, const char *message_name,
		       void *call, struct arena *arena, struct type *ret, struct error *err)
{
	const struct rpc_options options = {.parent = call};
	struct registry_descriptors found;
	enum status status;

	if (find_builtin(types, message_name, ret))
		return STATUS_OK;
	status = registry_client_descriptors_of_symbol(types->registry, ns, message_name,
						       &options, arena, &found, err);
	if (status == STATUS_NOT_FOUND)
		return error_set(err, STATUS_NOT_FOUND,
				 "type %s is not registered in namespace %s", message_name, ns);
	if (status != STATUS_OK)
		return status;
	status = types_load(types, found.file_descriptor_set, message_name, ret, err);
	if (status == STATUS_DATA_LOSS)
		return error_set(err, STATUS_NOT_FOUND, "%s is no message type", message_name);
	return status;
}

/* ------------------------------------------------------------ whole namespaces */

static enum status find_in_namespace(struct types *types, const char *ns, const char *name,
				     const struct rpc_options *options, bool anew,
				     struct type *ret, struct error *err)
{
	const struct pool_message *message;
	struct pool *pool;
	enum status status = anew ? type_cache_current(types->cache, ns, options, &pool, err)
				  : type_cache_snapshot(types->cache, ns, options, &pool, err);

	if (status != STATUS_OK)
		return status;
	message = pool_message(pool, name, strlen(name));
	if (message) {
		*ret = (struct type){.pool = pool, .message = message};
		return STATUS_OK;
	}
	pool_unref(pool);
	return error_field(err, "item.type_url", "type %s is not registered in namespace %s",
			   name, ns);
}

enum status types_of_url(struct types *types, const char *ns, const char *type_url, void *call,
			 struct type *ret, struct error *err)
{
	const struct rpc_options options = {.parent = call};
	const char *slash = strrchr(type_url, '/'), *name = slash ? slash + 1 : type_url;
	enum status status;

	if (find_builtin(types, name, ret))
		return STATUS_OK;
	status = find_in_namespace(types, ns, name, &options, false, ret, err);
	/* It may have been registered just now. */
	return status == STATUS_INVALID_ARGUMENT
		       ? find_in_namespace(types, ns, name, &options, true, ret, err)
		       : status;
}

struct pool *types_of_namespace(struct types *types, const char *ns, void *call)
{
	const struct rpc_options options = {.parent = call, .timeout_ms = ASK_MS};
	struct pool *pool;
	struct error ignored;

	if (!types->cache || clock_monotonic_ns() < atomic_load(&types->away_until_ns))
		return NULL;
	if (type_cache_snapshot(types->cache, ns, &options, &pool, &ignored) == STATUS_OK)
		return pool;
	atomic_store(&types->away_until_ns, clock_monotonic_ns() + UINT64_C(1000000) * AWAY_MS);
	return NULL;
}

/* ------------------------------------------------------------ looking into types */

static bool may_hold_any(const struct pool_message *m, struct map *seen)
{
	if (m->well_known == POOL_WELL_KNOWN_ANY)
		return true;
	if (map_get(seen, m->full_name))
		return false;
	map_put(seen, m->full_name, seen);
	for (uint32_t i = 0; i < m->field_count; i++)
		if (m->fields[i].type_message && may_hold_any(m->fields[i].type_message, seen))
			return true;
	return false;
}

bool types_may_hold_any(const struct pool_message *message)
{
	struct map seen = {0};
	const bool may = may_hold_any(message, &seen);

	map_release(&seen, NULL);
	return may;
}

void types_dynamic(struct types *types, struct type *ret)
{
	(void)find_builtin(types, "google.protobuf.Struct", ret);
}
