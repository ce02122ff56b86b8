#include "common/base/names.h"
#include "common/client/type_cache.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/dispatcher/bindings.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/rpc_shared.h"
#include "services/dispatcher/wrappers.h"

#include <string.h>

/* Serve(collector.ServeRequest) returns (collector.ServeResponse), by whatever name. */
static enum status check_shape(const struct pool_method *m, struct error *err)
{
	if (m->client_streaming || m->server_streaming ||
	    strcmp(m->input->full_name, "collector.ServeRequest") != 0 ||
	    strcmp(m->output->full_name, "collector.ServeResponse") != 0)
		return error_field(err, "wrapper.method_name",
				   "%s does not take a collector.ServeRequest and return a "
				   "collector.ServeResponse",
				   m->full_name);
	return STATUS_OK;
}

static enum status check_wrapper(struct dispatcher *d, const struct wrapper_record *w,
				 void *call, struct error *err)
{
	struct rpc_options options = {.parent = call};
	const struct pool_method *method;
	struct pool *pool;
	enum status status;

	if (!strcmp(w->ns, w->wrapper_ns))
		return error_field(err, "wrapper.wrapper_namespace",
				   "a wrapper's method is not in the namespace that it wraps");
	status = names_check_symbol(w->service, "wrapper.service_name", err);
	if (status == STATUS_OK)
		status = names_check_symbol(w->method, "wrapper.method_name", err);
	if (status == STATUS_OK)
		status = type_cache_method(d->types, w->wrapper_ns, w->service, w->method,
					   &options, &pool, &method, err);
	if (status != STATUS_OK)
		return status;
	status = check_shape(method, err);
	pool_unref(pool);
	return status;
}

static enum status read_wrapper(struct dispatcher *d, const Collector__ServeWrapper *from,
				void *call, struct wrapper_record *ret, struct error *err)
{
	enum status status;

	if (rpc_caller(call)->kind == RPC_CALLER_USER)
		return error_set(err, STATUS_PERMISSION_DENIED, "only an admin sets wrappers");
	if (!from)
		return error_field(err, "wrapper", "the wrapper is missing");
	status = names_check_namespace(from->namespace_, "wrapper.namespace", err);
	if (status == STATUS_OK)
		status = names_check_namespace(from->wrapper_namespace,
					       "wrapper.wrapper_namespace", err);
	if (status != STATUS_OK)
		return status;
	*ret = (struct wrapper_record){names_namespace_or_default(from->namespace_),
				       names_namespace_or_default(from->wrapper_namespace),
				       from->service_name, from->method_name};
	return *ret->service ? check_wrapper(d, ret, call, err) : STATUS_OK;
}

static void set_serve_wrapper(Collector__CollectiveDispatcher_Service *service,
			      const Collector__SetServeWrapperRequest *request,
			      Collector__SetServeWrapperResponse_Closure reply_to, void *call)
{
	Collector__SetServeWrapperResponse reply = COLLECTOR__SET_SERVE_WRAPPER_RESPONSE__INIT;
	struct dispatcher *d = dispatcher_rpc_of(service);
	struct rpc_options options = {.parent = call};
	struct wrapper_record wrapper;
	struct error err;

	if (read_wrapper(d, request->wrapper, call, &wrapper, &err) != STATUS_OK ||
	    bindings_set_wrapper(d->bindings, &wrapper, &options, rpc_arena(call), &err) !=
		    STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = dispatcher_rpc_ok(rpc_arena(call));
	reply_to(&reply, call);
}

Collector__ServeWrapper *dispatcher_rpc_wrapper_of(const struct wrapper_record *w,
						   struct arena *arena)
{
	Collector__ServeWrapper *m = arena_alloc(arena, sizeof(*m));

	collector__serve_wrapper__init(m);
	m->namespace_ = (char *)w->ns;
	m->wrapper_namespace = (char *)w->wrapper_ns;
	m->service_name = (char *)w->service;
	m->method_name = (char *)w->method;
	return m;
}

static void list_serve_wrappers(Collector__CollectiveDispatcher_Service *service,
				const Collector__ListServeWrappersRequest *request,
				Collector__ListServeWrappersResponse_Closure reply_to,
				void *call)
{
	Collector__ListServeWrappersResponse reply =
		COLLECTOR__LIST_SERVE_WRAPPERS_RESPONSE__INIT;
	struct dispatcher *d = dispatcher_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	struct wrapper_record *list;
	size_t count;

	(void)request;
	bindings_refresh(d->bindings);
	count = wrappers_list(d->wrappers, arena, &list);
	reply.status = dispatcher_rpc_ok(arena);
	reply.wrappers = arena_alloc(arena, (count + 1) * sizeof(*reply.wrappers));
	for (; reply.n_wrappers < count; reply.n_wrappers++)
		reply.wrappers[reply.n_wrappers] =
			dispatcher_rpc_wrapper_of(&list[reply.n_wrappers], arena);
	reply_to(&reply, call);
}

void dispatcher_rpc_set_wrapper_methods(struct dispatcher_rpc *r)
{
	r->service.set_serve_wrapper = set_serve_wrapper;
	r->service.list_serve_wrappers = list_serve_wrappers;
}
