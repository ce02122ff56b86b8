#include "common/daemon/numbers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/daemon.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/rpc/server.h"
#include "common/rpc/stats.h"

enum { MAX_METHODS = 256 };

struct numbers {
	Collector__DaemonService_Service service; /* first: what a method is given */
	const char *daemon_name;
	struct rpc_server *server;
	uint64_t started_us;
	pthread_mutex_t mu; /* what follows */
	struct map values;  /* name -> int64_t, owned */
	char *problems[NUMBERS_MAX_PROBLEMS];
	size_t problem_count;
};

/* The second figure of /proc/self/statm is the resident set in pages. */
static int64_t resident_bytes(void)
{
	char line[256];
	long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f)) {
		const char *second = strchr(line, ' ');
		pages = second ? strtoll(second, NULL, 10) : 0;
	}
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static void put_methods(struct numbers *n, struct arena *arena,
			Collector__GetStatsResponse *reply)
{
	struct rpc_method_stats *all = arena_alloc(arena, MAX_METHODS * sizeof(*all));
	size_t count = rpc_stats_read(rpc_server_stats(n->server), all, MAX_METHODS);

	if (count > MAX_METHODS)
		count = MAX_METHODS;
	reply->methods = arena_alloc(arena, count * sizeof(*reply->methods));
	for (size_t i = 0; i < count; i++) {
		Collector__MethodStats *m = arena_alloc(arena, sizeof(*m));
		collector__method_stats__init(m);
		m->method = (char *)all[i].method;
		m->calls = (int64_t)all[i].calls;
		m->errors = (int64_t)all[i].errors;
		m->rejected = (int64_t)all[i].rejected;
		m->p50_us = (int64_t)all[i].p50_us;
		m->p99_us = (int64_t)all[i].p99_us;
		m->max_us = (int64_t)all[i].max_us;
		reply->methods[i] = m;
	}
	reply->n_methods = count;
}

static void put_numbers(struct numbers *n, struct arena *arena,
			Collector__GetStatsResponse *reply)
{
	pthread_mutex_lock(&n->mu);
	reply->numbers = arena_alloc(arena, n->values.count * sizeof(*reply->numbers));
	map_for_each (&n->values, e) {
		Collector__GetStatsResponse__NumbersEntry *entry =
			arena_alloc(arena, sizeof(*entry));
		collector__get_stats_response__numbers_entry__init(entry);
		entry->key = arena_strdup(arena, e->key);
		entry->value = *(int64_t *)e->value;
		reply->numbers[reply->n_numbers++] = entry;
	}
	pthread_mutex_unlock(&n->mu);
}

static void put_problems(struct numbers *n, struct arena *arena,
			 Collector__GetStatsResponse *reply)
{
	pthread_mutex_lock(&n->mu);
	reply->problems = arena_alloc(arena, (n->problem_count + 1) * sizeof(*reply->problems));
	for (size_t i = 0; i < n->problem_count; i++)
		reply->problems[reply->n_problems++] = arena_strdup(arena, n->problems[i]);
	pthread_mutex_unlock(&n->mu);
}

static void get_stats(Collector__DaemonService_Service *service,
		      const Collector__GetStatsRequest *request,
		      Collector__GetStatsResponse_Closure reply_to, void *call)
{
	struct numbers *n = (struct numbers *)service;
	Collector__GetStatsResponse reply = COLLECTOR__GET_STATS_RESPONSE__INIT;
	Google__Protobuf__Timestamp started = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Collector__Status ok = COLLECTOR__STATUS__INIT;

	(void)request;
	started.seconds = (int64_t)(n->started_us / 1000000);
	started.nanos = (int32_t)(n->started_us % 1000000 * 1000);
	reply.status = &ok;
	reply.name = (char *)n->daemon_name;
	reply.version = (char *)COLLECTOR_VERSION;
	reply.pid = getpid();
	reply.started_at = &started;
	reply.memory_bytes = resident_bytes();
	reply.live_calls = (int64_t)rpc_stats_live_calls(rpc_server_stats(n->server));
	put_methods(n, rpc_arena(call), &reply);
	put_numbers(n, rpc_arena(call), &reply);
	put_problems(n, rpc_arena(call), &reply);
	reply_to(&reply, call);
}

struct numbers *numbers_new(const char *daemon_name, struct rpc_server *server)
{
	/* Also when the pool is full. */
	static const struct rpc_method_policy policies[] = {{"GetStats", RPC_RUN_INLINE},
							    {NULL, RPC_RUN_POOL}};
	struct numbers *n = xcalloc(1, sizeof(*n));

	n->service.base.descriptor = &collector__daemon_service__descriptor;
	n->service.base.invoke = protobuf_c_service_invoke_internal;
	n->service.get_stats = get_stats;
	n->daemon_name = daemon_name;
	n->server = server;
	n->started_us = clock_unix_us();
	pthread_mutex_init(&n->mu, NULL);
	rpc_server_add(server, &n->service.base, policies);
	return n;
}

void numbers_free(struct numbers *n)
{
	if (!n)
		return;
	map_release(&n->values, free);
	for (size_t i = 0; i < n->problem_count; i++)
		free(n->problems[i]);
	pthread_mutex_destroy(&n->mu);
	free(n);
}

void numbers_set(struct numbers *n, const char *name, int64_t value)
{
	int64_t *slot;

	pthread_mutex_lock(&n->mu);
	slot = map_get(&n->values, name);
	if (!slot && n->values.count < NUMBERS_MAX) {
		slot = xmalloc(sizeof(*slot));
		map_put(&n->values, name, slot);
	}
	if (slot)
		*slot = value;
	pthread_mutex_unlock(&n->mu);
}

void numbers_add_problem(struct numbers *n, const char *text)
{
	size_t i = 0;

	pthread_mutex_lock(&n->mu);
	while (i < n->problem_count && strcmp(n->problems[i], text) != 0)
		i++;
	if (i == n->problem_count && i < NUMBERS_MAX_PROBLEMS)
		n->problems[n->problem_count++] = xstrdup(text);
	pthread_mutex_unlock(&n->mu);
}
