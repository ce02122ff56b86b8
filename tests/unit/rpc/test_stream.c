#include "common/rpc/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "tests/support/bare_server.h"
#include "tests/support/suite.h"

#define BARE(method) "/bare.v1.Bare/" method

static struct bare_server *backend;
static struct rpc_client *client;
static struct rpc_channel *channel;
static struct error err;

static void start(void)
{
	char target[64];

	backend = bare_server_new(0);
	client = rpc_client_new(&(struct rpc_client_options){
		.name = "test", .max_message_bytes = 1 << 20, .no_compression = true});
	snprintf(target, sizeof(target), "127.0.0.1:%d", bare_server_port(backend));
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
}

static void stop(void)
{
	rpc_client_free(client);
	bare_server_free(backend);
}

static struct rpc_stream *open_with(const char *path, const struct rpc_options *options)
{
	struct rpc_stream *s = NULL;

	if (rpc_stream_open(channel, path, options, &s, &err) != STATUS_OK)
		ck_abort_msg("%s", err.message);
	return s;
}

static struct rpc_stream *open_stream(const char *path)
{
	return open_with(path, &(struct rpc_options){.timeout_ms = 60000});
}

static void check_message(struct rpc_stream *s, const char *expected)
{
	struct bytes message;
	bool ended;

	ck_assert_int_eq(rpc_stream_receive(s, &message, &ended, &err), STATUS_OK);
	ck_assert(!ended);
	ck_assert(bytes_equal(message, bytes_of_string(expected)));
}

static void check_end(struct rpc_stream *s)
{
	struct bytes message;
	bool ended = false;

	for (int i = 0; i < 2; i++) { /* it stays so */
		ck_assert_int_eq(rpc_stream_receive(s, &message, &ended, &err), STATUS_OK);
		ck_assert(ended);
	}
}

static void check_fails(struct rpc_stream *s, enum status expected)
{
	struct bytes message;
	bool ended;

	for (int i = 0; i < 2; i++) {
		err = (struct error){0};
		ck_assert_int_eq(rpc_stream_receive(s, &message, &ended, &err), expected);
		ck_assert_int_eq(err.status, expected);
	}
}

START_TEST(in_turns)
{
	struct rpc_stream *s = open_stream(BARE("Echo"));
	char text[32];

	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		ck_assert(rpc_stream_send(s, bytes_of_string(text)));
		check_message(s, text);
	}
	ck_assert(rpc_stream_send(s, bytes_of(NULL, 0)));
	check_message(s, "");
	rpc_stream_half_close(s);
	check_end(s);
	rpc_stream_free(s);
}
END_TEST

START_TEST(several_ahead_and_headers_before_messages)
{
	struct rpc_stream *s = open_stream(BARE("Greet"));

	for (int i = 0; i < 10; i++)
		ck_assert(rpc_stream_send(s, bytes_of_string("x")));
	rpc_stream_half_close(s);
	for (int i = 0; i < 10; i++)
		check_message(s, "x");
	check_end(s);
	rpc_stream_free(s);
}
END_TEST

START_TEST(how_the_server_ends_it)
{
	static const struct rpc_header wants[] = {{"want-code", "9"}};
	struct rpc_stream *s =
		open_with(BARE("Refuse"), &(struct rpc_options){.timeout_ms = 60000,
								.headers = wants,
								.header_count = 1});
	struct bytes message;
	bool ended;

	/* Sends fail sooner or later, and the status is the server's. */
	while (rpc_stream_send(s, bytes_of_string("x")))
		;
	ck_assert_int_eq(rpc_stream_receive(s, &message, &ended, &err),
			 STATUS_FAILED_PRECONDITION);
	rpc_stream_free(s);

	s = open_stream(BARE("NoSuchMethod"));
	check_fails(s, STATUS_UNIMPLEMENTED);
	rpc_stream_free(s);
}
END_TEST

START_TEST(what_is_left_is_cancelled)
{
	for (int i = 0; i < 20; i++) {
		struct rpc_stream *s = open_stream(i % 2 ? BARE("Echo") : BARE("Flood"));
		ck_assert(rpc_stream_send(s, bytes_of_string("x")));
		check_message(s, "x");
		rpc_stream_free(s);
	}
	bare_server_wait(backend, BARE_CANCELLED, 20);
	rpc_stream_free(NULL);
}
END_TEST

START_TEST(waits_end_with_the_deadline)
{
	static const char data[1 << 20];
	struct rpc_stream *s =
		open_with(BARE("Deaf"), &(struct rpc_options){.timeout_ms = 300});

	check_fails(s, STATUS_DEADLINE_EXCEEDED); /* nothing ever comes */
	rpc_stream_free(s);

	s = open_with(BARE("Deaf"), &(struct rpc_options){.timeout_ms = 300});
	while (rpc_stream_send(s, bytes_of(data, sizeof(data)))) /* nothing is taken */
		;
	check_fails(s, STATUS_DEADLINE_EXCEEDED);
	rpc_stream_free(s);
}
END_TEST

START_TEST(messages_are_bounded)
{
	AUTO_FREE char *data = xcalloc(1, (1 << 20) + 1);
	struct rpc_stream *s = open_stream(BARE("Echo"));

	ck_assert(rpc_stream_send(s, bytes_of(data, (1 << 20) + 1)));
	check_fails(s, STATUS_RESOURCE_EXHAUSTED);
	rpc_stream_free(s);
}
END_TEST

START_TEST(nobody_is_there)
{
	const struct rpc_header bad = {"collector-internal-key", "x"};
	struct rpc_stream *s = NULL;
	struct rpc_channel *dead;
	char target[64];

	snprintf(target, sizeof(target), "127.0.0.1:%d", bare_server_port(backend));
	bare_server_free(backend);
	backend = NULL;
	dead = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert_int_eq(rpc_stream_open(dead, BARE("Echo"),
					 &(struct rpc_options){.timeout_ms = 60000}, &s, &err),
			 STATUS_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.message, target));
	ck_assert_int_eq(
		rpc_stream_open(dead, BARE("Echo"),
				&(struct rpc_options){.headers = &bad, .header_count = 1}, &s,
				&err),
		STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_null(s);
	backend = bare_server_new(0);
}
END_TEST

/* What is dialled is the address; what the server is told is the name. */
START_TEST(a_name_that_was_resolved)
{
	AUTO_STRBUF authority = STRBUF_INIT;
	struct rpc_stream *s = NULL;
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%d", bare_server_port(backend));
	channel = rpc_client_channel_at(client, "name.example:7", address, RPC_TRUST_FOREIGN);
	ck_assert_str_eq(rpc_channel_target(channel), "name.example:7");
	ck_assert_ptr_eq(channel, rpc_client_channel_at(client, "name.example:7", address,
							RPC_TRUST_FOREIGN));
	ck_assert_ptr_ne(channel, rpc_client_channel(client, address, RPC_TRUST_FOREIGN));
	s = open_stream(BARE("Echo"));
	rpc_stream_half_close(s);
	check_end(s);
	rpc_stream_free(s);
	bare_server_authority(backend, &authority);
	ck_assert_str_eq(strbuf_str(&authority), "name.example:7");
	ck_assert_ptr_null(
		rpc_client_channel_at(client, "name.example:7", "unix:/x", RPC_TRUST_FOREIGN));
}
END_TEST

int main(void)
{
	return suite_run(
		"stream", start, stop,
		(const TTest *const[]){in_turns, several_ahead_and_headers_before_messages,
				       how_the_server_ends_it, what_is_left_is_cancelled,
				       waits_end_with_the_deadline, messages_are_bounded,
				       nobody_is_there, a_name_that_was_resolved, NULL});
}
