#include "services/dispatcher/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/client/type_cache.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/rpc/pool.h"
#include "common/rpc/reflection.h"
#include "common/rpc/server.h"
#include "common/rpc/status_code.h"
#include "services/dispatcher/attach_rpc.h"
#include "services/dispatcher/dispatch.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/rpc_shared.h"
#include "services/dispatcher/typed.h"

struct dispatcher *dispatcher_rpc_of(Collector__CollectiveDispatcher_Service *service)
{
	return ((struct dispatcher_rpc *)service)->d;
}

Collector__Status *dispatcher_rpc_ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

Google__Protobuf__Timestamp *dispatcher_rpc_stamp(struct arena *arena, uint64_t unix_us)
{
	Google__Protobuf__Timestamp *t = arena_alloc(arena, sizeof(*t));

	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(unix_us / 1000000);
	t->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return t;
}

Collector__Metadata *dispatcher_rpc_metadata(struct arena *arena, uint64_t created_us)
{
	Collector__Metadata *m = arena_alloc(arena, sizeof(*m));

	collector__metadata__init(m);
	m->created_at = dispatcher_rpc_stamp(arena, created_us);
	return m;
}

/* ---------------------------------------------------------- Serve, Dispatch */

/* The parts that both envelopes have. */
struct envelope {
	const char *ns;
	const Collector__ServiceTypeRef *service;
	const char *method;
	const Google__Protobuf__Any *input;
};

enum status dispatcher_rpc_check_service(const char *ns,
					 const Collector__ServiceTypeRef *service,
					 struct error *err)
{
	enum status status = names_check_namespace(ns, "namespace", err);

	if (status == STATUS_OK && !service)
		status = error_field(err, "service", "the service is missing");
	if (status == STATUS_OK)
		status = names_check_nested_namespace(service->namespace_, ns,
						      "service.namespace", err);
	if (status == STATUS_OK)
		status = names_check_symbol(service->service_name, "service.service_name", err);
	return status;
}

enum status dispatcher_rpc_check_method(const char *ns,
					const Collector__ServiceTypeRef *service,
					const char *method, struct error *err)
{
	enum status status = dispatcher_rpc_check_service(ns, service, err);

	return status == STATUS_OK ? names_check_symbol(method, "method_name", err) : status;
}

static enum status check_envelope(const struct envelope *e, struct error *err)
{
	enum status status = dispatcher_rpc_check_method(e->ns, e->service, e->method, err);
	const char *slash;

	if (status != STATUS_OK)
		return status;
	if (!e->input)
		return error_field(err, "input", "the input is missing");
	slash = strrchr(e->input->type_url, '/');
	if (!slash)
		return error_field(err, "input.type_url",
				   "'%s' is not type.googleapis.com/package.Message",
				   e->input->type_url);
	return names_check_symbol(slash + 1, "input.type_url", err);
}

static struct dispatch *new_dispatch(struct dispatcher *d, void *call, const struct envelope *e)
{
	struct dispatch *x = arena_zalloc(rpc_arena(call), sizeof(*x));

	*x = (struct dispatch){
		.d = d,
		.call = call,
		.ns = names_namespace_or_default(e->ns),
		.service = e->service->service_name,
		.method = e->method,
		.target = "",
		.input_type = strrchr(e->input->type_url, '/') + 1,
		.input = bytes_of(e->input->value.data, e->input->value.len),
	};
	return x;
}

/* The body's status and output; *ret_output stays NULL when there is none. */
static Collector__Status *body_status(const struct dispatch_result *result, struct arena *arena)
{
	Collector__Status *status = dispatcher_rpc_ok(arena);

	status->code = (Collector__Status__Code)status_to_collector_code(result->status);
	status->message = (char *)result->message;
	return status;
}

static Google__Protobuf__Any *body_output(const struct dispatch_result *result,
					  struct arena *arena)
{
	Google__Protobuf__Any *any;

	if (result->status != STATUS_OK || !result->output_type)
		return NULL;
	any = arena_alloc(arena, sizeof(*any));
	google__protobuf__any__init(any);
	any->type_url = arena_printf(arena, "type.googleapis.com/%s", result->output_type);
	any->value.data = (uint8_t *)result->output.data;
	any->value.len = result->output.size;
	return any;
}

static void fail_envelope(void *call, const struct dispatch_result *result)
{
	if (result->not_processed)
		rpc_fail_not_processed(call, &result->err);
	else
		rpc_fail_error(call, &result->err);
}

static void serve_finished(struct dispatch *x, const struct dispatch_result *result)
{
	Collector__ServeResponse reply = COLLECTOR__SERVE_RESPONSE__INIT;
	Collector__ServeResponse_Closure reply_to =
		(Collector__ServeResponse_Closure)rpc_user(x->call);

	if (result->envelope != STATUS_OK) {
		fail_envelope(x->call, result);
		return;
	}
	reply.status = body_status(result, rpc_arena(x->call));
	reply.output = body_output(result, rpc_arena(x->call));
	reply.executor_id = (char *)result->handled_by;
	reply_to(&reply, x->call);
}

static void start_slowly(void *arg)
{
	dispatch_start(arg);
}

static void start(struct dispatch *x)
{
	struct error err;

	if (dispatch_try_start(x) ||
	    rpc_pool_submit(rpc_server_pool(daemon_server(x->d->daemon)), start_slowly, x))
		return;
	error_set(&err, STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting");
	rpc_fail_not_processed(x->call, &err);
}

static void serve(Collector__CollectiveDispatcher_Service *service,
		  const Collector__ServeRequest *request,
		  Collector__ServeResponse_Closure reply_to, void *call)
{
	struct envelope e = {request->namespace_, request->service, request->method_name,
			     request->input};
	struct dispatch *x;
	struct error err;

	if (check_envelope(&e, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	x = new_dispatch(dispatcher_rpc_of(service), call, &e);
	x->serve = x->local_only = true;
	x->idempotent = dispatch_says_idempotent(call);
	x->finish = serve_finished;
	rpc_set_user(call, (void *)reply_to, NULL);
	start(x);
}

static void dispatch_finished(struct dispatch *x, const struct dispatch_result *result)
{
	Collector__DispatchResponse reply = COLLECTOR__DISPATCH_RESPONSE__INIT;
	Collector__DispatchResponse_Closure reply_to =
		(Collector__DispatchResponse_Closure)rpc_user(x->call);

	if (result->envelope != STATUS_OK) {
		fail_envelope(x->call, result);
		return;
	}
	reply.status = body_status(result, rpc_arena(x->call));
	reply.output = body_output(result, rpc_arena(x->call));
	reply.handled_by_collector_id = (char *)result->handled_by;
	reply_to(&reply, x->call);
}

static void take_hints(struct dispatch *x, const Collector__DispatchRequest *request)
{
	const size_t count = request->n_routing_hints;
	struct rpc_header *hints =
		arena_alloc(rpc_arena(x->call), (count + 1) * sizeof(*hints));

	x->idempotent = dispatch_says_idempotent(x->call);
	for (size_t i = 0; i < count; i++) {
		hints[i] = (struct rpc_header){request->routing_hints[i]->key,
					       request->routing_hints[i]->value};
		x->idempotent |=
			!strcmp(hints[i].key, "idempotent") && !strcmp(hints[i].value, "true");
	}
	x->hints = hints;
	x->hint_count = count;
}

static void dispatch(Collector__CollectiveDispatcher_Service *service,
		     const Collector__DispatchRequest *request,
		     Collector__DispatchResponse_Closure reply_to, void *call)
{
	struct envelope e = {request->namespace_, request->service, request->method_name,
			     request->input};
	struct dispatch *x;
	struct error err;

	if (check_envelope(&e, &err) != STATUS_OK ||
	    names_check_namespace(request->target_collector_id, "target_collector_id", &err) !=
		    STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	x = new_dispatch(dispatcher_rpc_of(service), call, &e);
	x->target = request->target_collector_id;
	take_hints(x, request);
	x->finish = dispatch_finished;
	rpc_set_user(call, (void *)reply_to, NULL);
	start(x);
}

/* ---------------------------------------------------------------- reflection */

static enum status reflection_snapshot(void *arg, const char *ns, struct pool **ret_pool,
				       struct error *err)
{
	struct dispatcher_rpc *r = arg;
	struct rpc_options options = {.timeout_ms = 5000};
	struct pool *registered;
	struct error ignored; /* a repo that is away hides its collections, nothing else */
	enum status status = type_cache_current(r->d->types, ns, &options, &registered, err);

	if (status != STATUS_OK)
		return status;
	if (typed_extend(r->d->typed, ns, registered, &options, ret_pool, &ignored) ==
	    STATUS_OK)
		pool_unref(registered);
	else
		*ret_pool = registered;
	return STATUS_OK;
}

struct dispatcher_rpc *dispatcher_rpc_new(struct dispatcher *d)
{
	static const struct rpc_method_policy policies[] = {{"Ping", RPC_RUN_INLINE},
							    {"Connect", RPC_RUN_INLINE},
							    {"ConnectPeer", RPC_RUN_INLINE},
							    {"Attach", RPC_RUN_INLINE},
							    {"Dispatch", RPC_RUN_INLINE},
							    {"Serve", RPC_RUN_INLINE},
							    {NULL, RPC_RUN_POOL}};
	struct dispatcher_rpc *r = xcalloc(1, sizeof(*r));

	*r = (struct dispatcher_rpc){
		.service =
			{
				.base = {.descriptor =
						 &collector__collective_dispatcher__descriptor,
					 .invoke = protobuf_c_service_invoke_internal},
				.serve = serve,
				.dispatch = dispatch,
			},
		.d = d,
		.reflection = {reflection_snapshot, r},
	};
	dispatcher_rpc_set_mesh_methods(r);
	dispatcher_rpc_set_handler_methods(r);
	dispatcher_rpc_set_attach_method(r);
	dispatcher_rpc_set_wrapper_methods(r);
	rpc_server_add(daemon_server(d->daemon), &r->service.base, policies);
	rpc_server_set_reflection(daemon_server(d->daemon), &r->reflection);
	return r;
}

void dispatcher_rpc_free(struct dispatcher_rpc *r)
{
	free(r);
}
