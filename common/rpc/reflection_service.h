/* Serving grpc.reflection; private to common/rpc. See reflection.h. */
#ifndef COMMON_RPC_REFLECTION_SERVICE_H
#define COMMON_RPC_REFLECTION_SERVICE_H

struct rpc_reflection;
struct rpc_server;

/* Lists the services of @server, and those that its health knows. */
struct rpc_reflection *rpc_reflection_new(struct rpc_server *server);

/* Add v1 and v1alpha to @server. */
void rpc_reflection_serve(struct rpc_reflection *reflection, struct rpc_server *server);
void rpc_reflection_free(struct rpc_reflection *reflection);

#endif
