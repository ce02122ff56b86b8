#include "services/repo/types.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/client/registry_client.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"

struct types {
	struct rpc_channel *registry;
	struct pool *builtin;
};

struct types *types_new(struct rpc_channel *registry)
{
	struct types *types = xcalloc(1, sizeof(*types));
	struct pool *empty = pool_new();
	struct error err;

	types->registry = registry;
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
