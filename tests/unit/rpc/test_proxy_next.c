/*
 * A call whose upstream fails goes to another one, as long as nobody can have noticed: the
 * client was given nothing, and what it sent is held.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/support/bare_server.h"
#include "tests/support/relay_server.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define BARE(method) "/bare.v1.Bare/" method

enum { MAX_CANDIDATES = 4 };

/* What happens to a call that may go on when no candidate is left. */
enum at_last { REFUSE_TO_CHOOSE, FAIL, COLLECT, WAIT };

/* Whom calls go to, one after the other; of the test's one call. */
struct choice {
	struct rpc_route routes[MAX_CANDIDATES];
	unsigned count;
	enum at_last at_last;
	struct rpc_call *call;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	unsigned taken, asked, ended;
	struct rpc_failure failure; /* the latest */
	struct rpc_forwarded result;
	bool collected;
};

static struct bare_server *backend;
static struct relay_server hop;
static struct choice choice;
static int silent; /* takes connections and says nothing */

static void set_and_tell(unsigned *number)
{
	++*number;
	pthread_cond_broadcast(&choice.changed);
}

static void wait_until(const unsigned *number, unsigned value)
{
	pthread_mutex_lock(&choice.mutex);
	while (*number < value)
		pthread_cond_wait(&choice.changed, &choice.mutex);
	pthread_mutex_unlock(&choice.mutex);
}

static void ended(void *arg, const struct rpc_forwarded *result)
{
	(void)arg;
	pthread_mutex_lock(&choice.mutex);
	choice.result = *result;
	set_and_tell(&choice.ended);
	pthread_mutex_unlock(&choice.mutex);
}

static void answer(void *arg, struct rpc_call *call)
{
	(void)arg;
	choice.collected = true;
	rpc_answer(call, rpc_request_bytes(call));
}

static bool do_at_last(void)
{
	struct error err;

	error_set(&err, STATUS_UNAVAILABLE, "nobody is left");
	if (choice.at_last == FAIL)
		rpc_forward_fail(choice.call, &err, true);
	else if (choice.at_last == COLLECT)
		rpc_forward_collect(choice.call, answer, NULL);
	return choice.at_last != REFUSE_TO_CHOOSE;
}

static bool failed(void *arg, const struct rpc_failure *failure)
{
	struct rpc_route *next = NULL;

	(void)arg;
	pthread_mutex_lock(&choice.mutex);
	choice.failure = *failure;
	set_and_tell(&choice.asked);
	if (choice.taken < choice.count)
		next = &choice.routes[choice.taken++];
	pthread_mutex_unlock(&choice.mutex);
	if (!next)
		return do_at_last();
	rpc_forward_next(choice.call, next);
	return true;
}

static void route(void *arg, struct rpc_call *call)
{
	(void)arg;
	choice.call = call;
	pthread_mutex_lock(&choice.mutex);
	set_and_tell(&choice.taken);
	pthread_mutex_unlock(&choice.mutex);
	rpc_forward(call, &choice.routes[0]);
}

/* One more candidate, which gets the call as @path. */
static void add(int port, const char *path)
{
	char target[32];

	snprintf(target, sizeof(target), "127.0.0.1:%d", port);
	choice.routes[choice.count++] = (struct rpc_route){
		.channel = rpc_client_channel(hop.client, target, RPC_TRUST_FOREIGN),
		.path = path,
		.failed = failed,
		.done = ended,
	};
}

static void add_backend(const char *path)
{
	add(bare_server_port(backend), path);
}

/* Bound to a port of its own; *ret_port is that. */
static int bind_port(int *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

/* Bound and not listening: it refuses connections, and nobody else can have the port. */
static void add_absent(void)
{
	int port;

	silent = bind_port(&port);
	add(port, NULL);
}

static void add_silent(void)
{
	int port;

	silent = bind_port(&port);
	ck_assert_int_eq(listen(silent, 16), 0);
	add(port, NULL);
}

static void start(void)
{
	silent = -1;
	choice = (struct choice){.mutex = PTHREAD_MUTEX_INITIALIZER,
				 .changed = PTHREAD_COND_INITIALIZER};
	backend = bare_server_new(0);
	relay_server_init(&hop, &(struct relay_options){.to_port = bare_server_port(backend)});
	hop.fallback = (struct rpc_fallback){route, NULL};
}

static void stop(void)
{
	ck_assert(relay_server_release(&hop));
	bare_server_free(backend);
	if (silent >= 0)
		close(silent);
}

static struct stream *open_reading(const char *reads)
{
	const struct stream_pair metadata[] = {
		{"want-reads", reads}, {"x-grpc-test-echo-trailing", "kept"}, {NULL, NULL}};

	return stream_open(hop.port, BARE("Up"), STREAM_TEST_TIMEOUT_MS, metadata);
}

static bool try_to_say(struct stream *s, size_t size)
{
	AUTO_FREE uint8_t *zeros = xcalloc(1, size + 1);

	return stream_send(s, bytes_of(zeros, size));
}

static void say(struct stream *s, size_t size)
{
	ck_assert(try_to_say(s, size));
}

static void check_answer(struct stream *s, const char *expected)
{
	AUTO_STRBUF reply = STRBUF_INIT;

	ck_assert(stream_read(s, &reply));
	ck_assert_str_eq(strbuf_str(&reply), expected);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	ck_assert_str_eq(stream_trailer(s, "x-grpc-test-echo-trailing"), "kept");
}

static void check_refused(struct stream *s)
{
	ck_assert_int_eq(stream_status(s, NULL), STATUS_UNAVAILABLE);
	ck_assert_str_eq(stream_trailer(s, "collector-not-processed"), "1");
}

/* ------------------------------------------------------------ it goes on */

START_TEST(nobody_is_there)
{
	struct stream *s;

	add_absent();
	add_backend(BARE("Up"));
	s = open_reading("0");
	say(s, 10);
	stream_half_close(s);
	check_answer(s, "1 10");
	stream_free(s);
	ck_assert_uint_eq(choice.asked, 1);
	ck_assert(choice.failure.not_processed);
	ck_assert_int_eq(choice.failure.err.status, STATUS_UNAVAILABLE);
	wait_until(&choice.ended, 1);
	ck_assert_int_eq(choice.result.status, STATUS_OK);
	ck_assert_uint_eq(choice.result.request_bytes, 10);
	ck_assert_uint_eq(bare_server_count(backend, BARE_BEGUN), 1);
}
END_TEST

/* What the first one read comes to the second one too, in order, and what follows. */
START_TEST(it_declines_in_the_middle)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	add_backend(BARE("Decline"));
	add_backend(BARE("Up"));
	s = open_reading("2");
	say(s, 100);
	say(s, 20);
	wait_until(&choice.asked, 2);
	say(s, 3);
	stream_half_close(s);
	check_answer(s, "3 123");
	stream_free(s);
	ck_assert(choice.failure.not_processed);
	ck_assert_uint_eq(bare_server_count(backend, BARE_READ), 2 + 2 + 3);
	wait_until(&choice.ended, 1);
	ck_assert_uint_eq(choice.result.request_bytes, 123);
}
END_TEST

START_TEST(it_declines_after_the_half_close)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	add_backend(BARE("Up"));
	s = open_reading("2");
	say(s, 100);
	stream_half_close(s);
	check_answer(s, "1 100");
	stream_free(s);
}
END_TEST

START_TEST(it_declines_before_anything_is_said)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	add_absent();
	add_backend(BARE("Up"));
	s = open_reading("0");
	wait_until(&choice.asked, 2);
	stream_half_close(s);
	check_answer(s, "0 0");
	stream_free(s);
}
END_TEST

/* A message larger than what is held is at hand as long as it could not be sent. */
START_TEST(large_messages_that_were_not_sent)
{
	struct stream *s;

	add_absent();
	add_backend(BARE("Up"));
	s = open_reading("0");
	say(s, 3 << 20);
	stream_half_close(s);
	check_answer(s, "1 3145728");
	stream_free(s);
}
END_TEST

START_TEST(as_much_as_is_held)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	add_backend(BARE("Up"));
	s = open_reading("2");
	say(s, 65536);
	say(s, 0);
	wait_until(&choice.asked, 1);
	stream_half_close(s);
	check_answer(s, "2 65536");
	stream_free(s);
}
END_TEST

static void begin_anew(void)
{
	choice.count = choice.taken = choice.asked = choice.ended = 0;
}

enum { MANY = 8 };

/* MANY messages, on their way to a server that declines after @reads. */
static void check_all_or_nothing(const char *reads, size_t size)
{
	AUTO_STRBUF reply = STRBUF_INIT;
	char all[64];
	struct stream *s;

	begin_anew();
	add_backend(BARE("Decline"));
	add_backend(BARE("Up"));
	snprintf(all, sizeof(all), "%d %zu", MANY, MANY * size);
	s = open_reading(reads);
	for (int i = 0; i < MANY; i++)
		(void)try_to_say(s, size); /* it may be over */
	stream_half_close(s);
	if (stream_read(s, &reply)) {
		ck_assert_str_eq(strbuf_str(&reply), all);
		ck_assert_int_eq(stream_status(s, NULL), STATUS_OK);
	} else {
		check_refused(s);
	}
	stream_free(s);
	wait_until(&choice.ended, 1);
}

/* How far the messages came is by chance; the next one gets all of them or none. */
START_TEST(all_or_nothing)
{
	static const char *const reads[] = {"0", "1", "2"};
	static const size_t sizes[] = {1, 40000, 70000, 300000};

	for (int i = 0; i < 20; i++)
		for (size_t k = 0; k < sizeof(reads) / sizeof(reads[0]); k++)
			for (size_t m = 0; m < sizeof(sizes) / sizeof(sizes[0]); m++)
				check_all_or_nothing(reads[k], sizes[m]);
}
END_TEST

/* Whether it was processed is not known: that is told, and left to who routes. */
START_TEST(it_may_have_been_processed)
{
	struct stream *s;

	add_backend(BARE("Drop"));
	add_backend(BARE("Up"));
	s = open_reading("1");
	say(s, 10);
	wait_until(&choice.asked, 1);
	ck_assert(!choice.failure.not_processed);
	stream_half_close(s);
	check_answer(s, "1 10");
	stream_free(s);
}
END_TEST

/* ------------------------------------------------------------ it does not */

static void check_too_late(const char *reads, unsigned count, size_t size)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	add_backend(BARE("Up"));
	s = open_reading(reads);
	for (unsigned i = 0; i < count; i++)
		say(s, size);
	check_refused(s);
	stream_free(s);
	ck_assert_uint_eq(choice.asked, 0);
	wait_until(&choice.ended, 1);
	ck_assert_int_eq(choice.result.status, STATUS_UNAVAILABLE);
	ck_assert_uint_eq(bare_server_count(backend, BARE_BEGUN), 1);
}

START_TEST(more_messages_than_are_held)
{
	check_too_late("4", 4, 1);
}
END_TEST

START_TEST(more_bytes_than_are_held)
{
	check_too_late("2", 2, 65537);
}
END_TEST

START_TEST(ordinary_errors_are_answers)
{
	const struct stream_pair not_found[] = {{"want-code", "5"}, {NULL, NULL}};

	add_backend(BARE("Echo"));
	add_backend(BARE("Echo"));
	ck_assert_int_eq(stream_unary(hop.port, BARE("Echo"), bytes_of("ping", 4), not_found,
				      NULL, NULL),
			 STATUS_NOT_FOUND);
	ck_assert_uint_eq(choice.asked, 0);
}
END_TEST

/* UNAVAILABLE after the client was given something. */
static void check_given(const char *method, const struct stream_pair *metadata)
{
	struct stream *s;
	AUTO_STRBUF reply = STRBUF_INIT;

	add_backend(method);
	add_backend(BARE("Up"));
	s = stream_open(hop.port, BARE("Up"), STREAM_TEST_TIMEOUT_MS, metadata);
	say(s, 1);
	stream_half_close(s);
	while (stream_read(s, &reply))
		;
	ck_assert_int_eq(stream_status(s, NULL), STATUS_UNAVAILABLE);
	stream_free(s);
	ck_assert_uint_eq(choice.asked, 0);
	ck_assert_uint_eq(bare_server_count(backend, BARE_BEGUN), 1);
}

START_TEST(the_client_has_a_message)
{
	check_given(BARE("Echo"), (struct stream_pair[]){{"want-code", "14"}, {NULL, NULL}});
}
END_TEST

START_TEST(the_client_has_headers)
{
	check_given(BARE("Decline"),
		    (struct stream_pair[]){{"x-grpc-test-echo-initial", "hello"},
					   {"want-reads", "1"},
					   {NULL, NULL}});
}
END_TEST

START_TEST(who_routes_wants_nobody_else)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	s = open_reading("0");
	check_refused(s);
	ck_assert_str_eq(stream_trailer(s, "x-grpc-test-echo-trailing"), "kept");
	stream_free(s);
	ck_assert_uint_eq(choice.asked, 1);
	wait_until(&choice.ended, 1);
	ck_assert_int_eq(choice.result.status, STATUS_UNAVAILABLE);
}
END_TEST

START_TEST(nobody_at_all_is_there)
{
	struct stream *s;
	AUTO_STRBUF message = STRBUF_INIT;

	add_absent();
	s = open_reading("0");
	check_refused(s);
	(void)stream_status(s, &message);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&message), "cannot connect to 127.0.0.1:"));
	stream_free(s);
}
END_TEST

/* --------------------------------------------------------- what else becomes of it */

START_TEST(it_fails_with_who_was_asked)
{
	struct stream *s;
	AUTO_STRBUF message = STRBUF_INIT;

	add_backend(BARE("Decline"));
	choice.at_last = FAIL;
	s = open_reading("1");
	say(s, 10);
	check_refused(s);
	(void)stream_status(s, &message);
	ck_assert_str_eq(strbuf_str(&message), "nobody is left");
	stream_free(s);
	wait_until(&choice.ended, 1);
	ck_assert_int_eq(choice.result.status, STATUS_UNAVAILABLE);
	ck_assert_uint_eq(choice.result.request_bytes, 10);
}
END_TEST

static void collect(const char *reads, unsigned before, bool half_close_first)
{
	struct stream *s;
	AUTO_STRBUF reply = STRBUF_INIT;

	choice.count = choice.taken = choice.asked = 0;
	choice.collected = false;
	add_backend(BARE("Decline"));
	choice.at_last = COLLECT;
	s = open_reading(reads);
	for (unsigned i = 0; i < before; i++)
		(void)stream_send(s, bytes_of("ping", 4));
	if (half_close_first)
		stream_half_close(s);
	wait_until(&choice.asked, 1);
	if (!before)
		(void)stream_send(s, bytes_of("ping", 4));
	if (!half_close_first)
		stream_half_close(s);
	if (before < 2) {
		ck_assert(stream_read(s, &reply));
		ck_assert_str_eq(strbuf_str(&reply), "ping");
	}
	ck_assert_int_eq(stream_status(s, NULL),
			 before < 2 ? STATUS_OK : STATUS_INVALID_ARGUMENT);
	stream_free(s);
	ck_assert(choice.collected == (before < 2));
}

START_TEST(it_is_collected)
{
	collect("0", 0, false);
	collect("1", 1, false);
	collect("2", 1, true);
	collect("2", 2, false);
	/* Who collects ends the calls, and nobody else is told. */
	ck_assert_uint_eq(choice.ended, 0);
}
END_TEST

/* ---------------------------------------------------------------- ended meanwhile */

START_TEST(the_client_goes_while_it_is_chosen)
{
	struct stream *s;

	add_backend(BARE("Decline"));
	choice.at_last = WAIT;
	s = open_reading("1");
	say(s, 10);
	wait_until(&choice.asked, 1);
	stream_cancel(s);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_CANCELLED);
	stream_free(s);
	/* The answer comes too late, or just as the client goes. */
	rpc_forward_next(choice.call, &choice.routes[0]);
	wait_until(&choice.ended, 1);
	ck_assert(choice.result.cancelled);
}
END_TEST

START_TEST(the_deadline_passes_while_it_is_chosen)
{
	struct stream *s;
	struct error err;

	error_set(&err, STATUS_UNAVAILABLE, "too late");
	add_absent();
	choice.at_last = WAIT;
	s = stream_open(hop.port, BARE("Up"), 300, NULL);
	wait_until(&choice.asked, 1);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_DEADLINE_EXCEEDED);
	stream_free(s);
	rpc_forward_fail(choice.call, &err, true);
	wait_until(&choice.ended, 1);
}
END_TEST

START_TEST(the_client_goes_while_it_connects)
{
	struct stream *s;

	add_silent();
	s = open_reading("0");
	wait_until(&choice.taken, 1);
	stream_cancel(s);
	stream_free(s);
	wait_until(&choice.ended, 1);
	ck_assert(choice.result.cancelled);
	ck_assert_int_eq(choice.result.status, STATUS_CANCELLED);
	ck_assert_uint_eq(choice.asked, 0);
}
END_TEST

START_TEST(the_deadline_passes_while_it_connects)
{
	struct stream *s;

	add_silent();
	s = stream_open(hop.port, BARE("Up"), 300, NULL);
	say(s, 10);
	ck_assert_int_eq(stream_status(s, NULL), STATUS_DEADLINE_EXCEEDED);
	stream_free(s);
	wait_until(&choice.ended, 1);
	ck_assert_uint_eq(choice.asked, 0);
}
END_TEST

/* ------------------------------------------------------------------ many at once */

enum { THREADS = 4, EACH = 25 };

/* Each call has its own state here: the arg is the call. */
static bool failed_of_many(void *arg, const struct rpc_failure *failure)
{
	(void)failure;
	rpc_forward_next(arg, &choice.routes[1]);
	return true;
}

static void route_many(void *arg, struct rpc_call *call)
{
	struct rpc_route first = choice.routes[0];

	(void)arg;
	first.failed = failed_of_many;
	first.arg = call;
	rpc_forward(call, &first);
}

static void *call_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++) {
		AUTO_STRBUF reply = STRBUF_INIT;
		if (stream_unary(hop.port, BARE("Echo"), bytes_of("so many", 7), NULL, &reply,
				 NULL) != STATUS_OK ||
		    strcmp(strbuf_str(&reply), "so many") != 0)
			return "failed";
	}
	return NULL;
}

START_TEST(many_at_once)
{
	pthread_t threads[THREADS];

	add_backend(BARE("Decline"));
	add_backend(BARE("Echo"));
	hop.fallback = (struct rpc_fallback){route_many, NULL};
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_many, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		void *problem;
		pthread_join(threads[i], &problem);
		ck_assert_ptr_null(problem);
	}
	ck_assert_uint_eq(bare_server_count(backend, BARE_BEGUN), 2 * THREADS * EACH);
}
END_TEST

int main(void)
{
	return suite_run("proxy next", start, stop,
			 (const TTest *const[]){
				 nobody_is_there,
				 it_declines_in_the_middle,
				 it_declines_after_the_half_close,
				 it_declines_before_anything_is_said,
				 large_messages_that_were_not_sent,
				 as_much_as_is_held,
				 all_or_nothing,
				 it_may_have_been_processed,
				 more_messages_than_are_held,
				 more_bytes_than_are_held,
				 ordinary_errors_are_answers,
				 the_client_has_a_message,
				 the_client_has_headers,
				 who_routes_wants_nobody_else,
				 nobody_at_all_is_there,
				 it_fails_with_who_was_asked,
				 it_is_collected,
				 the_client_goes_while_it_is_chosen,
				 the_deadline_passes_while_it_is_chosen,
				 the_client_goes_while_it_connects,
				 the_deadline_passes_while_it_connects,
				 many_at_once,
				 NULL,
			 });
}
