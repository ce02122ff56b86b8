/*
 * Channels and outbound unary calls from the inside. Private to common/rpc.
 */
#ifndef COMMON_RPC_OUTBOUND_H
#define COMMON_RPC_OUTBOUND_H

#include <grpc/grpc.h>
#include <pthread.h>

#include "common/base/map.h"
#include "common/rpc/client.h"
#include "common/rpc/identity.h"
#include "common/rpc/loop.h"

struct rpc_client {
	struct rpc_client_options options;
	struct rpc_loop *loop;
	pthread_mutex_t mutex;  /* guards the maps */
	struct map channels[2]; /* by enum rpc_trust: target -> struct rpc_channel */
};

struct rpc_channel {
	struct rpc_client *client;
	grpc_channel *core;
	enum rpc_trust trust;
	char *target;
};

/* clock_monotonic_ns()'s time as gRPC's. */
gpr_timespec rpc_core_time(uint64_t monotonic_ns);

#endif
