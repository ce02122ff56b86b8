#include "services/dispatcher/dispatch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/client/dispatcher_client.h"
#include "common/client/type_cache.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"
#include "services/dispatcher/bindings.h"
#include "services/dispatcher/candidates.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handler_call.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/history.h"
#include "services/dispatcher/mesh.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/wrappers.h"

enum {
	MAX_HEADERS = 4,
	MAX_QUICK_BYTES = 64 << 10, /* checking more than this is no work for a loop's thread */
};

/* A dispatch under way; in the call's arena. */
struct attempt {
	struct dispatch *x;
	struct handler *handler; /* being asked now */
	struct peer *peer;
	struct pool *pool; /* holds method */
	const struct pool_method *method;
	struct candidates who;
	struct handler_call local;
	uint64_t started_us;
	const char *typed_output; /* of a typed collection: the type of its answer */
	bool relays;              /* the peer passes the call on to one that is heard of */
	bool reached;             /* what is heard of was tried */
	struct error *last;       /* why the candidate before failed; NULL: there was none */
};

static void try_next(struct attempt *a, const struct error *last);

/* ------------------------------------------------------------------- ending */

static void keep_history(const struct attempt *a, const struct dispatch_result *result)
{
	const struct dispatch *x = a->x;
	uint64_t now = clock_unix_us();
	struct dispatch_record record = {
		.ns = x->ns,
		.service = x->service,
		.method = x->method,
		.source_id = x->d->self.id,
		.target_id = result->handled_by ? result->handled_by : "",
		.status = result->envelope != STATUS_OK ? result->envelope : result->status,
		.message =
			result->envelope != STATUS_OK ? result->err.message : result->message,
		.started_us = a->started_us,
		.duration_us = now > a->started_us ? now - a->started_us : 0,
		.request_bytes = x->input.size,
		.response_bytes = result->output.size,
		.candidates_tried = (int)candidates_count(&a->who),
		.native = x->native,
		.traceparent = rpc_metadata(x->call, "traceparent"),
	};

	history_put(x->d->history, &record);
}

static void finish(struct attempt *a, const struct dispatch_result *result)
{
	if (!a->x->serve)
		keep_history(a, result);
	pool_unref(a->pool);
	a->x->finish(a->x, result);
}

/* Whoever comes last, one of those before may have processed it. */
static void finish_failed(struct attempt *a, const struct error *err, bool not_processed)
{
	struct dispatch_result result = {.envelope = err->status,
					 .err = *err,
					 .not_processed = not_processed && !a->who.is_unsure};

	finish(a, &result);
}

/* ------------------------------------------------------------------ headers */

enum status dispatch_via(const char *via, const char *self, struct arena *arena,
			 const char **ret_via, struct error *err)
{
	size_t hops = 0, self_len = strlen(self);

	for (const char *p = via ? via : ""; *p; hops++) {
		size_t len = strcspn(p, ",");
		if (len == self_len && !memcmp(p, self, len))
			return error_set(err, STATUS_FAILED_PRECONDITION,
					 "the call came back to collector %s: a loop (%s)",
					 self, via);
		p += len + (p[len] == ',');
	}
	if (hops >= DISPATCH_MAX_HOPS)
		return error_set(err, STATUS_FAILED_PRECONDITION, "more than %d hops (%s)",
				 DISPATCH_MAX_HOPS, via);
	*ret_via = hops ? arena_printf(arena, "%s,%s", via, self) : self;
	return STATUS_OK;
}

bool dispatch_says_idempotent(void *call)
{
	const char *value = rpc_metadata(call, DISPATCH_IDEMPOTENT_HEADER);

	return value && !strcmp(value, "true");
}

/* ------------------------------------------------------------- local handler */

static bool may_repeat(const struct attempt *a)
{
	return a->x->idempotent ||
	       (a->method && a->method->idempotency != POOL_IDEMPOTENCY_UNKNOWN);
}

static bool may_try_next(struct attempt *a, enum status status, bool not_processed)
{
	return candidates_may_go_on(&a->who, a->x->call, status, not_processed, may_repeat(a));
}

/* The output must be what the method gives; of a method that nobody registered, anything. */
static bool is_output(const struct attempt *a, const char *type, struct bytes output)
{
	struct error ignored;

	return !a->method ||
	       (!strcmp(type, a->method->output->full_name) &&
		wire_validate(a->pool, a->method->output, output, 0, &ignored) == STATUS_OK);
}

static void finish_local(struct attempt *a, const char *type, struct bytes output)
{
	struct dispatch_result result = {.handled_by = a->x->d->self.id};

	if (is_output(a, type, output)) {
		result.message = "";
		result.output_type = *type ? type : NULL;
		result.output = output;
	} else {
		result.status = STATUS_INTERNAL;
		result.message = "the handler's answer is not of the method's output type";
	}
	finish(a, &result);
}

/* It failed. Ends the attempt, or goes on with another candidate. */
static void failed_local(struct attempt *a, const struct error *err, bool not_processed)
{
	struct dispatch_result failed = {
		.handled_by = a->x->d->self.id, .status = err->status, .message = err->message};

	if (may_try_next(a, err->status, not_processed))
		try_next(a, err);
	else
		finish(a, &failed);
}

static void handler_answered(void *arg, const struct attached_outcome *outcome)
{
	struct attempt *a = arg;
	struct error err;

	if (outcome->not_processed)
		handler_was_away(a->handler);
	else
		handler_was_there(a->handler);
	handlers_done(a->handler);
	a->handler = NULL;
	if (outcome->status == STATUS_OK) {
		finish_local(a, outcome->output_type, outcome->output);
		return;
	}
	error_set(&err, outcome->status, "%s", outcome->message);
	failed_local(a, &err, outcome->not_processed);
}

static void call_handler(struct attempt *a)
{
	const struct dispatch *x = a->x;

	candidates_call_handler(&a->who, a->handler);
	a->local = (struct handler_call){
		.d = x->d,
		.call = x->call,
		.handler = a->handler,
		.ns = x->ns,
		.service = x->service,
		.method = x->method,
		.input_type = x->input_type,
		.input = x->input,
		.registered = a->method,
		.done = handler_answered,
		.arg = a,
	};
	handler_call_start(&a->local);
}

/* The input must be what the method takes; NULL method: unknown here. */
static enum status check_input(const struct attempt *a, struct error *err)
{
	const struct pool_message *type;
	enum status status;

	if (!a->method)
		return STATUS_OK;
	type = a->method->input;
	if (a->method->client_streaming || a->method->server_streaming)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s streams: it can only be called natively",
				 a->method->full_name);
	if (strcmp(a->x->input_type, type->full_name))
		return error_field(err, "input.type_url", "%s takes %s, not %s",
				   a->method->full_name, type->full_name, a->x->input_type);
	status = wire_validate(a->pool, type, a->x->input, 0, err);
	if (status != STATUS_OK)
		error_prefix_field(err, "input");
	return status;
}

/* -------------------------------------------------------------------- peers */

/* Whoever repeats a call under one key is told apart from who calls twice. */
static size_t put_headers(const struct attempt *a, struct rpc_header headers[MAX_HEADERS])
{
	const char *key = rpc_metadata(a->x->call, DISPATCH_IDEMPOTENCY_HEADER);
	size_t n = 0;

	headers[n++] = (struct rpc_header){DISPATCH_NAMESPACE_HEADER, a->x->ns};
	if (key)
		headers[n++] = (struct rpc_header){DISPATCH_IDEMPOTENCY_HEADER, key};
	if (a->x->idempotent)
		headers[n++] = (struct rpc_header){DISPATCH_IDEMPOTENT_HEADER, "true"};
	return n;
}

static void finish_peer(struct attempt *a, struct bytes reply)
{
	struct dispatch_answer answer;
	struct dispatch_result result = {.message = ""};
	struct error err;

	if ((a->relays ? dispatch_response_unpack : serve_response_unpack)(
		    reply, rpc_arena(a->x->call), &answer, &err) != STATUS_OK) {
		finish_failed(a, &err, false);
		return;
	}
	result.handled_by = *answer.handled_by
				    ? answer.handled_by
				    : arena_strdup(rpc_arena(a->x->call), peer_id(a->peer));
	result.status = answer.status;
	result.message = answer.message;
	result.output_type = *answer.output_type ? answer.output_type : NULL;
	result.output = answer.output;
	finish(a, &result);
}

static void peer_done_call(void *arg, enum status status, const struct error *err,
			   struct bytes reply, const struct rpc_outcome *outcome)
{
	struct attempt *a = arg;
	struct peer *peer = a->peer;

	if (status == STATUS_UNAVAILABLE)
		peer_was_away(peer);
	else
		peer_was_there(peer);
	if (status == STATUS_OK)
		finish_peer(a, reply);
	else if (!*a->x->target && may_try_next(a, status, outcome->not_processed))
		try_next(a, err);
	else
		finish_failed(a, err, outcome->not_processed);
	peer_done(peer);
}

static void call_peer(struct attempt *a)
{
	struct dispatch *x = a->x;
	struct arena *arena = rpc_arena(x->call);
	struct rpc_header headers[MAX_HEADERS];
	struct rpc_options options = {.parent = x->call, .headers = headers};
	struct dispatch_request request = {.ns = x->ns,
					   .service = x->service,
					   .method = x->method,
					   .target = x->target,
					   .input_type = x->input_type,
					   .input = x->input,
					   .hints = x->hints,
					   .hint_count = x->hint_count};
	struct error err;
	const char *via;

	if (dispatch_via(rpc_metadata(x->call, DISPATCH_VIA_HEADER), x->d->self.id, arena, &via,
			 &err) != STATUS_OK) {
		peer_done(a->peer);
		finish_failed(a, &err, true);
		return;
	}
	options.header_count = put_headers(a, headers);
	headers[options.header_count++] = (struct rpc_header){DISPATCH_VIA_HEADER, via};
	options.timeout_ms = rpc_time_left_ms(x->call);
	candidates_call_peer(&a->who, a->peer, arena);
	if (a->relays)
		rpc_start_raw(peer_channel(a->peer), DISPATCH_PATH,
			      dispatch_request_pack(&request, arena), &options, peer_done_call,
			      a, NULL);
	else
		rpc_start_raw(peer_channel(a->peer), "/collector.CollectiveDispatcher/Serve",
			      serve_request_pack(&request, arena), &options, peer_done_call, a,
			      NULL);
}

/* ----------------------------------------------------------------- choosing */

static void nobody(struct attempt *a, const struct error *last)
{
	struct error err;

	candidates_describe_none(&a->who, last, a->method != NULL, &err);
	finish_failed(a, &err, true);
}

static struct handler *take_handler(const struct attempt *a)
{
	return candidates_take_handler(&a->who, !a->method);
}

/* Dialling blocks, and the thread here may be a loop's. */
static void reach(void *arg)
{
	struct attempt *a = arg;
	struct dispatch *x = a->x;

	a->peer = mesh_reach_serving(x->d->mesh, x->ns, x->call, &a->relays);
	if (a->peer)
		call_peer(a);
	else
		nobody(a, a->last);
}

static bool reach_on_pool(struct attempt *a, const struct error *last)
{
	a->reached = true;
	a->last = last ? arena_memdup(rpc_arena(a->x->call), last, sizeof(*last)) : NULL;
	return mesh_submit(a->x->d->mesh, reach, a);
}

static void try_next(struct attempt *a, const struct error *last)
{
	struct dispatch *x = a->x;

	if (a->who.handler_count) {
		a->handler = take_handler(a);
		if (a->handler) {
			call_handler(a);
			return;
		}
	}
	a->relays = false;
	a->peer = x->local_only ? NULL : candidates_take_peer(&a->who, x->call);
	if (a->peer)
		call_peer(a);
	else if (x->local_only || a->reached || !reach_on_pool(a, last))
		nobody(a, last);
}

/* Dials it, if need be. */
static void reach_target(void *arg)
{
	struct attempt *a = arg;
	struct dispatch *x = a->x;
	struct error err;

	a->peer = mesh_reach(x->d->mesh, x->target, x->call, &a->relays);
	if (a->peer) {
		call_peer(a);
		return;
	}
	error_field(&err, "target_collector_id", "collector %s is not known here", x->target);
	err.status = STATUS_NOT_FOUND;
	finish_failed(a, &err, true);
}

static void start_targeted(struct attempt *a)
{
	struct error err;

	a->peer = peers_take(a->x->d->peers, a->x->target);
	if (a->peer) {
		call_peer(a);
	} else if (!mesh_submit(a->x->d->mesh, reach_target, a)) {
		error_set(&err, STATUS_RESOURCE_EXHAUSTED, "too many collectors are dialled");
		finish_failed(a, &err, true);
	}
}

static void start_local(struct attempt *a)
{
	struct error err;

	if (check_input(a, &err) == STATUS_OK) {
		call_handler(a);
		return;
	}
	handlers_done(a->handler);
	finish_failed(a, &err, true);
}

/* ------------------------------------------------------------ typed collections */

static void typed_answered(void *arg, enum status status, const struct error *err,
			   struct bytes response, const struct rpc_outcome *how)
{
	struct attempt *a = arg;
	struct dispatch_result result = {.handled_by = a->x->d->self.id,
					 .status = status,
					 .message = status == STATUS_OK ? "" : err->message};
	struct error nobody;

	if (status == STATUS_UNIMPLEMENTED && how->not_processed && !a->x->local_only) {
		try_next(a, NULL); /* there is no such collection here */
		return;
	}
	if (status != STATUS_OK && how->not_processed) {
		nobody = *err;
		if (status == STATUS_UNIMPLEMENTED)
			nobody.status = STATUS_NOT_FOUND;
		finish_failed(a, &nobody, true);
		return;
	}
	if (status == STATUS_OK) {
		result.output_type = a->typed_output;
		result.output = response;
	}
	finish(a, &result);
}

static void start_typed(struct attempt *a, const struct typed_collection *of)
{
	const struct dispatch *x = a->x;
	const char *type;
	struct error err = {.status = STATUS_OK};

	if (!typed_message_names(x->d->typed, x->service, x->method, rpc_arena(x->call), &type,
				 &a->typed_output))
		error_set(&err, STATUS_NOT_FOUND, "a collection has no method %s", x->method);
	else if (strcmp(of->ns, x->ns) != 0)
		error_field(&err, "namespace", "the service is of namespace %s, not %s", of->ns,
			    x->ns);
	else if (strcmp(x->input_type, type) != 0)
		error_field(&err, "input.type_url", "%s takes %s, not %s", x->method, type,
			    x->input_type);
	if (err.status != STATUS_OK) {
		finish_failed(a, &err, true);
		return;
	}
	a->local.typed = (struct typed_request){*of, x->method, x->input};
	typed_start(x->d->typed, &a->local.typed, x->call, typed_answered, a);
}

static struct attempt *attempt_new(struct dispatch *x)
{
	struct attempt *a = arena_zalloc(rpc_arena(x->call), sizeof(*a));

	a->x = x;
	if (x->before)
		a->who = *x->before;
	a->who.d = x->d;
	a->who.ns = x->ns;
	a->who.service = x->service;
	a->who.method = x->method;
	a->started_us = clock_unix_us();
	return a;
}

static bool is_elsewhere(const struct dispatch *x)
{
	return *x->target && strcmp(x->target, x->d->self.id);
}

void dispatch_start(struct dispatch *x)
{
	struct attempt *a = attempt_new(x);
	struct rpc_options options = {.parent = x->call};
	struct typed_collection collection;
	struct error err;
	enum status status;

	if (is_elsewhere(x)) {
		start_targeted(a);
		return;
	}
	if (*x->target)
		x->local_only = true;
	if (typed_collection_of(x->service, &collection)) {
		start_typed(a, &collection);
		return;
	}
	status = type_cache_method(x->d->types, x->ns, x->service, x->method, &options,
				   &a->pool, &a->method, &err);
	if (x->native && !a->method) {
		err.status = status == STATUS_NOT_FOUND ? STATUS_UNIMPLEMENTED : status;
		finish_failed(a, &err, true);
		return;
	}
	if (x->native)
		x->input_type = a->method->input->full_name;
	a->handler = take_handler(a);
	if (a->handler ? !wrappers_are_known(x->d->wrappers) : a->method != NULL) {
		bindings_refresh(x->d->bindings);
		if (!a->handler)
			a->handler = take_handler(a);
	}
	if (a->handler)
		start_local(a);
	else if (status != STATUS_OK && status != STATUS_NOT_FOUND && x->local_only)
		finish_failed(a, &err, true);
	else
		try_next(a, NULL);
}

/* Is all known that the call needs to go to a handler here? Then it holds that. */
static bool find_here(struct attempt *a)
{
	const struct dispatch *x = a->x;
	struct typed_collection collection;

	if (typed_collection_of(x->service, &collection) ||
	    !wrappers_are_known(x->d->wrappers) ||
	    !type_cache_known_method(x->d->types, x->ns, x->service, x->method, &a->pool,
				     &a->method))
		return false;
	a->handler = take_handler(a);
	if (a->handler && handler_kind(a->handler) != HANDLER_COLLECTION)
		return true;
	if (a->handler)
		handlers_done(a->handler);
	pool_unref(a->pool);
	return false;
}

bool dispatch_try_start(struct dispatch *x)
{
	struct attempt *a;

	if (x->input.size > MAX_QUICK_BYTES)
		return false;
	a = attempt_new(x);
	if (is_elsewhere(x)) {
		start_targeted(a);
		return true;
	}
	if (!find_here(a))
		return false;
	x->local_only = x->local_only || *x->target;
	if (x->native)
		x->input_type = a->method->input->full_name;
	start_local(a);
	return true;
}
