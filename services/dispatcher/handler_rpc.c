#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/client/type_cache.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/bindings.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/rpc_shared.h"
#include "services/dispatcher/typed.h"

enum { DEFAULT_PAGE = 100, MAX_PAGE = 1000 };

static Collector__NamespacedName *collection_of(const struct handler_record *h,
						struct arena *arena)
{
	Collector__NamespacedName *name = arena_alloc(arena, sizeof(*name));

	collector__namespaced_name__init(name);
	name->namespace_ = (char *)h->ns;
	name->name = (char *)h->collection;
	return name;
}

Collector__DispatchServer *dispatcher_rpc_server_of(const struct handler_record *h,
						    struct arena *arena)
{
	Collector__DispatchServer *s = arena_alloc(arena, sizeof(*s));
	Collector__ServiceTypeRef *ref = arena_alloc(arena, sizeof(*ref));

	collector__dispatch_server__init(s);
	collector__service_type_ref__init(ref);
	ref->namespace_ = (char *)h->ns;
	ref->service_name = (char *)h->service;
	s->id = (char *)h->id;
	s->address = (char *)h->address;
	s->namespaces = arena_alloc(arena, sizeof(*s->namespaces));
	s->namespaces[0] = (char *)h->ns;
	s->n_namespaces = 1;
	s->service = ref;
	s->method_name = (char *)h->method;
	s->kind = (Collector__HandlerKind)h->kind;
	s->collector_id = (char *)h->collector_id;
	s->max_in_flight = (int32_t)h->max_in_flight;
	s->forward_authorization = h->forward_authorization;
	if (*h->collection)
		s->collection = collection_of(h, arena);
	s->metadata = dispatcher_rpc_metadata(arena, h->created_us);
	return s;
}

/* A backend has an address, a collection a name; neither has the other's. */
static enum status check_target(struct dispatcher *d,
				const Collector__RegisterHandlerRequest *request, void *call,
				struct error *err)
{
	bool is_collection = request->kind == COLLECTOR__HANDLER_KIND__HANDLER_COLLECTION;

	if (request->kind != COLLECTOR__HANDLER_KIND__HANDLER_BACKEND && !is_collection)
		return error_field(err, "kind", "handlers of kind %d are not registered so",
				   (int)request->kind);
	if (!is_collection && *request->collection_name)
		return error_field(err, "collection_name", "a backend has none");
	if (!is_collection)
		return addresses_check(d->addresses, request->address, "address", call, err);
	if (*request->address)
		return error_field(err, "address", "a collection has none");
	return names_check_collection(request->collection_name, "collection_name", err);
}

/* The method, or every method of the service, must be one of the collection's. */
static enum status check_collection(struct dispatcher *d, const struct handler_record *h,
				    struct pool *pool, const struct rpc_options *options,
				    struct error *err)
{
	const struct pool_service *s = pool_service(pool, h->service, strlen(h->service));
	enum status status = STATUS_OK;

	for (uint32_t i = 0; status == STATUS_OK && i < s->method_count; i++)
		if (!*h->method || !strcmp(h->method, s->methods[i].name))
			status = typed_check_method(d->typed, h->ns, h->collection,
						    &s->methods[i], pool, options, err);
	return status;
}

static enum status check_handler(struct dispatcher *d,
				 const Collector__RegisterHandlerRequest *request,
				 const struct handler_record *h, void *call, struct error *err)
{
	struct rpc_options options = {.parent = call};
	const struct pool_method *method;
	struct pool *pool = NULL;
	enum status status = check_target(d, request, call, err);

	/* They are served by the daemons whatever is bound to them. */
	if (status == STATUS_OK && names_symbol_is_reserved(h->service))
		status = error_field(err, "service.service_name",
				     "%s is a collector's own: it takes no handlers",
				     h->service);
	if (status == STATUS_OK && *h->method)
		status = type_cache_method(d->types, h->ns, h->service, h->method, &options,
					   &pool, &method, err);
	else if (status == STATUS_OK)
		status = type_cache_service(d->types, h->ns, h->service, &options, err);
	if (status == STATUS_OK && !pool)
		status = type_cache_snapshot(d->types, h->ns, &options, &pool, err);
	if (status == STATUS_OK && h->kind == HANDLER_COLLECTION)
		status = check_collection(d, h, pool, &options, err);
	pool_unref(pool);
	return status;
}

/* The same binding again is the same handler. */
static struct handler_record record_of(const Collector__RegisterHandlerRequest *request,
				       struct arena *arena)
{
	struct handler_record h = {
		.ns = names_namespace_or_default(request->namespace_),
		.service = request->service->service_name,
		.method = request->method_name,
		.kind = (enum handler_kind)request->kind,
		.address = request->address,
		.collection = request->collection_name,
		.collector_id = "",
		.forward_authorization = request->forward_authorization,
		.created_us = clock_unix_us(),
	};

	h.id = arena_printf(arena, "%s/%s/%s@%s", h.ns, h.service, *h.method ? h.method : "*",
			    *h.address ? h.address : h.collection);
	return h;
}

static void register_handler(Collector__CollectiveDispatcher_Service *service,
			     const Collector__RegisterHandlerRequest *request,
			     Collector__RegisterHandlerResponse_Closure reply_to, void *call)
{
	struct dispatcher *d = dispatcher_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	Collector__RegisterHandlerResponse reply = COLLECTOR__REGISTER_HANDLER_RESPONSE__INIT;
	struct rpc_options options = {.parent = call};
	struct handler_record record;
	struct error err;

	if (dispatcher_rpc_check_service(request->namespace_, request->service, &err) !=
	    STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	record = record_of(request, arena);
	if (check_handler(d, request, &record, call, &err) != STATUS_OK ||
	    bindings_add(d->bindings, &record, &options, arena, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = dispatcher_rpc_ok(arena);
	reply.server = dispatcher_rpc_server_of(&record, arena);
	reply_to(&reply, call);
}

static void unregister_handler(Collector__CollectiveDispatcher_Service *service,
			       const Collector__UnregisterHandlerRequest *request,
			       Collector__UnregisterHandlerResponse_Closure reply_to,
			       void *call)
{
	Collector__UnregisterHandlerResponse reply =
		COLLECTOR__UNREGISTER_HANDLER_RESPONSE__INIT;
	struct rpc_options options = {.parent = call};
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	if (status == STATUS_OK)
		status = names_check_id(request->id, "id", &err);
	if (status == STATUS_OK)
		status = bindings_remove(dispatcher_rpc_of(service)->bindings,
					 names_namespace_or_default(request->namespace_),
					 request->id, &options, rpc_arena(call), &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = dispatcher_rpc_ok(rpc_arena(call));
	reply_to(&reply, call);
}

static void list_handlers(Collector__CollectiveDispatcher_Service *service,
			  const Collector__ListHandlersRequest *request,
			  Collector__ListHandlersResponse_Closure reply_to, void *call)
{
	struct arena *arena = rpc_arena(call);
	Collector__ListHandlersResponse reply = COLLECTOR__LIST_HANDLERS_RESPONSE__INIT;
	int32_t asked = request->page_size;
	size_t size = asked == 0 ? DEFAULT_PAGE : asked > MAX_PAGE ? MAX_PAGE : (size_t)asked;
	struct handler_record *records;
	struct error err;
	size_t count;

	if (asked < 0)
		error_field(&err, "page_size", "%d is negative", (int)asked);
	if (asked < 0 ||
	    names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	records = arena_alloc(arena, (size + 1) * sizeof(*records));
	/* One more than the page tells whether there is another. */
	count = handlers_list(dispatcher_rpc_of(service)->handlers, request->namespace_,
			      request->page_token, size + 1, arena, records);
	reply.status = dispatcher_rpc_ok(arena);
	reply.servers = arena_alloc(arena, (size + 1) * sizeof(*reply.servers));
	for (; reply.n_servers < count && reply.n_servers < size; reply.n_servers++)
		reply.servers[reply.n_servers] =
			dispatcher_rpc_server_of(&records[reply.n_servers], arena);
	if (count > size)
		reply.next_page_token = (char *)records[size - 1].id;
	reply_to(&reply, call);
}

void dispatcher_rpc_set_handler_methods(struct dispatcher_rpc *r)
{
	r->service.register_handler = register_handler;
	r->service.unregister_handler = unregister_handler;
	r->service.list_handlers = list_handlers;
}
