#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"
#include "services/registry/catalog.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"
#include "services/registry/service_file.h"

enum {
	MAX_FILES_AT_ONCE = 2000,
	REQUEST_FILE = 2,       /* RegisterProtoRequest.file_descriptor */
	REQUEST_DEPENDENCY = 3, /* .dependencies */
	REQUEST_SERVICE = 2,    /* RegisterServiceRequest.service_descriptor */
	REQUEST_SERVICE_FILE = 3,
};

/* The wire bytes of the request's files: packing them anew would lose what we
 * do not know, and their order. */
static enum status slice_files(void *call, uint32_t main_field, uint32_t more_field,
			       struct bytes **ret_files, size_t *ret_count, struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct bytes *files = arena_alloc(arena, MAX_FILES_AT_ONCE * sizeof(*files));
	struct wire_cursor c = wire_cursor_of(rpc_request_bytes(call));
	struct wire_field f;
	size_t count = 1;

	files[0] = bytes_of(NULL, 0);
	while (wire_next(&c, &f)) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == main_field)
			files[0] = f.data;
		else if (f.number == more_field && count == MAX_FILES_AT_ONCE)
			return error_set(err, STATUS_RESOURCE_EXHAUSTED,
					 "more than %d files in one request",
					 MAX_FILES_AT_ONCE);
		else if (f.number == more_field)
			files[count++] = f.data;
	}
	*ret_files = files;
	*ret_count = count;
	return STATUS_OK;
}

static const struct pool_file *file_of_bytes(const struct pool *pool, struct bytes file)
{
	struct bytes name;

	return wire_find_bytes(file, 1, &name)
		       ? pool_file(pool, (const char *)name.data, name.size)
		       : NULL;
}

static void register_proto(Collector__CollectorRegistry_Service *service,
			   const Collector__RegisterProtoRequest *request,
			   Collector__RegisterProtoResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct arena *arena = rpc_arena(call);
	Collector__RegisterProtoResponse reply = COLLECTOR__REGISTER_PROTO_RESPONSE__INIT;
	struct catalog_registered done;
	struct bytes *files;
	size_t count;
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	if (status == STATUS_OK && !request->file_descriptor)
		status = error_field(&err, "file_descriptor", "there is no file to register");
	if (status == STATUS_OK)
		status = slice_files(call, REQUEST_FILE, REQUEST_DEPENDENCY, &files, &count,
				     &err);
	if (status == STATUS_OK)
		status = catalog_register(registry_rpc_catalog(service), ns, files, count,
					  &done, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	const struct pool_file *file = file_of_bytes(done.pool, files[0]);
	reply.status = registry_rpc_ok(arena);
	reply.unchanged = done.unchanged;
	if (file) {
		reply.proto_id = arena_printf(arena, "%s/%s", ns, file->name);
		reply.registered_messages =
			registered_message_names(arena, file, &reply.n_registered_messages);
		reply.registered_services =
			registered_service_names(arena, file, &reply.n_registered_services);
	}
	reply_to(&reply, call);
	pool_unref(done.pool);
}

/* With its file, whose bytes go as they are; without, with one made for it. */
static enum status service_source(struct catalog *catalog, const char *ns, void *call,
				  const Collector__RegisterServiceRequest *request,
				  struct bytes *ret_file, char **ret_name, struct error *err)
{
	struct bytes *slices;
	size_t count;
	enum status status =
		slice_files(call, REQUEST_SERVICE, REQUEST_SERVICE_FILE, &slices, &count, err);
	AUTO_STRBUF made = STRBUF_INIT;
	struct pool *pool;

	if (status != STATUS_OK)
		return status;
	if (request->file_descriptor) {
		const char *name = request->service_descriptor->name;
		const char *package = request->file_descriptor->package;
		bool is_full = strchr(name, '.') || !package || !*package;
		*ret_file = slices[count - 1];
		*ret_name = is_full ? xstrdup(name) : xasprintf("%s.%s", package, name);
		return STATUS_OK;
	}
	pool = catalog_snapshot(catalog, ns, NULL);
	status = service_file_make(pool, slices[0], &made, ret_name, err);
	pool_unref(pool);
	if (status == STATUS_OK)
		*ret_file =
			bytes_of(arena_memdup(rpc_arena(call), made.buf, made.len), made.len);
	return status;
}

static void reply_service(const char *ns, const char *name, const struct pool *pool,
			  Collector__RegisterServiceResponse_Closure reply_to, void *call)
{
	Collector__RegisterServiceResponse reply = COLLECTOR__REGISTER_SERVICE_RESPONSE__INIT;
	const struct pool_service *s = pool_service(pool, name, strlen(name));
	struct arena *arena = rpc_arena(call);

	reply.status = registry_rpc_ok(arena);
	reply.service_id = arena_printf(arena, "%s/%s", ns, name);
	reply.n_registered_methods = s->method_count;
	reply.registered_methods =
		arena_alloc(arena, (s->method_count + 1) * sizeof(*reply.registered_methods));
	for (uint32_t i = 0; i < s->method_count; i++)
		reply.registered_methods[i] = arena_strdup(arena, s->methods[i].name);
	reply_to(&reply, call);
}

/* A file that lacks the service would register something else than was asked. */
static enum status check_declared(struct catalog *catalog, const char *ns, struct bytes file,
				  const char *name, struct error *err)
{
	struct pool *before = catalog_snapshot(catalog, ns, NULL), *after = NULL;
	enum status status = pool_replace(before, &file, 1, &after, err);

	if (status == STATUS_OK && !pool_service(after, name, strlen(name)))
		status = error_field(err, "service_descriptor.name",
				     "the file does not declare a service %s", name);
	pool_unref(before);
	pool_unref(after);
	return status;
}

static void register_service(Collector__CollectorRegistry_Service *service,
			     const Collector__RegisterServiceRequest *request,
			     Collector__RegisterServiceResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct catalog *catalog = registry_rpc_catalog(service);
	struct catalog_registered done;
	char *name AUTO_FREE = NULL;
	struct bytes file;
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	if (status == STATUS_OK &&
	    (!request->service_descriptor || !request->service_descriptor->name))
		status = error_field(&err, "service_descriptor.name", "there is no service");
	if (status == STATUS_OK)
		status = service_source(catalog, ns, call, request, &file, &name, &err);
	if (status == STATUS_OK)
		status = check_declared(catalog, ns, file, name, &err);
	if (status == STATUS_OK)
		status = catalog_register(catalog, ns, &file, 1, &done, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply_service(ns, name, done.pool, reply_to, call);
	pool_unref(done.pool);
}

void registry_rpc_set_register_methods(struct registry_rpc *r)
{
	r->service.register_proto = register_proto;
	r->service.register_service = register_service;
}
