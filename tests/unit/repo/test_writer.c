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
	enum { N = 80, BYTES = 200000 };
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
	ck_assert_int_lt(sizes.wal_bytes, 12 << 20);
}
END_TEST

/* An operation that takes as long as the test wants. */
static bool is_building, may_end;

static enum status build(struct store *store, struct store_write *w, struct error *err)
{
	(void)store;
	(void)w;
	(void)err;
	pthread_mutex_lock(&mu);
	is_building = true;
	pthread_cond_broadcast(&changed);
	while (!may_end)
		pthread_cond_wait(&changed, &mu);
	is_building = false;
	pthread_mutex_unlock(&mu);
	return STATUS_OK;
}

static void *run_apart(void *arg)
{
	struct store_write w = {.operation = build};
	struct error err;

	(void)arg;
	ck_assert_int_eq(writer_run_apart(writer, &queue, &w, &err), STATUS_OK);
	return NULL;
}

static void begin_building(pthread_t *ret_thread)
{
	may_end = false;
	ck_assert(!pthread_create(ret_thread, NULL, run_apart, NULL));
	pthread_mutex_lock(&mu);
	while (!is_building)
		pthread_cond_wait(&changed, &mu);
	pthread_mutex_unlock(&mu);
}

static void end_building(pthread_t thread)
{
	pthread_mutex_lock(&mu);
	may_end = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
	ck_assert(!pthread_join(thread, NULL));
}

/* Another collection of the same thread. */
static struct store *open_other(struct writer_queue *other)
{
	AUTO_FREE char *directory = xasprintf("%s/other", f.directory);
	const struct store_definition d = {.message_name = "collector.Execution",
					   .definition = {(const uint8_t *)"d", 1}};
	struct store *store;
	struct error err;

	ck_assert_int_eq(directory_make_scratch(directory, &err), STATUS_OK);
	ck_assert_int_eq(store_create(directory, &d, &err), STATUS_OK);
	ck_assert_int_eq(store_open(directory, &store, &err), STATUS_OK);
	writer_bind(writer, other, store, "others");
	return store;
}

START_TEST(what_runs_apart_holds_up_its_own_collection_alone)
{
	struct writer_queue other;
	struct store *store;
	struct error err;
	pthread_t builder;

	writer_free(writer);
	writer = writer_new(1);
	writer_bind(writer, &queue, f.store, "orders");
	store = open_other(&other);
	begin_building(&builder);
	for (int i = 0; i < 20; i++)
		ck_assert(writer_submit(writer, &queue, batch(i)));
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(writer_run(writer, &other, record(i), &err), STATUS_OK);
	pthread_mutex_lock(&mu);
	ck_assert_uint_eq(answered, 0);
	ck_assert(is_building);
	pthread_mutex_unlock(&mu);
	ck_assert_int_eq(count(), 0);
	end_building(builder);
	wait_for(20);
	ck_assert_int_eq(count(), 20);
	/* It can be lent again, and written to again. */
	begin_building(&builder);
	end_building(builder);
	ck_assert_int_eq(writer_run(writer, &queue, record(100), &err), STATUS_OK);
	writer_free(writer);
	writer = NULL;
	store_close(store);
}
END_TEST

/* Two that run apart without a pause, while others write: each has its turn. */
static void *run_apart_often(void *arg)
{
	struct error err;

	for (int i = 0; i < 200; i++) {
		struct store_write w = {.operation = build};

		ck_assert_int_eq(writer_run_apart(arg, &queue, &w, &err), STATUS_OK);
	}
	return NULL;
}

START_TEST(who_writes_and_what_runs_apart_take_turns)
{
	pthread_t builders[2];
	struct error err;

	may_end = true;
	for (int i = 0; i < 2; i++)
		ck_assert(!pthread_create(&builders[i], NULL, run_apart_often, writer));
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(writer_run(writer, &queue, record(i), &err), STATUS_OK);
	for (int i = 0; i < 2; i++)
		ck_assert(!pthread_join(builders[i], NULL));
	ck_assert_int_eq(count(), 200);
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
			a_full_disk_is_told_and_survived, the_log_stays_short,
			what_runs_apart_holds_up_its_own_collection_alone,
			who_writes_and_what_runs_apart_take_turns, NULL});
}
