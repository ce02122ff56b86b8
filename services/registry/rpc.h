/* collector.CollectorRegistry over gRPC, and reflection of what is registered. */
#ifndef SERVICES_REGISTRY_RPC_H
#define SERVICES_REGISTRY_RPC_H

struct catalog;
struct daemon;
struct registry_rpc;

/*
 * Adds the service to the daemon's server. @catalog is borrowed, and so are
 * @allowed_addresses, from where types may be imported (common/base/address.h).
 */
struct registry_rpc *registry_rpc_new(struct daemon *d, struct catalog *catalog,
				      const char *const *allowed_addresses);
void registry_rpc_free(struct registry_rpc *r);

/* The daemon is about to stop: end what would not end by itself. */
void registry_rpc_drain(struct registry_rpc *r);

#endif
