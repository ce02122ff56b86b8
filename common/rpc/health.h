/* grpc.health.v1 of one server. Private to common/rpc. */
#ifndef COMMON_RPC_HEALTH_H
#define COMMON_RPC_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

struct rpc_health;
struct rpc_server;

struct rpc_health *rpc_health_new(void);

/* Add grpc.health.v1.Health to @server, which frees @health after itself. */
void rpc_health_serve(struct rpc_health *health, struct rpc_server *server);
void rpc_health_free(struct rpc_health *health);

/* Any thread. At most 1,024 services are known; further ones are ignored. */
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);

/* SERVING, unless it was set before. */
void rpc_health_set_once(struct rpc_health *health, const char *service);

/* Everything NOT_SERVING for good. */
void rpc_health_drain(struct rpc_health *health);

/* End all watches, so that a stopping server need not wait for them. */
void rpc_health_end_watches(struct rpc_health *health);

/* Call @each with every known service but "". */
void rpc_health_services(struct rpc_health *health,
			 void (*each)(void *arg, const char *service), void *arg);

#endif
