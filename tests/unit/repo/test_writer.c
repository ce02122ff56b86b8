/* Group commit: all are answered, in order, once; bounds; failures. */
#include "services/repo/writer.h"

#include <pthread.h>
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

static struct writer *writer;
static struct writer_queue queue;

/* Answers of the writer's thread. */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static size_t answered;
static bool held;

static void setup(void)
{
	static const char *const indexed[] = {NULL};

	fixture_open("collector.Execution", indexed, true);
	writer = writer_new(2);
	writer_bind(writer, &queue, f.store, "orders");
}

static void teardown(void)
{
	writer_free(writer);
	fixture_close();
}

static void answer(struct store_batch *b)
{
	(void)b;
	pthread_mutex_lock(&mu);
	while (held)
		pthread_cond_wait(&changed, &mu);
	answered++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

static void wait_for(size_t count)
{
	pthread_mutex_lock(&mu);
	while (answered < count)
		pthread_cond_wait(&changed, &mu);
	pthread_mutex_unlock(&mu);
}

static void set_held(bool value)
{
	pthread_mutex_lock(&mu);
	held = value;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

static struct store_write *record(int n)
{
	AUTO_STRBUF proto = STRBUF_INIT;
	char id[16];

	(void)snprintf(id, sizeof(id), "%d", n);
	wire_add_string(&proto, 2, id);
	struct store_write *w = fixture_write(id, &proto);
	return w;
}

static struct store_batch *batch(int n)
{
	struct store_batch *b = arena_zalloc(&f.arena, sizeof(*b));

	b->writes = record(n);
	b->done = answer;
	return b;
}

static int64_t count(void)
{
	struct store_sizes sizes;
	struct error err;

	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	return sizes.record_count;
}

START_TEST(all_are_answered)
{
	enum { N = 2000 };
	struct store_batch **all = arena_alloc(&f.arena, N * sizeof(*all));

	for (int i = 0; i < N; i++)
		all[i] = batch(i);
	for (int i = 0; i < N; i++)
		ck_assert(writer_submit(writer, &queue, all[i]));
	wait_for(N);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(all[i]->status, STATUS_OK);
		ck_assert_int_eq(all[i]->writes->status, STATUS_OK);
	}
	ck_assert_int_eq(count(), N);
}
END_TEST

START_TEST(a_full_queue_says_so)
{
	size_t taken = 0;

	/* The first group's answer is held back, so that the rest piles up. */
	set_held(true);
	while (taken < 3 * WRITER_QUEUE_MAX && writer_submit(writer, &queue, batch((int)taken)))
		taken++;
	ck_assert_uint_ge(taken, WRITER_QUEUE_MAX);
	ck_assert_uint_le(taken, WRITER_QUEUE_MAX + WRITER_GROUP_MAX);
	set_held(false);
	wait_for(taken);
	struct error err;
	ck_assert_int_eq(writer_run(writer, &queue, record(-1), &err), STATUS_OK);
	ck_assert_int_eq(count(), (int64_t)taken + 1);
}
END_TEST

START_TEST(what_is_queued_is_written_before_the_end)
{
	for (int i = 0; i < 500; i++)
		ck_assert(writer_submit(writer, &queue, batch(i)));
	writer_free(writer);
	writer = NULL;
	ck_assert_uint_eq(answered, 500);
	ck_assert_int_eq(count(), 500);
}
END_TEST

START_TEST(a_group_that_cannot_be_written_fails_whole_and_the_next_succeeds)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", f.directory);
	struct error err;
	sqlite3 *db;

	/* Another writer, which there must never be, holds the lock. */
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(writer_run(writer, &queue, record(1), &err), STATUS_UNAVAILABLE);
	ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	ck_assert_int_eq(count(), 0);
	ck_assert_int_eq(writer_run(writer, &queue, record(1), &err), STATUS_OK);
	ck_assert_int_eq(count(), 1);
}
END_TEST

/* A full disk, as SQLite sees it: no more pages than there are. */
START_TEST(a_full_disk_is_told_and_survived)
{
	struct store_write *big = record(1);
	AUTO_FREE char *noise = xcalloc(1, 1 << 20);
	struct error err;

	ck_assert_int_eq(writer_run(writer, &queue, record(0), &err), STATUS_OK);
	store_limit_pages(f.store, 1);
	big->proto = bytes_of(noise, 1 << 20);
	ck_assert_int_eq(writer_run(writer, &queue, big, &err), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(count(), 1);
	store_limit_pages(f.store, 0);
	ck_assert_int_eq(writer_run(writer, &queue, big, &err), STATUS_OK);
	ck_assert_int_eq(count(), 2);
}
END_TEST

START_TEST(the_log_stays_short)
{
	enum { N = 60, BYTES = 200000 };
	AUTO_FREE char *text = xmalloc(BYTES + 1);
	struct store_sizes sizes;
	struct error err;

	memset(text, 'x', BYTES);
	text[BYTES] = '\0';
	for (int i = 0; i < N; i++) {
		AUTO_STRBUF proto = STRBUF_INIT;
		char id[16];

		(void)snprintf(id, sizeof(id), "%d", i);
		wire_add_string(&proto, 2, id);
		wire_add_string(&proto, 6, text);
		ck_assert_int_eq(writer_run(writer, &queue, fixture_write(id, &proto), &err),
				 STATUS_OK);
	}
	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	ck_assert_int_eq(sizes.record_count, N);
	ck_assert_int_gt(sizes.database_bytes, N / 2 * BYTES);
	ck_assert_int_lt(sizes.wal_bytes, 8 << 20);
}
END_TEST

int main(void)
{
	return suite_run(
		"repo/writer", setup, teardown,
		(const TTest *const[]){
			all_are_answered, a_full_queue_says_so,
			what_is_queued_is_written_before_the_end,
			a_group_that_cannot_be_written_fails_whole_and_the_next_succeeds,
			a_full_disk_is_told_and_survived, the_log_stays_short, NULL});
}
