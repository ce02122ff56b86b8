/* collector.CollectiveDispatcher over gRPC, and reflection of what is registered. */
#ifndef SERVICES_DISPATCHER_RPC_H
#define SERVICES_DISPATCHER_RPC_H

struct dispatcher;
struct dispatcher_rpc;

/* Adds the service to the daemon's server. @d is borrowed. */
struct dispatcher_rpc *dispatcher_rpc_new(struct dispatcher *d);
void dispatcher_rpc_free(struct dispatcher_rpc *r);

#endif
