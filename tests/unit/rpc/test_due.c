/* A client that sends and takes nothing back costs no thread, and not for ever. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/echo_service.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define UNARY "/echo.v1.EchoService/Unary"
#define BIDI  "/echo.v1.EchoService/Bidi"

enum { MESSAGE_BYTES = 20000, QUIET_CALLS = 50 };

static struct rpc_server *server;
static struct echo_service echo;
static int port;

static void start(struct rpc_server_options options)
{
	struct error err;

	options.pool_threads = 1;
	server = rpc_server_new(&options);
	echo_service_init(&echo, server, NULL);
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

/* Send until the call is over, and read nothing. */
static void *flood(void *arg)
{
	static const char data[MESSAGE_BYTES];
	struct bytes request = echo_request(data, sizeof(data), 0, 0, 0);

	while (stream_send(arg, request))
		;
	free((void *)request.data);
	return NULL;
}

static unsigned messages_seen(void)
{
	unsigned seen;

	pthread_mutex_lock(&echo.mutex);
	seen = echo.messages;
	pthread_mutex_unlock(&echo.mutex);
	return seen;
}

static void check_served(void)
{
	struct bytes request = echo_request("x", 1, 0, 0, 0);

	ck_assert_int_eq(stream_unary(port, UNARY, request, NULL, NULL, NULL), STATUS_OK);
	free((void *)request.data);
}

START_TEST(who_does_not_read_is_not_listened_to)
{
	struct stream *s;
	pthread_t sender;
	unsigned seen = 0;

	/* A thread that waited for the client would fail the calls: their deadline comes first. */
	start((struct rpc_server_options){.stall_ms = 2 * STREAM_TEST_TIMEOUT_MS});
	s = stream_open(port, BIDI, 2 * STREAM_TEST_TIMEOUT_MS, NULL);
	ck_assert(!pthread_create(&sender, NULL, flood, s));
	echo_service_wait(&echo, &echo.messages, 8);
	for (int quiet = 0; quiet < QUIET_CALLS; quiet++) {
		check_served();
		if (seen != messages_seen())
			quiet = 0;
		seen = messages_seen();
	}
	stream_cancel(s);
	ck_assert(!pthread_join(sender, NULL));
	ck_assert_int_eq(stream_status(s, NULL), STATUS_CANCELLED);
	stream_free(s);
	stop();
}
END_TEST

START_TEST(who_reads_again_is_listened_to_again)
{
	AUTO_STRBUF reply = STRBUF_INIT;
	struct stream *s;
	pthread_t sender;

	start((struct rpc_server_options){0});
	s = stream_open(port, BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
	ck_assert(!pthread_create(&sender, NULL, flood, s));
	echo_service_wait(&echo, &echo.messages, 8);
	for (int i = 0; i < 2000; i++) {
		ck_assert(stream_read(s, &reply));
		ck_assert_uint_ge(reply.len, MESSAGE_BYTES);
	}
	stream_cancel(s);
	ck_assert(!pthread_join(sender, NULL));
	stream_free(s);
	stop();
}
END_TEST

START_TEST(who_never_reads_is_sent_away)
{
	AUTO_STRBUF reply = STRBUF_INIT;
	struct stream *s;

	start((struct rpc_server_options){.stall_ms = 200});
	s = stream_open(port, BIDI, STREAM_TEST_TIMEOUT_MS, NULL);
	(void)flood(s);
	while (stream_read(s, &reply)) /* what had come; the status is behind it */
		;
	ck_assert_int_eq(stream_status(s, NULL), STATUS_RESOURCE_EXHAUSTED);
	stream_free(s);
	check_served();
	stop();
}
END_TEST

int main(void)
{
	return suite_run("due", NULL, NULL,
			 (const TTest *const[]){who_does_not_read_is_not_listened_to,
						who_reads_again_is_listened_to_again,
						who_never_reads_is_sent_away, NULL});
}
