#include "tests/support/bare_server.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/support/metadata.h"

struct bare_server {
	grpc_server *core;
	grpc_completion_queue *queue; /* of new calls */
	pthread_t acceptor;
	int port;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	unsigned counts[BARE_COUNTS], live;
	struct strbuf request, authority;
	int64_t time_left_ms;
};

enum { MAX_ECHOED = 16 }; /* and one boast */

struct bare_call {
	struct bare_server *server;
	grpc_completion_queue *queue;
	grpc_call *core;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_metadata headers[MAX_ECHOED + 1], trailers[MAX_ECHOED + 1];
	size_t header_count, trailer_count;
	grpc_status_code code;
	grpc_slice message;
	bool headers_sent, closed;
	int cancelled;          /* valid once closed */
	char on_close, on_step; /* tags */
};

static void count(struct bare_server *b, enum bare_count which)
{
	pthread_mutex_lock(&b->mutex);
	b->counts[which]++;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mutex);
}

/* ------------------------------------------------------------------- one call */

static bool wait_for(struct bare_call *c, void *tag)
{
	return grpc_completion_queue_pluck(c->queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					   NULL)
		       .success != 0;
}

/* Operations with the headers first, unless they are sent. False: the call is over. */
static bool perform(struct bare_call *c, grpc_op op)
{
	grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
	size_t n = 0;

	if (!c->headers_sent && op.op != GRPC_OP_RECV_MESSAGE) {
		c->headers_sent = true;
		ops[n].data.send_initial_metadata.metadata = c->headers;
		ops[n++].data.send_initial_metadata.count = c->header_count;
	}
	if (op.op != GRPC_OP_SEND_INITIAL_METADATA)
		ops[n++] = op;
	if (grpc_call_start_batch(c->core, ops, n, &c->on_step, NULL) != GRPC_CALL_OK)
		abort();
	return wait_for(c, &c->on_step);
}

static void send_headers(struct bare_call *c)
{
	(void)perform(c, (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA});
}

static bool write_message(struct bare_call *c, grpc_byte_buffer *message)
{
	grpc_byte_buffer *copy = grpc_byte_buffer_copy(message); /* gRPC empties it */
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	bool sent;

	op.data.send_message.send_message = copy;
	sent = perform(c, op);
	grpc_byte_buffer_destroy(copy);
	if (sent)
		count(c->server, BARE_WRITTEN);
	return sent;
}

/* NULL: the half-close, or the call is over. */
static grpc_byte_buffer *read_message(struct bare_call *c)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
	grpc_byte_buffer *message = NULL;

	op.data.recv_message.recv_message = &message;
	(void)perform(c, op);
	if (message)
		count(c->server, BARE_READ);
	else if (!grpc_call_failed_before_recv_message(c->core))
		count(c->server, BARE_HALF_CLOSES);
	return message;
}

static void end(struct bare_call *c)
{
	grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};

	op.data.send_status_from_server.status = c->code;
	op.data.send_status_from_server.status_details = &c->message;
	op.data.send_status_from_server.trailing_metadata = c->trailers;
	op.data.send_status_from_server.trailing_metadata_count = c->trailer_count;
	(void)perform(c, op);
}

/* -------------------------------------------------------------------- methods */

static void do_echo(struct bare_call *c)
{
	grpc_byte_buffer *message;

	while ((message = read_message(c))) {
		(void)write_message(c, message);
		grpc_byte_buffer_destroy(message);
	}
}

static void do_greet(struct bare_call *c)
{
	send_headers(c);
	do_echo(c);
}

static void repeat(struct bare_call *c, unsigned long times)
{
	grpc_byte_buffer *message = read_message(c);

	if (!message)
		return;
	while (times-- && write_message(c, message))
		;
	grpc_byte_buffer_destroy(message);
}

static const grpc_slice *find(const struct bare_call *c, const char *key)
{
	for (size_t i = 0; i < c->metadata.count; i++)
		if (!grpc_slice_str_cmp(c->metadata.metadata[i].key, key))
			return &c->metadata.metadata[i].value;
	return NULL;
}

static unsigned long number(const struct bare_call *c, const char *key)
{
	const grpc_slice *value = find(c, key);
	char text[24];

	if (!value)
		return 0;
	snprintf(text, sizeof(text), "%.*s", (int)GRPC_SLICE_LENGTH(*value),
		 (const char *)GRPC_SLICE_START_PTR(*value));
	return strtoul(text, NULL, 10);
}

static void do_down(struct bare_call *c)
{
	repeat(c, number(c, "want-count"));
}

static void do_flood(struct bare_call *c)
{
	repeat(c, ~0UL);
}

static void do_up(struct bare_call *c)
{
	unsigned messages = 0;
	size_t bytes = 0;
	grpc_byte_buffer *message;
	char text[64];
	grpc_slice slice;

	while ((message = read_message(c))) {
		messages++;
		bytes += grpc_byte_buffer_length(message);
		grpc_byte_buffer_destroy(message);
	}
	snprintf(text, sizeof(text), "%u %zu", messages, bytes);
	slice = grpc_slice_from_copied_string(text);
	message = grpc_raw_byte_buffer_create(&slice, 1);
	(void)write_message(c, message);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(slice);
}

static void do_refuse(struct bare_call *c)
{
	(void)c;
}

static void await_close(struct bare_call *c)
{
	if (!c->closed)
		(void)wait_for(c, &c->on_close);
	c->closed = true;
}

static void do_deaf(struct bare_call *c)
{
	send_headers(c);
	await_close(c);
}

static void do_flaky(struct bare_call *c)
{
	if (bare_server_count(c->server, BARE_BEGUN) % 2)
		c->code = GRPC_STATUS_UNAVAILABLE;
	else
		do_echo(c);
}

static void do_boast(struct bare_call *c)
{
	const grpc_metadata boast = {grpc_slice_from_static_string("collector-internal-key"),
				     grpc_slice_from_static_string("secret"),
				     {{0}}};

	c->headers[c->header_count++] = c->trailers[c->trailer_count++] = boast;
}

static void do_decline(struct bare_call *c)
{
	const grpc_metadata declined = {
		grpc_slice_from_static_string("collector-not-processed"),
		grpc_slice_from_static_string("1"),
		{{0}}};

	for (unsigned long left = number(c, "want-reads"); left; left--) {
		grpc_byte_buffer *message = read_message(c);
		if (message)
			grpc_byte_buffer_destroy(message);
	}
	if (c->code == GRPC_STATUS_OK)
		c->code = GRPC_STATUS_UNAVAILABLE;
	c->trailers[c->trailer_count++] = declined;
}

static void do_drop(struct bare_call *c)
{
	do_decline(c);
	c->trailer_count--;
}

static void do_nothing(struct bare_call *c)
{
	c->code = GRPC_STATUS_UNIMPLEMENTED;
}

static void run_method(struct bare_call *c)
{
	static const struct {
		const char *name;
		void (*run)(struct bare_call *c);
	} methods[] = {
		{"Echo", do_echo},       {"Greet", do_greet},   {"Down", do_down},
		{"Up", do_up},           {"Refuse", do_refuse}, {"Deaf", do_deaf},
		{"Flood", do_flood},     {"Flaky", do_flaky},   {"Boast", do_boast},
		{"Decline", do_decline}, {"Drop", do_drop},
	};
	AUTO_FREE char *path = grpc_slice_to_c_string(c->details.method);
	const char *name = strrchr(path, '/');

	for (size_t i = 0; name && i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(name + 1, methods[i].name)) {
			methods[i].run(c);
			return;
		}
	do_nothing(c);
}

/* -------------------------------------------------------------- begin and end */

static bool begins_with(grpc_slice key, const char *prefix)
{
	size_t len = strlen(prefix);

	return GRPC_SLICE_LENGTH(key) >= len && !memcmp(GRPC_SLICE_START_PTR(key), prefix, len);
}

static void read_wishes(struct bare_call *c)
{
	const grpc_slice *message = find(c, "want-message-bin");

	c->code = (grpc_status_code)number(c, "want-code");
	c->message = message ? *message : grpc_empty_slice();
	for (size_t i = 0; i < c->metadata.count; i++) {
		const grpc_metadata *m = &c->metadata.metadata[i];
		if (begins_with(m->key, "x-grpc-test-echo-initial") &&
		    c->header_count < MAX_ECHOED)
			c->headers[c->header_count++] = *m;
		if (begins_with(m->key, "x-grpc-test-echo-trailing") &&
		    c->trailer_count < MAX_ECHOED)
			c->trailers[c->trailer_count++] = *m;
	}
}

static void note(struct bare_call *c)
{
	struct bare_server *b = c->server;
	gpr_timespec deadline =
		gpr_convert_clock_type(c->details.deadline, GPR_CLOCK_MONOTONIC);
	bool forever = !gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC));
	AUTO_FREE char *host = grpc_slice_to_c_string(c->details.host);
	AUTO_FREE char *path = grpc_slice_to_c_string(c->details.method);

	pthread_mutex_lock(&b->mutex);
	strbuf_reset(&b->authority);
	strbuf_addstr(&b->authority, host);
	strbuf_reset(&b->request);
	strbuf_addf(&b->request, "%s\n", path);
	metadata_describe(&c->metadata, &b->request);
	b->time_left_ms = forever ? -1
				  : gpr_time_to_millis(gpr_time_sub(
					    deadline, gpr_now(GPR_CLOCK_MONOTONIC)));
	pthread_mutex_unlock(&b->mutex);
	count(b, BARE_BEGUN);
}

static void call_free(struct bare_call *c)
{
	if (c->core)
		grpc_call_unref(c->core);
	grpc_call_details_destroy(&c->details);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_completion_queue_shutdown(c->queue);
	(void)grpc_completion_queue_pluck(c->queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					  NULL);
	grpc_completion_queue_destroy(c->queue);
	free(c);
}

static void *serve_call(void *arg)
{
	struct bare_call *c = arg;
	struct bare_server *b = c->server;
	grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	op.data.recv_close_on_server.cancelled = &c->cancelled;
	if (grpc_call_start_batch(c->core, &op, 1, &c->on_close, NULL) != GRPC_CALL_OK)
		abort();
	read_wishes(c);
	note(c);
	run_method(c);
	end(c);
	await_close(c);
	if (c->cancelled)
		count(b, BARE_CANCELLED);
	count(b, BARE_ENDED);
	call_free(c);
	pthread_mutex_lock(&b->mutex);
	b->live--;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mutex);
	return NULL;
}

/* ------------------------------------------------------------------ the server */

static struct bare_call *call_new(struct bare_server *b)
{
	struct bare_call *c = xcalloc(1, sizeof(*c));

	c->server = b;
	c->queue = grpc_completion_queue_create_for_pluck(NULL);
	grpc_call_details_init(&c->details);
	grpc_metadata_array_init(&c->metadata);
	if (grpc_server_request_call(b->core, &c->core, &c->details, &c->metadata, c->queue,
				     b->queue, c) != GRPC_CALL_OK)
		abort();
	return c;
}

static void start_thread(struct bare_call *c)
{
	pthread_t thread;

	pthread_mutex_lock(&c->server->mutex);
	c->server->live++;
	pthread_mutex_unlock(&c->server->mutex);
	if (pthread_create(&thread, NULL, serve_call, c) || pthread_detach(thread))
		abort();
}

static grpc_event next_event(struct bare_server *b)
{
	return grpc_completion_queue_next(b->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

/* A server that stops says so by the tag @b, and fails the call asked for. */
static void *accept_calls(void *arg)
{
	struct bare_server *b = arg;
	bool stopped = false;

	for (;;) {
		struct bare_call *c = call_new(b);
		grpc_event event = next_event(b);
		if (event.tag == b) {
			stopped = true;
			event = next_event(b);
		}
		if (event.success) {
			start_thread(c);
			continue;
		}
		call_free(c);
		if (!stopped)
			(void)next_event(b);
		return NULL;
	}
}

struct bare_server *bare_server_new(int port)
{
	struct bare_server *b = xcalloc(1, sizeof(*b));
	grpc_server_credentials *plain;
	grpc_arg args[] = {{.type = GRPC_ARG_INTEGER,
			    .key = (char *)GRPC_ARG_ALLOW_REUSEPORT,
			    .value.integer = 0},
			   {.type = GRPC_ARG_INTEGER,
			    .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			    .value.integer = -1}};
	const grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};
	char address[32];

	grpc_init();
	pthread_mutex_init(&b->mutex, NULL);
	pthread_cond_init(&b->changed, NULL);
	b->queue = grpc_completion_queue_create_for_next(NULL);
	b->core = grpc_server_create(&all, NULL);
	grpc_server_register_completion_queue(b->core, b->queue, NULL);
	plain = grpc_insecure_server_credentials_create();
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	b->port = grpc_server_add_http2_port(b->core, address, plain);
	grpc_server_credentials_release(plain);
	grpc_server_start(b->core);
	if (pthread_create(&b->acceptor, NULL, accept_calls, b))
		abort();
	if (b->port)
		return b;
	bare_server_free(b);
	return NULL;
}

void bare_server_free(struct bare_server *b)
{
	if (!b)
		return;
	grpc_server_shutdown_and_notify(b->core, b->queue, b);
	grpc_server_cancel_all_calls(b->core);
	pthread_join(b->acceptor, NULL);
	pthread_mutex_lock(&b->mutex);
	while (b->live)
		pthread_cond_wait(&b->changed, &b->mutex);
	pthread_mutex_unlock(&b->mutex);
	grpc_server_destroy(b->core);
	grpc_completion_queue_shutdown(b->queue);
	(void)next_event(b);
	grpc_completion_queue_destroy(b->queue);
	strbuf_release(&b->request);
	strbuf_release(&b->authority);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->mutex);
	free(b);
	grpc_shutdown();
}

int bare_server_port(const struct bare_server *b)
{
	return b->port;
}

/* ---------------------------------------------------------------- what it saw */

unsigned bare_server_count(struct bare_server *b, enum bare_count which)
{
	unsigned value;

	pthread_mutex_lock(&b->mutex);
	value = b->counts[which];
	pthread_mutex_unlock(&b->mutex);
	return value;
}

void bare_server_wait(struct bare_server *b, enum bare_count which, unsigned value)
{
	pthread_mutex_lock(&b->mutex);
	while (b->counts[which] < value)
		pthread_cond_wait(&b->changed, &b->mutex);
	pthread_mutex_unlock(&b->mutex);
}

void bare_server_authority(struct bare_server *b, struct strbuf *out)
{
	pthread_mutex_lock(&b->mutex);
	strbuf_add(out, strbuf_str(&b->authority), b->authority.len);
	pthread_mutex_unlock(&b->mutex);
}

void bare_server_request(struct bare_server *b, struct strbuf *out)
{
	pthread_mutex_lock(&b->mutex);
	strbuf_reset(out);
	strbuf_add(out, strbuf_str(&b->request), b->request.len);
	pthread_mutex_unlock(&b->mutex);
}

int64_t bare_server_time_left_ms(struct bare_server *b)
{
	int64_t left;

	pthread_mutex_lock(&b->mutex);
	left = b->time_left_ms;
	pthread_mutex_unlock(&b->mutex);
	return left;
}
