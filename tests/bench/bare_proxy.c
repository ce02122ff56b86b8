/*
 * The yardstick of a hop: unary calls of any method passed to one upstream on the bare
 * gRPC core, one queue, one thread, and nothing looked at: no routing, no limits, no
 * streams, no cancellation, no history.
 *
 *	bare_proxy UPSTREAM
 *
 * Prints "port N" and serves until it is killed.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum step { ACCEPTED, REQUEST_READ, ANSWERED, REPLIED };

struct hop {
	enum step next; /* that the queue tells of */
	grpc_call *down, *up;
	grpc_call_details details;
	grpc_metadata_array request_headers, headers, trailers;
	grpc_byte_buffer *request, *reply;
	grpc_status_code code;
	grpc_slice message;
	int cancelled;
};

static grpc_server *server;
static grpc_completion_queue *queue;
static grpc_channel *upstream;

static void batch(grpc_call *call, const grpc_op *ops, size_t count, struct hop *h)
{
	if (grpc_call_start_batch(call, ops, count, h, NULL) != GRPC_CALL_OK)
		abort();
}

static void accept_one(void)
{
	struct hop *h = xcalloc(1, sizeof(*h));

	h->message = grpc_empty_slice();
	grpc_call_details_init(&h->details);
	grpc_metadata_array_init(&h->request_headers);
	grpc_metadata_array_init(&h->headers);
	grpc_metadata_array_init(&h->trailers);
	grpc_server_request_call(server, &h->down, &h->details, &h->request_headers, queue,
				 queue, h);
}

static void read_request(struct hop *h)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &h->request;
	h->next = REQUEST_READ;
	batch(h->down, &op, 1, h);
}

static void ask_upstream(struct hop *h)
{
	grpc_op ops[6];

	memset(ops, 0, sizeof(ops));
	h->up = grpc_channel_create_call(upstream, NULL, 0, queue,
					 grpc_slice_ref(h->details.method), NULL,
					 h->details.deadline, NULL);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = h->request;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &h->headers;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &h->reply;
	ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[5].data.recv_status_on_client.trailing_metadata = &h->trailers;
	ops[5].data.recv_status_on_client.status = &h->code;
	ops[5].data.recv_status_on_client.status_details = &h->message;
	h->next = ANSWERED;
	batch(h->up, ops, 6, h);
}

static void reply(struct hop *h)
{
	grpc_op ops[4];
	size_t n = 0;

	memset(ops, 0, sizeof(ops));
	ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (h->reply) {
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = h->reply;
	}
	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = h->code;
	ops[n++].data.send_status_from_server.status_details = &h->message;
	ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[n++].data.recv_close_on_server.cancelled = &h->cancelled;
	h->next = REPLIED;
	batch(h->down, ops, n, h);
}

static void release(struct hop *h)
{
	if (h->request)
		grpc_byte_buffer_destroy(h->request);
	if (h->reply)
		grpc_byte_buffer_destroy(h->reply);
	grpc_slice_unref(h->message);
	grpc_call_details_destroy(&h->details);
	grpc_metadata_array_destroy(&h->request_headers);
	grpc_metadata_array_destroy(&h->headers);
	grpc_metadata_array_destroy(&h->trailers);
	grpc_call_unref(h->up);
	grpc_call_unref(h->down);
	free(h);
}

static void go_on(struct hop *h)
{
	switch (h->next) {
	case ACCEPTED:
		accept_one();
		read_request(h);
		break;
	case REQUEST_READ:
		ask_upstream(h);
		break;
	case ANSWERED:
		reply(h);
		break;
	case REPLIED:
		release(h);
		break;
	}
}

static grpc_arg off(const char *key)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key};
}

int main(int argc, char **argv)
{
	grpc_arg options[] = {off(GRPC_ARG_ALLOW_REUSEPORT), off(GRPC_ARG_HTTP2_BDP_PROBE),
			      off(GRPC_ARG_ENABLE_RETRIES),
			      off(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION),
			      off(GRPC_ARG_ENABLE_CHANNELZ)};
	grpc_channel_args args = {sizeof(options) / sizeof(options[0]), options};

	if (argc != 2)
		return 2;
	grpc_init();
	server = grpc_server_create(&args, NULL);
	queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server, queue, NULL);
	upstream = grpc_channel_create(argv[1], grpc_insecure_credentials_create(), &args);
	printf("port %d\n",
	       grpc_server_add_http2_port(server, "127.0.0.1:0",
					  grpc_insecure_server_credentials_create()));
	fflush(stdout);
	grpc_server_start(server);
	accept_one();
	for (;;) {
		grpc_event event = grpc_completion_queue_next(
			queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		if (event.type != GRPC_OP_COMPLETE)
			return 0;
		go_on(event.tag);
	}
}
