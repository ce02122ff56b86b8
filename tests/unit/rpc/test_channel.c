#include "common/rpc/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "tests/support/bare_server.h"
#include "tests/support/suite.h"

#define REFUSE "/bare.v1.Bare/Refuse"

/* What names mean, as a resolver would tell that somebody may change at any moment. */
struct names {
	pthread_mutex_t mutex;
	pthread_cond_t asked;
	enum status status;
	const char *addresses[4]; /* ends with NULL */
	int port;
	unsigned lookups;
	bool silent; /* answers nobody */
};

static struct names names;
static struct bare_server *server;
static struct rpc_client *client;
static struct error err;
static char target[64];

static enum status resolve(void *arg, const char *asked, uint64_t deadline_ns,
			   struct address_list *ret, struct error *ret_err)
{
	struct names *n = arg;
	enum status status;

	if (!strncmp(asked, "127.", 4))
		return STATUS_OK;
	if (!strncmp(asked, "10.", 3))
		return error_set(ret_err, STATUS_PERMISSION_DENIED, "no");
	ck_assert_str_eq(asked, target);
	pthread_mutex_lock(&n->mutex);
	n->lookups++;
	pthread_cond_broadcast(&n->asked);
	while (n->silent && clock_monotonic_ns() < deadline_ns)
		pthread_cond_wait(&n->asked, &n->mutex);
	*ret = (struct address_list){.count = 0};
	for (size_t i = 0; n->addresses[i]; i++)
		snprintf(ret->items[ret->count++], ADDRESS_TEXT_BYTES, "%s:%d", n->addresses[i],
			 n->port);
	status = n->status;
	pthread_mutex_unlock(&n->mutex);
	return status == STATUS_OK ? STATUS_OK
				   : error_set(ret_err, status, "the name means no good");
}

static void mean(enum status status, const char *first, const char *second)
{
	pthread_mutex_lock(&names.mutex);
	names.status = status;
	names.addresses[0] = first;
	names.addresses[1] = second;
	names.silent = false;
	pthread_cond_broadcast(&names.asked);
	pthread_mutex_unlock(&names.mutex);
}

static unsigned lookups(void)
{
	unsigned n;

	pthread_mutex_lock(&names.mutex);
	n = names.lookups;
	pthread_mutex_unlock(&names.mutex);
	return n;
}

static void start(void)
{
	server = bare_server_new(0);
	client = rpc_client_new(&(struct rpc_client_options){.name = "test"});
	names = (struct names){.port = bare_server_port(server)};
	pthread_mutex_init(&names.mutex, NULL);
	pthread_cond_init(&names.asked, NULL);
	snprintf(target, sizeof(target), "some.name.test:%d", names.port);
	rpc_client_set_naming(client, &(struct rpc_naming){resolve, &names});
}

static void stop(void)
{
	rpc_client_free(client);
	bare_server_free(server);
	pthread_cond_destroy(&names.asked);
	pthread_mutex_destroy(&names.mutex);
}

static enum status call_with(struct rpc_channel *channel, bool waits, int timeout_ms)
{
	const struct rpc_options options = {.timeout_ms = timeout_ms, .wait_for_ready = waits};
	struct bytes reply;
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	status = rpc_invoke_raw(channel, REFUSE, bytes_of(NULL, 0), &options, &arena, &reply,
				NULL, &err);
	arena_release(&arena);
	return status;
}

/* Refuse ends with OK, and without the message that a unary call needs. */
static bool arrives(struct rpc_channel *channel)
{
	unsigned before = bare_server_count(server, BARE_BEGUN);

	(void)call_with(channel, true, 20000);
	return bare_server_count(server, BARE_BEGUN) == before + 1;
}

static void until_refused(struct rpc_channel *channel, const char *why)
{
	do {
		ck_assert_int_eq(call_with(channel, false, 20000), STATUS_UNAVAILABLE);
	} while (!strstr(err.message, why));
}

/* Between two tries to connect a call fails at once, unless it may wait for the next. */
START_TEST(who_is_patient_meets_a_server_that_starts)
{
	const struct rpc_options patient = {.timeout_ms = 20000, .patience_ms = 20000};
	const int port = bare_server_port(server);
	struct rpc_channel *channel;
	struct bytes reply;
	struct arena arena;
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	bare_server_free(server);
	channel = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	ck_assert_int_eq(call_with(channel, false, 20000), STATUS_UNAVAILABLE);
	server = bare_server_new(port);
	arena_init(&arena, 0);
	ck_assert_int_eq(rpc_invoke_raw(channel, REFUSE, bytes_of(NULL, 0), &patient, &arena,
					&reply, NULL, &err),
			 STATUS_INTERNAL);
	ck_assert_uint_eq(bare_server_count(server, BARE_BEGUN), 1);
	arena_release(&arena);
	rpc_channel_unref(channel);
}
END_TEST

START_TEST(a_name_is_dialled_as_it_is_resolved)
{
	struct rpc_channel *channel;
	struct strbuf authority = STRBUF_INIT;

	mean(STATUS_OK, "127.0.0.1", NULL);
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert(arrives(channel));
	/* The server is told the name. */
	bare_server_authority(server, &authority);
	ck_assert_str_eq(strbuf_str(&authority), target);
	strbuf_release(&authority);
	/* While it is connected nobody asks again. */
	for (int i = 0; i < 100; i++)
		ck_assert(arrives(channel));
	ck_assert_uint_eq(lookups(), 1);
	rpc_channel_unref(channel);
}
END_TEST

START_TEST(every_address_is_tried_and_families_mix)
{
	struct rpc_channel *channel;

	/* Nobody listens at the first. */
	mean(STATUS_OK, "[::1]", "127.0.0.1");
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert(arrives(channel));
	rpc_channel_unref(channel);
}
END_TEST

/* The name means what may not be dialled: it is not, whatever it meant before. */
START_TEST(a_name_that_changes_its_meaning)
{
	struct rpc_channel *channel;
	const int port = bare_server_port(server);

	mean(STATUS_OK, "127.0.0.1", NULL);
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert(arrives(channel));
	mean(STATUS_PERMISSION_DENIED, NULL, NULL);
	ck_assert(arrives(channel)); /* the connection is the one that was judged */
	bare_server_free(server);
	until_refused(channel, "no good");
	server = bare_server_new(port);
	ck_assert_ptr_nonnull(server);
	until_refused(channel, "no good");
	ck_assert_uint_eq(bare_server_count(server, BARE_BEGUN), 0);
	/* And is dialled again when it means something else. */
	mean(STATUS_OK, "127.0.0.1", NULL);
	ck_assert(arrives(channel));
	rpc_channel_unref(channel);
}
END_TEST

START_TEST(a_name_that_moves_is_followed)
{
	struct rpc_channel *channel;

	mean(STATUS_OK, "127.0.0.9", NULL); /* where nobody is */
	names.port = 1;
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert_int_eq(call_with(channel, false, 20000), STATUS_UNAVAILABLE);
	names.port = bare_server_port(server);
	mean(STATUS_OK, "127.0.0.1", NULL);
	ck_assert(arrives(channel));
	rpc_channel_unref(channel);
}
END_TEST

/* What nobody can tell about now keeps what it meant. */
START_TEST(a_resolver_that_is_away)
{
	struct rpc_channel *channel;
	const int port = bare_server_port(server);

	mean(STATUS_OK, "127.0.0.1", NULL);
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	ck_assert(arrives(channel));
	mean(STATUS_UNAVAILABLE, NULL, NULL);
	bare_server_free(server);
	until_refused(channel, "no good");
	server = bare_server_new(port);
	ck_assert(arrives(channel));
	rpc_channel_unref(channel);
}
END_TEST

START_TEST(lookups_are_few_and_have_an_end)
{
	struct rpc_channel *channel;

	names.silent = true;
	channel = rpc_client_channel(client, target, RPC_TRUST_FOREIGN);
	/* The call's own deadline counts while the name is looked up. */
	ck_assert_int_eq(call_with(channel, false, 50), STATUS_DEADLINE_EXCEEDED);
	mean(STATUS_UNAVAILABLE, NULL, NULL);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(call_with(channel, false, 20000), STATUS_UNAVAILABLE);
	ck_assert_uint_le(lookups(), 3);
	rpc_channel_unref(channel);
}
END_TEST

START_TEST(addresses_are_judged_too)
{
	ck_assert_ptr_null(rpc_client_channel(client, "10.0.0.1:80", RPC_TRUST_FOREIGN));
	/* Those of this collector's own daemons are the operator's. */
	ck_assert_ptr_nonnull(rpc_client_channel(client, "10.0.0.1:80", RPC_TRUST_DAEMON));
	ck_assert_ptr_null(rpc_client_channel(client, "unix:/tmp/x:1", RPC_TRUST_FOREIGN));
}
END_TEST

/* ------------------------------------------------------------------ forgetting */

START_TEST(channels_that_nobody_uses_are_forgotten)
{
	struct rpc_channel *held, *again;
	char address[64];

	held = rpc_client_channel(client, "127.0.0.1:9", RPC_TRUST_FOREIGN);
	for (int i = 0; i < 500; i++) {
		snprintf(address, sizeof(address), "127.0.0.1:%d", 10000 + i);
		rpc_channel_unref(rpc_client_channel(client, address, RPC_TRUST_FOREIGN));
	}
	ck_assert_uint_eq(rpc_client_channel_count(client), 64 + 1);
	/* What is held is the same for everybody; what was used lately is still there. */
	again = rpc_client_channel(client, "127.0.0.1:9", RPC_TRUST_FOREIGN);
	ck_assert_ptr_eq(again, held);
	rpc_channel_unref(again);
	rpc_channel_unref(held);
	ck_assert_uint_eq(rpc_client_channel_count(client), 64);
	again = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	ck_assert_uint_eq(rpc_client_channel_count(client), 64);
	rpc_channel_unref(again);
}
END_TEST

/* Who has it goes on with it; who asks gets another, which is kept as any is. */
START_TEST(a_channel_is_replaced)
{
	struct rpc_channel *old, *new;
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%d", names.port);
	old = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	ck_assert(arrives(old));
	rpc_channel_replace(old);
	rpc_channel_replace(old); /* nobody's twice */
	ck_assert_uint_eq(rpc_client_channel_count(client), 0);
	new = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	ck_assert_ptr_ne(new, old);
	ck_assert(!rpc_channel_is_ready(new));
	rpc_channel_replace(old);
	ck_assert(arrives(old));
	ck_assert(arrives(new));
	rpc_channel_unref(old);
	ck_assert_uint_eq(rpc_client_channel_count(client), 1);
	rpc_channel_unref(new);
	ck_assert_uint_eq(rpc_client_channel_count(client), 1);
	ck_assert_ptr_eq(rpc_client_channel(client, address, RPC_TRUST_FOREIGN), new);
	rpc_channel_unref(new);
}
END_TEST

/* A call holds its channel: whoever began it may let go. */
static void ended(void *arg, enum status status, const struct error *why, struct bytes reply,
		  const struct rpc_outcome *outcome)
{
	(void)why;
	(void)reply;
	(void)outcome;
	pthread_mutex_lock(&names.mutex);
	*(enum status *)arg = status;
	names.lookups++;
	pthread_cond_broadcast(&names.asked);
	pthread_mutex_unlock(&names.mutex);
}

START_TEST(a_call_keeps_its_channel)
{
	const struct rpc_options options = {.timeout_ms = 30000};
	struct rpc_pending *pending;
	enum status status = STATUS_OK;
	struct rpc_channel *channel;
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%d", names.port);
	channel = rpc_client_channel(client, address, RPC_TRUST_FOREIGN);
	rpc_start_raw(channel, "/bare.v1.Bare/Deaf", bytes_of(NULL, 0), &options, ended,
		      &status, &pending);
	rpc_channel_unref(channel);
	bare_server_wait(server, BARE_BEGUN, 1);
	for (int i = 0; i < 100; i++) {
		snprintf(address, sizeof(address), "127.0.0.1:%d", 10000 + i);
		rpc_channel_unref(rpc_client_channel(client, address, RPC_TRUST_FOREIGN));
	}
	ck_assert_uint_eq(rpc_client_channel_count(client), 64 + 1);
	rpc_cancel(pending);
	pthread_mutex_lock(&names.mutex);
	while (!names.lookups)
		pthread_cond_wait(&names.asked, &names.mutex);
	pthread_mutex_unlock(&names.mutex);
	ck_assert_int_eq(status, STATUS_CANCELLED);
}
END_TEST

int main(void)
{
	return suite_run("channel", start, stop,
			 (const TTest *const[]){
				 who_is_patient_meets_a_server_that_starts,
				 a_name_is_dialled_as_it_is_resolved,
				 every_address_is_tried_and_families_mix,
				 a_name_that_changes_its_meaning, a_name_that_moves_is_followed,
				 a_resolver_that_is_away, lookups_are_few_and_have_an_end,
				 addresses_are_judged_too,
				 channels_that_nobody_uses_are_forgotten, a_channel_is_replaced,
				 a_call_keeps_its_channel, NULL});
}
