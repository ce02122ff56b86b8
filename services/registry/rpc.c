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
#include "services/registry/service_file.h"

enum {
	DEFAULT_PAGE = 100,
	MAX_PAGE = 1000,
	MAX_FILES_AT_ONCE = 2000,
	REQUEST_FILE = 2,       /* RegisterProtoRequest.file_descriptor */
	REQUEST_DEPENDENCY = 3, /* .dependencies */
	REQUEST_SERVICE = 2,    /* RegisterServiceRequest.service_descriptor */
	REQUEST_SERVICE_FILE = 3,
	FILE_SERVICE = 6, /* FileDescriptorProto.service */
};

struct registry_rpc {
	Collector__CollectorRegistry_Service service; /* first: what a method is given */
	struct catalog *catalog;
	struct rpc_reflection_source reflection;
};

static struct catalog *catalog_of(Collector__CollectorRegistry_Service *service)
{
	return ((struct registry_rpc *)service)->catalog;
}

static Collector__Status *ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

/* ------------------------------------------------------------ shared pieces */

static Collector__Metadata *metadata_of(struct arena *arena, const struct catalog_file *info)
{
	Collector__Metadata *m = arena_alloc(arena, sizeof(*m));
	int64_t times[2] = {info->created_us, info->updated_us};
	Google__Protobuf__Timestamp *stamps[2];

	collector__metadata__init(m);
	for (int i = 0; i < 2; i++) {
		stamps[i] = arena_alloc(arena, sizeof(*stamps[i]));
		google__protobuf__timestamp__init(stamps[i]);
		stamps[i]->seconds = times[i] / 1000000;
		stamps[i]->nanos = (int32_t)(times[i] % 1000000 * 1000);
	}
	m->created_at = stamps[0];
	m->updated_at = stamps[1];
	return m;
}

/* Texts that live in a pool are copied: the reply may outlive the reference. */
static char *copy(struct arena *arena, const char *text)
{
	return arena_strdup(arena, text);
}

static char **message_names(struct arena *arena, const struct pool_file *f, size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->message_count + 1) * sizeof(*names));

	*ret_count = 0;
	for (uint32_t i = 0; i < f->message_count; i++)
		if (!f->messages[i].is_map_entry)
			names[(*ret_count)++] = copy(arena, f->messages[i].full_name);
	return names;
}

static char **service_names(struct arena *arena, const struct pool_file *f, size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->service_count + 1) * sizeof(*names));

	for (uint32_t i = 0; i < f->service_count; i++)
		names[i] = copy(arena, f->services[i].full_name);
	*ret_count = f->service_count;
	return names;
}

static char **enum_names(struct arena *arena, const struct pool_file *f, size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->enum_count + 1) * sizeof(*names));

	for (uint32_t i = 0; i < f->enum_count; i++)
		names[i] = copy(arena, f->enums[i].full_name);
	*ret_count = f->enum_count;
	return names;
}

static Collector__MethodInfo *method_info(struct arena *arena, const struct pool *pool,
					  const struct pool_method *m)
{
	Collector__MethodInfo *info = arena_alloc(arena, sizeof(*info));
	AUTO_STRBUF comment = STRBUF_INIT;

	collector__method_info__init(info);
	info->name = copy(arena, m->name);
	info->input_type = copy(arena, m->input->full_name);
	info->output_type = copy(arena, m->output->full_name);
	info->client_streaming = m->client_streaming;
	info->server_streaming = m->server_streaming;
	info->idempotency_level = (Collector__MethodInfo__IdempotencyLevel)m->idempotency;
	pool_comment(pool, m->full_name, strlen(m->full_name), &comment);
	info->comment = copy(arena, strbuf_str(&comment));
	return info;
}

/* The service's own descriptor, in the bytes that its file has. */
static struct bytes service_bytes(const struct pool_service *s)
{
	struct wire_cursor c = wire_cursor_of(s->file->bytes);
	struct wire_field f;
	uint32_t index = 0;

	while (wire_next(&c, &f))
		if (f.number == FILE_SERVICE && f.type == WIRE_BYTES && index++ == s->index)
			return f.data;
	return bytes_of(NULL, 0);
}

static Collector__RegisteredService *registered_service(struct catalog *catalog, const char *ns,
							struct arena *arena,
							const struct pool *pool,
							const struct pool_service *s)
{
	Collector__RegisteredService *r = arena_alloc(arena, sizeof(*r));
	struct catalog_file info = {0};
	ProtobufCMessage *descriptor;
	struct error err;

	collector__registered_service__init(r);
	r->id = arena_printf(arena, "%s/%s", ns, s->full_name);
	r->namespace_ = copy(arena, ns);
	r->service_name = copy(arena, s->full_name);
	r->file_name = copy(arena, s->file->name);
	r->n_method_names = r->n_methods = s->method_count;
	r->method_names = arena_alloc(arena, (s->method_count + 1) * sizeof(*r->method_names));
	r->methods = arena_alloc(arena, (s->method_count + 1) * sizeof(*r->methods));
	for (uint32_t i = 0; i < s->method_count; i++) {
		r->method_names[i] = copy(arena, s->methods[i].name);
		r->methods[i] = method_info(arena, pool, &s->methods[i]);
	}
	if (rpc_unpack(&google__protobuf__service_descriptor_proto__descriptor,
		       service_bytes(s), arena, &descriptor, &err) == STATUS_OK)
		r->service_descriptor = (Google__Protobuf__ServiceDescriptorProto *)descriptor;
	if (catalog_file(catalog, ns, s->file->name, &info))
		r->metadata = metadata_of(arena, &info);
	return r;
}

/* ---------------------------------------------------------------- registering */

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
		status = catalog_register(catalog_of(service), ns, files, count, &done, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	const struct pool_file *file = file_of_bytes(done.pool, files[0]);
	reply.status = ok(arena);
	reply.unchanged = done.unchanged;
	if (file) {
		reply.proto_id = arena_printf(arena, "%s/%s", ns, file->name);
		reply.registered_messages =
			message_names(arena, file, &reply.n_registered_messages);
		reply.registered_services =
			service_names(arena, file, &reply.n_registered_services);
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

	reply.status = ok(arena);
	reply.service_id = arena_printf(arena, "%s/%s", ns, name);
	reply.n_registered_methods = s->method_count;
	reply.registered_methods =
		arena_alloc(arena, (s->method_count + 1) * sizeof(*reply.registered_methods));
	for (uint32_t i = 0; i < s->method_count; i++)
		reply.registered_methods[i] = copy(arena, s->methods[i].name);
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
	struct catalog *catalog = catalog_of(service);
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
	pool = catalog_snapshot(catalog_of(service), ns, NULL);
	found = pool_service(pool, request->service_name, strlen(request->service_name));
	if (found) {
		reply.status = ok(rpc_arena(call));
		reply.service = registered_service(catalog_of(service), ns, rpc_arena(call),
						   pool, found);
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
	pool = catalog_snapshot(catalog_of(service), ns, NULL);
	s = pool_service(pool, request->service_name, strlen(request->service_name));
	reply.status = ok(rpc_arena(call));
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
	struct catalog *catalog = catalog_of(service);
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
	reply.status = ok(arena);
	reply.services = arena_alloc(arena, (l.count + 1) * sizeof(*reply.services));
	for (size_t i = 0; i < l.count; i++)
		reply.services[reply.n_services++] =
			registered_service(catalog, ns, arena, pool, l.items[l.first + i]);
	reply.next_page_token = copy(arena, l.next_token);
	reply.total_count = (int64_t)l.total;
	reply_to(&reply, call);
	pool_unref(pool);
}

static Collector__RegisteredProto *registered_proto(struct catalog *catalog, const char *ns,
						    struct arena *arena,
						    const struct pool_file *f)
{
	Collector__RegisteredProto *r = arena_alloc(arena, sizeof(*r));
	struct catalog_file info = {0};

	collector__registered_proto__init(r);
	r->id = arena_printf(arena, "%s/%s", ns, f->name);
	r->namespace_ = copy(arena, ns);
	r->file_name = copy(arena, f->name);
	r->message_names = message_names(arena, f, &r->n_message_names);
	r->enum_names = enum_names(arena, f, &r->n_enum_names);
	r->service_names = service_names(arena, f, &r->n_service_names);
	r->dependencies =
		arena_alloc(arena, (f->dependency_count + 1) * sizeof(*r->dependencies));
	for (uint32_t i = 0; i < f->dependency_count; i++)
		r->dependencies[r->n_dependencies++] = copy(arena, f->dependencies[i]->name);
	if (catalog_file(catalog, ns, f->name, &info)) {
		r->version = info.version;
		r->metadata = metadata_of(arena, &info);
	}
	return r;
}

static void list_protos(Collector__CollectorRegistry_Service *service,
			const Collector__ListProtosRequest *request,
			Collector__ListProtosResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	struct catalog *catalog = catalog_of(service);
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
	reply.status = ok(arena);
	reply.protos = arena_alloc(arena, (l.count + 1) * sizeof(*reply.protos));
	for (size_t i = 0; i < l.count; i++)
		reply.protos[reply.n_protos++] =
			registered_proto(catalog, ns, arena, l.items[l.first + i]);
	reply.next_page_token = copy(arena, l.next_token);
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
	reply.status = ok(rpc_arena(call));
	reply.namespaces = (char **)catalog_namespaces(catalog_of(service), rpc_arena(call),
						       &reply.n_namespaces);
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
	reply.status = ok(arena);
	reply.version = version;
	if (version > 0 && request->known_version == version) {
		reply.not_modified = true;
	} else if (all) {
		put_namespace_set(catalog, ns, pool, arena, &set);
	} else {
		size_t count;
		const struct pool_file *const *files = pool_closure(file, arena, &count);
		pool_write_set(files, count, &set);
		reply.file_name = copy(arena, file->name);
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
	pool = catalog_snapshot(catalog_of(service), ns, &version);
	reply_descriptors(catalog_of(service), ns, request, pool, version, reply_to, call);
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
							    {NULL, RPC_RUN_POOL}};
	struct registry_rpc *r = xcalloc(1, sizeof(*r));

	*r = (struct registry_rpc){
		.service = {.base = {.descriptor = &collector__collector_registry__descriptor,
				     .invoke = protobuf_c_service_invoke_internal},
			    .register_proto = register_proto,
			    .register_service = register_service,
			    .lookup_service = lookup_service,
			    .validate_method = validate_method,
			    .list_services = list_services,
			    .list_protos = list_protos,
			    .list_namespaces = list_namespaces,
			    .get_descriptors = get_descriptors},
		.catalog = catalog,
		.reflection = {reflection_snapshot, r},
	};
	rpc_server_add(daemon_server(d), &r->service.base, policies);
	rpc_server_set_reflection(daemon_server(d), &r->reflection);
	return r;
}

void registry_rpc_free(struct registry_rpc *r)
{
	free(r);
}
