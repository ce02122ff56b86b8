#include "services/dispatcher/native.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/client/dispatch_records.h"
#include "common/client/type_cache.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/rpc/pool.h"
#include "common/rpc/proxy.h"
#include "common/rpc/server.h"
#include "services/dispatcher/bindings.h"
#include "services/dispatcher/candidates.h"
#include "services/dispatcher/dispatch.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/front.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/history.h"
#include "services/dispatcher/mesh.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/typed.h"
#include "services/dispatcher/wrappers.h"

struct native {
	struct dispatcher *d;
	struct rpc_fallback fallback;
};

/* One call under way, in its arena: what it asked for, and what it holds until
 * forwarded() is told that it is over. */
struct native_call {
	struct dispatcher *d;
	struct rpc_call *call;
	const char *ns, *service, *method, *target; /* in the call's arena */
	const char *traceparent;                    /* NULL: none */
	struct handler *handler;
	struct peer *peer;
	uint64_t started_us;
	struct candidates who;
	struct typed_collection collection; /* if it is a call of one */
	bool is_typed;
	const char *target_id; /* who was called last; "": nobody */
	bool is_forwarded;     /* to somebody, who failed or may */
	bool reached;          /* those that are only heard of were tried */
	struct error last;     /* how the last one failed */
};

/* ------------------------------------------------------------------- history */

static void keep_history(const struct native_call *n, const struct rpc_forwarded *result)
{
	struct dispatch_record record = {
		.ns = n->ns,
		.service = n->service,
		.method = n->method,
		.source_id = n->d->self.id,
		.target_id = n->target_id,
		.status = result->status,
		.message = "",
		.started_us = n->started_us,
		.duration_us = result->duration_us,
		.request_bytes = result->request_bytes,
		.response_bytes = result->response_bytes,
		.candidates_tried = (int)candidates_count(&n->who),
		.native = true,
		.traceparent = n->traceparent,
	};

	history_put(n->d->history, &record);
}

/*
 * Give back who was called. Whether it was away or said UNAVAILABLE itself cannot be told apart:
 * asked last it is.
 */
static void called(struct native_call *n, bool was_away)
{
	if (n->handler) {
		(was_away ? handler_was_away : handler_was_there)(n->handler);
		handlers_done(n->handler);
	}
	if (n->peer) {
		(was_away ? peer_was_away : peer_was_there)(n->peer);
		peer_done(n->peer);
	}
	n->handler = NULL;
	n->peer = NULL;
}

static void forwarded(void *arg, const struct rpc_forwarded *result)
{
	struct native_call *n = arg;

	keep_history(n, result);
	called(n, result->status == STATUS_UNAVAILABLE);
}

/* ---------------------------------------------------------------- forwarding */

static bool failed(void *arg, const struct rpc_failure *failure);

static void forward(struct native_call *n, struct rpc_route *route)
{
	const bool is_next = n->is_forwarded;

	n->is_forwarded = true;
	route->failed = failed;
	route->done = forwarded;
	route->arg = n;
	(is_next ? rpc_forward_next : rpc_forward)(n->call, route);
}

static void forward_to_backend(struct native_call *n)
{
	const struct rpc_header ns = {DISPATCH_NAMESPACE_HEADER, n->ns};
	struct rpc_route route = {
		.channel = handler_channel(n->handler),
		.forward_authorization = handler_forwards_authorization(n->handler),
		.headers = &ns,
		.header_count = 1,
	};

	candidates_call_handler(&n->who, n->handler);
	n->target_id = n->d->self.id;
	forward(n, &route);
}

static void fail_with(struct native_call *n, const struct error *err)
{
	if (n->is_forwarded)
		rpc_forward_fail(n->call, err, !n->who.is_unsure);
	else
		rpc_fail_not_processed(n->call, err);
}

static void fail(struct native_call *n, enum status status, const char *what)
{
	struct error err;

	error_set(&err, status, "%s/%s in namespace %s: %s", n->service, n->method, n->ns,
		  what);
	fail_with(n, &err);
}

static void forward_to_peer(struct native_call *n)
{
	struct arena *arena = rpc_arena(n->call);
	struct rpc_header headers[2] = {{DISPATCH_NAMESPACE_HEADER, n->ns}};
	struct rpc_route route = {
		.channel = peer_channel(n->peer),
		.headers = headers,
		.header_count = 2,
	};
	struct error err;
	const char *via;

	if (dispatch_via(rpc_metadata(n->call, DISPATCH_VIA_HEADER), n->d->self.id, arena, &via,
			 &err) != STATUS_OK) {
		peer_done(n->peer);
		n->peer = NULL;
		fail_with(n, &err);
		return;
	}
	headers[1] = (struct rpc_header){DISPATCH_VIA_HEADER, via};
	candidates_call_peer(&n->who, n->peer, arena);
	n->target_id = arena_strdup(arena, peer_id(n->peer));
	forward(n, &route);
}

/* ----------------------------------------------- handlers that take messages */

static void run_finished(struct dispatch *x, const struct dispatch_result *result)
{
	struct error err;

	if (result->envelope != STATUS_OK && result->not_processed) {
		rpc_fail_not_processed(x->call, &result->err);
	} else if (result->envelope != STATUS_OK) {
		rpc_fail_error(x->call, &result->err);
	} else if (result->status != STATUS_OK) {
		error_set(&err, result->status, "%s", result->message);
		rpc_fail_error(x->call, &err);
	} else {
		rpc_answer(x->call, result->output);
	}
}

static void start(void *arg)
{
	dispatch_start(arg);
}

/* On the call's loop, with its message. */
static void run(void *arg, struct rpc_call *call)
{
	struct native_call *n = arg;
	struct dispatch *x = arena_zalloc(rpc_arena(n->call), sizeof(*x));

	*x = (struct dispatch){
		.d = n->d,
		.call = n->call,
		.ns = n->ns,
		.service = n->service,
		.method = n->method,
		.target = n->target,
		.input = rpc_request_bytes(n->call),
		.native = true,
		.idempotent = dispatch_says_idempotent(n->call),
		.before = &n->who,
		.finish = run_finished,
	};
	if (!dispatch_try_start(x) &&
	    !rpc_pool_submit(rpc_server_pool(daemon_server(n->d->daemon)), start, x))
		rpc_fail(call, STATUS_RESOURCE_EXHAUSTED, "too many calls wait to be routed");
}

/* Only a method that takes and gives one message can be wrapped. */
static void collect_unary(void *arg)
{
	struct native_call *n = arg;
	struct rpc_options options = {.parent = n->call};
	const struct pool_method *method;
	struct pool *pool;
	bool streams;
	struct error err;

	if (type_cache_method(n->d->types, n->ns, n->service, n->method, &options, &pool,
			      &method, &err) != STATUS_OK) {
		rpc_fail_not_processed(n->call, &err);
		return;
	}
	streams = method->client_streaming || method->server_streaming;
	pool_unref(pool);
	if (streams)
		fail(n, STATUS_FAILED_PRECONDITION,
		     "the namespace has a Serve wrapper, which takes no streams");
	else
		rpc_collect(n->call, run, n);
}

static void look_again(void *arg);

/* The call's thread must not wait for @work, which does. */
static void submit(struct native_call *n, void (*work)(void *arg))
{
	if (!rpc_pool_submit(rpc_server_pool(daemon_server(n->d->daemon)), work, n))
		rpc_fail(n->call, STATUS_RESOURCE_EXHAUSTED,
			 "too many calls wait to be routed");
}

/*
 * A backend gets the call as it comes, if nothing is wrapped around it; others get its
 * message, as if by Dispatch.
 */
static void forward_to_handler(struct native_call *n)
{
	const bool wrapped = !wrappers_are_none(n->d->wrappers, n->ns);

	if (handler_kind(n->handler) == HANDLER_BACKEND && !wrapped) {
		forward_to_backend(n);
		return;
	}
	handlers_done(n->handler);
	n->handler = NULL;
	if (n->is_forwarded)
		rpc_forward_collect(n->call, run, n);
	else if (!wrapped)
		rpc_collect(n->call, run, n);
	else
		submit(n, wrappers_are_known(n->d->wrappers) ? collect_unary : look_again);
}

static bool take_handler(struct native_call *n)
{
	n->handler = candidates_take_handler(&n->who, false);
	return n->handler != NULL;
}

/* Just started: whether the namespace has a wrapper was not known. */
static void look_again(void *arg)
{
	struct native_call *n = arg;

	bindings_refresh(n->d->bindings);
	if (!wrappers_are_known(n->d->wrappers))
		fail(n, STATUS_UNAVAILABLE,
		     "the repo cannot be asked whether the namespace has a Serve wrapper");
	else if (take_handler(n))
		forward_to_handler(n);
	else
		fail(n, STATUS_UNAVAILABLE, "its handler is gone");
}

static bool is_elsewhere(const struct native_call *n)
{
	return *n->target && strcmp(n->target, n->d->self.id);
}

/* ----------------------------------------------------------------- slow path */

static void nobody_serves(struct native_call *n)
{
	struct rpc_options options = {.parent = n->call};
	const struct pool_method *method;
	struct pool *pool;
	struct error err;
	enum status status = type_cache_method(n->d->types, n->ns, n->service, n->method,
					       &options, &pool, &method, &err);

	if (status == STATUS_OK) {
		pool_unref(pool);
		fail(n, STATUS_UNAVAILABLE, "registered, but no handler is bound to it");
	} else if (status == STATUS_NOT_FOUND) {
		fail(n, STATUS_UNIMPLEMENTED, "nobody registered this method");
	} else {
		rpc_fail_not_processed(n->call, &err);
	}
}

static void serve_collection(struct native_call *n)
{
	typed_serve(n->d->typed, n->call, &n->collection, n->method);
}

/* Dials, if need be. */
static void reach(void *arg)
{
	struct native_call *n = arg;
	bool relays; /* a native call is passed on as it is, and routed by each hop anew */

	if (*n->target)
		n->peer = mesh_reach(n->d->mesh, n->target, n->call, &relays);
	else
		n->peer = mesh_reach_serving(n->d->mesh, n->ns, n->call, &relays);
	if (n->peer)
		forward_to_peer(n);
	else if (*n->target)
		fail(n, STATUS_NOT_FOUND, "the target collector is not known here");
	else if (n->is_typed)
		serve_collection(n); /* who says that there is none */
	else
		nobody_serves(n);
}

static void forward_or_reach(struct native_call *n)
{
	if (n->peer)
		forward_to_peer(n);
	else if (!mesh_submit(n->d->mesh, reach, n))
		fail(n, STATUS_RESOURCE_EXHAUSTED, "too many collectors are dialled");
}

/* As methods with handlers: here if it is here, else by a peer that serves the namespace. */
static void look_for_collection(void *arg)
{
	struct native_call *n = arg;

	if (!typed_is_absent(n->d->typed, &n->collection, n->call)) {
		serve_collection(n);
		return;
	}
	n->peer = candidates_take_peer(&n->who, n->call);
	forward_or_reach(n);
}

static void look_into(void *arg)
{
	struct native_call *n = arg;

	if (is_elsewhere(n)) {
		n->peer = peers_take(n->d->peers, n->target);
	} else {
		bindings_refresh(n->d->bindings);
		if (take_handler(n)) {
			forward_to_handler(n);
			return;
		}
		if (*n->target) {
			nobody_serves(n);
			return;
		}
		n->peer = candidates_take_peer(&n->who, n->call);
	}
	forward_or_reach(n);
}

/* ------------------------------------------------ one candidate after the other */

/* Who is left out of its only candidate's failure gets it as it is. */
static void nobody_is_left(struct native_call *n)
{
	struct error err;

	if (candidates_count(&n->who) == 1) {
		rpc_forward_failure(n->call);
		return;
	}
	candidates_describe_none(&n->who, &n->last, true, &err);
	fail_with(n, &err);
}

static void reach_next(void *arg)
{
	struct native_call *n = arg;
	bool relays; /* routed by each hop anew */

	n->peer = mesh_reach_serving(n->d->mesh, n->ns, n->call, &relays);
	if (n->peer)
		forward_to_peer(n);
	else
		nobody_is_left(n);
}

/*
 * Only where the call came in are other collectors asked, one after the other: if each that it
 * is passed on to did the same, there would be no end of it.
 */
static bool may_ask_peers(const struct native_call *n)
{
	return !*n->target && !rpc_metadata(n->call, DISPATCH_VIA_HEADER);
}

static void go_on(struct native_call *n)
{
	if (take_handler(n)) {
		forward_to_handler(n);
		return;
	}
	n->peer = may_ask_peers(n) ? candidates_take_peer(&n->who, n->call) : NULL;
	if (n->peer) {
		forward_to_peer(n);
	} else if (may_ask_peers(n) && !n->reached) {
		n->reached = true;
		if (!mesh_submit(n->d->mesh, reach_next, n))
			nobody_is_left(n);
	} else {
		nobody_is_left(n);
	}
}

static bool is_idempotent(struct native_call *n)
{
	struct rpc_options options = {.parent = n->call};
	const struct pool_method *method;
	struct pool *pool;
	struct error ignored; /* then it is not known to be */
	bool is;

	if (type_cache_method(n->d->types, n->ns, n->service, n->method, &options, &pool,
			      &method, &ignored) != STATUS_OK)
		return false;
	is = method->idempotency != POOL_IDEMPOTENCY_UNKNOWN;
	pool_unref(pool);
	return is;
}

/* Nobody knows whether it was processed. */
static void go_on_if_idempotent(void *arg)
{
	struct native_call *n = arg;

	if (!candidates_may_go_on(&n->who, n->call, n->last.status, false, is_idempotent(n))) {
		rpc_forward_failure(n->call);
		return;
	}
	called(n, true);
	go_on(n);
}

static bool failed(void *arg, const struct rpc_failure *failure)
{
	struct native_call *n = arg;

	if (is_elsewhere(n) || rpc_is_cancelled(n->call))
		return false;
	n->last = failure->err;
	if (!candidates_may_go_on(&n->who, n->call, failure->err.status, failure->not_processed,
				  dispatch_says_idempotent(n->call)))
		return failure->err.status == STATUS_UNAVAILABLE &&
		       rpc_pool_submit(rpc_server_pool(daemon_server(n->d->daemon)),
				       go_on_if_idempotent, n);
	called(n, failure->err.status == STATUS_UNAVAILABLE ||
			  (n->handler && failure->not_processed));
	go_on(n);
	return true;
}

/* ---------------------------------------------------------------- every call */

static const char *metadata_or(struct rpc_call *call, const char *key, const char *otherwise)
{
	const char *value = rpc_metadata(call, key);

	return value && *value ? value : otherwise;
}

static struct native_call *read_call(struct dispatcher *d, struct rpc_call *call,
				     const char *service, size_t len)
{
	struct arena *arena = rpc_arena(call);
	struct native_call *n = arena_zalloc(arena, sizeof(*n));

	*n = (struct native_call){
		.d = d,
		.call = call,
		.ns = metadata_or(call, DISPATCH_NAMESPACE_HEADER, NAMES_DEFAULT_NAMESPACE),
		.target = metadata_or(call, DISPATCH_TARGET_HEADER, ""),
		.service = arena_strndup(arena, service, len),
		.method = service + len + 1,
		.traceparent = rpc_metadata(call, "traceparent"),
		.started_us = clock_unix_us(),
		.target_id = "",
	};
	n->who = (struct candidates){
		.d = d, .ns = n->ns, .service = n->service, .method = n->method};
	return n;
}

/* The namespace is the collection's; what contradicts it is refused where it is served. */
static void route_typed(struct native_call *n)
{
	const char *said = rpc_metadata(n->call, DISPATCH_NAMESPACE_HEADER);
	const bool is_contradicted = said && *said && strcmp(said, n->collection.ns) != 0;

	n->is_typed = true;
	n->ns = n->who.ns = n->collection.ns;
	if (is_contradicted || *n->target || !strcmp(n->ns, NAMES_SYSTEM_NAMESPACE) ||
	    typed_is_known(n->d->typed, &n->collection))
		serve_collection(n);
	else
		submit(n, look_for_collection);
}

static void route(void *arg, struct rpc_call *call)
{
	struct native *native = arg;
	struct dispatcher *d = native->d;
	const char *service = rpc_method_path(call) + 1, *slash = strrchr(service, '/');
	size_t len = slash ? (size_t)(slash - service) : 0;
	struct rpc_channel *owner = front_channel(d->front, service, len);
	struct native_call *n;
	struct error err;

	if (owner) {
		rpc_forward(call, &(struct rpc_route){.channel = owner});
		return;
	}
	if (!len || !slash[1]) {
		rpc_fail(call, STATUS_UNIMPLEMENTED, "%s is not /package.Service/Method",
			 rpc_method_path(call));
		return;
	}
	n = read_call(d, call, service, len);
	if (names_check_namespace(n->ns, DISPATCH_NAMESPACE_HEADER, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	if (!is_elsewhere(n) && typed_collection_of(n->service, &n->collection))
		route_typed(n);
	else if (!is_elsewhere(n) && take_handler(n))
		forward_to_handler(n);
	else
		submit(n, look_into);
}

struct native *native_new(struct dispatcher *d)
{
	struct native *n = xcalloc(1, sizeof(*n));

	*n = (struct native){d, {route, n}};
	return n;
}

void native_free(struct native *n)
{
	free(n);
}

const struct rpc_fallback *native_fallback(struct native *n)
{
	return &n->fallback;
}
