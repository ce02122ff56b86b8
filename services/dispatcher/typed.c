#include "services/dispatcher/typed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/client/repo_client.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/rpc/client.h"
#include "common/rpc/pool.h"
#include "common/rpc/proxy.h"
#include "common/rpc/server.h"
#include "services/dispatcher/dispatch.h"
#include "services/dispatcher/dispatcher.h"

enum { MAX_KNOWN = 4096, MAX_INLINE_BYTES = 64 << 10 };
static const uint64_t fresh_ns = 1000000000;

/* The type of a collection, as the repo told it. */
struct known {
	uint64_t asked_ns;
	char message[];
};

struct typed {
	struct dispatcher *d;
	struct rpc_channel *repo;
	struct typed_collections *forms;
	pthread_mutex_t mu;
	struct map types; /* "<ns>/<name>" -> struct known */
};

struct typed *typed_new(struct dispatcher *d)
{
	struct typed *t = xcalloc(1, sizeof(*t));

	t->d = d;
	t->repo = daemon_channel(d->daemon, DAEMON_REPO);
	t->forms = typed_collections_new();
	pthread_mutex_init(&t->mu, NULL);
	return t;
}

void typed_free(struct typed *t)
{
	if (!t)
		return;
	map_release(&t->types, free);
	typed_collections_free(t->forms);
	pthread_mutex_destroy(&t->mu);
	free(t);
}

/* -------------------------------------------------------------------- types */

static void remember(struct typed *t, const char *key, const char *message)
{
	size_t size = strlen(message) + 1;
	struct known *k = xmalloc(sizeof(*k) + size);

	k->asked_ns = clock_monotonic_ns();
	memcpy(k->message, message, size);
	pthread_mutex_lock(&t->mu);
	if (t->types.count >= MAX_KNOWN) {
		map_release(&t->types, free);
		t->types = (struct map){0};
	}
	free(map_put(&t->types, key, k));
	pthread_mutex_unlock(&t->mu);
}

static void forget(struct typed *t, const char *key)
{
	pthread_mutex_lock(&t->mu);
	free(map_remove(&t->types, key));
	pthread_mutex_unlock(&t->mu);
}

/* In @arena; NULL: it was not asked for just now. */
static const char *recall(struct typed *t, const char *key, struct arena *arena)
{
	const char *message = NULL;
	const struct known *k;

	pthread_mutex_lock(&t->mu);
	k = map_get(&t->types, key);
	if (k && clock_monotonic_ns() - k->asked_ns < fresh_ns)
		message = arena_strdup(arena, k->message);
	pthread_mutex_unlock(&t->mu);
	return message;
}

static const char *key_of(const struct typed_collection *of, struct arena *arena)
{
	return arena_printf(arena, "%s/%s", of->ns, of->name);
}

bool typed_is_known(struct typed *t, const struct typed_collection *of)
{
	char key[sizeof(of->ns) + sizeof(of->name)];
	const struct known *k;
	bool is;

	snprintf(key, sizeof(key), "%s/%s", of->ns, of->name);
	pthread_mutex_lock(&t->mu);
	k = map_get(&t->types, key);
	is = k && clock_monotonic_ns() - k->asked_ns < fresh_ns;
	pthread_mutex_unlock(&t->mu);
	return is;
}

/* Ask the repo, and remember what it says. */
static enum status ask_type(struct typed *t, const struct typed_collection *of, void *call,
			    const char **ret_message, struct error *err)
{
	struct rpc_options options = {.parent = call};
	const char *key = key_of(of, rpc_arena(call));
	enum status status = repo_client_collection_type(t->repo, of->ns, of->name, &options,
							 rpc_arena(call), ret_message, err);

	if (status == STATUS_OK)
		remember(t, key, *ret_message);
	else
		forget(t, key);
	return status;
}

bool typed_is_absent(struct typed *t, const struct typed_collection *of, struct rpc_call *call)
{
	const char *ignored;
	struct error why;

	return ask_type(t, of, call, &ignored, &why) == STATUS_NOT_FOUND;
}

/* -------------------------------------------------------------------- calls */

/* A call under way, in its inbound call's arena. */
struct typed_call {
	struct typed *t;
	void *call;
	const struct typed_request *request;
	const struct typed_method *method;
	const char *message; /* its type */
	bool asked;          /* the repo, for this call */
	typed_done *done;
	void *arg;
};

static void finish_failed(struct typed_call *c, const struct error *err)
{
	const struct rpc_outcome outcome = {.not_processed = true};

	c->done(c->arg, err->status, err, bytes_of(NULL, 0), &outcome);
}

static void find_type(void *arg);

static void answered(void *arg, enum status status, const struct error *err, struct bytes reply,
		     const struct rpc_outcome *outcome)
{
	struct typed_call *c = arg;
	AUTO_STRBUF out = STRBUF_INIT;
	struct error broken = {.status = STATUS_OK};

	if (status == STATUS_INVALID_ARGUMENT && c->method->takes_item && !c->asked &&
	    rpc_pool_submit(rpc_server_pool(daemon_server(c->t->d->daemon)), find_type, c))
		return; /* perhaps its type is another now */
	if (status == STATUS_OK &&
	    typed_collection_response(c->method, reply, &out, &broken) != STATUS_OK) {
		status = broken.status;
		err = &broken;
	}
	c->done(c->arg, status, err, bytes_of(out.buf, out.len), outcome);
}

static void call_repo(struct typed_call *c)
{
	struct rpc_options options = {.parent = c->call,
				      .timeout_ms = rpc_time_left_ms(c->call),
				      .forward_caller = true};
	AUTO_STRBUF out = STRBUF_INIT;
	struct error err;

	if (typed_collection_request(c->method, &c->request->collection, c->message,
				     c->request->request, &out, &err) != STATUS_OK) {
		finish_failed(c, &err);
		return;
	}
	rpc_start_raw(c->t->repo, c->method->path, bytes_of(out.buf, out.len), &options,
		      answered, c, NULL);
}

/* Blocks on the repo. */
static void find_type(void *arg)
{
	struct typed_call *c = arg;
	const struct typed_collection *of = &c->request->collection;
	struct error err;
	enum status status = ask_type(c->t, of, c->call, &c->message, &err);

	c->asked = true;
	if (status == STATUS_OK) {
		call_repo(c);
		return;
	}
	if (status == STATUS_NOT_FOUND)
		error_set(&err, STATUS_UNIMPLEMENTED,
			  "there is no collection %s in namespace %s", of->name, of->ns);
	finish_failed(c, &err);
}

static struct typed_call *new_call(struct typed *t, const struct typed_request *request,
				   void *call, typed_done *done, void *arg)
{
	struct arena *arena = rpc_arena(call);
	struct typed_call *c = arena_alloc(arena, sizeof(*c));

	*c = (struct typed_call){
		.t = t,
		.call = call,
		.request = request,
		.method = typed_collection_method(t->forms, request->method),
		.done = done,
		.arg = arg,
	};
	c->message = recall(t, key_of(&request->collection, arena), arena);
	return c;
}

bool typed_message_names(struct typed *t, const char *service, const char *method,
			 struct arena *arena, const char **ret_request,
			 const char **ret_response)
{
	const struct typed_method *m = typed_collection_method(t->forms, method);

	if (!m)
		return false;
	*ret_request = arena_printf(arena, "%s_%s", service, m->request->name);
	*ret_response = arena_printf(arena, "%s_%s", service, m->response->name);
	return true;
}

static void refuse_method(struct typed_call *c)
{
	struct error err;

	if (c->method)
		error_set(&err, STATUS_FAILED_PRECONDITION,
			  "%s streams: it can only be called natively", c->request->method);
	else
		error_set(&err, STATUS_UNIMPLEMENTED, "a collection has no method %s",
			  c->request->method);
	finish_failed(c, &err);
}

void typed_start(struct typed *t, const struct typed_request *request, void *call,
		 typed_done *done, void *arg)
{
	struct typed_call *c = new_call(t, request, call, done, arg);

	if (!c->method || c->method->streams)
		refuse_method(c);
	else if (c->message)
		call_repo(c);
	else
		find_type(c);
}

/* ------------------------------------------------------------- native calls */

static void serve_done(void *arg, enum status status, const struct error *err,
		       struct bytes response, const struct rpc_outcome *outcome)
{
	struct rpc_call *call = arg;

	if (status == STATUS_OK)
		rpc_answer(call, response);
	else if (outcome->not_processed)
		rpc_fail_not_processed(call, err);
	else
		rpc_fail_error(call, err);
}

struct native {
	struct typed *t;
	struct rpc_call *call;
	struct typed_request request;
};

static void serve_on_pool(void *arg)
{
	struct native *n = arg;

	typed_start(n->t, &n->request, n->call, serve_done, n->call);
}

static void collected(void *arg, struct rpc_call *call)
{
	struct native *n = arg;
	struct typed_call *c;

	n->request.request = rpc_request_bytes(call);
	c = new_call(n->t, &n->request, call, serve_done, call);
	if (!c->method)
		refuse_method(c);
	else if (c->message && n->request.request.size <= MAX_INLINE_BYTES)
		call_repo(c); /* nothing to wait for */
	else if (!rpc_pool_submit(rpc_server_pool(daemon_server(n->t->d->daemon)),
				  serve_on_pool, n))
		rpc_fail(call, STATUS_RESOURCE_EXHAUSTED, "too many calls wait to be routed");
}

static bool translate(void *arg, enum rpc_direction direction, struct bytes message,
		      struct strbuf *out)
{
	const struct native *n = arg;
	const struct typed_method *m = typed_collection_method(n->t->forms, n->request.method);
	struct error ignored;

	return direction == RPC_TO_UPSTREAM
		       ? typed_collection_request(m, &n->request.collection, "", message, out,
						  &ignored) == STATUS_OK
		       : typed_collection_response(m, message, out, &ignored) == STATUS_OK;
}

/* Its request holds no item, so that nothing has to be known of the collection. */
static void serve_stream(struct native *n, const struct typed_method *m)
{
	rpc_forward(n->call, &(struct rpc_route){.channel = n->t->repo,
						 .path = m->path,
						 .translate = translate,
						 .arg = n});
}

void typed_serve(struct typed *t, struct rpc_call *call,
		 const struct typed_collection *collection, const char *method)
{
	const char *ns = rpc_metadata(call, DISPATCH_NAMESPACE_HEADER);
	const struct typed_method *m = typed_collection_method(t->forms, method);
	struct native *n = arena_alloc(rpc_arena(call), sizeof(*n));
	struct error err;

	if (ns && *ns && strcmp(ns, collection->ns) != 0) {
		error_field(&err, DISPATCH_NAMESPACE_HEADER,
			    "the service is of namespace %s, not %s", collection->ns, ns);
		rpc_fail_error(call, &err);
		return;
	}
	*n = (struct native){t, call, {*collection, method, bytes_of(NULL, 0)}};
	if (m && m->streams)
		serve_stream(n, m);
	else
		rpc_collect(call, collected, n);
}

/* --------------------------------------------------------------- descriptors */

/* The files of all collections whose type is known; in @arena. */
static size_t make_files(struct typed *t, const char *ns, const struct pool *base,
			 const struct repo_collection *all, size_t count, struct arena *arena,
			 struct bytes *files)
{
	AUTO_STRBUF made = STRBUF_INIT;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const char *message = all[i].message;
		const struct pool_file *file =
			pool_file_of_symbol(base, message, strlen(message));
		if (!file || !pool_message(base, message, strlen(message)))
			continue;
		strbuf_reset(&made);
		typed_collection_file(t->forms, ns, all[i].name, message, file->name, &made);
		files[n++] = bytes_of(arena_memdup(arena, made.buf, made.len), made.len);
	}
	return n;
}

enum status typed_extend(struct typed *t, const char *ns, struct pool *base,
			 const struct rpc_options *options, struct pool **ret_pool,
			 struct error *err)
{
	const struct repo_collection *all;
	struct bytes *files;
	struct arena arena;
	enum status status;
	size_t count;

	arena_init(&arena, 0);
	status = repo_client_collections(t->repo, ns, options, &arena, &all, &count, err);
	if (status == STATUS_OK) {
		files = arena_alloc(&arena, (count + 1) * sizeof(*files));
		count = make_files(t, ns, base, all, count, &arena, files);
		/* The registry has them too, but perhaps as they were a moment ago. */
		status = pool_replace(base, files, count, ret_pool, err);
	}
	arena_release(&arena);
	return status;
}

/* ------------------------------------------------------- methods of collections */

enum { MAX_PART_DEPTH = 8 };

static bool is_part(const struct pool_message *part, const struct pool_message *whole,
		    int depth);

static bool is_same(const struct pool_field *f, const struct pool_field *g, int depth)
{
	if (!g || f->type != g->type || f->repeated != g->repeated || f->is_map != g->is_map)
		return false;
	if (f->type_enum)
		return !strcmp(f->type_enum->full_name, g->type_enum->full_name);
	return !f->type_message || is_part(f->type_message, g->type_message, depth + 1);
}

/* Is every field of @part one of @whole? Then each reads what is written for the other. */
static bool is_part(const struct pool_message *part, const struct pool_message *whole,
		    int depth)
{
	if (!strcmp(part->full_name, whole->full_name))
		return true;
	if (depth > MAX_PART_DEPTH)
		return false;
	for (uint32_t i = 0; i < part->field_count; i++)
		if (!is_same(&part->fields[i],
			     pool_declared_field(whole, part->fields[i].number), depth))
			return false;
	return true;
}

static enum status compare(const struct pool_method *m, const struct pool_method *typed,
			   struct error *err)
{
	if (!typed)
		return error_field(err, "method_name", "a collection has no method %s",
				   m->name);
	if (m->client_streaming || m->server_streaming)
		return error_field(err, "method_name", "%s streams", m->full_name);
	if (!is_part(m->input, typed->input, 0))
		return error_field(err, "method_name", "%s has fields that %s has not",
				   m->input->full_name, typed->input->full_name);
	if (!is_part(m->output, typed->output, 0))
		return error_field(err, "method_name", "%s has fields that %s has not",
				   m->output->full_name, typed->output->full_name);
	return STATUS_OK;
}

enum status typed_check_method(struct typed *t, const char *ns, const char *collection,
			       const struct pool_method *m, struct pool *pool,
			       const struct rpc_options *options, struct error *err)
{
	AUTO_STRBUF name = STRBUF_INIT;
	struct repo_collection c = {.name = collection};
	const struct pool_service *service;
	struct pool *extended;
	struct bytes file;
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	status = repo_client_collection_type(t->repo, ns, collection, options, &arena,
					     &c.message, err);
	if (status == STATUS_OK && !make_files(t, ns, pool, &c, 1, &arena, &file))
		status = error_field(err, "collection_name",
				     "its type %s is not registered in namespace %s", c.message,
				     ns);
	if (status == STATUS_OK)
		status = pool_replace(pool, &file, 1, &extended, err);
	if (status == STATUS_OK) {
		typed_collection_service(ns, collection, &name);
		service = pool_service(extended, name.buf, name.len);
		status = compare(m, pool_method(service, m->name, strlen(m->name)), err);
		pool_unref(extended);
	}
	arena_release(&arena);
	return status;
}
