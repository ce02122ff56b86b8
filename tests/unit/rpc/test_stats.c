#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/rpc/stats.h"
#include "tests/support/suite.h"

static struct rpc_method_stats read_one(struct rpc_stats *stats, const char *method)
{
	struct rpc_method_stats all[129];
	size_t n = rpc_stats_read(stats, all, 129);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].method, method))
			return all[i];
	ck_abort_msg("%s was not recorded", method);
}

START_TEST(counts_by_outcome)
{
	struct rpc_stats *stats = rpc_stats_new();
	struct rpc_method_stats m;

	rpc_stats_record(stats, "/a/B", STATUS_OK, 1000);
	rpc_stats_record(stats, "/a/B", STATUS_NOT_FOUND, 1000);
	rpc_stats_record(stats, "/a/B", STATUS_RESOURCE_EXHAUSTED, 1000);
	m = read_one(stats, "/a/B");
	ck_assert_uint_eq(m.calls, 3);
	ck_assert_uint_eq(m.errors, 2);
	ck_assert_uint_eq(m.rejected, 1);
	rpc_stats_free(stats);
}
END_TEST

/* Every magnitude: one value alone is its own median, within 4%. */
START_TEST(quantiles_are_within_four_percent)
{
	for (uint64_t us = 1; us < UINT64_C(1) << 35; us = us * 5 / 4 + 1) {
		struct rpc_stats *stats = rpc_stats_new();
		struct rpc_method_stats m;
		double error;

		for (int i = 0; i < 3; i++)
			rpc_stats_record(stats, "/a/B", STATUS_OK, us * 1000);
		rpc_stats_record(stats, "/a/B", STATUS_OK, us * 2000);
		m = read_one(stats, "/a/B");
		error = (double)m.p50_us / (double)us - 1;
		ck_assert_msg(error < 0.04 && error > -0.04, "%llu us read as %llu",
			      (unsigned long long)us, (unsigned long long)m.p50_us);
		ck_assert_uint_eq(m.max_us, us * 2);
		rpc_stats_free(stats);
	}
}
END_TEST

START_TEST(p99_of_a_known_distribution)
{
	struct rpc_stats *stats = rpc_stats_new();
	struct rpc_method_stats m;

	for (uint64_t us = 1; us <= 10000; us++)
		rpc_stats_record(stats, "/a/B", STATUS_OK, us * 1000);
	m = read_one(stats, "/a/B");
	ck_assert(m.p50_us > 4800 && m.p50_us < 5200);
	ck_assert(m.p99_us > 9504 && m.p99_us < 10296);
	rpc_stats_free(stats);
}
END_TEST

START_TEST(memory_is_fixed)
{
	struct rpc_stats *stats = rpc_stats_new();
	char method[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(method, sizeof(method), "/a/M%d", i);
		rpc_stats_record(stats, method, STATUS_OK, 1);
	}
	ck_assert_uint_eq(rpc_stats_read(stats, NULL, 0), 129);
	ck_assert_uint_eq(read_one(stats, "/a/M127").calls, 1);
	ck_assert_uint_eq(read_one(stats, "other").calls, 872);
	rpc_stats_free(stats);
}
END_TEST

START_TEST(absurd_durations_do_not_hurt)
{
	struct rpc_stats *stats = rpc_stats_new();

	rpc_stats_record(stats, "/a/B", STATUS_OK, UINT64_MAX);
	rpc_stats_record(stats, "/a/B", STATUS_OK, 0);
	ck_assert_uint_eq(read_one(stats, "/a/B").calls, 2);
	rpc_stats_free(stats);
}
END_TEST

enum { THREADS = 4, EACH = 20000 };

static void *record_many(void *arg)
{
	for (int i = 0; i < EACH; i++)
		rpc_stats_record(arg, i % 2 ? "/a/B" : "/a/C", STATUS_OK, (uint64_t)i);
	return NULL;
}

START_TEST(threads_lose_nothing)
{
	struct rpc_stats *stats = rpc_stats_new();
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, record_many, stats), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(read_one(stats, "/a/B").calls, THREADS * EACH / 2);
	ck_assert_uint_eq(read_one(stats, "/a/C").calls, THREADS * EACH / 2);
	rpc_stats_free(stats);
}
END_TEST

START_TEST(live_calls)
{
	struct rpc_stats *stats = rpc_stats_new();

	ck_assert_uint_eq(rpc_stats_add_live(stats, 1), 1);
	ck_assert_uint_eq(rpc_stats_add_live(stats, 1), 2);
	ck_assert_uint_eq(rpc_stats_add_live(stats, -1), 1);
	ck_assert_uint_eq(rpc_stats_live_calls(stats), 1);
	rpc_stats_free(stats);
}
END_TEST

int main(void)
{
	return suite_run("stats", NULL, NULL,
			 (const TTest *const[]){
				 counts_by_outcome,
				 quantiles_are_within_four_percent,
				 p99_of_a_known_distribution,
				 memory_is_fixed,
				 absurd_durations_do_not_hurt,
				 threads_lose_nothing,
				 live_calls,
				 NULL,
			 });
}
