#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/rpc/client.h"
#include "common/rpc/stats.h"
#include "google/protobuf/struct.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/echo_service.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define UNARY  "/echo.v1.EchoService/Unary"
#define DOWN   "/echo.v1.EchoService/Down"
#define UP     "/echo.v1.EchoService/Up"
#define BIDI   "/echo.v1.EchoService/Bidi"
#define HEALTH "/grpc.health.v1.Health/Check"
#define WATCH  "/grpc.health.v1.Health/Watch"

static const char key[] = "0123456789abcdef0123456789abcdef";

static struct rpc_server *server;
static struct echo_service echo;
static int port;

static const struct rpc_method_policy all_inline[] = {{"Unary", RPC_RUN_INLINE},
						      {"Down", RPC_RUN_INLINE},
						      {"Up", RPC_RUN_INLINE},
						      {"Bidi", RPC_RUN_INLINE},
						      {NULL, RPC_RUN_POOL}};

static void start(struct rpc_server_options options, const struct rpc_method_policy *policies)
{
	struct error err;

	options.name = "test";
	options.daemon_key = key;
	server = rpc_server_new(&options);
	echo_service_init(&echo, server, policies);
	if (rpc_server_listen(server, "127.0.0.1:0", &port, &err) != STATUS_OK)
		ck_abort_msg("%s", err.message);
	rpc_server_start(server);
}

static void stop(void)
{
	ck_assert(rpc_server_stop(server, 2000));
	rpc_server_free(server);
	echo_service_release(&echo);
}

static enum status call(const char *path, struct bytes request,
			const struct stream_pair *metadata, struct strbuf *reply,
			struct strbuf *message)
{
	enum status status = stream_unary(port, path, request, metadata, reply, message);

	free((void *)request.data);
	return status;
}

static void send_echo(struct stream *s, const char *data, int code, int delay_ms, int count)
{
	struct bytes request = echo_request(data, strlen(data), code, delay_ms, count);

	ck_assert(stream_send(s, request));
	free((void *)request.data);
}

static void check_reply(const struct strbuf *reply, const char *data, int sequence)
{
	Echo__V1__EchoReply *m = echo__v1__echo_reply__unpack(
		NULL, reply->len, (const uint8_t *)strbuf_str(reply));

	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->data.len, strlen(data));
	if (*data)
		ck_assert_mem_eq(m->data.data, data, strlen(data));
	ck_assert_int_eq(m->sequence, sequence);
	echo__v1__echo_reply__free_unpacked(m, NULL);
}

static void check_unary_works(void)
{
	struct strbuf reply = STRBUF_INIT;

	ck_assert_int_eq(call(UNARY, echo_request("hello", 5, 0, 0, 0), NULL, &reply, NULL),
			 STATUS_OK);
	check_reply(&reply, "hello", 0);
	strbuf_release(&reply);
}

/* ----------------------------------------------------------------- four kinds */

static void check_all_kinds(void)
{
	struct strbuf reply = STRBUF_INIT;
	struct stream *s;

	check_unary_works();

	s = stream_open(port, DOWN, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "down", 0, 0, 100);
	stream_half_close(s);
	for (int i = 0; i < 100; i++) {
		ck_assert(stream_read(s, &reply));
		check_reply(&reply, "down", i);
	}
	ck_assert(!stream_read(s, &reply));
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	stream_free(s);

	s = stream_open(port, UP, STREAM_TEST_TIMEOUT_MS, NULL);
	for (int i = 0; i < 100; i++)
		send_echo(s, "up", 0, 0, 0);
	stream_half_close(s);
	ck_assert(stream_read(s, &reply));
	check_reply(&reply, "", 100);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	stream_free(s);

	s = stream_open(port, BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
	for (int i = 0; i < 100; i++) {
		send_echo(s, "both", 0, 0, 0);
		ck_assert(stream_read(s, &reply));
		check_reply(&reply, "both", i);
	}
	stream_half_close(s);
	ck_assert(!stream_read(s, &reply));
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	stream_free(s);
	strbuf_release(&reply);
}

START_TEST(all_kinds_on_the_pool)
{
	start((struct rpc_server_options){0}, NULL);
	check_all_kinds();
	stop();
}
END_TEST

START_TEST(all_kinds_inline)
{
	start((struct rpc_server_options){0}, all_inline);
	check_all_kinds();
	stop();
}
END_TEST

START_TEST(streams_without_a_message)
{
	struct strbuf reply = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UP, STREAM_TEST_TIMEOUT_MS, NULL);
	stream_half_close(s);
	ck_assert(stream_read(s, &reply));
	check_reply(&reply, "", 0);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	stream_free(s);
	s = stream_open(port, BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
	stream_half_close(s);
	ck_assert(!stream_read(s, &reply));
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	stream_free(s);
	/* A unary call must bring one. */
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, NULL);
	stream_half_close(s);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_INVALID_ARGUMENT);
	stream_free(s);
	strbuf_release(&reply);
	stop();
}
END_TEST

/* The server may end a stream before the client has: the rest is dropped. */
START_TEST(a_method_may_end_early)
{
	struct strbuf text = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UP, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "enough", STATUS_OUT_OF_RANGE, 0, 0);
	ck_assert_int_eq(stream_status(s, &text), STATUS_OUT_OF_RANGE);
	ck_assert_str_eq(strbuf_str(&text), "enough");
	stream_free(s);
	strbuf_release(&text);
	stop();
}
END_TEST

/* --------------------------------------------------------------------- errors */

START_TEST(errors_carry_details)
{
	const struct stream_pair metadata[] = {{"x-request-id", "req-1"}, {NULL, NULL}};
	struct bytes request = echo_request("na\xc3\xafve", 6, STATUS_NOT_FOUND, 0, 0);
	struct strbuf text = STRBUF_INIT;
	struct stream *s;
	const char *details;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, metadata);
	ck_assert(stream_send(s, request));
	ck_assert_int_eq(stream_status(s, &text), STATUS_NOT_FOUND);
	ck_assert_str_eq(strbuf_str(&text), "na\xc3\xafve");
	details = stream_trailer(s, "grpc-status-details-bin");
	ck_assert_ptr_nonnull(details);
	ck_assert_ptr_nonnull(strstr(details, "type.googleapis.com/google.rpc.ErrorInfo"));
	ck_assert_ptr_nonnull(strstr(details, "NOT_FOUND"));
	ck_assert_ptr_nonnull(strstr(details, "req-1"));
	stream_free(s);
	free((void *)request.data);

	/* A method that says something that is no UTF-8 fails all the same. */
	ck_assert_int_eq(call(UNARY, echo_request("\xff\xfe", 2, STATUS_ABORTED, 0, 0), NULL,
			      NULL, &text),
			 STATUS_ABORTED);
	ck_assert_str_eq(strbuf_str(&text), "??");
	strbuf_release(&text);
	stop();
}
END_TEST

START_TEST(methods_that_are_not_there)
{
	struct strbuf text = STRBUF_INIT;

	start((struct rpc_server_options){0}, NULL);
	echo.service.up = NULL;
	ck_assert_int_eq(call(UP, echo_request("", 0, 0, 0, 0), NULL, NULL, &text),
			 STATUS_UNIMPLEMENTED);
	ck_assert_int_eq(call("/echo.v1.EchoService/Nope", echo_request("", 0, 0, 0, 0), NULL,
			      NULL, &text),
			 STATUS_UNIMPLEMENTED);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&text), "/echo.v1.EchoService/Nope"));
	ck_assert_int_eq(
		call("/no.such.Service/M", echo_request("", 0, 0, 0, 0), NULL, NULL, NULL),
		STATUS_UNIMPLEMENTED);
	strbuf_release(&text);
	stop();
}
END_TEST

static struct bytes raw(const char *data, size_t size)
{
	return bytes_of(xmemdup(data, size), size);
}

START_TEST(malformed_requests)
{
	start((struct rpc_server_options){0}, NULL);
	ck_assert_int_eq(call(UNARY, raw("\x0a\x7f", 2), NULL, NULL, NULL),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(call(HEALTH,
			      raw("\x0a\x03"
				  "a\0b",
				  5),
			      NULL, NULL, NULL),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(call(HEALTH, raw("\x0a\x01\xff", 3), NULL, NULL, NULL),
			 STATUS_INVALID_ARGUMENT);
	check_unary_works();
	stop();
}
END_TEST

/* The field to blame comes back to our own client. */
START_TEST(the_blamed_field_comes_back)
{
	struct rpc_client *client = rpc_client_new(&(struct rpc_client_options){0});
	char target[32];
	struct arena arena;
	struct bytes reply;
	struct error err;

	start((struct rpc_server_options){0}, NULL);
	arena_init(&arena, 0);
	snprintf(target, sizeof(target), "127.0.0.1:%d", port);
	ck_assert_int_eq(rpc_invoke_raw(rpc_client_channel(client, target, RPC_TRUST_FOREIGN),
					HEALTH, bytes_of("\x0a\x01\xff", 3), NULL, &arena,
					&reply, NULL, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "service");
	arena_release(&arena);
	rpc_client_free(client);
	stop();
}
END_TEST

/* --------------------------------------------------------------------- limits */

START_TEST(unpacking_is_bounded)
{
	enum { PAIRS = 100000 };
	const ProtobufCMessageDescriptor *list = &google__protobuf__list_value__descriptor;
	AUTO_FREE uint8_t *data = xmalloc(2 * PAIRS);
	struct arena arena;
	ProtobufCMessage *message;
	struct error err;

	/* Empty sub-messages: two bytes here, some 60 in memory. */
	for (int i = 0; i < PAIRS; i++) {
		data[2 * i] = 0x0a;
		data[2 * i + 1] = 0;
	}
	arena_init(&arena, 1 << 20);
	ck_assert_int_eq(rpc_unpack(list, bytes_of(data, 2 * PAIRS), &arena, &message, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	arena_reset(&arena);
	ck_assert_int_eq(rpc_unpack(list, bytes_of(data, 200), &arena, &message, &err),
			 STATUS_OK);
	arena_release(&arena);
}
END_TEST

/* ListValue and Value in turn, @levels of each. */
static size_t nest(uint8_t *out, int levels)
{
	size_t size = 0;
	uint8_t inner[4096];

	for (int i = 0; i < levels; i++) {
		memcpy(inner, out, size);
		out[0] = i % 2 ? 0x0a : 0x32; /* ListValue.values, Value.list_value */
		ck_assert(size < 127 * 2);
		if (size < 128) {
			out[1] = (uint8_t)size;
			memcpy(out + 2, inner, size);
			size += 2;
		} else {
			out[1] = (uint8_t)(size | 0x80);
			out[2] = (uint8_t)(size >> 7);
			memcpy(out + 3, inner, size);
			size += 3;
		}
	}
	return size;
}

START_TEST(depth_is_bounded)
{
	struct arena arena;
	ProtobufCMessage *message;
	uint8_t data[4096];
	struct error err;
	size_t size;

	arena_init(&arena, 0);
	size = nest(data, 90);
	ck_assert_int_eq(rpc_unpack(&google__protobuf__list_value__descriptor,
				    bytes_of(data, size), &arena, &message, &err),
			 STATUS_OK);
	size = nest(data, 102);
	ck_assert_int_eq(rpc_unpack(&google__protobuf__list_value__descriptor,
				    bytes_of(data, size), &arena, &message, &err),
			 STATUS_INVALID_ARGUMENT);
	arena_release(&arena);
}
END_TEST

START_TEST(messages_are_bounded)
{
	size_t size = 200000;
	char *big = xcalloc(1, size);

	start((struct rpc_server_options){.max_message_bytes = 100000}, NULL);
	ck_assert_int_eq(call(UNARY, echo_request(big, size, 0, 0, 0), NULL, NULL, NULL),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(call(UP, echo_request(big, size, 0, 0, 0), NULL, NULL, NULL),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(call(UNARY, echo_request(big, 90000, 0, 0, 0), NULL, NULL, NULL),
			 STATUS_OK);
	check_unary_works();
	free(big);
	stop();
}
END_TEST

START_TEST(live_calls_are_bounded)
{
	struct stream *held;
	struct stream *s;

	start((struct rpc_server_options){.max_calls = 1}, NULL);
	held = stream_open(port, BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(held, "stay", 0, 0, 0);
	echo_service_wait(&echo, &echo.messages, 1);
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "one too many", 0, 0, 0);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_RESOURCE_EXHAUSTED);
	/* Certain not to have run, so it may be tried elsewhere. */
	ck_assert_ptr_nonnull(stream_trailer(s, "collector-not-processed"));
	ck_assert_uint_eq(echo.begun, 0);
	stream_free(s);
	stream_free(held);
	stop();
}
END_TEST

/* ---------------------------------------------------- deadlines, cancellation */

START_TEST(a_deadline_ends_the_call_and_tells_the_method)
{
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UNARY, 100, NULL);
	send_echo(s, "", 0, -1, 0);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_DEADLINE_EXCEEDED);
	echo_service_wait(&echo, &echo.cancelled, 1);
	stream_free(s);
	stop();
}
END_TEST

START_TEST(unary_calls_without_a_deadline_get_one)
{
	struct strbuf text = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){.default_deadline_ms = 100}, NULL);
	s = stream_open(port, UNARY, 0, NULL);
	send_echo(s, "", 0, -1, 0);
	ck_assert_int_eq(stream_status(s, &text), STATUS_DEADLINE_EXCEEDED);
	echo_service_wait(&echo, &echo.cancelled, 1);
	stream_free(s);
	strbuf_release(&text);
	stop();
}
END_TEST

START_TEST(a_cancelled_client_tells_the_method)
{
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "", 0, -1, 0);
	echo_service_wait(&echo, &echo.begun, 1);
	stream_cancel(s);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_CANCELLED);
	echo_service_wait(&echo, &echo.cancelled, 1);
	stream_free(s);
	stop();
}
END_TEST

START_TEST(a_call_can_be_cut_off_by_the_server)
{
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	echo.keeps = true;
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "", 0, -1, 0);
	echo_service_wait(&echo, &echo.waiting, 1);
	rpc_cut(echo.kept, STATUS_RESOURCE_EXHAUSTED, "others wait");
	ck_assert_int_eq(stream_status(s, NULL), STATUS_RESOURCE_EXHAUSTED);
	echo_service_wait(&echo, &echo.cancelled, 1);
	rpc_release(echo.kept);
	stream_free(s);
	stop();
}
END_TEST

START_TEST(an_upload_cut_off_while_its_method_runs)
{
	start((struct rpc_server_options){0}, NULL);
	echo.lingers = true;
	/* The method returns before, while and after the server lets the call go. */
	for (unsigned i = 1; i <= 200; i++) {
		struct stream *s = stream_open(port, UP, STREAM_TEST_TIMEOUT_MS, NULL);
		send_echo(s, "", 0, 0, 0);
		echo_service_wait(&echo, &echo.messages, i);
		stream_cancel(s);
		echo_service_wait(&echo, &echo.cancelled, i);
		ck_assert_int_eq(stream_status(s, NULL), STATUS_CANCELLED);
		stream_free(s);
	}
	stop();
}
END_TEST

START_TEST(an_upload_cut_off_between_messages)
{
	start((struct rpc_server_options){0}, NULL);
	for (unsigned i = 1; i <= 200; i++) {
		struct stream *s =
			stream_open(port, i % 2 ? UP : BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
		send_echo(s, "", 0, 0, 0);
		echo_service_wait(&echo, &echo.messages, i);
		stream_free(s);
	}
	stop();
}
END_TEST

/* --------------------------------------------------------------- flow control */

enum {
	BIG_BYTES = 1 << 20,
	BIG_COUNT = 100,
	/* What the server queues, and what is on its way: in gRPC's buffers and the kernel's. */
	MAX_AHEAD = 16 + 32,
};

static unsigned messages_written(void)
{
	unsigned n;

	pthread_mutex_lock(&echo.mutex);
	n = echo.messages;
	pthread_mutex_unlock(&echo.mutex);
	return n;
}

START_TEST(a_writer_waits_for_its_reader)
{
	char *data = xcalloc(1, BIG_BYTES);
	struct bytes request = echo_request(data, BIG_BYTES, 0, 0, BIG_COUNT);
	struct strbuf reply = STRBUF_INIT;
	struct strbuf text = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, DOWN, STREAM_TEST_TIMEOUT_MS, NULL);
	ck_assert(stream_send(s, request));
	stream_half_close(s);
	for (unsigned i = 0; i < BIG_COUNT; i++) {
		if (!stream_read(s, &reply)) {
			enum status status = stream_status(s, &text);
			ck_abort_msg("message %u: status %d, %s", i, (int)status,
				     strbuf_str(&text));
		}
		ck_assert_uint_ge(reply.len, BIG_BYTES);
		ck_assert_uint_le(messages_written(), i + 1 + MAX_AHEAD);
	}
	ck_assert(!stream_read(s, &reply));
	ck_assert_int_eq(stream_status(s, &text), STATUS_OK);
	stream_free(s);
	strbuf_release(&text);
	strbuf_release(&reply);
	free((void *)request.data);
	free(data);
	stop();
}
END_TEST

START_TEST(a_writer_whose_reader_goes_away)
{
	char *data = xcalloc(1, BIG_BYTES);
	struct bytes request = echo_request(data, BIG_BYTES, 0, 0, 1 << 20);
	struct strbuf reply = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	for (int i = 0; i < 20; i++) {
		s = stream_open(port, DOWN, STREAM_TEST_TIMEOUT_MS, NULL);
		ck_assert(stream_send(s, request));
		stream_half_close(s);
		ck_assert(stream_read(s, &reply));
		stream_free(s);
	}
	strbuf_release(&reply);
	free((void *)request.data);
	free(data);
	stop();
}
END_TEST

START_TEST(stopping_ends_what_hangs)
{
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	s = stream_open(port, UNARY, STREAM_TEST_TIMEOUT_MS, NULL);
	send_echo(s, "", 0, -1, 0);
	echo_service_wait(&echo, &echo.begun, 1);
	ck_assert(rpc_server_stop(server, 50));
	ck_assert_uint_eq(echo.cancelled, 1);
	ck_assert_int_ne(stream_status(s, NULL), STATUS_OK);
	stream_free(s);
	rpc_server_free(server);
	echo_service_release(&echo);
}
END_TEST

START_TEST(a_server_that_never_ran_is_freed)
{
	rpc_server_free(rpc_server_new(&(struct rpc_server_options){.name = "idle"}));
	rpc_server_free(NULL);
}
END_TEST

START_TEST(a_taken_port_is_refused)
{
	struct rpc_server *other = rpc_server_new(&(struct rpc_server_options){.name = "b"});
	char address[32];
	struct error err;
	int ignored;

	start((struct rpc_server_options){0}, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	ck_assert_int_eq(rpc_server_listen(other, address, &ignored, &err), STATUS_UNAVAILABLE);
	rpc_server_free(other);
	stop();
}
END_TEST

/* ------------------------------------------------------------------- identity */

static void check_caller(const struct stream_pair *metadata, const char *kind, const char *name)
{
	ck_assert_int_eq(call(UNARY, echo_request("", 0, 0, 0, 0), metadata, NULL, NULL),
			 STATUS_OK);
	ck_assert_str_eq(echo.caller_kind, kind);
	ck_assert_str_eq(echo.caller, name);
	ck_assert_str_eq(echo.internal, ""); /* never shown to methods */
}

START_TEST(identity_is_verified)
{
	start((struct rpc_server_options){0}, NULL);
	check_caller(NULL, "admin", "local");
	check_caller((struct stream_pair[]){{"collector-internal-daemon", "repo"},
					    {"collector-internal-principal", "root"},
					    {"collector-internal-kind", "admin"},
					    {NULL, NULL}},
		     "admin", "local");
	check_caller((struct stream_pair[]){{"collector-internal-key", "wrong"},
					    {"collector-internal-daemon", "repo"},
					    {NULL, NULL}},
		     "admin", "local");
	check_caller((struct stream_pair[]){{"collector-internal-key",
					     "0123456789abcdef0123456789abcdeF"},
					    {"collector-internal-daemon", "repo"},
					    {NULL, NULL}},
		     "admin", "local");
	check_caller((struct stream_pair[]){{"collector-internal-key", key},
					    {"collector-internal-daemon", "repo"},
					    {NULL, NULL}},
		     "daemon", "repo");
	check_caller((struct stream_pair[]){{"collector-internal-key", key},
					    {"collector-internal-daemon", "dispatcher"},
					    {"collector-internal-principal", "alice"},
					    {"collector-internal-kind", "user"},
					    {NULL, NULL}},
		     "user", "alice");
	/* A forwarded call never has daemon rights, whatever it says. */
	check_caller((struct stream_pair[]){{"collector-internal-key", key},
					    {"collector-internal-daemon", "dispatcher"},
					    {"collector-internal-principal", "mallory"},
					    {"collector-internal-kind", "daemon"},
					    {NULL, NULL}},
		     "user", "mallory");
	stop();
}
END_TEST

START_TEST(request_ids)
{
	char first[80];

	start((struct rpc_server_options){0}, NULL);
	check_caller((struct stream_pair[]){{"x-request-id", "abc-1"}, {NULL, NULL}}, "admin",
		     "local");
	ck_assert_str_eq(echo.request_id, "abc-1");
	check_caller((struct stream_pair[]){{"x-request-id", "a b\"c"}, {NULL, NULL}}, "admin",
		     "local");
	ck_assert_uint_eq(strlen(echo.request_id), 16);
	memcpy(first, echo.request_id, sizeof(first));
	check_caller(NULL, "admin", "local");
	ck_assert_uint_eq(strlen(echo.request_id), 16);
	ck_assert_str_ne(echo.request_id, first);
	stop();
}
END_TEST

/* --------------------------------------------------------------------- health */

static int health_of(const struct strbuf *reply)
{
	Grpc__Health__V1__HealthCheckResponse *m =
		grpc__health__v1__health_check_response__unpack(
			NULL, reply->len, (const uint8_t *)strbuf_str(reply));
	int status;

	ck_assert_ptr_nonnull(m);
	status = (int)m->status;
	grpc__health__v1__health_check_response__free_unpacked(m, NULL);
	return status;
}

START_TEST(health)
{
	enum { SERVING = 1, NOT_SERVING = 2, UNKNOWN_SERVICE = 3 };
	struct strbuf reply = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){0}, NULL);
	ck_assert_int_eq(call(HEALTH, raw("", 0), NULL, &reply, NULL), STATUS_OK);
	ck_assert_int_eq(health_of(&reply), SERVING);
	ck_assert_int_eq(call(HEALTH, raw("\x0a\x04nope", 6), NULL, &reply, NULL),
			 STATUS_NOT_FOUND);

	s = stream_open(port, WATCH, STREAM_TEST_TIMEOUT_MS, NULL);
	ck_assert(stream_send(s, bytes_of("\x0a\x04nope", 6)));
	stream_half_close(s);
	ck_assert(stream_read(s, &reply));
	ck_assert_int_eq(health_of(&reply), UNKNOWN_SERVICE);
	rpc_server_set_serving(server, "nope", true);
	ck_assert(stream_read(s, &reply));
	ck_assert_int_eq(health_of(&reply), SERVING);
	rpc_server_set_serving(server, "nope", true); /* no change, no message */
	rpc_server_set_serving(server, "nope", false);
	ck_assert(stream_read(s, &reply));
	ck_assert_int_eq(health_of(&reply), NOT_SERVING);
	rpc_server_set_serving(server, "nope", true);
	ck_assert(stream_read(s, &reply));
	rpc_server_drain(server);
	ck_assert(stream_read(s, &reply));
	ck_assert_int_eq(health_of(&reply), NOT_SERVING);
	ck_assert_int_eq(call(HEALTH, raw("", 0), NULL, &reply, NULL), STATUS_OK);
	ck_assert_int_eq(health_of(&reply), NOT_SERVING);
	check_unary_works(); /* calls are still answered */

	/* A watch does not keep the server from stopping. */
	ck_assert(rpc_server_stop(server, 60000));
	ck_assert_int_eq(stream_status(s, NULL), STATUS_UNAVAILABLE);
	stream_free(s);
	strbuf_release(&reply);
	rpc_server_free(server);
	echo_service_release(&echo);
}
END_TEST

/* ---------------------------------------------------------------- concurrency */

enum { THREADS = 4, EACH = 50 };

static void *call_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++)
		if (call(UNARY, echo_request("x", 1, 0, 0, 0), NULL, NULL, NULL) != STATUS_OK)
			return "failed";
	return NULL;
}

START_TEST(many_at_once_are_counted)
{
	struct rpc_method_stats all[16];
	pthread_t threads[THREADS];
	size_t n;

	start((struct rpc_server_options){.loops = 2}, NULL);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_many, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		void *problem;
		pthread_join(threads[i], &problem);
		ck_assert_ptr_null(problem);
	}
	/* A call is counted when the server has let it go, a moment after its answer. */
	do {
		sched_yield();
		n = rpc_stats_read(rpc_server_stats(server), all, 16);
	} while (n == 1 && all[0].calls < THREADS * EACH);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(all[0].method, UNARY);
	ck_assert_uint_eq(all[0].calls, THREADS * EACH);
	ck_assert_uint_eq(all[0].errors, 0);
	stop();
}
END_TEST

int main(void)
{
	return suite_run("server", NULL, NULL,
			 (const TTest *const[]){
				 all_kinds_on_the_pool,
				 all_kinds_inline,
				 streams_without_a_message,
				 a_method_may_end_early,
				 errors_carry_details,
				 methods_that_are_not_there,
				 malformed_requests,
				 the_blamed_field_comes_back,
				 unpacking_is_bounded,
				 depth_is_bounded,
				 messages_are_bounded,
				 live_calls_are_bounded,
				 a_deadline_ends_the_call_and_tells_the_method,
				 unary_calls_without_a_deadline_get_one,
				 a_cancelled_client_tells_the_method,
				 a_call_can_be_cut_off_by_the_server,
				 an_upload_cut_off_while_its_method_runs,
				 an_upload_cut_off_between_messages,
				 a_writer_waits_for_its_reader,
				 a_writer_whose_reader_goes_away,
				 stopping_ends_what_hangs,
				 a_server_that_never_ran_is_freed,
				 a_taken_port_is_refused,
				 identity_is_verified,
				 request_ids,
				 health,
				 many_at_once_are_counted,
				 NULL,
			 });
}
