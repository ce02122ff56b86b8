/*
 * echo.v1.EchoService on our own server, with all that stands around a method
 * in the daemons. Prints "port N" and serves until it is killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/rpc/server.h"
#include "tests/support/echo.pb-c.h"

static void echo_unary(Echo__V1__EchoService_Service *service,
		       const Echo__V1__EchoRequest *request, Echo__V1__EchoReply_Closure reply,
		       void *call)
{
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;

	(void)service;
	message.data = request->data;
	reply(&message, call);
}

int main(void)
{
	static const struct rpc_method_policy inline_unary[] = {{"Unary", RPC_RUN_INLINE},
								{NULL, RPC_RUN_POOL}};
	Echo__V1__EchoService_Service service = {
		.base = {.descriptor = &echo__v1__echo_service__descriptor}};
	const struct rpc_server_options options = {.name = "bench-echo"};
	struct rpc_server *server = rpc_server_new(&options);
	struct error err;
	int port;

	service.base.invoke = protobuf_c_service_invoke_internal;
	service.unary = echo_unary;
	rpc_server_add(server, &service.base, inline_unary);
	if (rpc_server_listen(server, "127.0.0.1:0", &port, &err) != STATUS_OK) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	rpc_server_start(server);
	printf("port %d\n", port);
	fflush(stdout);
	for (;;)
		pause();
}
