#include "common/rpc/reflection_service.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/base/utf8.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"
#include "common/rpc/health.h"
#include "common/rpc/inbound.h"
#include "common/rpc/reflection.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse_Closure response_closure;
#define REQUEST(name)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

/*
 * Most clients take 4 MiB a message: what a file imports comes along while all
 * of it stays well below, else the client asks for it.
 */
enum { MAX_CLOSURE_BYTES = 1 << 20 };

enum {
	/* An answer repeats its question, which must not make it too large to be taken. */
	MAX_QUESTION_BYTES = 64 << 10,
	/* Of a name in an error's text. */
	MAX_QUOTED_BYTES = 200,
};

/* Methods get the service, which is the first member. */
struct endpoint {
	Grpc__Reflection__V1__ServerReflection_Service service;
	struct rpc_reflection *reflection;
};

struct rpc_reflection {
	struct rpc_server *server;
	struct pool *builtin;
	struct endpoint v1, v1alpha;
	ProtobufCServiceDescriptor v1alpha_descriptor;
};

/* One question, and where answers are looked for. */
struct question {
	struct rpc_reflection *reflection;
	const request_message *request;
	struct pool *pools[2]; /* the built-ins, then what was registered or NULL */
	struct arena arena;
	struct error err;
	response_message answer;
};

static void fail(struct question *q, enum status status, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse *e = arena_alloc(&q->arena, sizeof(*e));

	grpc__reflection__v1__error_response__init(e);
	e->error_code = (int32_t)status;
	e->error_message = (char *)text;
	q->answer.message_response_case = RESPONSE(ERROR_RESPONSE);
	q->answer.error_response = e;
}

/* "there is no <what> <name>" */
static void fail_unknown(struct question *q, const char *what, const char *name)
{
	size_t len = strlen(name);
	bool is_long = len > MAX_QUOTED_BYTES;

	if (is_long)
		len = utf8_cut(name, MAX_QUOTED_BYTES);
	fail(q, STATUS_NOT_FOUND,
	     arena_printf(&q->arena, "there is no %s \"%.*s%s\"", what, (int)len, name,
			  is_long ? "..." : ""));
}

/* ---------------------------------------------------------------------- files */

static void answer_file(struct question *q, const struct pool_file *file)
{
	Grpc__Reflection__V1__FileDescriptorResponse *r = arena_alloc(&q->arena, sizeof(*r));
	const struct pool_file *const *closure;
	size_t count, total = 0;

	closure = pool_closure(file, &q->arena, &count);
	for (size_t i = 0; i < count; i++)
		total += closure[i]->bytes.size;
	if (total > MAX_CLOSURE_BYTES)
		count = 1; /* only the file itself, which the closure ends with */

	grpc__reflection__v1__file_descriptor_response__init(r);
	r->file_descriptor_proto =
		arena_alloc(&q->arena, count * sizeof(*r->file_descriptor_proto));
	/* What was asked for comes first, dependencies after their dependents. */
	r->file_descriptor_proto[0] =
		(ProtobufCBinaryData){file->bytes.size, (uint8_t *)file->bytes.data};
	r->n_file_descriptor_proto = 1;
	for (size_t i = count; count > 1 && i-- > 0;)
		if (closure[i] != file)
			r->file_descriptor_proto[r->n_file_descriptor_proto++] =
				(ProtobufCBinaryData){closure[i]->bytes.size,
						      (uint8_t *)closure[i]->bytes.data};
	q->answer.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
	q->answer.file_descriptor_response = r;
}

static const struct pool_file *file_by_name(const struct pool *pool, const char *name)
{
	return pool_file(pool, name, strlen(name));
}

static const struct pool_file *file_of_symbol(const struct pool *pool, const char *symbol)
{
	return pool_file_of_symbol(pool, symbol, strlen(symbol));
}

static void answer_lookup(struct question *q, const char *what, const char *name,
			  const struct pool_file *(*look)(const struct pool *, const char *))
{
	const struct pool_file *file = NULL;

	for (int i = 0; i < 2 && !file; i++)
		if (q->pools[i])
			file = look(q->pools[i], name);
	if (file)
		answer_file(q, file);
	else
		fail_unknown(q, what, name);
}

static void answer_extension(struct question *q,
			     const Grpc__Reflection__V1__ExtensionRequest *wanted)
{
	const char *type = wanted->containing_type;

	for (int i = 0; i < 2; i++) {
		const struct pool_message *m =
			q->pools[i] ? pool_message(q->pools[i], type, strlen(type)) : NULL;
		const struct pool_field *f =
			m && wanted->extension_number > 0
				? pool_field_by_number(q->pools[i], m,
						       (uint32_t)wanted->extension_number)
				: NULL;
		if (f && f->is_extension) {
			answer_file(q, f->file);
			return;
		}
	}
	fail_unknown(q, "such extension of", type);
}

static void answer_extension_numbers(struct question *q, const char *type)
{
	Grpc__Reflection__V1__ExtensionNumberResponse *r = arena_alloc(&q->arena, sizeof(*r));
	bool found = false;

	grpc__reflection__v1__extension_number_response__init(r);
	r->base_type_name = (char *)type;
	/* The pool of a namespace has the built-ins that its files import. */
	for (int i = 1; i >= 0 && !found; i--) {
		const struct pool_message *m =
			q->pools[i] ? pool_message(q->pools[i], type, strlen(type)) : NULL;
		if (!m)
			continue;
		found = true;
		r->extension_number = (int32_t *)pool_extension_numbers(
			q->pools[i], m, &q->arena, &r->n_extension_number);
	}
	if (!found) {
		fail_unknown(q, "message", type);
		return;
	}
	q->answer.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
	q->answer.all_extension_numbers_response = r;
}

/* ------------------------------------------------------------------- services */

static void add_name(void *names, const char *name)
{
	(void)map_put(names, name, (void *)1);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void collect_names(struct question *q, struct map *names)
{
	const struct rpc_server *server = q->reflection->server;
	const struct pool_file *const *files;
	size_t count = 0;

	for (const struct rpc_method *m = server->methods; m; m = m->next)
		add_name(names, m->service->descriptor->name);
	rpc_health_services(server->health, add_name, names);
	if (!q->pools[1])
		return;
	files = pool_files(q->pools[1], &count);
	for (size_t i = 0; i < count; i++) {
		if (file_by_name(q->pools[0], files[i]->name))
			continue; /* a built-in that is merely imported */
		for (uint32_t k = 0; k < files[i]->service_count; k++)
			add_name(names, files[i]->services[k].full_name);
	}
}

static void answer_services(struct question *q)
{
	Grpc__Reflection__V1__ListServiceResponse *r = arena_alloc(&q->arena, sizeof(*r));
	struct map names = {0};
	const char **sorted;
	size_t n = 0;

	collect_names(q, &names);
	sorted = arena_alloc(&q->arena, names.count * sizeof(*sorted));
	map_for_each (&names, entry)
		sorted[n++] = arena_strdup(&q->arena, entry->key);
	map_release(&names, NULL);
	qsort(sorted, n, sizeof(*sorted), compare_names);

	grpc__reflection__v1__list_service_response__init(r);
	r->n_service = n;
	r->service = arena_alloc(&q->arena, n * sizeof(*r->service));
	for (size_t i = 0; i < n; i++) {
		r->service[i] = arena_alloc(&q->arena, sizeof(**r->service));
		grpc__reflection__v1__service_response__init(r->service[i]);
		r->service[i]->name = (char *)sorted[i];
	}
	q->answer.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
	q->answer.list_services_response = r;
}

/* --------------------------------------------------------------------- method */

static void answer(struct question *q)
{
	const request_message *r = q->request;

	switch ((int)r->message_request_case) {
	case REQUEST(FILE_BY_FILENAME):
		answer_lookup(q, "file", r->file_by_filename, file_by_name);
		break;
	case REQUEST(FILE_CONTAINING_SYMBOL):
		answer_lookup(q, "symbol", r->file_containing_symbol, file_of_symbol);
		break;
	case REQUEST(FILE_CONTAINING_EXTENSION):
		answer_extension(q, r->file_containing_extension);
		break;
	case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
		answer_extension_numbers(q, r->all_extension_numbers_of_type);
		break;
	case REQUEST(LIST_SERVICES):
		answer_services(q);
		break;
	case REQUEST(_NOT_SET):
	default:
		fail(q, STATUS_INVALID_ARGUMENT, "the request asks for nothing");
		break;
	}
}

/* The namespace of a stream, looked up once: metadata texts live as long as the call. */
static const char *namespace_of(void *call)
{
	char *ns = rpc_user(call);

	if (!ns) {
		const char *sent = rpc_metadata(call, "collector-namespace");
		ns = xstrdup(names_namespace_or_default(sent ? sent : ""));
		rpc_set_user(call, ns, free);
	}
	return ns;
}

static void question_init(struct question *q)
{
	memset(q, 0, sizeof(*q));
	arena_init(&q->arena, 0);
	grpc__reflection__v1__server_reflection_response__init(&q->answer);
}

static void question_release(struct question *q)
{
	pool_unref(q->pools[1]);
	arena_release(&q->arena);
}

/* Built-ins are told even if what was registered cannot be. */
static void answer_in(struct question *q, const char *ns)
{
	const struct rpc_reflection_source *source = q->reflection->server->reflection_source;
	enum status status = names_check_namespace(ns, "collector-namespace", &q->err);

	if (status != STATUS_OK) {
		fail(q, status, q->err.message);
		return;
	}
	if (source)
		status = source->snapshot(source->arg, ns, &q->pools[1], &q->err);
	answer(q);
	if (status != STATUS_OK && q->answer.message_response_case == RESPONSE(ERROR_RESPONSE))
		fail(q, status, q->err.message);
}

static void server_reflection_info(Grpc__Reflection__V1__ServerReflection_Service *service,
				   const request_message *request, response_closure reply,
				   void *call)
{
	struct rpc_reflection *reflection = ((struct endpoint *)service)->reflection;
	struct question q;

	if (!request) {
		rpc_finish(call);
		return;
	}
	question_init(&q);
	q.reflection = reflection;
	q.request = request;
	q.pools[0] = reflection->builtin;
	if (rpc_request_bytes(call).size > MAX_QUESTION_BYTES) {
		fail(&q, STATUS_INVALID_ARGUMENT, "a request has at most 64 KiB");
	} else {
		q.answer.valid_host = request->host;
		q.answer.original_request = (request_message *)request;
		answer_in(&q, namespace_of(call));
	}
	reply(&q.answer, call);
	question_release(&q);
}

/* A message that is none, or has text that is none, is no reason to end the stream. */
static void refused(struct rpc_call *call, const struct error *err, ProtobufCClosure reply)
{
	struct question q;

	question_init(&q);
	fail(&q, err->status, err->message);
	reply(&q.answer.base, call);
	question_release(&q);
}

static void init_endpoint(struct endpoint *e, struct rpc_reflection *r,
			  const ProtobufCServiceDescriptor *descriptor)
{
	e->service.base.descriptor = descriptor;
	e->service.base.invoke = protobuf_c_service_invoke_internal;
	e->service.server_reflection_info = server_reflection_info;
	e->reflection = r;
}

struct rpc_reflection *rpc_reflection_new(struct rpc_server *server)
{
	struct rpc_reflection *r = xcalloc(1, sizeof(*r));
	struct pool *empty = pool_new();
	struct error err;

	r->server = server;
	if (pool_extend_set(empty, builtin_descriptor_set(), &r->builtin, &err) != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pool_unref(empty);
	/* v1alpha's messages are v1's in all but the package: the same bytes. */
	r->v1alpha_descriptor = grpc__reflection__v1__server_reflection__descriptor;
	r->v1alpha_descriptor.name = "grpc.reflection.v1alpha.ServerReflection";
	r->v1alpha_descriptor.package = "grpc.reflection.v1alpha";
	init_endpoint(&r->v1, r, &grpc__reflection__v1__server_reflection__descriptor);
	init_endpoint(&r->v1alpha, r, &r->v1alpha_descriptor);
	return r;
}

static void serve(struct rpc_server *server, struct endpoint *e)
{
	rpc_server_add(server, &e->service.base, NULL);
	server->methods->refused = refused; /* its only method */
}

void rpc_reflection_serve(struct rpc_reflection *r, struct rpc_server *server)
{
	serve(server, &r->v1);
	serve(server, &r->v1alpha);
}

void rpc_reflection_free(struct rpc_reflection *r)
{
	if (!r)
		return;
	pool_unref(r->builtin);
	free(r);
}
