/*
 * Many streams that are open and idle, from one process and over few connections.
 *
 *	streams serve [max-calls]
 *	    echo.v1.EchoService/Bidi on a server of ours, until it is killed. Prints "port N".
 *
 *	streams hold TARGET COUNT CONNECTIONS [half]
 *	    Opens COUNT streams of it, sends a message on each, waits until it came back,
 *	    prints "held N failed M", and keeps them until its input ends; "half": the
 *	    headers alone, and nothing is waited for.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/rpc/server.h"
#include "tests/support/echo_service.h"

enum { MAX_CONNECTIONS = 64, TIMEOUT_S = 600, WAIT_S = 120 };

/* ------------------------------------------------------------------ serving */

static int serve(unsigned max_calls)
{
	static const struct rpc_method_policy policies[] = {{"Bidi", RPC_RUN_INLINE},
							    {NULL, RPC_RUN_POOL}};
	const struct rpc_server_options options = {.name = "streams", .max_calls = max_calls};
	struct rpc_server *server = rpc_server_new(&options);
	struct echo_service echo;
	struct error err;
	int port;

	echo_service_init(&echo, server, policies);
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

/* ------------------------------------------------------------------ holding */

struct stream {
	grpc_call *call;
	grpc_metadata_array headers;
	grpc_byte_buffer *in;
};

struct holder {
	grpc_completion_queue *queue;
	grpc_channel *channels[MAX_CONNECTIONS];
	struct stream *streams;
	size_t count;
};

static grpc_channel *connect_to(const char *target)
{
	grpc_arg options[] = {
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
		 .value.integer = 1},
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_RETRIES},
	};
	grpc_channel_args args = {sizeof(options) / sizeof(options[0]), options};
	grpc_channel_credentials *plain = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(target, plain, &args);

	grpc_channel_credentials_release(plain);
	return channel;
}

/* EchoRequest { data = "hello" } */
static grpc_byte_buffer *message(void)
{
	grpc_slice slice = grpc_slice_from_static_string("\x0a\x05hello");
	grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return out;
}

static void open_stream(struct holder *h, size_t i, unsigned connections, bool half)
{
	struct stream *s = &h->streams[i];
	const gpr_timespec deadline = gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(TIMEOUT_S, GPR_TIMESPAN));
	grpc_byte_buffer *out = half ? NULL : message();
	grpc_op ops[4];

	memset(ops, 0, sizeof(ops));
	s->call = grpc_channel_create_call(
		h->channels[i % connections], NULL, 0, h->queue,
		grpc_slice_from_static_string("/echo.v1.EchoService/Bidi"), NULL, deadline,
		NULL);
	grpc_metadata_array_init(&s->headers);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = out;
	ops[2].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[2].data.recv_initial_metadata.recv_initial_metadata = &s->headers;
	ops[3].op = GRPC_OP_RECV_MESSAGE;
	ops[3].data.recv_message.recv_message = &s->in;
	if (grpc_call_start_batch(s->call, ops, half ? 1 : 4, s, NULL) != GRPC_CALL_OK)
		abort();
	if (out)
		grpc_byte_buffer_destroy(out);
}

/* Wait for what was begun on each; how many have what they wanted. */
static size_t wait_all(struct holder *h, bool half)
{
	const gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
						gpr_time_from_seconds(WAIT_S, GPR_TIMESPAN));
	size_t held = 0;

	for (size_t i = 0; i < h->count; i++) {
		grpc_event event = grpc_completion_queue_next(h->queue, until, NULL);
		const struct stream *s = event.tag;
		if (event.type != GRPC_OP_COMPLETE)
			break;
		held += event.success && (half || s->in);
	}
	return held;
}

static int hold(const char *target, size_t count, unsigned connections, bool half)
{
	struct holder h = {.queue = grpc_completion_queue_create_for_next(NULL),
			   .streams = xcalloc(count, sizeof(struct stream)),
			   .count = count};
	size_t held;

	for (unsigned i = 0; i < connections; i++)
		h.channels[i] = connect_to(target);
	for (size_t i = 0; i < count; i++)
		open_stream(&h, i, connections, half);
	held = wait_all(&h, half);
	printf("held %zu failed %zu\n", held, count - held);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0; /* all of it goes with the process */
}

int main(int argc, char **argv)
{
	grpc_init();
	if (argc >= 2 && !strcmp(argv[1], "serve"))
		return serve(argc > 2 ? (unsigned)atoi(argv[2]) : 0);
	if (argc >= 5 && !strcmp(argv[1], "hold") && atoi(argv[4]) > 0 &&
	    atoi(argv[4]) <= MAX_CONNECTIONS)
		return hold(argv[2], (size_t)atol(argv[3]), (unsigned)atoi(argv[4]),
			    argc > 5 && !strcmp(argv[5], "half"));
	fprintf(stderr,
		"usage: streams serve | streams hold TARGET COUNT CONNECTIONS [half]\n");
	return 2;
}
