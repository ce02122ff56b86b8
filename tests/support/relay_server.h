/*
 * A server of ours that knows no method and forwards every call to one port:
 * a hop.
 */
#ifndef TESTS_SUPPORT_RELAY_SERVER_H
#define TESTS_SUPPORT_RELAY_SERVER_H

#include <pthread.h>
#include <stdbool.h>

#include "common/rpc/client.h"
#include "common/rpc/proxy.h"
#include "common/rpc/server.h"

struct relay_server {
	struct rpc_server *server;
	struct rpc_client *client;
	struct rpc_fallback fallback;
	struct rpc_route route; /* of every call; may be changed between calls */
	int port;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	unsigned routed, done;
	struct rpc_forwarded last; /* how the latest to end did */
};

struct relay_options {
	int to_port;
	enum rpc_trust trust;
	struct rpc_server_options server; /* its fallback is set by _init */
	struct rpc_client_options client;
};

void relay_server_init(struct relay_server *r, const struct relay_options *options);

/*
 * Stop and free it. False: calls are left although all their clients have gone,
 * or a call was not reported as done exactly once.
 */
bool relay_server_release(struct relay_server *r) MUST_CHECK;

/* Wait until @value calls have ended; *ret_last (may be NULL) is how the latest did. */
void relay_server_wait(struct relay_server *r, unsigned value, struct rpc_forwarded *ret_last);

#endif
