/* What a hop adds to a call, what it leaves out, and what it tells of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/rpc/stats.h"
#include "tests/support/bare_server.h"
#include "tests/support/relay_server.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define BARE(method) "/bare.v1.Bare/" method

static struct bare_server *backend;
static struct relay_server hop;

static void start(void)
{
	backend = bare_server_new(0);
	relay_server_init(&hop, &(struct relay_options){.to_port = bare_server_port(backend)});
}

static void stop(void)
{
	ck_assert(relay_server_release(&hop));
	bare_server_free(backend);
}

/* Instead of the fixture's. */
static void restart_hop(struct relay_options options)
{
	ck_assert(relay_server_release(&hop));
	options.to_port = bare_server_port(backend);
	relay_server_init(&hop, &options);
}

static enum status call(const char *path, const struct stream_pair *metadata)
{
	return stream_unary(hop.port, path, bytes_of("ping", 4), metadata, NULL, NULL);
}

#define REQUEST_ID                                                                             \
	{                                                                                      \
		"x-request-id", "request-1"                                                    \
	}

/* --------------------------------------------------------- what a hop leaves out */

static const char key[] = "0123456789abcdef0123456789abcdef";

static const struct stream_pair claims[] = {
	REQUEST_ID,
	{"authorization", "Bearer of the client"},
	{"cookie", "session=1"},
	{"proxy-authorization", "for the hop alone"},
	{"collector-internal-key", "guessed"},
	{"collector-internal-principal", "root"},
	{"collector-internal-kind", "admin"},
	{"collector-internal-future", "x"},
	{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	{"x-custom", "one"},
	{"x-custom", "two"},
	{NULL, NULL}};

#define CREDENTIALS "  authorization: Bearer of the client\n  cookie: session=1\n"
#define PASSED                                                                                 \
	"  traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"             \
	"  user-agent: \n"                                                                     \
	"  x-custom: one\n"                                                                    \
	"  x-custom: two\n"                                                                    \
	"  x-request-id: request-1\n"

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of @request after the path's, in order; of the user agent just that it is there. */
static void sort_lines(const struct strbuf *request, struct strbuf *out)
{
	AUTO_FREE char *text = xstrdup(strbuf_str(request));
	char *lines[64], *rest = NULL;
	size_t n = 0;

	for (char *l = strtok_r(text, "\n", &rest); l && n < 64;
	     l = strtok_r(NULL, "\n", &rest))
		lines[n++] = l;
	ck_assert_uint_gt(n, 0);
	qsort(lines + 1, n - 1, sizeof(lines[0]), by_text);
	for (size_t i = 1; i < n; i++)
		strbuf_addf(out, "%s\n",
			    strncmp(lines[i], "  user-agent: ", 14) ? lines[i]
								    : "  user-agent: ");
}

/* What the backend is told of a call with @metadata. */
static void check_told(const struct stream_pair *metadata, const char *expected)
{
	AUTO_STRBUF request = STRBUF_INIT;
	AUTO_STRBUF sorted = STRBUF_INIT;

	ck_assert_int_eq(call(BARE("Echo"), metadata), STATUS_OK);
	bare_server_request(backend, &request);
	sort_lines(&request, &sorted);
	ck_assert_str_eq(strbuf_str(&sorted), expected);
}

START_TEST(credentials_stay_here)
{
	check_told(claims, PASSED);
	hop.route.forward_authorization = true;
	check_told(claims, CREDENTIALS PASSED);
}
END_TEST

START_TEST(daemons_get_the_verified_caller)
{
	const struct stream_pair as_daemon[] = {REQUEST_ID,
						{"collector-internal-key", key},
						{"collector-internal-daemon", "worker"},
						{"authorization", "Bearer of the daemon"},
						{NULL, NULL}};

	restart_hop((struct relay_options){
		.trust = RPC_TRUST_DAEMON, .server.daemon_key = key, .client.daemon_key = key});
	hop.route.forward_authorization = true; /* not to daemons */
	check_told(claims, "  collector-internal-daemon: relay\n"
			   "  collector-internal-key: 0123456789abcdef0123456789abcdef\n"
			   "  collector-internal-kind: admin\n"
			   "  collector-internal-principal: local\n" PASSED);
	/* What is forwarded never has a daemon's rights. */
	check_told(as_daemon, "  collector-internal-daemon: relay\n"
			      "  collector-internal-key: 0123456789abcdef0123456789abcdef\n"
			      "  collector-internal-kind: user\n"
			      "  collector-internal-principal: worker\n"
			      "  user-agent: \n"
			      "  x-request-id: request-1\n");
}
END_TEST

START_TEST(the_route_has_the_last_word)
{
	const struct rpc_header headers[] = {
		{"x-custom", "the route's"}, {"x-added", "1"}, {"x-illegal", "two\nlines"}};

	hop.route.headers = headers;
	hop.route.header_count = 3;
	check_told((struct stream_pair[]){REQUEST_ID, {"x-custom", "one"}, {NULL, NULL}},
		   "  user-agent: \n"
		   "  x-added: 1\n"
		   "  x-custom: the route's\n"
		   "  x-request-id: request-1\n");
}
END_TEST

/* The first hop makes an id for a call that brings none, or none that can be logged. */
START_TEST(request_ids)
{
	const struct stream_pair bad[] = {{"x-request-id", "two words"}, {NULL, NULL}};
	AUTO_STRBUF request = STRBUF_INIT;
	const char *id;

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(call(BARE("Echo"), i ? bad : NULL), STATUS_OK);
		bare_server_request(backend, &request);
		id = strstr(strbuf_str(&request), "  x-request-id: ");
		ck_assert_ptr_nonnull(id);
		ck_assert_uint_eq(strspn(id + 16, "0123456789abcdef"), 16);
		ck_assert_ptr_null(strstr(id + 16, "x-request-id"));
	}
}
END_TEST

START_TEST(secrets_of_a_backend_stay_there)
{
	struct stream *s = stream_open(hop.port, BARE("Boast"), STREAM_TEST_TIMEOUT_MS, NULL);

	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	ck_assert_ptr_null(stream_header(s, "collector-internal-key"));
	ck_assert_ptr_null(stream_trailer(s, "collector-internal-key"));
	stream_free(s);
}
END_TEST

/* ---------------------------------------------------------------------- limits */

static enum status echo_zeros(size_t size, bool gzip)
{
	const struct stream_options options = {.timeout_ms = STREAM_TEST_TIMEOUT_MS,
					       .gzip = gzip};
	AUTO_FREE uint8_t *zeros = xcalloc(1, size);
	struct stream *s = stream_open_with(hop.port, BARE("Echo"), &options);
	AUTO_STRBUF reply = STRBUF_INIT;
	enum status status;

	(void)stream_send(s, bytes_of(zeros, size));
	if (stream_read(s, &reply))
		stream_half_close(s);
	status = stream_status(s, NULL);
	stream_free(s);
	return status;
}

static void check_limit(struct relay_options options)
{
	restart_hop(options);
	ck_assert_int_eq(echo_zeros(100000, false), STATUS_OK);
	ck_assert_int_eq(echo_zeros(100001, false), STATUS_RESOURCE_EXHAUSTED);
	/* A few kilobytes that grow. */
	ck_assert_int_eq(echo_zeros(10 << 20, true), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(echo_zeros(100000, true), STATUS_OK);
}

START_TEST(messages_too_large_for_a_hop)
{
	check_limit((struct relay_options){.server.max_message_bytes = 100000});
	check_limit((struct relay_options){.client.max_message_bytes = 100000});
}
END_TEST

/* The one that is too many is refused by the hop and not begun by the backend. */
START_TEST(live_calls_are_bounded)
{
	struct stream *held;
	struct stream *s;

	restart_hop((struct relay_options){.server.max_calls = 1});
	held = stream_open(hop.port, BARE("Deaf"), STREAM_TEST_TIMEOUT_MS, NULL);
	bare_server_wait(backend, BARE_BEGUN, 1);
	s = stream_open(hop.port, BARE("Echo"), STREAM_TEST_TIMEOUT_MS, NULL);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_str_eq(stream_trailer(s, "collector-not-processed"), "1");
	ck_assert_uint_eq(bare_server_count(backend, BARE_BEGUN), 1);
	stream_free(s);
	stream_free(held);
}
END_TEST

/* -------------------------------------------------------------------- accounts */

START_TEST(the_route_is_told_how_a_call_ended)
{
	const struct stream_pair not_found[] = {{"want-code", "5"}, {NULL, NULL}};
	struct rpc_forwarded last;
	struct stream *s;

	ck_assert_int_eq(call(BARE("Echo"), NULL), STATUS_OK);
	relay_server_wait(&hop, 1, &last);
	ck_assert_int_eq(last.status, STATUS_OK);
	ck_assert_uint_eq(last.request_bytes, 4);
	ck_assert_uint_eq(last.response_bytes, 4);
	ck_assert(!last.cancelled);

	ck_assert_int_eq(call(BARE("Up"), not_found), STATUS_NOT_FOUND);
	relay_server_wait(&hop, 2, &last);
	ck_assert_int_eq(last.status, STATUS_NOT_FOUND);
	ck_assert_uint_eq(last.request_bytes, 4);
	ck_assert_uint_eq(last.response_bytes, strlen("1 4"));
	ck_assert(!last.cancelled);

	s = stream_open(hop.port, BARE("Deaf"), STREAM_TEST_TIMEOUT_MS, NULL);
	bare_server_wait(backend, BARE_BEGUN, 3);
	stream_free(s);
	relay_server_wait(&hop, 3, &last);
	ck_assert_int_eq(last.status, STATUS_CANCELLED);
	ck_assert_uint_eq(last.response_bytes, 0);
	ck_assert(last.cancelled);
}
END_TEST

START_TEST(calls_are_counted_by_method)
{
	const struct stream_pair not_found[] = {{"want-code", "5"}, {NULL, NULL}};
	struct rpc_method_stats all[4];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(call(BARE("Echo"), i ? NULL : not_found),
				 i ? STATUS_OK : STATUS_NOT_FOUND);
	relay_server_wait(&hop, 3, NULL); /* told after it is counted */
	ck_assert_uint_eq(rpc_stats_read(rpc_server_stats(hop.server), all, 4), 1);
	ck_assert_str_eq(all[0].method, BARE("Echo"));
	ck_assert_uint_eq(all[0].calls, 3);
	ck_assert_uint_eq(all[0].errors, 1);
}
END_TEST

int main(void)
{
	return suite_run("proxy rules", start, stop,
			 (const TTest *const[]){
				 credentials_stay_here,
				 daemons_get_the_verified_caller,
				 the_route_has_the_last_word,
				 request_ids,
				 secrets_of_a_backend_stay_there,
				 messages_too_large_for_a_hop,
				 live_calls_are_bounded,
				 the_route_is_told_how_a_call_ended,
				 calls_are_counted_by_method,
				 NULL,
			 });
}
