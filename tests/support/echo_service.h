/*
 * echo.v1.EchoService on a server of ours, and what it has seen. A request's
 * delay_ms below zero means: never answer, until the call is cancelled.
 * While `lingers` is set, Up stays with a message until its call is cancelled; while
 * `keeps` is, `kept` is the latest call that never answers, held.
 */
#ifndef TESTS_SUPPORT_ECHO_SERVICE_H
#define TESTS_SUPPORT_ECHO_SERVICE_H

#include <pthread.h>
#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/rpc/server.h"
#include "tests/support/echo.pb-c.h"

struct echo_service {
	Echo__V1__EchoService_Service service; /* first: methods get it */
	pthread_mutex_t mutex;                 /* guards what follows */
	pthread_cond_t changed;
	unsigned begun, waiting, cancelled, half_closes, messages;
	char request_id[80], caller[80], caller_kind[16], header[256], user_agent[256];
	char authorization[80], internal[80];
	bool lingers, keeps;
	void *kept;
};

/* Add it to @server, before rpc_server_listen(). @policies as rpc_server_add(). */
void echo_service_init(struct echo_service *echo, struct rpc_server *server,
		       const struct rpc_method_policy *policies);
void echo_service_release(struct echo_service *echo);

/* Wait until *counter (one of the above) is at least @value. */
void echo_service_wait(struct echo_service *echo, const unsigned *counter, unsigned value);

/* A request, packed into *out, which the caller frees. */
struct bytes echo_request(const void *data, size_t size, int code, int delay_ms, int replies);

#endif
