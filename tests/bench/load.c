/*
 * A closed loop: N unary calls under way at once, from one thread on one
 * completion queue, each answered call making room for the next.
 *
 *	load -t 127.0.0.1:50051 -m /pkg.Service/Method -f request.bin
 *	     [-s] [-c in-flight] [-d seconds] [-w warm-up seconds] [-H key=value]
 *
 * With -s N streams are opened, and it is messages that are counted: each goes when
 * the one before it has been answered by one.
 *
 * Prints one line: calls a second, latencies in microseconds, failures. The
 * exit code is 1 if a call failed.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "tests/bench/varies.h"

enum { MAX_SAMPLES = 1 << 23, MAX_IN_FLIGHT = 4096, TIMEOUT_S = 30 };

struct slot {
	grpc_call *call;
	grpc_metadata_array headers, trailers;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *out, *in;
	uint64_t started_ns;
};

struct load {
	grpc_completion_queue *queue;
	grpc_channel *channel;
	void *method;
	grpc_slice request;
	size_t varies_at; /* SIZE_MAX: every request is the same */
	uint32_t started;
	grpc_metadata header;
	bool has_header, is_streaming;
	uint32_t *latency_us10; /* tenths of a microsecond */
	size_t samples;
	uint64_t failures;
};

static grpc_byte_buffer *next_request(struct load *l)
{
	grpc_byte_buffer *buffer;
	grpc_slice one;

	if (l->varies_at == SIZE_MAX)
		return grpc_raw_byte_buffer_create(&l->request, 1);
	one = grpc_slice_from_copied_buffer((const char *)GRPC_SLICE_START_PTR(l->request),
					    GRPC_SLICE_LENGTH(l->request));
	varies_write((char *)GRPC_SLICE_START_PTR(one) + l->varies_at, l->started++);
	buffer = grpc_raw_byte_buffer_create(&one, 1);
	grpc_slice_unref(one);
	return buffer;
}

static void start_call(struct load *l, struct slot *s)
{
	gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
					     gpr_time_from_seconds(TIMEOUT_S, GPR_TIMESPAN));
	grpc_op ops[6];

	memset(ops, 0, sizeof(ops));
	grpc_metadata_array_init(&s->headers);
	grpc_metadata_array_init(&s->trailers);
	s->details = grpc_empty_slice();
	s->in = NULL;
	s->started_ns = clock_monotonic_ns();
	s->out = next_request(l);
	s->call = grpc_channel_create_registered_call(l->channel, NULL, 0, l->queue, l->method,
						      deadline, NULL);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.metadata = &l->header;
	ops[0].data.send_initial_metadata.count = l->has_header;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = s->out;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &s->headers;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &s->in;
	ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[5].data.recv_status_on_client.trailing_metadata = &s->trailers;
	ops[5].data.recv_status_on_client.status = &s->code;
	ops[5].data.recv_status_on_client.status_details = &s->details;
	if (grpc_call_start_batch(s->call, ops, 6, s, NULL) != GRPC_CALL_OK)
		abort();
}

/* The stream's next, which opens it if it is the first. */
static void start_message(struct load *l, struct slot *s)
{
	const bool opens = !s->call;
	grpc_op ops[4];

	memset(ops, 0, sizeof(ops));
	s->in = NULL;
	s->started_ns = clock_monotonic_ns();
	s->out = next_request(l);
	ops[0].op = GRPC_OP_SEND_MESSAGE;
	ops[0].data.send_message.send_message = s->out;
	ops[1].op = GRPC_OP_RECV_MESSAGE;
	ops[1].data.recv_message.recv_message = &s->in;
	ops[2].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[2].data.send_initial_metadata.metadata = &l->header;
	ops[2].data.send_initial_metadata.count = l->has_header;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &s->headers;
	if (opens) {
		grpc_metadata_array_init(&s->headers);
		s->call = grpc_channel_create_registered_call(
			l->channel, NULL, 0, l->queue, l->method,
			gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	}
	if (grpc_call_start_batch(s->call, ops, opens ? 4 : 2, s, NULL) != GRPC_CALL_OK)
		abort();
}

/* False: the stream has ended, and so has our part in it. */
static bool finish_message(struct load *l, struct slot *s)
{
	const bool is_answered = s->in != NULL;

	if (!is_answered && !l->failures++)
		fprintf(stderr, "a stream has ended\n");
	if (s->in)
		grpc_byte_buffer_destroy(s->in);
	grpc_byte_buffer_destroy(s->out);
	return is_answered;
}

static void finish_call(struct load *l, struct slot *s)
{
	if (s->code != GRPC_STATUS_OK && !l->failures++) {
		char *text = grpc_slice_to_c_string(s->details);
		fprintf(stderr, "status %d: %s\n", (int)s->code, text);
		gpr_free(text);
	}
	grpc_byte_buffer_destroy(s->in);
	grpc_byte_buffer_destroy(s->out);
	grpc_metadata_array_destroy(&s->headers);
	grpc_metadata_array_destroy(&s->trailers);
	grpc_slice_unref(s->details);
	grpc_call_unref(s->call);
}

static void start(struct load *l, struct slot *s)
{
	if (l->is_streaming)
		start_message(l, s);
	else
		start_call(l, s);
}

static bool finish(struct load *l, struct slot *s)
{
	if (l->is_streaming)
		return finish_message(l, s);
	finish_call(l, s);
	return true;
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double at(const struct load *l, double part)
{
	size_t i = (size_t)((double)l->samples * part);

	return l->samples ? l->latency_us10[i < l->samples ? i : l->samples - 1] / 10.0 : 0;
}

/* What starts and ends inside the measured window counts. */
static void run(struct load *l, unsigned in_flight, double warm_s, double seconds)
{
	struct slot *slots = xcalloc(in_flight, sizeof(*slots));
	uint64_t from = clock_monotonic_ns() + (uint64_t)(warm_s * 1e9);
	uint64_t until = from + (uint64_t)(seconds * 1e9);
	unsigned live = in_flight;

	for (unsigned i = 0; i < in_flight; i++)
		start(l, &slots[i]);
	while (live) {
		grpc_event event = grpc_completion_queue_next(
			l->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		struct slot *s = event.tag;
		uint64_t now = clock_monotonic_ns();
		const bool goes_on = finish(l, s) && now < until;
		if (s->started_ns >= from && now <= until && l->samples < MAX_SAMPLES)
			l->latency_us10[l->samples++] = (uint32_t)((now - s->started_ns) / 100);
		if (goes_on)
			start(l, s);
		else
			live--;
	}
	free(slots);
}

static void read_request(struct load *l, const char *path)
{
	static char buffer[16 << 20];
	FILE *f = fopen(path, "rb");
	const char *varies;
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	n = fread(buffer, 1, sizeof(buffer), f);
	fclose(f);
	varies = varies_find(buffer, n);
	l->varies_at = varies ? (size_t)(varies - buffer) : SIZE_MAX;
	l->request = grpc_slice_from_copied_buffer(buffer, n);
}

static bool set_header(struct load *l, const char *pair)
{
	const char *equals = strchr(pair, '=');

	if (!equals)
		return false;
	l->header.key = grpc_slice_from_copied_buffer(pair, (size_t)(equals - pair));
	l->header.value = grpc_slice_from_copied_string(equals + 1);
	l->has_header = true;
	return true;
}

static void connect_to(struct load *l, const char *target, const char *method)
{
	grpc_arg options[] = {
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_RETRIES},
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_CHANNELZ},
		{.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_BDP_PROBE},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION,
		 .value.integer = 1},
	};
	grpc_channel_args args = {sizeof(options) / sizeof(options[0]), options};
	grpc_channel_credentials *plain = grpc_insecure_credentials_create();

	l->queue = grpc_completion_queue_create_for_next(NULL);
	l->channel = grpc_channel_create(target, plain, &args);
	l->method = grpc_channel_register_call(l->channel, method, NULL, NULL);
	grpc_channel_credentials_release(plain);
}

int main(int argc, char **argv)
{
	const char *target = NULL, *method = NULL, *file = NULL;
	unsigned in_flight = 1;
	double seconds = 2, warm = 0.3;
	struct load l = {0};
	int o;

	grpc_init();
	while ((o = getopt(argc, argv, "t:m:f:c:d:w:H:s")) != -1)
		switch (o) {
		case 't':
			target = optarg;
			break;
		case 'm':
			method = optarg;
			break;
		case 'f':
			file = optarg;
			break;
		case 'c':
			in_flight = (unsigned)atoi(optarg);
			break;
		case 'd':
			seconds = atof(optarg);
			break;
		case 'w':
			warm = atof(optarg);
			break;
		case 's':
			l.is_streaming = true;
			break;
		case 'H':
			if (!set_header(&l, optarg))
				return 2;
			break;
		default:
			return 2;
		}
	if (!target || !method || !file || !in_flight || in_flight > MAX_IN_FLIGHT)
		return 2;
	read_request(&l, file);
	l.latency_us10 = xreallocarray(NULL, MAX_SAMPLES, sizeof(*l.latency_us10));
	connect_to(&l, target, method);
	run(&l, in_flight, warm, seconds);
	qsort(l.latency_us10, l.samples, sizeof(*l.latency_us10), ascending);
	printf("qps=%.0f p50=%.1f p90=%.1f p99=%.1f max=%.1f failures=%" PRIu64 "\n",
	       (double)l.samples / seconds, at(&l, 0.5), at(&l, 0.9), at(&l, 0.99), at(&l, 1),
	       l.failures);
	return l.failures != 0;
}
