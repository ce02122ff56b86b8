/*
 * What the files of collector.CollectiveDispatcher share. Private to rpc.c and
 * mesh_rpc.c.
 */
#ifndef SERVICES_DISPATCHER_RPC_SHARED_H
#define SERVICES_DISPATCHER_RPC_SHARED_H

#include <stdint.h>

#include "collector/dispatcher.pb-c.h"
#include "common/base/arena.h"
#include "common/client/dispatch_records.h"
#include "common/rpc/reflection.h"

struct dispatcher;

struct dispatcher_rpc {
	Collector__CollectiveDispatcher_Service service; /* first: what a method is given */
	struct dispatcher *d;
	struct rpc_reflection_source reflection;
};

struct dispatcher *dispatcher_rpc_of(Collector__CollectiveDispatcher_Service *service);

/* The body's status {code: OK}, in @arena. */
Collector__Status *dispatcher_rpc_ok(struct arena *arena);
Google__Protobuf__Timestamp *dispatcher_rpc_stamp(struct arena *arena, uint64_t unix_us);
Collector__Metadata *dispatcher_rpc_metadata(struct arena *arena, uint64_t created_us);

/* The names of a service: namespace, service. */
enum status dispatcher_rpc_check_service(const char *ns,
					 const Collector__ServiceTypeRef *service,
					 struct error *err) MUST_CHECK;

/* The names of a method that is called: namespace, service, method_name. */
enum status dispatcher_rpc_check_method(const char *ns,
					const Collector__ServiceTypeRef *service,
					const char *method, struct error *err) MUST_CHECK;

/* A handler as it is shown, in @arena, to which it points too. */
Collector__DispatchServer *dispatcher_rpc_server_of(const struct handler_record *h,
						    struct arena *arena);

/* A wrapper as it is shown. */
Collector__ServeWrapper *dispatcher_rpc_wrapper_of(const struct wrapper_record *w,
						   struct arena *arena);

/* RegisterHandler, UnregisterHandler, ListHandlers. */
void dispatcher_rpc_set_handler_methods(struct dispatcher_rpc *r);

/* SetServeWrapper, ListServeWrappers. */
void dispatcher_rpc_set_wrapper_methods(struct dispatcher_rpc *r);

/* Connect, ConnectPeer, Disconnect, Ping, ListConnections, Explain. */
void dispatcher_rpc_set_mesh_methods(struct dispatcher_rpc *r);

#endif
