#include <string.h>

#include "common/base/address.h"
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/explain.h"
#include "services/dispatcher/hearsay.h"
#include "services/dispatcher/mesh.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/rpc_shared.h"
#include "services/dispatcher/wrappers.h"

enum { CONNECT_TIMEOUT_MS = 10000 };

/* protobuf-c counts its lists; ours end with NULL. */
static const char *const *list_of(char **items, size_t count, struct arena *arena)
{
	const char **list = arena_alloc(arena, (count + 1) * sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = items[i];
	list[count] = NULL;
	return list;
}

static char **counted(const char *const *list, size_t *ret_count)
{
	*ret_count = 0;
	while (list[*ret_count])
		(*ret_count)++;
	return (char **)list;
}

static const char *collector_id_of(const Collector__ConnectRequest *request)
{
	for (size_t i = 0; !*request->collector_id && i < request->n_metadata; i++)
		if (!strcmp(request->metadata[i]->key, "collector_id"))
			return request->metadata[i]->value;
	return request->collector_id;
}

/* A Connect or ConnectPeer, for a thread of the mesh; in the call's arena. */
struct dialling {
	struct dispatcher *d;
	void *call;
	const Collector__ConnectRequest *connect;
	Collector__ConnectResponse_Closure connect_reply;
	const Collector__ConnectPeerRequest *connect_peer;
	Collector__ConnectPeerResponse_Closure connect_peer_reply;
};

static void submit(void (*work)(void *arg), const struct dialling *from)
{
	if (!mesh_submit(from->d->mesh, work,
			 arena_memdup(rpc_arena(from->call), from, sizeof(*from))))
		rpc_fail(from->call, STATUS_RESOURCE_EXHAUSTED,
			 "too many collectors are being dialled");
}

static void connect_on_mesh(void *arg)
{
	const struct dialling *x = arg;
	const Collector__ConnectRequest *request = x->connect;
	struct dispatcher *d = x->d;
	struct arena *arena = rpc_arena(x->call);
	Collector__ConnectResponse reply = COLLECTOR__CONNECT_RESPONSE__INIT;
	struct connect_request in = {
		.address = request->address,
		.collector_id = collector_id_of(request),
		.nonce = request->nonce,
		.namespaces = list_of(request->namespaces, request->n_namespaces, arena),
	};
	struct rpc_options options = {.parent = x->call};
	const char *const *own;
	struct error err;

	if (mesh_accept(d->mesh, &in, &options, arena, &err) != STATUS_OK) {
		rpc_fail_error(x->call, &err);
		return;
	}
	own = mesh_own_namespaces(d->mesh, arena);
	reply.status = dispatcher_rpc_ok(arena);
	reply.connection_id = arena_printf(arena, "%s/%s", d->self.id, in.collector_id);
	reply.target_collector_id = (char *)d->self.id;
	reply.namespaces = counted(own, &reply.n_namespaces);
	reply.shared_namespaces =
		counted(peers_shared(own, in.namespaces, arena), &reply.n_shared_namespaces);
	x->connect_reply(&reply, x->call);
}

static void connect_in(Collector__CollectiveDispatcher_Service *service,
		       const Collector__ConnectRequest *request,
		       Collector__ConnectResponse_Closure reply_to, void *call)
{
	submit(connect_on_mesh, &(struct dialling){.d = dispatcher_rpc_of(service),
						   .call = call,
						   .connect = request,
						   .connect_reply = reply_to});
}

static Collector__Connection *connection_of(struct dispatcher *d, const struct peer_info *p,
					    struct arena *arena)
{
	Collector__Connection *c = arena_alloc(arena, sizeof(*c));

	collector__connection__init(c);
	c->id = arena_printf(arena, "%s/%s", d->self.id, p->id);
	c->source_collector_id = (char *)d->self.id;
	c->target_collector_id = (char *)p->id;
	c->address = (char *)p->address;
	c->shared_namespaces =
		counted(peers_shared(mesh_own_namespaces(d->mesh, arena), p->namespaces, arena),
			&c->n_shared_namespaces);
	c->metadata = dispatcher_rpc_metadata(arena, p->created_us);
	c->last_activity = dispatcher_rpc_stamp(arena, p->last_seen_us);
	c->state = (Collector__ConnectionState)p->state;
	c->round_trip_us = (int64_t)p->round_trip_us;
	c->outbound = p->outbound;
	return c;
}

static const struct peer_info *find_peer(const struct peer_info *list, size_t count,
					 const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, id))
			return &list[i];
	return NULL;
}

static void connect_peer_on_mesh(void *arg)
{
	const struct dialling *x = arg;
	const Collector__ConnectPeerRequest *request = x->connect_peer;
	struct dispatcher *d = x->d;
	struct arena *arena = rpc_arena(x->call);
	Collector__ConnectPeerResponse reply = COLLECTOR__CONNECT_PEER_RESPONSE__INIT;
	struct rpc_options options = {.parent = x->call, .timeout_ms = CONNECT_TIMEOUT_MS};
	const struct peer_info *list, *peer;
	struct error err;
	const char *id;
	size_t count;
	enum status status =
		addresses_check(d->addresses, request->address, "address", x->call, &err);

	if (status == STATUS_OK)
		status =
			mesh_connect(d->mesh, request->address,
				     list_of(request->namespaces, request->n_namespaces, arena),
				     &options, arena, &id, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(x->call, &err);
		return;
	}
	list = peers_list(d->peers, arena, &count);
	peer = find_peer(list, count, id);
	reply.status = dispatcher_rpc_ok(arena);
	if (peer)
		reply.connection = connection_of(d, peer, arena);
	x->connect_peer_reply(&reply, x->call);
}

static void connect_peer(Collector__CollectiveDispatcher_Service *service,
			 const Collector__ConnectPeerRequest *request,
			 Collector__ConnectPeerResponse_Closure reply_to, void *call)
{
	submit(connect_peer_on_mesh, &(struct dialling){.d = dispatcher_rpc_of(service),
							.call = call,
							.connect_peer = request,
							.connect_peer_reply = reply_to});
}

static void disconnect(Collector__CollectiveDispatcher_Service *service,
		       const Collector__DisconnectRequest *request,
		       Collector__DisconnectResponse_Closure reply_to, void *call)
{
	Collector__DisconnectResponse reply = COLLECTOR__DISCONNECT_RESPONSE__INIT;
	struct error err;

	if (mesh_disconnect(dispatcher_rpc_of(service)->mesh, request->collector_id, &err) !=
	    STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = dispatcher_rpc_ok(rpc_arena(call));
	reply_to(&reply, call);
}

static void ping(Collector__CollectiveDispatcher_Service *service,
		 const Collector__PingRequest *request,
		 Collector__PingResponse_Closure reply_to, void *call)
{
	struct dispatcher *d = dispatcher_rpc_of(service);
	Collector__PingResponse reply = COLLECTOR__PING_RESPONSE__INIT;

	reply.collector_id = (char *)d->self.id;
	reply.mesh_version = mesh_version(d->mesh);
	reply.instance = mesh_instance(d->mesh);
	if (mesh_knows(d->mesh, request->collector_id, request->nonce))
		reply.nonce = request->nonce;
	reply.namespaces =
		counted(mesh_own_namespaces(d->mesh, rpc_arena(call)), &reply.n_namespaces);
	reply_to(&reply, call);
}

static Collector__Collector *collector_of(const struct peer_info *p, struct arena *arena)
{
	Collector__Collector *c = arena_alloc(arena, sizeof(*c));

	collector__collector__init(c);
	c->id = (char *)p->id;
	c->address = (char *)p->address;
	c->namespaces = counted(p->namespaces, &c->n_namespaces);
	c->is_direct_peer = true;
	c->distance = 1;
	c->metadata = dispatcher_rpc_metadata(arena, p->created_us);
	c->last_seen = dispatcher_rpc_stamp(arena, p->last_seen_us);
	return c;
}

static Collector__Collector *heard_of(const struct heard *h, struct arena *arena)
{
	Collector__Collector *c = arena_alloc(arena, sizeof(*c));

	collector__collector__init(c);
	c->id = (char *)h->id;
	c->address = (char *)h->address;
	c->namespaces = counted(h->namespaces, &c->n_namespaces);
	c->distance = h->distance;
	c->heard_through = (char *)h->through;
	return c;
}

static void list_connections(Collector__CollectiveDispatcher_Service *service,
			     const Collector__ListConnectionsRequest *request,
			     Collector__ListConnectionsResponse_Closure reply_to, void *call)
{
	struct dispatcher *d = dispatcher_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	Collector__ListConnectionsResponse reply = COLLECTOR__LIST_CONNECTIONS_RESPONSE__INIT;
	Collector__Collector self = COLLECTOR__COLLECTOR__INIT;
	const struct peer_info *list;
	const struct heard *heard;
	size_t count, heard_count;

	(void)request;
	list = peers_list(d->peers, arena, &count);
	heard = mesh_heard(d->mesh, arena, &heard_count);
	self.id = (char *)d->self.id;
	self.address = (char *)d->self.address;
	self.namespaces = counted(mesh_own_namespaces(d->mesh, arena), &self.n_namespaces);
	reply.status = dispatcher_rpc_ok(arena);
	reply.collector_id = (char *)d->self.id;
	reply.connections = arena_alloc(arena, (count + 1) * sizeof(*reply.connections));
	reply.collectors =
		arena_alloc(arena, (count + heard_count + 1) * sizeof(*reply.collectors));
	reply.collectors[reply.n_collectors++] = &self;
	for (size_t i = 0; i < count; i++) {
		reply.connections[reply.n_connections++] = connection_of(d, &list[i], arena);
		reply.collectors[reply.n_collectors++] = collector_of(&list[i], arena);
	}
	for (size_t i = 0; i < heard_count; i++)
		reply.collectors[reply.n_collectors++] = heard_of(&heard[i], arena);
	reply_to(&reply, call);
}

/* ------------------------------------------------------------------- Explain */

static Collector__Candidate *candidate_of(const struct candidate *from, struct arena *arena)
{
	Collector__Candidate *c = arena_alloc(arena, sizeof(*c));

	collector__candidate__init(c);
	c->kind = (Collector__CandidateKind)from->kind;
	c->id = (char *)from->id;
	c->address = (char *)from->address;
	c->eligible = from->eligible;
	c->reason = (char *)from->reason;
	c->in_flight = (int32_t)from->in_flight;
	c->round_trip_us = (int64_t)from->round_trip_us;
	return c;
}

static void explain_call(Collector__CollectiveDispatcher_Service *service,
			 const Collector__ExplainRequest *request,
			 Collector__ExplainResponse_Closure reply_to, void *call)
{
	struct dispatcher *d = dispatcher_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	Collector__ExplainResponse reply = COLLECTOR__EXPLAIN_RESPONSE__INIT;
	struct rpc_options options = {.parent = call};
	struct explain_question question = {
		.ns = names_namespace_or_default(request->namespace_),
		.method = request->method_name,
		.target = request->target_collector_id,
	};
	struct wrapper_record wrapper;
	struct explanation e;
	struct error err;

	if (dispatcher_rpc_check_method(request->namespace_, request->service,
					request->method_name, &err) != STATUS_OK ||
	    names_check_namespace(request->target_collector_id, "target_collector_id", &err) !=
		    STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	question.service = request->service->service_name;
	e = explain(d, &question, &options, arena);
	if (wrappers_find(d->wrappers, question.ns, arena, &wrapper) == WRAPPERS_FOUND)
		reply.wrapper = dispatcher_rpc_wrapper_of(&wrapper, arena);
	reply.status = dispatcher_rpc_ok(arena);
	reply.collector_id = (char *)d->self.id;
	reply.registered = e.registered;
	reply.decision = (char *)e.decision;
	reply.candidates = arena_alloc(arena, (e.count + 1) * sizeof(*reply.candidates));
	for (; reply.n_candidates < e.count; reply.n_candidates++)
		reply.candidates[reply.n_candidates] =
			candidate_of(&e.candidates[reply.n_candidates], arena);
	reply_to(&reply, call);
}

void dispatcher_rpc_set_mesh_methods(struct dispatcher_rpc *r)
{
	r->service.connect = connect_in;
	r->service.connect_peer = connect_peer;
	r->service.disconnect = disconnect;
	r->service.ping = ping;
	r->service.list_connections = list_connections;
	r->service.explain = explain_call;
}
