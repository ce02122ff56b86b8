/*
 * attached_echo ADDRESS NAMESPACE: echo.v1.EchoService/Unary, attached to a dispatcher; as
 * fast as one thread can. Prints "ready" and serves until it is killed.
 */
#include <stdio.h>
#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/rpc/client.h"
#include "common/rpc/stream.h"
#include "tests/support/echo.pb-c.h"

static bool send(struct rpc_stream *stream, const Collector__AttachRequest *request,
		 struct arena *arena)
{
	return rpc_stream_send(stream, rpc_pack(&request->base, arena));
}

static bool hello(struct rpc_stream *stream, const char *ns, struct arena *arena)
{
	Collector__AttachRequest request = COLLECTOR__ATTACH_REQUEST__INIT;
	Collector__AttachHello message = COLLECTOR__ATTACH_HELLO__INIT;
	Collector__AttachedMethod method = COLLECTOR__ATTACHED_METHOD__INIT;
	Collector__AttachedMethod *methods[] = {&method};

	method.namespace_ = (char *)ns;
	method.service_name = (char *)"echo.v1.EchoService";
	method.method_name = (char *)"Unary";
	message.methods = methods;
	message.n_methods = 1;
	message.max_in_flight = 256;
	request.kind_case = COLLECTOR__ATTACH_REQUEST__KIND_HELLO;
	request.hello = &message;
	return send(stream, &request, arena);
}

/* The first field of both messages is the data: what was asked is the answer. */
static bool answer(struct rpc_stream *stream, const Collector__AttachCall *call,
		   struct arena *arena)
{
	Collector__AttachRequest request = COLLECTOR__ATTACH_REQUEST__INIT;
	Collector__AttachAnswer message = COLLECTOR__ATTACH_ANSWER__INIT;
	Collector__ServeResponse response = COLLECTOR__SERVE_RESPONSE__INIT;
	Google__Protobuf__Any output = GOOGLE__PROTOBUF__ANY__INIT;

	output.type_url = (char *)"type.googleapis.com/echo.v1.EchoReply";
	output.value = call->request->input->value;
	response.output = &output;
	message.call_id = call->call_id;
	message.response = &response;
	request.kind_case = COLLECTOR__ATTACH_REQUEST__KIND_ANSWER;
	request.answer = &message;
	return send(stream, &request, arena);
}

static bool pong(struct rpc_stream *stream, struct arena *arena)
{
	Collector__AttachRequest request = COLLECTOR__ATTACH_REQUEST__INIT;
	Collector__AttachPong message = COLLECTOR__ATTACH_PONG__INIT;

	request.kind_case = COLLECTOR__ATTACH_REQUEST__KIND_PONG;
	request.pong = &message;
	return send(stream, &request, arena);
}

static bool take(struct rpc_stream *stream, struct bytes data, struct arena *arena)
{
	const Collector__AttachResponse *response;
	ProtobufCMessage *message;
	struct error err;

	if (rpc_unpack(&collector__attach_response__descriptor, data, arena, &message, &err) !=
	    STATUS_OK)
		return false;
	response = (const Collector__AttachResponse *)message;
	if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_CALL)
		return answer(stream, response->call, arena);
	if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_PING)
		return pong(stream, arena);
	if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_WELCOME) {
		puts("ready");
		fflush(stdout);
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct rpc_options options = {.timeout_ms = 3600 * 1000, .wait_for_ready = true};
	struct rpc_client *client =
		rpc_client_new(&(struct rpc_client_options){.name = "bench"});
	struct rpc_stream *stream = NULL;
	struct error err;
	struct bytes data;
	struct arena arena;
	bool ended = false;

	arena_init(&arena, 0);
	if (argc != 3 ||
	    rpc_stream_open(rpc_client_channel(client, argv[1], RPC_TRUST_FOREIGN),
			    "/collector.CollectiveDispatcher/Attach", &options, &stream,
			    &err) != STATUS_OK ||
	    !hello(stream, argv[2], &arena)) {
		fprintf(stderr, "attached_echo: cannot attach\n");
		return 1;
	}
	while (rpc_stream_receive(stream, &data, &ended, &err) == STATUS_OK && !ended) {
		arena_reset(&arena);
		if (!take(stream, data, &arena))
			break;
	}
	rpc_stream_free(stream);
	rpc_client_free(client);
	arena_release(&arena);
	return 0;
}
