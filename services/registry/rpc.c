#include "services/registry/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "collector/registry.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "common/rpc/reflection.h"
#include "common/rpc/server.h"
#include "services/registry/catalog.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"

enum { DEFAULT_PAGE = 100, MAX_PAGE = 1000 };

struct catalog *registry_rpc_catalog(Collector__CollectorRegistry_Service *service)
{
	return ((struct registry_rpc *)service)->catalog;
}

Collector__Status *registry_rpc_ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

/* ------------------------------------------------------------------- lookups */

static void lookup_service(Collector__CollectorRegistry_Service *service,
			   const Collector__LookupServiceRequest *request,
			   Collector__LookupServiceResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__LookupServiceResponse reply = COLLECTOR__LOOKUP_SERVICE_RESPONSE__INIT;
	const struct pool_service *found;
	struct pool *pool;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    names_check_symbol(request->service_name, "service_name", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	pool = catalog_snapshot(registry_rpc_catalog(service), ns, NULL);
	found = pool_service(pool, request->service_name, strlen(request->service_name));
	if (found) {
		reply.status = registry_rpc_ok(rpc_arena(call));
		reply.service = registered_service(registry_rpc_catalog(service), ns,
						   rpc_arena(call), pool, found);
		reply_to(&reply, call);
	} else {
		rpc_fail(call, STATUS_NOT_FOUND, "service %s is not registered in namespace %s",
			 request->service_name, ns);
	}
	pool_unref(pool);
}

static void validate_method(Collector__CollectorRegistry_Service *service,
			    const Collector__ValidateMethodRequest *request,
			    Collector__ValidateMethodResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	Collector__ValidateMethodResponse reply = COLLECTOR__VALIDATE_METHOD_RESPONSE__INIT;
	const struct pool_service *s;
	struct pool *pool;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	pool = catalog_snapshot(registry_rpc_catalog(service), ns, NULL);
	s = pool_service(pool, request->service_name, strlen(request->service_name));
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
	pool_unref(pool);
}

/* ------------------------------------------------------------------- listings */

/* Items ordered by name; a page's token is the last name on it. */
struct listing {
	const void **items;
	const char *(*name)(const void *item);
	size_t first, count, total; /* the page, and how many match at all */
	const char *next_token;     /* "" */
};

static enum status page_size_of(int32_t asked, size_t *ret_size, struct error *err)
{
	if (asked < 0)
		return error_field(err, "page_size", "%d is negative", (int)asked);
	*ret_size = asked == 0 ? DEFAULT_PAGE : asked > MAX_PAGE ? MAX_PAGE : (size_t)asked;
	return STATUS_OK;
}

static void cut_page(struct listing *l, size_t total, const char *token, size_t size)
{
	l->total = total;
	l->first = 0;
	while (*token && l->first < total && strcmp(l->name(l->items[l->first]), token) <= 0)
		l->first++;
	l->count = total - l->first < size ? total - l->first : size;
	l->next_token =
		l->first + l->count < total ? l->name(l->items[l->first + l->count - 1]) : "";
}

static const char *service_name_of(const void *item)
{
	return ((const struct pool_service *)item)->full_name;
}

static const char *file_name_of(const void *item)
{
	return ((const struct pool_file *)item)->name;
}

static int compare_services(const void *a, const void *b)
{
	return strcmp(service_name_of(*(const void *const *)a),
		      service_name_of(*(const void *const *)b));
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(file_name_of(*(const void *const *)a),
		      file_name_of(*(const void *const *)b));
}

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* The namespace's own files or services (not the built-in ones), filtered and ordered. */
static size_t collect(struct catalog *catalog, const char *ns, const struct pool *pool,
		      const char *prefix, bool services, struct arena *arena, struct listing *l)
{
	size_t file_count, n = 0, room = 16;
	const struct pool_file *const *files = pool_files(pool, &file_count);
	struct catalog_file info;

	for (size_t i = 0; i < file_count; i++)
		room += services ? files[i]->service_count : 1;
	l->items = arena_alloc(arena, room * sizeof(*l->items));
	for (size_t i = 0; i < file_count; i++) {
		if (!catalog_file(catalog, ns, files[i]->name, &info))
			continue;
		if (!services && has_prefix(files[i]->name, prefix))
			l->items[n++] = files[i];
		for (uint32_t k = 0; services && k < files[i]->service_count; k++)
			if (has_prefix(files[i]->services[k].full_name, prefix))
				l->items[n++] = &files[i]->services[k];
	}
	l->name = services ? service_name_of : file_name_of;
	qsort(l->items, n, sizeof(*l->items), services ? compare_services : compare_files);
	return n;
}

static void list_services(Collector__CollectorRegistry_Service *service,
			  const Collector__ListServicesRequest *request,
			  Collector__ListServicesResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct catalog *catalog = registry_rpc_catalog(service);
	struct arena *arena = rpc_arena(call);
	Collector__ListServicesResponse reply = COLLECTOR__LIST_SERVICES_RESPONSE__INIT;
	struct listing l;
	struct pool *pool;
	struct error err;
	size_t size = 0;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    page_size_of(request->page_size, &size, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	pool = catalog_snapshot(catalog, ns, NULL);
	cut_page(&l, collect(catalog, ns, pool, request->prefix, true, arena, &l),
		 request->page_token, size);
	reply.status = registry_rpc_ok(arena);
	reply.services = arena_alloc(arena, (l.count + 1) * sizeof(*reply.services));
	for (size_t i = 0; i < l.count; i++)
		reply.services[reply.n_services++] =
			registered_service(catalog, ns, arena, pool, l.items[l.first + i]);
	reply.next_page_token = arena_strdup(arena, l.next_token);
	reply.total_count = (int64_t)l.total;
	reply_to(&reply, call);
	pool_unref(pool);
}

static void list_protos(Collector__CollectorRegistry_Service *service,
			const Collector__ListProtosRequest *request,
			Collector__ListProtosResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct catalog *catalog = registry_rpc_catalog(service);
	struct arena *arena = rpc_arena(call);
	Collector__ListProtosResponse reply = COLLECTOR__LIST_PROTOS_RESPONSE__INIT;
	struct listing l;
	struct pool *pool;
	struct error err;
	size_t size = 0;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    page_size_of(request->page_size, &size, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	pool = catalog_snapshot(catalog, ns, NULL);
	cut_page(&l, collect(catalog, ns, pool, request->prefix, false, arena, &l),
		 request->page_token, size);
	reply.status = registry_rpc_ok(arena);
	reply.protos = arena_alloc(arena, (l.count + 1) * sizeof(*reply.protos));
	for (size_t i = 0; i < l.count; i++)
		reply.protos[reply.n_protos++] =
			registered_proto(catalog, ns, arena, l.items[l.first + i]);
	reply.next_page_token = arena_strdup(arena, l.next_token);
	reply.total_count = (int64_t)l.total;
	reply_to(&reply, call);
	pool_unref(pool);
}

static void list_namespaces(Collector__CollectorRegistry_Service *service,
			    const Collector__ListNamespacesRequest *request,
			    Collector__ListNamespacesResponse_Closure reply_to, void *call)
{
	Collector__ListNamespacesResponse reply = COLLECTOR__LIST_NAMESPACES_RESPONSE__INIT;

	(void)request;
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.namespaces = (char **)catalog_namespaces(registry_rpc_catalog(service),
						       rpc_arena(call), &reply.n_namespaces);
	reply_to(&reply, call);
}

/* ---------------------------------------------------------------- descriptors */

/* Registered files with what they import: pool_files() is in import order, so
 * what is wanted is marked, then written in that order. */
static void put_namespace_set(struct catalog *catalog, const char *ns, const struct pool *pool,
			      struct arena *arena, struct strbuf *out)
{
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(pool, &count);
	const struct pool_file **wanted = arena_alloc(arena, (count + 1) * sizeof(*wanted));
	struct catalog_file info;
	struct map needed = {0};

	/* Backwards, so that a file is reached after all that import it. */
	for (size_t i = count; i--;) {
		bool is_own = catalog_file(catalog, ns, files[i]->name, &info);
		if (!is_own && !map_get(&needed, files[i]->name))
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

static void reply_descriptors(struct catalog *catalog, const char *ns,
			      const Collector__GetDescriptorsRequest *request,
			      const struct pool *pool, int64_t version,
			      Collector__GetDescriptorsResponse_Closure reply_to, void *call)
{
	Collector__GetDescriptorsResponse reply = COLLECTOR__GET_DESCRIPTORS_RESPONSE__INIT;
	bool all = request->target_case == COLLECTOR__GET_DESCRIPTORS_REQUEST__TARGET__NOT_SET;
	const struct pool_file *file = all ? NULL : target_of(pool, request);
	struct arena *arena = rpc_arena(call);
	AUTO_STRBUF set = STRBUF_INIT;

	if (!all && !file) {
		rpc_fail(call, STATUS_NOT_FOUND, "%s is not registered in namespace %s",
			 request->symbol, ns);
		return;
	}
	reply.status = registry_rpc_ok(arena);
	reply.version = version;
	if (version > 0 && request->known_version == version) {
		reply.not_modified = true;
	} else if (all) {
		put_namespace_set(catalog, ns, pool, arena, &set);
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
	struct pool *pool;
	struct error err;
	int64_t version;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	pool = catalog_snapshot(registry_rpc_catalog(service), ns, &version);
	reply_descriptors(registry_rpc_catalog(service), ns, request, pool, version, reply_to,
			  call);
	pool_unref(pool);
}

/* ------------------------------------------------------------------ reflection */

static enum status reflection_snapshot(void *arg, const char *ns, struct pool **ret_pool,
				       struct error *err)
{
	struct registry_rpc *r = arg;

	(void)err;
	*ret_pool = catalog_snapshot(r->catalog, ns, NULL);
	return STATUS_OK;
}

struct registry_rpc *registry_rpc_new(struct daemon *d, struct catalog *catalog)
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
			    .list_services = list_services,
			    .list_protos = list_protos,
			    .list_namespaces = list_namespaces,
			    .get_descriptors = get_descriptors},
		.catalog = catalog,
		.reflection = {reflection_snapshot, r},
	};
	registry_rpc_set_register_methods(r);
	registry_rpc_set_lookup_methods(r);
	rpc_server_add(daemon_server(d), &r->service.base, policies);
	rpc_server_set_reflection(daemon_server(d), &r->reflection);
	return r;
}

void registry_rpc_free(struct registry_rpc *r)
{
	free(r);
}
