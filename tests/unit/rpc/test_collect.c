#include "common/rpc/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc/server.h"
#include "tests/support/relay_server.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

/* A server that knows no method: it answers every call's message, reversed. */
static struct rpc_server *server;
static int port;
static unsigned collected;

static void reverse(struct bytes in, uint8_t *out)
{
	for (size_t i = 0; i < in.size; i++)
		out[i] = in.data[in.size - 1 - i];
}

static void answer(void *arg, struct rpc_call *call)
{
	struct bytes request = rpc_request_bytes(call);
	uint8_t *out = arena_alloc(rpc_arena(call), request.size + 1);

	(void)arg;
	__atomic_add_fetch(&collected, 1, __ATOMIC_SEQ_CST);
	reverse(request, out);
	if (request.size && request.data[0] == '!')
		rpc_fail(call, STATUS_ABORTED, "as it was asked");
	else
		rpc_answer(call, bytes_of(out, request.size));
}

static void route(void *arg, struct rpc_call *call)
{
	rpc_collect(call, answer, arg);
}

static const struct rpc_fallback fallback = {route, NULL};

static void setup(void)
{
	const struct rpc_server_options options = {.name = "test", .fallback = &fallback};
	struct error err;

	collected = 0;
	server = rpc_server_new(&options);
	ck_assert_int_eq(rpc_server_listen(server, "127.0.0.1:0", &port, &err), STATUS_OK);
	rpc_server_start(server);
}

/* Nothing is left over, however the calls ended. */
static void teardown(void)
{
	ck_assert(rpc_server_stop(server, STREAM_TEST_TIMEOUT_MS));
	rpc_server_free(server);
}

START_TEST(a_unary_call_is_answered)
{
	AUTO_STRBUF reply = STRBUF_INIT;

	ck_assert_int_eq(stream_unary(port, "/a.B/C", bytes_of("abc", 3), NULL, &reply, NULL),
			 STATUS_OK);
	ck_assert_str_eq(strbuf_str(&reply), "cba");
	ck_assert_int_eq(stream_unary(port, "/a.B/C", bytes_of("", 0), NULL, &reply, NULL),
			 STATUS_OK);
	ck_assert_uint_eq(reply.len, 0);
	ck_assert_int_eq(stream_unary(port, "/a.B/C", bytes_of("!", 1), NULL, &reply, NULL),
			 STATUS_ABORTED);
}
END_TEST

START_TEST(no_message_or_two_are_refused)
{
	struct stream *none = stream_open(port, "/a.B/C", STREAM_TEST_TIMEOUT_MS, NULL),
		      *two = stream_open(port, "/a.B/C", STREAM_TEST_TIMEOUT_MS, NULL);

	stream_half_close(none);
	ck_assert_int_eq(stream_status(none, NULL), STATUS_INVALID_ARGUMENT);
	stream_free(none);
	(void)stream_send(two, bytes_of("a", 1));
	(void)stream_send(two, bytes_of("b", 1)); /* refused while it is sent, perhaps */
	ck_assert_int_eq(stream_status(two, NULL), STATUS_INVALID_ARGUMENT);
	stream_free(two);
	ck_assert_uint_eq(collected, 0);
}
END_TEST

START_TEST(a_call_that_is_cut_off_is_none)
{
	struct stream *s = stream_open(port, "/a.B/C", STREAM_TEST_TIMEOUT_MS, NULL);

	ck_assert(stream_send(s, bytes_of("a", 1)));
	stream_cancel(s);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_CANCELLED);
	stream_free(s);
	ck_assert_uint_eq(collected, 0);
}
END_TEST

/* ------------------------------------------------------------- translation */

/* "x" cannot be translated; the rest gets a letter for each direction. */
static bool translate(void *arg, enum rpc_direction direction, struct bytes message,
		      struct strbuf *out)
{
	(void)arg;
	strbuf_add(out, message.data, message.size);
	strbuf_addch(out, direction == RPC_TO_UPSTREAM ? 'u' : 'd');
	return !message.size || message.data[0] != 'x';
}

START_TEST(a_forwarded_call_is_translated)
{
	const struct relay_options options = {.to_port = port};
	AUTO_STRBUF reply = STRBUF_INIT;
	struct relay_server relay;

	relay_server_init(&relay, &options);
	relay.route.path = "/another.Service/Method";
	relay.route.translate = translate;
	ck_assert_int_eq(
		stream_unary(relay.port, "/a.B/C", bytes_of("ab", 2), NULL, &reply, NULL),
		STATUS_OK);
	ck_assert_str_eq(strbuf_str(&reply), "ubad"); /* reversed after it went up */
	ck_assert_int_eq(
		stream_unary(relay.port, "/a.B/C", bytes_of("xb", 2), NULL, &reply, NULL),
		STATUS_INVALID_ARGUMENT);
	ck_assert(relay_server_release(&relay));
}
END_TEST

int main(void)
{
	return suite_run("collect", setup, teardown,
			 (const TTest *const[]){
				 a_unary_call_is_answered,
				 no_message_or_two_are_refused,
				 a_call_that_is_cut_off_is_none,
				 a_forwarded_call_is_translated,
				 NULL,
			 });
}
