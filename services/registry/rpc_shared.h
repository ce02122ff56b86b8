/*
 * What the files of collector.CollectorRegistry share. Private to rpc.c,
 * register_rpc.c and lookup_rpc.c.
 */
#ifndef SERVICES_REGISTRY_RPC_SHARED_H
#define SERVICES_REGISTRY_RPC_SHARED_H

#include "collector/registry.pb-c.h"
#include "common/base/arena.h"
#include "common/rpc/reflection.h"

struct catalog;

struct registry_rpc {
	Collector__CollectorRegistry_Service service; /* first: what a method is given */
	struct catalog *catalog;
	struct rpc_reflection_source reflection;
};

struct catalog *registry_rpc_catalog(Collector__CollectorRegistry_Service *service);

/* The body's status {code: OK}, in @arena. */
Collector__Status *registry_rpc_ok(struct arena *arena);

/* RegisterProto, RegisterService. */
void registry_rpc_set_register_methods(struct registry_rpc *r);

/* LookupMessage, LookupEnum, LookupMethod, LookupExtension. */
void registry_rpc_set_lookup_methods(struct registry_rpc *r);

#endif
