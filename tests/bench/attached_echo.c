/*
 * A process attached to a dispatcher, for benches: echo.v1.EchoService/Unary of one
 * namespace, on the bare gRPC core, one queue, one thread. Answers go out when nothing
 * more waits to be read, so that those to calls that came at once leave at once.
 *
 *	attached_echo ADDRESS NAMESPACE
 *
 * Prints "ready" once it is attached, and serves until the stream ends.
 */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/rpc/client.h"

enum { MAX_QUEUED = 1024 };

enum tag { SENT, READ, HEADERS, ENDED };

struct attached {
	grpc_completion_queue *queue;
	grpc_call *call;
	grpc_metadata_array headers, trailers;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *incoming, *sending;
	grpc_byte_buffer *queued[MAX_QUEUED]; /* a ring: a dispatcher has fewer under way */
	size_t first, count;
	bool opened;
	struct arena arena;
};

static void *tag_of(enum tag tag)
{
	return (void *)(uintptr_t)tag;
}

static void batch(struct attached *a, const grpc_op *ops, size_t count, enum tag tag)
{
	if (grpc_call_start_batch(a->call, ops, count, tag_of(tag), NULL) != GRPC_CALL_OK)
		abort();
}

/* ------------------------------------------------------------------- sending */

static void queue(struct attached *a, const Collector__AttachRequest *request)
{
	struct bytes packed = rpc_pack(&request->base, &a->arena);
	grpc_slice slice =
		grpc_slice_from_copied_buffer((const char *)packed.data, packed.size);

	if (a->count == MAX_QUEUED)
		abort();
	a->queued[(a->first + a->count++) % MAX_QUEUED] =
		grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
}

static void flush(struct attached *a)
{
	grpc_op ops[2];

	if (a->sending || !a->count)
		return;
	memset(ops, 0, sizeof(ops));
	a->sending = a->queued[a->first];
	a->first = (a->first + 1) % MAX_QUEUED;
	a->count--;
	ops[0].op = GRPC_OP_SEND_MESSAGE;
	ops[0].flags = a->count ? GRPC_WRITE_BUFFER_HINT : 0;
	ops[0].data.send_message.send_message = a->sending;
	ops[1].op = GRPC_OP_SEND_INITIAL_METADATA;
	batch(a, ops, a->opened ? 1 : 2, SENT);
	a->opened = true;
}

static void say_hello(struct attached *a, const char *ns)
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
	queue(a, &request);
}

/* The first field of both messages is the data: what was asked is the answer. */
static void answer(struct attached *a, const Collector__AttachCall *call)
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
	queue(a, &request);
}

static void pong(struct attached *a)
{
	Collector__AttachRequest request = COLLECTOR__ATTACH_REQUEST__INIT;
	Collector__AttachPong message = COLLECTOR__ATTACH_PONG__INIT;

	request.kind_case = COLLECTOR__ATTACH_REQUEST__KIND_PONG;
	request.pong = &message;
	queue(a, &request);
}

/* ------------------------------------------------------------------- reading */

static void read_next(struct attached *a)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &a->incoming;
	batch(a, &op, 1, READ);
}

static void take(struct attached *a, struct bytes data)
{
	const Collector__AttachResponse *response;
	ProtobufCMessage *message;
	struct error err;

	if (rpc_unpack(&collector__attach_response__descriptor, data, &a->arena, &message,
		       &err) != STATUS_OK)
		abort();
	response = (const Collector__AttachResponse *)message;
	if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_CALL) {
		answer(a, response->call);
	} else if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_PING) {
		pong(a);
	} else if (response->kind_case == COLLECTOR__ATTACH_RESPONSE__KIND_WELCOME) {
		puts("ready");
		fflush(stdout);
	}
}

static void take_incoming(struct attached *a)
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (!a->incoming)
		return; /* it has ended, which another event tells */
	grpc_byte_buffer_reader_init(&reader, a->incoming);
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	arena_reset(&a->arena);
	take(a, bytes_of(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)));
	grpc_slice_unref(slice);
	grpc_byte_buffer_destroy(a->incoming);
	a->incoming = NULL;
	read_next(a);
}

/* -------------------------------------------------------------------- events */

static void open_stream(struct attached *a, const char *address, const char *ns)
{
	grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	grpc_channel *channel =
		grpc_channel_create(address, grpc_insecure_credentials_create(), NULL);

	a->queue = grpc_completion_queue_create_for_next(NULL);
	a->call = grpc_channel_create_call(
		channel, NULL, 0, a->queue,
		grpc_slice_from_static_string("/collector.CollectiveDispatcher/Attach"), NULL,
		gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	headers.data.recv_initial_metadata.recv_initial_metadata = &a->headers;
	status.data.recv_status_on_client.trailing_metadata = &a->trailers;
	status.data.recv_status_on_client.status = &a->code;
	status.data.recv_status_on_client.status_details = &a->details;
	say_hello(a, ns);
	flush(a);
	batch(a, &headers, 1, HEADERS);
	batch(a, &status, 1, ENDED);
	read_next(a);
}

/* False: the stream has ended. */
static bool go_on(struct attached *a, enum tag tag)
{
	if (tag == SENT) {
		grpc_byte_buffer_destroy(a->sending);
		a->sending = NULL;
	} else if (tag == READ) {
		take_incoming(a);
	}
	return tag != ENDED;
}

int main(int argc, char **argv)
{
	static struct attached a;
	grpc_event event;

	if (argc != 3)
		return 2;
	grpc_init();
	arena_init(&a.arena, 0);
	grpc_metadata_array_init(&a.headers);
	grpc_metadata_array_init(&a.trailers);
	open_stream(&a, argv[1], argv[2]);
	for (;;) {
		event = grpc_completion_queue_next(a.queue, gpr_inf_past(GPR_CLOCK_MONOTONIC),
						   NULL);
		if (event.type == GRPC_QUEUE_TIMEOUT) {
			flush(&a);
			event = grpc_completion_queue_next(
				a.queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		}
		if (!go_on(&a, (enum tag)(uintptr_t)event.tag))
			break;
	}
	fprintf(stderr, "attached_echo: the stream ended with status %d\n", a.code);
	return 1;
}
