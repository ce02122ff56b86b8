/*
 * A call that goes through one hop or two must look, to its client and to its
 * server, like one that goes through none. The cases are those of gRPC's
 * interoperability tests, and what they leave out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/support/bare_server.h"
#include "tests/support/echo_service.h"
#include "tests/support/relay_server.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define BARE(method) "/bare.v1.Bare/" method

/* The client talks to the backend directly, through one hop, through two. */
enum { ROADS = 3 };

static struct bare_server *backend;
static struct relay_server far, near;
static int ports[ROADS];

static void start_to(int backend_port)
{
	relay_server_init(&far, &(struct relay_options){.to_port = backend_port});
	relay_server_init(&near, &(struct relay_options){.to_port = far.port});
	ports[0] = backend_port;
	ports[1] = far.port;
	ports[2] = near.port;
}

static void start(void)
{
	backend = bare_server_new(0);
	start_to(bare_server_port(backend));
}

static void stop_hops(void)
{
	ck_assert(relay_server_release(&near));
	ck_assert(relay_server_release(&far));
}

static void stop(void)
{
	stop_hops();
	bare_server_free(backend);
}

/* ------------------------------------------------------- the same on all roads */

/* A client's part of a call; what it notices, it writes down. */
typedef void client_part(struct stream *s, struct strbuf *log);

static void read_counts(unsigned *counts)
{
	for (int i = 0; i < BARE_COUNTS; i++)
		counts[i] = bare_server_count(backend, (enum bare_count)i);
}

/* What the backend noticed. */
static void log_backend(const unsigned *before, struct strbuf *log)
{
	AUTO_STRBUF request = STRBUF_INIT;
	unsigned after[BARE_COUNTS];

	bare_server_wait(backend, BARE_ENDED, before[BARE_ENDED] + 1);
	read_counts(after);
	bare_server_request(backend, &request);
	strbuf_addf(log, "backend: cancelled %u, half-closed %u, read %u, wrote %u, %s",
		    after[BARE_CANCELLED] - before[BARE_CANCELLED],
		    after[BARE_HALF_CLOSES] - before[BARE_HALF_CLOSES],
		    after[BARE_READ] - before[BARE_READ],
		    after[BARE_WRITTEN] - before[BARE_WRITTEN], strbuf_str(&request));
}

static void make_call(int port, const char *path, const struct stream_options *options,
		      client_part *talk, struct strbuf *log)
{
	unsigned before[BARE_COUNTS] = {0};
	struct stream *s;

	if (backend)
		read_counts(before);
	s = stream_open_with(port, path, options);
	talk(s, log);
	stream_describe(s, log);
	stream_free(s);
	if (backend)
		log_backend(before, log);
}

/* *ret_log (may be NULL) is what was noticed. */
static void same_on_all_roads(const char *path, const struct stream_options *options,
			      client_part *talk, struct strbuf *ret_log)
{
	AUTO_STRBUF direct = STRBUF_INIT;

	make_call(ports[0], path, options, talk, &direct);
	for (int hops = 1; hops < ROADS; hops++) {
		AUTO_STRBUF log = STRBUF_INIT;
		make_call(ports[hops], path, options, talk, &log);
		if (strcmp(strbuf_str(&direct), strbuf_str(&log)) != 0)
			ck_abort_msg("%s\ndirectly:\n%s\nthrough %d:\n%s", path,
				     strbuf_str(&direct), hops, strbuf_str(&log));
	}
	if (ret_log)
		strbuf_add(ret_log, strbuf_str(&direct), direct.len);
}

/* The request id is the mesh's own: without one given, each call has another. */
#define REQUEST_ID                                                                             \
	{                                                                                      \
		"x-request-id", "request-1"                                                    \
	}

static const struct stream_pair only_id[] = {REQUEST_ID, {NULL, NULL}};
static const struct stream_options plain = {.timeout_ms = STREAM_TEST_TIMEOUT_MS,
					    .metadata = only_id};

static struct stream_options with(const struct stream_pair *metadata)
{
	return (struct stream_options){.timeout_ms = STREAM_TEST_TIMEOUT_MS,
				       .metadata = metadata};
}

/* ------------------------------------------------------------ parts of talks */

/* A message of @size bytes of no pattern, the same at every call. */
static void say(struct stream *s, size_t size)
{
	uint8_t *data = xmalloc(size + 1);
	uint32_t x = 12345;

	for (size_t i = 0; i < size; i++) {
		x = x * 1103515245 + 12345;
		data[i] = (uint8_t)(x >> 16);
	}
	(void)stream_send(s, bytes_of(data, size));
	free(data);
}

/* False: there are no more. */
static bool hear(struct stream *s, struct strbuf *log)
{
	AUTO_STRBUF message = STRBUF_INIT;
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	if (!stream_read(s, &message)) {
		strbuf_addstr(log, "no more\n");
		return false;
	}
	for (size_t i = 0; i < message.len; i++)
		hash = (hash ^ (uint8_t)message.buf[i]) * 1099511628211u;
	strbuf_addf(log, "heard %zu bytes, %016llx\n", message.len, (unsigned long long)hash);
	return true;
}

static void hear_all(struct stream *s, struct strbuf *log)
{
	while (hear(s, log))
		;
}

/* ------------------------------------------------------- the interop test cases */

static void talk_empty_unary(struct stream *s, struct strbuf *log)
{
	say(s, 0);
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(empty_unary)
{
	same_on_all_roads(BARE("Echo"), &plain, talk_empty_unary, NULL);
}
END_TEST

static void talk_large_unary(struct stream *s, struct strbuf *log)
{
	say(s, 314159);
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(large_unary)
{
	same_on_all_roads(BARE("Echo"), &plain, talk_large_unary, NULL);
}
END_TEST

static void talk_client_streaming(struct stream *s, struct strbuf *log)
{
	say(s, 27182);
	say(s, 8);
	say(s, 1828);
	say(s, 45904);
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(client_streaming)
{
	same_on_all_roads(BARE("Up"), &plain, talk_client_streaming, NULL);
}
END_TEST

START_TEST(server_streaming)
{
	const struct stream_pair metadata[] = {REQUEST_ID, {"want-count", "300"}, {NULL, NULL}};
	const struct stream_options options = with(metadata);

	same_on_all_roads(BARE("Down"), &options, talk_large_unary, NULL);
	same_on_all_roads(BARE("Down"), &options, talk_empty_unary, NULL);
}
END_TEST

static void talk_ping_pong(struct stream *s, struct strbuf *log)
{
	static const size_t sizes[] = {27182, 8, 1828, 45904, 0, 1};

	for (size_t i = 0; i < 10 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		say(s, sizes[i % 6]);
		(void)hear(s, log);
	}
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(ping_pong)
{
	same_on_all_roads(BARE("Echo"), &plain, talk_ping_pong, NULL);
}
END_TEST

static void talk_empty_stream(struct stream *s, struct strbuf *log)
{
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(empty_stream)
{
	same_on_all_roads(BARE("Echo"), &plain, talk_empty_stream, NULL);
}
END_TEST

/* Values are kept in order, and bytes that are no text. */
START_TEST(custom_metadata)
{
	const struct stream_pair metadata[] = {
		REQUEST_ID,
		{"x-grpc-test-echo-initial", "test_initial_metadata_value"},
		{"x-grpc-test-echo-initial", "a second one"},
		{"x-grpc-test-echo-initial", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
		{"x-grpc-test-echo-initial-empty", ""},
		{"x-grpc-test-echo-initial_0.9-bin", "00ff00"},
		{"x-grpc-test-echo-trailing-bin", "ababab"},
		{"x-grpc-test-echo-trailing-bin", "00"},
		{"x-grpc-test-echo-trailing-bin", ""},
		{"x-grpc-test-echo-trailing-text", "one, two"},
		{"x-something-else", "not to come back"},
		{NULL, NULL}};
	const struct stream_options options = with(metadata);
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads(BARE("Echo"), &options, talk_large_unary, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log),
				     "headers\n"
				     "  x-grpc-test-echo-initial: test_initial_metadata_value\n"
				     "  x-grpc-test-echo-initial: a second one\n"));
	same_on_all_roads(BARE("Echo"), &options, talk_ping_pong, NULL);
	same_on_all_roads(BARE("Echo"), &options, talk_empty_stream, NULL);
	same_on_all_roads(BARE("Refuse"), &options, talk_empty_stream, NULL);
}
END_TEST

START_TEST(large_metadata)
{
	char value[3001];
	const struct stream_pair metadata[] = {REQUEST_ID,
					       {"x-grpc-test-echo-initial", value},
					       {"x-grpc-test-echo-trailing", value},
					       {NULL, NULL}};
	const struct stream_options options = with(metadata);

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	same_on_all_roads(BARE("Echo"), &options, talk_empty_unary, NULL);
}
END_TEST

static void check_status(const char *method, const char *code, const char *message_hex)
{
	const struct stream_pair metadata[] = {REQUEST_ID,
					       {"want-code", code},
					       {"want-message-bin", message_hex},
					       {"x-grpc-test-echo-trailing", "kept"},
					       {"want-count", "3"},
					       {NULL, NULL}};
	const struct stream_options options = with(metadata);

	same_on_all_roads(method, &options, talk_empty_unary, NULL);
}

START_TEST(status_code_and_message)
{
	/* 17 and 99 are not codes, but may be sent. */
	for (int i = 0; i < 19; i++) {
		char code[8];
		snprintf(code, sizeof(code), "%d", i == 18 ? 99 : i);
		/* "test status message" */
		check_status(BARE("Echo"), code, "7465737420737461747573206d657373616765");
		check_status(BARE("Refuse"), code, "7465737420737461747573206d657373616765");
		check_status(BARE("Down"), code, "");
	}
}
END_TEST

START_TEST(special_status_message)
{
	char every_byte[2 * 255 + 1] = "";

	/* "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n" */
	check_status(BARE("Echo"), "2",
		     "090a74657374207769746820776869746573706163650d0a616e6420556e69636f"
		     "646520424d5020e298ba20616e64206e6f6e2d424d5020f09f9888090a");
	for (int i = 1; i < 256; i++)
		snprintf(every_byte + 2 * (i - 1), 3, "%02x", (unsigned)i);
	check_status(BARE("Echo"), "2", every_byte);
	check_status(BARE("Refuse"), "2", every_byte);
}
END_TEST

START_TEST(unimplemented_method)
{
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads(BARE("UnimplementedCall"), &plain, talk_empty_unary, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "status 12 "));
}
END_TEST

/* ------------------------------------------------------------ ended from outside */

static void talk_cancel_at_once(struct stream *s, struct strbuf *log)
{
	bare_server_wait(backend, BARE_BEGUN, bare_server_count(backend, BARE_ENDED) + 1);
	stream_cancel(s);
	hear_all(s, log);
}

START_TEST(cancel_after_begin)
{
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads(BARE("Up"), &plain, talk_cancel_at_once, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "status 1 "));
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "cancelled 1, half-closed 0, read 0"));
	same_on_all_roads(BARE("Deaf"), &plain, talk_cancel_at_once, NULL);
}
END_TEST

static void talk_cancel_after_reply(struct stream *s, struct strbuf *log)
{
	say(s, 27182);
	(void)hear(s, log);
	stream_cancel(s);
	hear_all(s, log);
}

START_TEST(cancel_after_first_response)
{
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads(BARE("Echo"), &plain, talk_cancel_after_reply, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "cancelled 1, half-closed 0, read 1"));
}
END_TEST

/* A route that takes its time: the client has gone when it forwards the call. */
struct late_route {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct rpc_call *call;
	bool cancelled;
	char heard[32]; /* from the call's own memory, when it is done */
};

static void late_cancelled(void *arg)
{
	struct late_route *l = arg;

	pthread_mutex_lock(&l->mutex);
	l->cancelled = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
}

static void late_routed(void *arg, struct rpc_call *call)
{
	struct late_route *l = arg;

	rpc_on_cancel(call, late_cancelled, l);
	pthread_mutex_lock(&l->mutex);
	l->call = call;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
}

struct late_call {
	struct late_route *route;
	const char *text;
};

static void late_done(void *arg, const struct rpc_forwarded *result)
{
	const struct late_call *in_arena = arg;

	ck_assert(result->cancelled);
	ck_assert_int_eq(result->status, STATUS_CANCELLED);
	snprintf(in_arena->route->heard, sizeof(in_arena->route->heard), "%s", in_arena->text);
}

static void late_forward(struct late_route *l)
{
	struct late_call *in_arena = arena_alloc(rpc_arena(l->call), sizeof(*in_arena));
	struct rpc_route route = far.route;

	*in_arena = (struct late_call){l, arena_strdup(rpc_arena(l->call), "still there")};
	route.done = late_done;
	route.arg = in_arena;
	rpc_forward(l->call, &route);
}

START_TEST(the_client_goes_before_the_call_is_forwarded)
{
	const struct rpc_fallback usual = far.fallback;
	struct late_route late = {.mutex = PTHREAD_MUTEX_INITIALIZER,
				  .changed = PTHREAD_COND_INITIALIZER};
	struct stream *s;

	far.fallback = (struct rpc_fallback){late_routed, &late};
	s = stream_open(far.port, BARE("Up"), 0, only_id);
	pthread_mutex_lock(&late.mutex);
	while (!late.call)
		pthread_cond_wait(&late.changed, &late.mutex);
	stream_cancel(s);
	while (!late.cancelled)
		pthread_cond_wait(&late.changed, &late.mutex);
	pthread_mutex_unlock(&late.mutex);
	far.fallback = usual;
	late_forward(&late);
	ck_assert_str_eq(late.heard, "still there");
	stream_free(s);
}
END_TEST

/* False: the deadline passed before the backend saw the call. */
static bool deadline_ends(int port, int timeout_ms)
{
	unsigned begun = bare_server_count(backend, BARE_BEGUN);
	unsigned cancelled = bare_server_count(backend, BARE_CANCELLED);
	struct stream *s = stream_open(port, BARE("Deaf"), timeout_ms, only_id);

	say(s, 27182);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_DEADLINE_EXCEEDED);
	stream_free(s);
	if (bare_server_count(backend, BARE_BEGUN) == begun)
		return false;
	bare_server_wait(backend, BARE_CANCELLED, cancelled + 1);
	return true;
}

START_TEST(timeout_on_sleeping_server)
{
	for (int hops = 0; hops < ROADS; hops++)
		for (int timeout_ms = 250; !deadline_ends(ports[hops], timeout_ms);)
			timeout_ms *= 2;
}
END_TEST

START_TEST(deadlines_are_passed_on)
{
	for (int hops = 0; hops < ROADS; hops++) {
		struct stream_options options = with(only_id);
		AUTO_STRBUF log = STRBUF_INIT;

		make_call(ports[hops], BARE("Echo"), &options, talk_empty_unary, &log);
		ck_assert_int_gt(bare_server_time_left_ms(backend), 0);
		ck_assert_int_lt(bare_server_time_left_ms(backend), 2 * options.timeout_ms);
		options.timeout_ms = 0;
		make_call(ports[hops], BARE("Echo"), &options, talk_empty_unary, &log);
		ck_assert_int_eq(bare_server_time_left_ms(backend), -1);
	}
}
END_TEST

/* ------------------------------------------------ what those cases leave out */

static void talk_headers_first(struct stream *s, struct strbuf *log)
{
	/* Says nothing before it was greeted. */
	strbuf_addf(log, "greeted: %s\n", stream_header(s, "x-grpc-test-echo-initial"));
	talk_ping_pong(s, log);
}

START_TEST(headers_before_messages)
{
	const struct stream_pair metadata[] = {
		REQUEST_ID, {"x-grpc-test-echo-initial", "hello"}, {NULL, NULL}};
	const struct stream_options options = with(metadata);

	same_on_all_roads(BARE("Greet"), &options, talk_headers_first, NULL);
	same_on_all_roads(BARE("Greet"), &plain, talk_headers_first, NULL);
}
END_TEST

static void talk_upload(struct stream *s, struct strbuf *log)
{
	for (int i = 0; i < 200; i++)
		say(s, 65536);
	hear_all(s, log);
}

/* Nothing was read of what the client still sends when the status comes. */
START_TEST(an_end_in_the_middle_of_an_upload)
{
	const struct stream_pair metadata[] = {REQUEST_ID,
					       {"want-code", "8"},
					       {"want-message-bin", "66756c6c"}, /* "full" */
					       {"x-grpc-test-echo-trailing", "kept"},
					       {NULL, NULL}};
	const struct stream_options options = with(metadata);
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads(BARE("Refuse"), &options, talk_upload, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "status 8 \"full\""));
}
END_TEST

static void talk_eight_mebibytes(struct stream *s, struct strbuf *log)
{
	for (int i = 0; i < 3; i++) {
		say(s, 8 << 20);
		(void)hear(s, log);
	}
	stream_half_close(s);
	hear_all(s, log);
}

START_TEST(messages_larger_than_any_window)
{
	same_on_all_roads(BARE("Echo"), &plain, talk_eight_mebibytes, NULL);
}
END_TEST

START_TEST(compressed_messages)
{
	struct stream_options options = plain;

	options.gzip = true;
	same_on_all_roads(BARE("Echo"), &options, talk_ping_pong, NULL);
}
END_TEST

/*
 * A response of nothing but trailers must stay one: headers commit a call, and
 * the client would not retry it. (A hop waits for the trailers, but not for
 * ever, so on a loaded machine one may miss them.)
 */
START_TEST(retries_of_the_client)
{
	enum { CALLS = 20 };
	const struct stream_options options = {
		.timeout_ms = STREAM_TEST_TIMEOUT_MS,
		.service_config = "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{"
				  "\"maxAttempts\":2,\"initialBackoff\":\"0.001s\","
				  "\"maxBackoff\":\"0.001s\",\"backoffMultiplier\":1,"
				  "\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]}"};

	for (int hops = 0; hops < ROADS; hops++) {
		int retried = 0;
		for (int i = 0; i < CALLS; i++) {
			AUTO_STRBUF log = STRBUF_INIT;
			struct stream *s =
				stream_open_with(ports[hops], BARE("Flaky"), &options);
			talk_empty_unary(s, &log);
			if (stream_status(s, NULL) == STATUS_OK)
				retried++;
			stream_free(s);
			if (bare_server_count(backend, BARE_BEGUN) % 2) /* it was not retried */
				make_call(ports[0], BARE("Flaky"), &plain, talk_empty_unary,
					  &log);
		}
		ck_assert_int_gt(retried, CALLS / 2);
	}
}
END_TEST

/* ------------------------------------------------------------------ many at once */

enum { THREADS = 4, EACH = 40 };

static void *call_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++) {
		AUTO_STRBUF reply = STRBUF_INIT;
		const struct bytes request = bytes_of("so many", 7);
		if (stream_unary(ports[2], BARE("Echo"), request, NULL, &reply, NULL) !=
			    STATUS_OK ||
		    strcmp(strbuf_str(&reply), "so many") != 0)
			return "failed";
	}
	return NULL;
}

START_TEST(many_at_once)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_many, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		void *problem;
		pthread_join(threads[i], &problem);
		ck_assert_ptr_null(problem);
	}
}
END_TEST

/* --------------------------------------------------------------- our own servers */

static struct rpc_server *own;
static struct echo_service echo;

static void start_own(void)
{
	struct error err;
	int port;

	own = rpc_server_new(&(struct rpc_server_options){.name = "own"});
	echo_service_init(&echo, own, NULL);
	ck_assert_int_eq(rpc_server_listen(own, "127.0.0.1:0", &port, &err), STATUS_OK);
	rpc_server_start(own);
	start_to(port);
}

static void stop_own(void)
{
	stop_hops();
	ck_assert(rpc_server_stop(own, 60000));
	rpc_server_free(own);
	echo_service_release(&echo);
}

static void talk_fail(struct stream *s, struct strbuf *log)
{
	struct bytes request = echo_request("not here", 8, STATUS_NOT_FOUND, 0, 3);

	(void)stream_send(s, request);
	free((void *)request.data);
	stream_half_close(s);
	hear_all(s, log);
}

/* google.rpc.Status in a trailer. */
START_TEST(error_details)
{
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads("/echo.v1.EchoService/Unary", &plain, talk_fail, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "status 5 \"not here\""));
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "grpc-status-details-bin: 0805"));
	same_on_all_roads("/echo.v1.EchoService/Down", &plain, talk_fail, NULL);
	same_on_all_roads("/echo.v1.EchoService/Up", &plain, talk_fail, NULL);
	/* No EchoRequest. */
	same_on_all_roads("/echo.v1.EchoService/Unary", &plain, talk_large_unary, NULL);
}
END_TEST

START_TEST(unimplemented_service)
{
	AUTO_STRBUF log = STRBUF_INIT;

	same_on_all_roads("/no.such.Service/M", &plain, talk_empty_unary, &log);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "status 12 "));
	ck_assert_ptr_nonnull(strstr(strbuf_str(&log), "collector-not-processed: 1"));
}
END_TEST

int main(void)
{
	const TTest *const to_others[] = {
		empty_unary,
		large_unary,
		client_streaming,
		server_streaming,
		ping_pong,
		empty_stream,
		custom_metadata,
		large_metadata,
		status_code_and_message,
		special_status_message,
		unimplemented_method,
		cancel_after_begin,
		cancel_after_first_response,
		the_client_goes_before_the_call_is_forwarded,
		timeout_on_sleeping_server,
		deadlines_are_passed_on,
		headers_before_messages,
		an_end_in_the_middle_of_an_upload,
		messages_larger_than_any_window,
		compressed_messages,
		retries_of_the_client,
		many_at_once,
		NULL,
	};
	const TTest *const to_our_own[] = {error_details, unimplemented_service, NULL};
	int others = suite_run("proxy", start, stop, to_others);
	int our_own = suite_run("proxy to our own server", start_own, stop_own, to_our_own);

	return others ? others : our_own;
}
