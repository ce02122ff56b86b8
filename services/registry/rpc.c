#include "services/registry/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "collector/registry.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/base/resolver.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "common/rpc/reflection.h"
#include "common/rpc/server.h"
#include "services/registry/catalog.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"
#include "services/registry/users.h"

enum { MAX_LOOKUPS = 8 }; /* of names, under way at once, those given up included */

struct catalog *registry_rpc_catalog(Collector__CollectorRegistry_Service *service)
{
	return ((struct registry_rpc *)service)->registrar.catalog;
}

struct registrar *registry_rpc_registrar(Collector__CollectorRegistry_Service *service)
{
	return &((struct registry_rpc *)service)->registrar;
}

Collector__Status *registry_rpc_ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

enum status registry_rpc_check_writer(const char *ns, void *call, struct error *err)
{
	enum status status = names_check_namespace(ns, "namespace", err);

	if (status != STATUS_OK || strcmp(ns, NAMES_SYSTEM_NAMESPACE) != 0 ||
	    rpc_caller(call)->kind == RPC_CALLER_DAEMON)
		return status;
	return error_set(err, STATUS_PERMISSION_DENIED,
			 "namespace system is written by the daemons alone");
}

/* ------------------------------------------------------------------- lookups */

static void lookup_service(Collector__CollectorRegistry_Service *service,
			   const Collector__LookupServiceRequest *request,
			   Collector__LookupServiceResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__LookupServiceResponse reply = COLLECTOR__LOOKUP_SERVICE_RESPONSE__INIT;
	const struct pool_service *found;
	struct snapshot *snapshot;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    names_check_symbol(request->service_name, "service_name", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	found = pool_service(snapshot->pool, request->service_name,
			     strlen(request->service_name));
	if (found) {
		reply.status = registry_rpc_ok(rpc_arena(call));
		reply.service = registered_service(snapshot, ns, rpc_arena(call), found);
		reply_to(&reply, call);
	} else {
		rpc_fail(call, STATUS_NOT_FOUND, "service %s is not registered in namespace %s",
			 request->service_name, ns);
	}
	snapshot_unref(snapshot);
}

static void validate_method(Collector__CollectorRegistry_Service *service,
			    const Collector__ValidateMethodRequest *request,
			    Collector__ValidateMethodResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__ValidateMethodResponse reply = COLLECTOR__VALIDATE_METHOD_RESPONSE__INIT;
	const struct pool_service *s;
	struct snapshot *snapshot;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	s = pool_service(snapshot->pool, request->service_name, strlen(request->service_name));
	reply.status = registry_rpc_ok(rpc_arena(call));
	if (!s)
		reply.message = arena_printf(rpc_arena(call),
					     "service %s is not registered in namespace %s",
					     request->service_name, ns);
	else if (!pool_method(s, request->method_name, strlen(request->method_name)))
		reply.message = arena_printf(rpc_arena(call), "service %s has no method %s",
					     request->service_name, request->method_name);
	else
		reply.is_valid = true;
	reply_to(&reply, call);
	snapshot_unref(snapshot);
}

/* ---------------------------------------------------------------- descriptors */

/* Registered files with what they import: pool_files() is in import order, so
 * what is wanted is marked, then written in that order. */
static void put_namespace_set(const struct snapshot *snapshot, struct arena *arena,
			      struct strbuf *out)
{
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(snapshot->pool, &count);
	const struct pool_file **wanted = arena_alloc(arena, (count + 1) * sizeof(*wanted));
	struct map needed = {0};

	/* Backwards, so that a file is reached after all that import it. */
	for (size_t i = count; i--;) {
		if (!snapshot_find(snapshot, files[i]->name) &&
		    !map_get(&needed, files[i]->name))
			continue;
		map_put(&needed, files[i]->name, (void *)files[i]);
		for (uint32_t k = 0; k < files[i]->dependency_count; k++)
			map_put(&needed, files[i]->dependencies[k]->name,
				(void *)files[i]->dependencies[k]);
	}
	for (size_t i = 0; i < count; i++)
		if (map_get(&needed, files[i]->name))
			wanted[n++] = files[i];
	map_release(&needed, NULL);
	pool_write_set(wanted, n, out);
}

static const struct pool_file *target_of(const struct pool *pool,
					 const Collector__GetDescriptorsRequest *request)
{
	bool by_name =
		request->target_case == COLLECTOR__GET_DESCRIPTORS_REQUEST__TARGET_FILE_NAME;
	const char *name = by_name ? request->file_name : request->symbol;

	return by_name ? pool_file(pool, name, strlen(name))
		       : pool_file_of_symbol(pool, name, strlen(name));
}

static void reply_descriptors(const struct snapshot *snapshot, const char *ns,
			      const Collector__GetDescriptorsRequest *request,
			      Collector__GetDescriptorsResponse_Closure reply_to, void *call)
{
	Collector__GetDescriptorsResponse reply = COLLECTOR__GET_DESCRIPTORS_RESPONSE__INIT;
	bool all = request->target_case == COLLECTOR__GET_DESCRIPTORS_REQUEST__TARGET__NOT_SET;
	const struct pool_file *file = all ? NULL : target_of(snapshot->pool, request);
	struct arena *arena = rpc_arena(call);
	AUTO_STRBUF set = STRBUF_INIT;

	if (!all && !file) {
		rpc_fail(call, STATUS_NOT_FOUND, "%s is not registered in namespace %s",
			 request->symbol, ns);
		return;
	}
	reply.status = registry_rpc_ok(arena);
	reply.version = snapshot->version;
	if (snapshot->version > 0 && request->known_version == snapshot->version) {
		reply.not_modified = true;
	} else if (all) {
		put_namespace_set(snapshot, arena, &set);
	} else {
		size_t count;
		const struct pool_file *const *files = pool_closure(file, arena, &count);
		pool_write_set(files, count, &set);
		reply.file_name = arena_strdup(arena, file->name);
	}
	reply.file_descriptor_set.data = (uint8_t *)set.buf;
	reply.file_descriptor_set.len = set.len;
	reply_to(&reply, call);
}

static void get_descriptors(Collector__CollectorRegistry_Service *service,
			    const Collector__GetDescriptorsRequest *request,
			    Collector__GetDescriptorsResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct snapshot *snapshot;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	reply_descriptors(snapshot, ns, request, reply_to, call);
	snapshot_unref(snapshot);
}

/* ------------------------------------------------------------------ reflection */

static enum status reflection_snapshot(void *arg, const char *ns, struct pool **ret_pool,
				       struct error *err)
{
	struct registry_rpc *r = arg;
	struct snapshot *snapshot = catalog_snapshot(r->registrar.catalog, ns);

	(void)err;
	*ret_pool = pool_ref(snapshot->pool);
	snapshot_unref(snapshot);
	return STATUS_OK;
}

/* ------------------------------------------------------------------------ users */

static enum status ask_users(void *arg, const char *ns, uint64_t deadline_ns,
			     struct arena *arena, struct users *ret, struct error *err)
{
	return users_ask(arg, ns, deadline_ns, arena, ret, err);
}

struct registry_rpc *registry_rpc_new(struct daemon *d, struct catalog *catalog,
				      const char *const *allowed_addresses)
{
	static const struct rpc_method_policy policies[] = {{"ValidateMethod", RPC_RUN_INLINE},
							    {"LookupService", RPC_RUN_INLINE},
							    {"LookupMethod", RPC_RUN_INLINE},
							    {NULL, RPC_RUN_POOL}};
	struct registry_rpc *r = xcalloc(1, sizeof(*r));

	*r = (struct registry_rpc){
		.service = {.base = {.descriptor = &collector__collector_registry__descriptor,
				     .invoke = protobuf_c_service_invoke_internal},
			    .lookup_service = lookup_service,
			    .validate_method = validate_method,
			    .get_descriptors = get_descriptors},
		.registrar = {.catalog = catalog,
			      .ask_users = ask_users,
			      .arg = daemon_channel(d, DAEMON_REPO)},
		.watches = registry_watches_new(catalog),
		.import = {.resolver = resolver_new(MAX_LOOKUPS),
			   .allowed_addresses = allowed_addresses},
		.reflection = {reflection_snapshot, r},
	};
	registry_rpc_set_list_methods(r);
	registry_rpc_set_register_methods(r);
	registry_rpc_set_import_methods(r);
	registry_rpc_set_diff_methods(r);
	registry_rpc_set_change_methods(r);
	registry_rpc_set_watch_methods(r);
	registry_rpc_set_lookup_methods(r);
	registry_rpc_set_schema_methods(r);
	rpc_server_add(daemon_server(d), &r->service.base, policies);
	/* Unpacked, a set is several times as large as on the wire, and nobody looks at it. */
	rpc_server_leave_packed(daemon_server(d), "/collector.CollectorRegistry/RegisterFiles",
				REGISTER_FILES_SET);
	rpc_server_set_reflection(daemon_server(d), &r->reflection);
	return r;
}

void registry_rpc_drain(struct registry_rpc *r)
{
	registry_watches_end(r->watches);
}

void registry_rpc_free(struct registry_rpc *r)
{
	registry_watches_free(r->watches);
	resolver_free(r->import.resolver);
	free(r);
}
