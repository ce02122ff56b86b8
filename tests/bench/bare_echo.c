/*
 * The yardstick: echo.v1.EchoService/Unary on the bare gRPC core, one queue,
 * one thread, protobuf-c for the messages, and nothing around it: no limits, no
 * deadline, no log, no counters. Prints "port N" and serves until it is killed.
 */
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/support/echo.pb-c.h"

struct call {
	grpc_call *core;
	grpc_metadata_array metadata;
	gpr_timespec deadline;
	grpc_byte_buffer *in, *out;
	int cancelled;
	bool replied;
};

static grpc_server *server;
static grpc_completion_queue *queue;
static void *unary;

static void accept_one(void)
{
	struct call *c = xcalloc(1, sizeof(*c));

	grpc_metadata_array_init(&c->metadata);
	grpc_server_request_registered_call(server, unary, &c->core, &c->deadline, &c->metadata,
					    &c->in, queue, queue, c);
}

static grpc_byte_buffer *echo(grpc_byte_buffer *in)
{
	Echo__V1__EchoReply reply = ECHO__V1__ECHO_REPLY__INIT;
	Echo__V1__EchoRequest *request;
	grpc_byte_buffer_reader reader;
	grpc_byte_buffer *out;
	grpc_slice bytes, packed;

	grpc_byte_buffer_reader_init(&reader, in);
	bytes = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	request = echo__v1__echo_request__unpack(NULL, GRPC_SLICE_LENGTH(bytes),
						 GRPC_SLICE_START_PTR(bytes));
	grpc_slice_unref(bytes);
	if (!request)
		abort();
	reply.data = request->data;
	packed = grpc_slice_malloc(echo__v1__echo_reply__get_packed_size(&reply));
	echo__v1__echo_reply__pack(&reply, GRPC_SLICE_START_PTR(packed));
	out = grpc_raw_byte_buffer_create(&packed, 1);
	grpc_slice_unref(packed);
	echo__v1__echo_request__free_unpacked(request, NULL);
	return out;
}

static void reply_to(struct call *c)
{
	grpc_op ops[4];
	grpc_slice nothing = grpc_empty_slice();

	memset(ops, 0, sizeof(ops));
	c->out = echo(c->in);
	c->replied = true;
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = c->out;
	ops[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[2].data.send_status_from_server.status_details = &nothing;
	ops[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[3].data.recv_close_on_server.cancelled = &c->cancelled;
	if (grpc_call_start_batch(c->core, ops, 4, c, NULL) != GRPC_CALL_OK)
		abort();
}

static void release(struct call *c)
{
	grpc_byte_buffer_destroy(c->in);
	grpc_byte_buffer_destroy(c->out);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_call_unref(c->core);
	free(c);
}

int main(void)
{
	grpc_arg options[] = {
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ALLOW_REUSEPORT},
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_BDP_PROBE},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION},
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_CHANNELZ},
	};
	grpc_channel_args args = {sizeof(options) / sizeof(options[0]), options};
	grpc_server_credentials *plain;

	grpc_init();
	server = grpc_server_create(&args, NULL);
	queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server, queue, NULL);
	unary = grpc_server_register_method(server, "/echo.v1.EchoService/Unary", NULL,
					    GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
	plain = grpc_insecure_server_credentials_create();
	printf("port %d\n", grpc_server_add_http2_port(server, "127.0.0.1:0", plain));
	fflush(stdout);
	grpc_server_start(server);
	accept_one();
	for (;;) {
		grpc_event event = grpc_completion_queue_next(
			queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		struct call *c = event.tag;
		if (event.type != GRPC_OP_COMPLETE)
			return 0;
		if (c->replied) {
			release(c);
		} else if (event.success) {
			accept_one();
			reply_to(c);
		}
	}
}
