/* RegisterProto, RegisterService, RegisterFiles. */
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
	PROTO_FILE = 2,       /* RegisterProtoRequest.file_descriptor */
	PROTO_DEPENDENCY = 3, /* .dependencies */
	SERVICE_ITSELF = 2,   /* RegisterServiceRequest.service_descriptor */
	SERVICE_FILE = 3,     /* .file_descriptor */
	SET_FILE = 1,         /* FileDescriptorSet.file */
	FILE_NAME = 1,        /* FileDescriptorProto.name */
};

/* The files of a request as slices of it: packing them anew would lose what we
 * do not know, and their order. */
struct slices {
	struct bytes *files;
	size_t count;
};

static enum status add_slice(struct slices *s, struct arena *arena, struct bytes file,
			     struct error *err)
{
	if (s->count == CATALOG_MAX_FILES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "more than %d files in one request", CATALOG_MAX_FILES);
	if (!s->files)
		s->files = arena_alloc(arena, CATALOG_MAX_FILES * sizeof(*s->files));
	s->files[s->count++] = file;
	return STATUS_OK;
}

/* Every occurrence of the message field @number in @message. */
static enum status slice(struct slices *s, struct arena *arena, struct bytes message,
			 uint32_t number, struct error *err)
{
	struct wire_cursor c = wire_cursor_of(message);
	enum status status = STATUS_OK;
	struct wire_field f;

	while (status == STATUS_OK && wire_next(&c, &f))
		if (f.number == number && f.type == WIRE_BYTES)
			status = add_slice(s, arena, f.data, err);
	return status;
}

unsigned registry_rpc_flags(protobuf_c_boolean validate_only, protobuf_c_boolean force)
{
	return (validate_only ? REGISTRAR_VALIDATE_ONLY : 0u) | (force ? REGISTRAR_FORCE : 0u);
}

enum status registry_rpc_register(Collector__CollectorRegistry_Service *service,
				  struct registrar_request *q, struct breakages *breakages,
				  struct registrar_result *ret, void *call)
{
	struct error err;
	enum status status;

	breakages_init(breakages, rpc_arena(call));
	q->deadline_ns = rpc_deadline_ns(call);
	status = registrar_register(registry_rpc_registrar(service), q, rpc_arena(call),
				    breakages, ret, &err);
	if (status != STATUS_OK)
		registry_rpc_refuse(call, &err, breakages);
	else if (!(q->flags & REGISTRAR_VALIDATE_ONLY))
		registry_rpc_log_forced("registered", q->ns, breakages);
	return status;
}

static enum status check_not_built_in(struct catalog *catalog, struct bytes file,
				      struct error *err)
{
	struct bytes name;

	return wire_find_bytes(file, FILE_NAME, &name) &&
			       pool_file(catalog_builtins(catalog), (const char *)name.data,
					 name.size)
		       ? error_field(err, "file_descriptor.name",
				     "the file is built in and cannot be redefined")
		       : STATUS_OK;
}

/* ------------------------------------------------------------------ one file */

/* @done's first file is the one that was to be registered. */
static void reply_proto(const char *ns, const struct registrar_result *done,
			const struct breakages *breakages,
			Collector__RegisterProtoResponse_Closure reply_to, void *call)
{
	Collector__RegisterProtoResponse reply = COLLECTOR__REGISTER_PROTO_RESPONSE__INIT;
	const char *name = done->files[0].name;
	const struct pool_file *file = pool_file(done->pool, name, strlen(name));
	struct arena *arena = rpc_arena(call);

	reply.status = registry_rpc_ok(arena);
	reply.unchanged = done->unchanged;
	reply.proto_id = arena_printf(arena, "%s/%s", ns, file->name);
	reply.registered_messages =
		registered_message_names(arena, file, &reply.n_registered_messages);
	reply.registered_services =
		registered_service_names(arena, file, &reply.n_registered_services);
	reply.breakages = registry_rpc_breakages(breakages, &reply.n_breakages);
	reply.namespace_version = done->snapshot->version;
	reply_to(&reply, call);
}

/* The file is the first of the slices. */
static enum status slice_proto(struct catalog *catalog, struct slices *s, void *call,
			       struct error *err)
{
	const struct bytes request = rpc_request_bytes(call);
	struct bytes file;
	enum status status;

	if (!wire_find_bytes(request, PROTO_FILE, &file))
		return error_field(err, "file_descriptor", "there is no file to register");
	status = check_not_built_in(catalog, file, err);
	if (status == STATUS_OK)
		status = add_slice(s, rpc_arena(call), file, err);
	return status == STATUS_OK ? slice(s, rpc_arena(call), request, PROTO_DEPENDENCY, err)
				   : status;
}

static void register_proto(Collector__CollectorRegistry_Service *service,
			   const Collector__RegisterProtoRequest *request,
			   Collector__RegisterProtoResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct slices s = {.count = 0};
	struct registrar_request q;
	struct registrar_result done;
	struct breakages breakages;
	struct error err;
	enum status status = registry_rpc_check_writer(request->namespace_, call, &err);

	if (status == STATUS_OK)
		status = slice_proto(registry_rpc_catalog(service), &s, call, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	q = (struct registrar_request){
		.ns = ns,
		.files = s.files,
		.count = s.count,
		.flags = registry_rpc_flags(request->validate_only, request->force)};
	if (registry_rpc_register(service, &q, &breakages, &done, call) != STATUS_OK)
		return;
	reply_proto(ns, &done, &breakages, reply_to, call);
	registrar_result_release(&done);
}

/* --------------------------------------------------------------------- a set */

static enum status slice_set(struct slices *s, void *call, struct error *err)
{
	struct wire_cursor c = wire_cursor_of(rpc_request_bytes(call));
	enum status status = STATUS_OK;
	struct wire_field f;

	/* Occurrences of a message field are parts of one message. */
	while (status == STATUS_OK && wire_next(&c, &f))
		if (f.number == REGISTER_FILES_SET && f.type == WIRE_BYTES)
			status = slice(s, rpc_arena(call), f.data, SET_FILE, err);
	if (status == STATUS_OK && !s->count)
		status = error_field(err, "files", "there is no file to register");
	return status;
}

Collector__RegisteredFile **registry_rpc_files(struct arena *arena, const char *ns,
					       const struct registrar_result *done,
					       size_t *ret_count)
{
	Collector__RegisteredFile **out =
		arena_alloc(arena, (done->file_count + 1) * sizeof(*out));

	for (size_t i = 0; i < done->file_count; i++) {
		Collector__RegisteredFile *f = out[i] = arena_alloc(arena, sizeof(*f));
		collector__registered_file__init(f);
		f->proto_id = arena_printf(arena, "%s/%s", ns, done->files[i].name);
		f->version = done->files[i].version;
		f->unchanged = done->files[i].unchanged;
	}
	*ret_count = done->file_count;
	return out;
}

static void reply_files(const char *ns, const struct registrar_result *done,
			const struct breakages *breakages,
			Collector__RegisterFilesResponse_Closure reply_to, void *call)
{
	Collector__RegisterFilesResponse reply = COLLECTOR__REGISTER_FILES_RESPONSE__INIT;
	struct arena *arena = rpc_arena(call);

	reply.status = registry_rpc_ok(arena);
	reply.files = registry_rpc_files(arena, ns, done, &reply.n_files);
	reply.breakages = registry_rpc_breakages(breakages, &reply.n_breakages);
	reply.namespace_version = done->snapshot->version;
	reply_to(&reply, call);
}

static void register_files(Collector__CollectorRegistry_Service *service,
			   const Collector__RegisterFilesRequest *request,
			   Collector__RegisterFilesResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct slices s = {.count = 0};
	struct registrar_request q;
	struct registrar_result done;
	struct breakages breakages;
	struct error err;
	enum status status = registry_rpc_check_writer(request->namespace_, call, &err);

	if (status == STATUS_OK)
		status = slice_set(&s, call, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	q = (struct registrar_request){
		.ns = ns,
		.files = s.files,
		.count = s.count,
		.flags = registry_rpc_flags(request->validate_only, request->force)};
	if (registry_rpc_register(service, &q, &breakages, &done, call) != STATUS_OK)
		return;
	reply_files(ns, &done, &breakages, reply_to, call);
	registrar_result_release(&done);
}

/* ----------------------------------------------------------------- a service */

/* With its file, whose bytes go as they are; without, with one made for it. */
static enum status service_source(struct catalog *catalog, const char *ns, void *call,
				  const Collector__RegisterServiceRequest *request,
				  struct bytes *ret_file, char **ret_name, struct error *err)
{
	const struct bytes bytes = rpc_request_bytes(call);
	AUTO_STRBUF made = STRBUF_INIT;
	struct bytes service = {0};
	struct snapshot *snapshot;
	enum status status;

	if (request->file_descriptor) {
		const char *name = request->service_descriptor->name;
		const char *package = request->file_descriptor->package;
		bool is_full = strchr(name, '.') || !package || !*package;
		(void)wire_find_bytes(bytes, SERVICE_FILE, ret_file);
		*ret_name = is_full ? xstrdup(name) : xasprintf("%s.%s", package, name);
		return check_not_built_in(catalog, *ret_file, err);
	}
	(void)wire_find_bytes(bytes, SERVICE_ITSELF, &service);
	snapshot = catalog_snapshot(catalog, ns);
	status = service_file_make(snapshot->pool, service, &made, ret_name, err);
	snapshot_unref(snapshot);
	if (status == STATUS_OK)
		*ret_file =
			bytes_of(arena_memdup(rpc_arena(call), made.buf, made.len), made.len);
	return status;
}

static void reply_service(const char *ns, const char *name, const struct registrar_result *done,
			  const struct breakages *breakages,
			  Collector__RegisterServiceResponse_Closure reply_to, void *call)
{
	Collector__RegisterServiceResponse reply = COLLECTOR__REGISTER_SERVICE_RESPONSE__INIT;
	const struct pool_service *s = pool_service(done->pool, name, strlen(name));
	struct arena *arena = rpc_arena(call);

	reply.status = registry_rpc_ok(arena);
	reply.service_id = arena_printf(arena, "%s/%s", ns, name);
	reply.n_registered_methods = s->method_count;
	reply.registered_methods =
		arena_alloc(arena, (s->method_count + 1) * sizeof(*reply.registered_methods));
	for (uint32_t i = 0; i < s->method_count; i++)
		reply.registered_methods[i] = arena_strdup(arena, s->methods[i].name);
	reply.breakages = registry_rpc_breakages(breakages, &reply.n_breakages);
	reply.namespace_version = done->snapshot->version;
	reply_to(&reply, call);
}

static void register_service(Collector__CollectorRegistry_Service *service,
			     const Collector__RegisterServiceRequest *request,
			     Collector__RegisterServiceResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	char *name AUTO_FREE = NULL;
	struct registrar_request q;
	struct registrar_result done;
	struct breakages breakages;
	struct bytes file = {0};
	struct error err;
	enum status status = registry_rpc_check_writer(request->namespace_, call, &err);

	if (status == STATUS_OK &&
	    (!request->service_descriptor || !request->service_descriptor->name))
		status = error_field(&err, "service_descriptor.name", "there is no service");
	if (status == STATUS_OK)
		status = service_source(registry_rpc_catalog(service), ns, call, request, &file,
					&name, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	q = (struct registrar_request){
		.ns = ns,
		.files = &file,
		.count = 1,
		.service = name,
		.flags = registry_rpc_flags(request->validate_only, request->force)};
	if (registry_rpc_register(service, &q, &breakages, &done, call) != STATUS_OK)
		return;
	reply_service(ns, name, &done, &breakages, reply_to, call);
	registrar_result_release(&done);
}

void registry_rpc_set_register_methods(struct registry_rpc *r)
{
	r->service.register_proto = register_proto;
	r->service.register_service = register_service;
	r->service.register_files = register_files;
}
