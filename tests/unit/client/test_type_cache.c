/* Against a registry of the test's own, which counts what it is asked and tells what it is told to. */
#include "common/client/type_cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "collector/registry.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"
#include "common/rpc/server.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

#define P3 "syntax = \"proto3\"; package t; "

static struct {
	Collector__CollectorRegistry_Service service; /* first: what a method is given */
	struct rpc_server *server;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	int64_t version;
	struct strbuf set; /* of the namespace */
	int asked, probed, watched;
	int64_t watched_from;
	void *call; /* of the open watch, held */
	Collector__WatchResponse_Closure tell;
} registry;

static struct rpc_client *client;
static struct type_cache *cache;
static struct error err;

/* ------------------------------------------------------------- the registry */

static void get_descriptors(Collector__CollectorRegistry_Service *service,
			    const Collector__GetDescriptorsRequest *request,
			    Collector__GetDescriptorsResponse_Closure reply_to, void *call)
{
	Collector__GetDescriptorsResponse reply = COLLECTOR__GET_DESCRIPTORS_RESPONSE__INIT;
	const bool all =
		request->target_case == COLLECTOR__GET_DESCRIPTORS_REQUEST__TARGET__NOT_SET;

	(void)service;
	pthread_mutex_lock(&registry.mu);
	*(all ? &registry.asked : &registry.probed) += 1;
	reply.version = registry.version;
	reply.not_modified = registry.version > 0 && request->known_version == registry.version;
	if (all && !reply.not_modified) {
		reply.file_descriptor_set.len = registry.set.len;
		reply.file_descriptor_set.data =
			arena_memdup(rpc_arena(call), registry.set.buf, registry.set.len);
	}
	pthread_mutex_unlock(&registry.mu);
	reply_to(&reply, call);
}

/* Forget the watch that is open. */
static void *take_call(void *only)
{
	void *call;

	pthread_mutex_lock(&registry.mu);
	call = !only || registry.call == only ? registry.call : NULL;
	if (call)
		registry.call = NULL;
	pthread_cond_broadcast(&registry.changed);
	pthread_mutex_unlock(&registry.mu);
	return call;
}

static void end_watch(void *only, enum status status)
{
	void *call = take_call(only);

	if (!call)
		return;
	rpc_fail(call, status, "the watch ends");
	rpc_release(call);
}

static void cancelled(void *call)
{
	end_watch(call, STATUS_CANCELLED);
}

static void watch(Collector__CollectorRegistry_Service *service,
		  const Collector__WatchRequest *request,
		  Collector__WatchResponse_Closure reply_to, void *call)
{
	Collector__WatchResponse marker = COLLECTOR__WATCH_RESPONSE__INIT;

	(void)service;
	ck_assert_uint_eq(request->n_namespaces, 1);
	ck_assert_str_eq(request->namespaces[0], "shop");
	ck_assert(request->include_descriptors);
	end_watch(NULL, STATUS_CANCELLED);
	rpc_hold(call);
	reply_to(&marker, call);
	pthread_mutex_lock(&registry.mu);
	registry.watched++;
	registry.watched_from = request->known_versions[0]->value;
	registry.call = call;
	registry.tell = reply_to;
	pthread_cond_broadcast(&registry.changed);
	pthread_mutex_unlock(&registry.mu);
	rpc_on_cancel(call, cancelled, call);
}

/* Until a watch is open that came after the first @before. */
static void wait_for_watch(int before)
{
	pthread_mutex_lock(&registry.mu);
	while (!registry.call || registry.watched <= before)
		pthread_cond_wait(&registry.changed, &registry.mu);
	pthread_mutex_unlock(&registry.mu);
}

static int asked(void)
{
	int n;

	pthread_mutex_lock(&registry.mu);
	n = registry.asked;
	pthread_mutex_unlock(&registry.mu);
	return n;
}

static void add_to_set(struct strbuf *set, const char *name, const char *text)
{
	AUTO_STRBUF file = STRBUF_INIT;

	fixture_compile(name, text, &file);
	wire_add_bytes(set, 1, bytes_of(file.buf, file.len));
}

/* What it has from now on, for who asks. */
static void have(int64_t version, const char *text)
{
	pthread_mutex_lock(&registry.mu);
	registry.version = version;
	strbuf_reset(&registry.set);
	add_to_set(&registry.set, "t.proto", text);
	pthread_mutex_unlock(&registry.mu);
}

/* Tell the watcher. */
static void tell(const Collector__WatchResponse *event, struct bytes set)
{
	Collector__WatchResponse e = *event;

	e.namespace_ = (char *)"shop";
	e.file_descriptor_set.data = (uint8_t *)set.data;
	e.file_descriptor_set.len = set.size;
	pthread_mutex_lock(&registry.mu);
	ck_assert_ptr_nonnull(registry.call);
	registry.tell(&e, registry.call);
	pthread_mutex_unlock(&registry.mu);
}

#define EVENT(...)                                                                             \
	(&(const Collector__WatchResponse){                                                    \
		.base = PROTOBUF_C_MESSAGE_INIT(&collector__watch_response__descriptor),       \
		__VA_ARGS__})

static void tell_file(int64_t version, const char *name, const char *text)
{
	AUTO_STRBUF set = STRBUF_INIT;

	add_to_set(&set, name, text);
	tell(EVENT(.version = version), bytes_of(set.buf, set.len));
}

/* ----------------------------------------------------------------- the cache */

static struct rpc_options options = {.timeout_ms = 30000};

static bool has(const char *message)
{
	struct pool *pool;
	bool found;

	ck_assert_msg(type_cache_snapshot(cache, "shop", &options, &pool, &err) == STATUS_OK,
		      "%s", err.message);
	found = pool_message(pool, message, strlen(message)) != NULL;
	pool_unref(pool);
	return found;
}

static void wait_until(bool wanted, const char *message)
{
	const uint64_t give_up_ns = clock_monotonic_ns() + 60000000000;

	while (has(message) != wanted) {
		ck_assert_msg(clock_monotonic_ns() < give_up_ns, "%s", message);
		sched_yield();
	}
}

static void setup(void)
{
	char target[64];
	int port;

	registry.service = (Collector__CollectorRegistry_Service){
		.base = {.descriptor = &collector__collector_registry__descriptor,
			 .invoke = protobuf_c_service_invoke_internal},
		.get_descriptors = get_descriptors,
		.watch = watch};
	pthread_mutex_init(&registry.mu, NULL);
	pthread_cond_init(&registry.changed, NULL);
	registry.set = STRBUF_INIT;
	registry.version = registry.watched_from = 0;
	registry.asked = registry.probed = registry.watched = 0;
	registry.call = NULL;
	registry.server = rpc_server_new(&(struct rpc_server_options){.name = "registry"});
	rpc_server_add(registry.server, &registry.service.base, NULL);
	ck_assert_int_eq(rpc_server_listen(registry.server, "127.0.0.1:0", &port, &err),
			 STATUS_OK);
	rpc_server_start(registry.server);
	snprintf(target, sizeof(target), "127.0.0.1:%d", port);
	client = rpc_client_new(&(struct rpc_client_options){.name = "test"});
	cache = type_cache_new(rpc_client_channel(client, target, RPC_TRUST_FOREIGN));
}

static void teardown(void)
{
	type_cache_free(cache);
	end_watch(NULL, STATUS_UNAVAILABLE);
	ck_assert(rpc_server_stop(registry.server, 60000));
	rpc_server_free(registry.server);
	rpc_client_free(client);
	strbuf_release(&registry.set);
}

/* Known, and followed. */
static void begin(void)
{
	have(1, P3 "message A {}");
	ck_assert(has("t.A"));
	wait_for_watch(0);
	ck_assert_int_eq(registry.watched_from, 1);
	ck_assert_int_eq(asked(), 1);
}

START_TEST(changes_come_by_themselves)
{
	begin();
	tell_file(2, "t.proto", P3 "message A {} message B {}");
	wait_until(true, "t.B");
	tell_file(3, "u.proto", "syntax = \"proto3\"; package u; message U {}");
	wait_until(true, "u.U");
	ck_assert(has("t.B"));
	tell_file(4, "t.proto", P3 "message C {}");
	wait_until(false, "t.B");
	ck_assert(has("t.C") && has("u.U"));
	ck_assert_int_eq(asked(), 1);
}
END_TEST

START_TEST(files_go)
{
	AUTO_STRBUF set = STRBUF_INIT;
	char *removed[] = {(char *)"t.proto", (char *)"never.proto"};

	begin();
	add_to_set(&set, "u.proto", "syntax = \"proto3\"; package u; message U {}");
	tell(EVENT(.version = 2, .removed_files = removed, .n_removed_files = 2),
	     bytes_of(set.buf, set.len));
	wait_until(true, "u.U");
	ck_assert(!has("t.A"));
	tell(EVENT(.version = 3, .removed_files = (char *[]){(char *)"u.proto"},
		   .n_removed_files = 1),
	     bytes_of(NULL, 0));
	wait_until(false, "u.U");
	ck_assert_int_eq(asked(), 1);
}
END_TEST

START_TEST(parts_are_one_change)
{
	AUTO_STRBUF first = STRBUF_INIT;
	AUTO_STRBUF second = STRBUF_INIT;

	begin();
	add_to_set(&first, "t.proto", P3 "message A {} message B {}");
	add_to_set(&second, "u.proto", "syntax = \"proto3\"; package u; message U {}");
	tell(EVENT(.version = 1, .more = true), bytes_of(first.buf, first.len));
	tell(EVENT(.version = 1, .more = true), bytes_of(NULL, 0));
	tell(EVENT(.version = 2), bytes_of(second.buf, second.len));
	wait_until(true, "u.U");
	ck_assert(has("t.B"));
	/* And all that there is, in place of what was known. */
	tell(EVENT(.version = 1, .complete = true), bytes_of(second.buf, second.len));
	wait_until(false, "t.B");
	ck_assert(has("u.U"));
	ck_assert_int_eq(asked(), 1);
}
END_TEST

START_TEST(what_cannot_be_understood_is_asked_for)
{
	begin();
	have(2, P3 "message A {} message B {}");
	tell(EVENT(.version = 2), bytes_of_string("\x0a\x05garbage"));
	wait_until(true, "t.B");
	ck_assert_int_eq(asked(), 2);
	/* It goes on from there. */
	wait_for_watch(1);
	ck_assert_int_eq(registry.watched_from, 2);
	tell_file(3, "t.proto", P3 "message C {}");
	wait_until(true, "t.C");
	ck_assert_int_eq(asked(), 2);
}
END_TEST

START_TEST(a_watch_that_ended_goes_on_where_it_was)
{
	begin();
	tell_file(2, "t.proto", P3 "message B {}");
	wait_until(true, "t.B");
	for (int i = 0; i < 3; i++) {
		end_watch(NULL, STATUS_UNAVAILABLE);
		wait_for_watch(1 + i);
		ck_assert_int_eq(registry.watched_from, 2);
	}
	tell_file(3, "t.proto", P3 "message C {}");
	wait_until(true, "t.C");
	ck_assert_int_eq(asked(), 1);
}
END_TEST

START_TEST(what_has_to_be_current_is_waited_for)
{
	const struct pool_method *method;
	struct pool *pool;

	begin();
	/* The registry has it, and its word of it is still on the way. */
	have(2, P3 "message A {} message B {} service S { rpc Do(A) returns (B); }");
	tell_file(2, "t.proto",
		  P3 "message A {} message B {} service S { rpc Do(A) returns (B); }");
	ck_assert_int_eq(
		type_cache_method(cache, "shop", "t.S", "Do", &options, &pool, &method, &err),
		STATUS_OK);
	ck_assert_str_eq(method->output->full_name, "t.B");
	pool_unref(pool);
	ck_assert_int_eq(asked(), 1);
	/* Now it has something that it does not tell. */
	have(3, P3 "message A {} message B {} service S { rpc Do(A) returns (A); }");
	ck_assert_int_eq(type_cache_current(cache, "shop", &options, &pool, &err), STATUS_OK);
	method = pool_method(pool_service(pool, "t.S", 3), "Do", 2);
	ck_assert_str_eq(method->output->full_name, "t.A");
	pool_unref(pool);
	ck_assert_int_eq(asked(), 2);
	wait_for_watch(1); /* a better one, perhaps */
	ck_assert_int_eq(registry.watched_from, 3);
}
END_TEST

START_TEST(what_is_known_outlives_the_registry)
{
	const struct pool_method *method;
	struct pool *pool;

	begin();
	end_watch(NULL, STATUS_UNAVAILABLE);
	ck_assert(rpc_server_stop(registry.server, 60000));
	for (int i = 0; i < 100; i++)
		ck_assert(has("t.A"));
	ck_assert_int_eq(type_cache_current(cache, "shop", &options, &pool, &err), STATUS_OK);
	pool_unref(pool);
	ck_assert_int_eq(type_cache_snapshot(cache, "other", &options, &pool, &err),
			 STATUS_UNAVAILABLE);
	/* That something is not there is not known for certain. */
	ck_assert_int_eq(
		type_cache_method(cache, "shop", "t.S", "Do", &options, &pool, &method, &err),
		STATUS_UNAVAILABLE);
}
END_TEST

static bool knows(const char *ns, const char *method)
{
	const struct pool_method *found = NULL;
	struct pool *pool;

	if (!type_cache_known_method(cache, ns, "t.S", method, &pool, &found))
		return false;
	ck_assert_str_eq(found->name, method);
	pool_unref(pool);
	return true;
}

START_TEST(a_known_method_asks_nobody)
{
	const uint64_t give_up_ns = clock_monotonic_ns() + 60000000000;

	have(1, P3 "message A {} service S { rpc Do(A) returns (A); }");
	ck_assert(!knows("shop", "Do"));
	ck_assert_int_eq(asked(), 0);
	ck_assert(has("t.A"));
	wait_for_watch(0);
	ck_assert(knows("shop", "Do"));
	ck_assert(!knows("shop", "Undo") && !knows("other", "Do"));
	ck_assert_int_eq(asked(), 1);
	/* What nobody keeps up to date is soon to be asked for. */
	end_watch(NULL, STATUS_UNAVAILABLE);
	ck_assert(rpc_server_stop(registry.server, 60000));
	while (knows("shop", "Do")) {
		ck_assert(clock_monotonic_ns() < give_up_ns);
		sched_yield();
	}
}
END_TEST

static void *read_always(void *arg)
{
	const int *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
		ck_assert(has("t.A"));
	return NULL;
}

START_TEST(readers_do_not_mind)
{
	pthread_t readers[4];
	int stop = 0;
	char text[128];

	begin();
	for (int i = 0; i < 4; i++)
		pthread_create(&readers[i], NULL, read_always, &stop);
	for (int i = 2; i < 40; i++) {
		snprintf(text, sizeof(text), P3 "message A {} message M%d {}", i);
		tell_file(i, "t.proto", text);
		if (i % 10 == 0)
			end_watch(NULL, STATUS_UNAVAILABLE);
		wait_for_watch(i / 10);
	}
	wait_until(true, "t.M39");
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++)
		pthread_join(readers[i], NULL);
}
END_TEST

int main(void)
{
	return suite_run("type_cache", setup, teardown,
			 (const TTest *const[]){
				 changes_come_by_themselves,
				 files_go,
				 parts_are_one_change,
				 what_cannot_be_understood_is_asked_for,
				 a_watch_that_ended_goes_on_where_it_was,
				 what_has_to_be_current_is_waited_for,
				 what_is_known_outlives_the_registry,
				 a_known_method_asks_nobody,
				 readers_do_not_mind,
				 NULL,
			 });
}
