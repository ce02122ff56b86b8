/*
 * One thread changes pools while others read: what `make test-thread` runs under
 * ThreadSanitizer. The mutex guards which pool is the newest, nothing else, as
 * in the daemons that publish pools; all else that readers do takes no lock.
 */
#include "common/reflect/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/reflect/builtin.h"
#include "common/reflect/json_out.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"

enum { FILES = 120, READERS = 3, TYPE_INT32 = 5, TYPE_MESSAGE = 11 };

struct published {
	pthread_mutex_t mu; /* guards pool */
	struct pool *pool;
	atomic_int files; /* so many are in every pool published from now on */
	atomic_bool done;
};

static struct pool *newest(struct published *p)
{
	struct pool *pool;

	pthread_mutex_lock(&p->mu);
	pool = pool_ref(p->pool);
	pthread_mutex_unlock(&p->mu);
	return pool;
}

static void publish(struct published *p, struct pool *pool)
{
	struct pool *old;

	pthread_mutex_lock(&p->mu);
	old = p->pool;
	p->pool = pool;
	pthread_mutex_unlock(&p->mu);
	pool_unref(old);
}

/* ------------------------------------------------------------------ writer */

static void add_field(struct strbuf *out, const char *name, int number, int type,
		      const char *type_name)
{
	const size_t mark = wire_open(out, 2);

	wire_add_string(out, 1, name);
	wire_add_uint(out, 3, (uint64_t)number);
	wire_add_uint(out, 4, 1);
	wire_add_uint(out, 5, (uint64_t)type);
	if (type_name)
		wire_add_string(out, 6, type_name);
	wire_close(out, mark);
}

/* t.M<n> of file n has a number, a time and an M of the file that it imports. */
static void make_file(struct strbuf *out, int n, int revision)
{
	char name[40];
	size_t mark;

	snprintf(name, sizeof(name), "f%d.proto", n);
	wire_add_string(out, 1, name);
	wire_add_string(out, 2, "t");
	wire_add_string(out, 3, "google/protobuf/timestamp.proto");
	snprintf(name, sizeof(name), "f%d.proto", n / 2);
	if (n)
		wire_add_string(out, 3, name);
	mark = wire_open(out, 4);
	snprintf(name, sizeof(name), "M%d", n);
	wire_add_string(out, 1, name);
	add_field(out, "number", 1, TYPE_INT32, NULL);
	add_field(out, "at", 2, TYPE_MESSAGE, ".google.protobuf.Timestamp");
	snprintf(name, sizeof(name), ".t.M%d", n / 2);
	add_field(out, "inner", 3, TYPE_MESSAGE, name);
	for (int i = 0; i < revision; i++) {
		snprintf(name, sizeof(name), "added_%d", i);
		add_field(out, name, 10 + i, TYPE_INT32, NULL);
	}
	wire_close(out, mark);
	wire_add_string(out, 12, "proto3");
}

static struct pool *change(struct pool *base, int n, int revision)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct pool *pool = NULL;
	struct error err;
	struct bytes bytes;

	make_file(&file, n, revision);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_msg((revision ? pool_replace(base, &bytes, 1, &pool, &err)
				: pool_extend(base, &bytes, 1, &pool, &err)) == STATUS_OK,
		      "%s: %s", err.field, err.message);
	return pool;
}

static void *write_pools(void *arg)
{
	struct published *p = arg;

	for (int n = 1; n < FILES; n++) {
		publish(p, change(p->pool, n, 0));
		atomic_store(&p->files, n + 1);
		if (n % 8 == 0)
			publish(p, change(p->pool, n / 8, 1 + n / 8));
	}
	atomic_store(&p->done, true);
	return NULL;
}

/* ------------------------------------------------------------------ readers */

static void read_pool(const struct pool *pool, int n)
{
	static const char expected[] =
		"{\"number\":7,\"at\":\"1970-01-01T00:00:01Z\",\"inner\":{\"number\":7}}";
	static const uint8_t message[] = {8, 7, 18, 2, 8, 1, 26, 2, 8, 7};
	AUTO_STRBUF json = STRBUF_INIT;
	const struct pool_message *m;
	struct error err;
	char name[40];
	const int len = snprintf(name, sizeof(name), "t.M%d", n);

	m = pool_message(pool, name, (size_t)len);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(pool_field_by_name(m, "inner", 5)->number, 3);
	ck_assert_int_eq(
		wire_to_json(pool, m, bytes_of(message, sizeof(message)), 0, &json, &err),
		STATUS_OK);
	ck_assert_str_eq(json.buf, expected);
}

static void *read_pools(void *arg)
{
	struct published *p = arg;
	struct pool *held = newest(p);
	unsigned turn = 0;
	bool last;

	do {
		const int files = atomic_load(&p->files);
		struct pool *pool;

		last = atomic_load(&p->done);
		pool = newest(p);
		read_pool(pool, (int)(turn % (unsigned)files));
		read_pool(held, 0);
		/* Now and then the one that is held is let go for a newer one. */
		if (turn++ % 16 == 0) {
			struct pool *swapped = held;

			held = pool;
			pool = swapped;
		}
		pool_unref(pool);
	} while (!last);
	pool_unref(held);
	return NULL;
}

START_TEST(many_read_while_one_changes)
{
	struct published p = {.mu = PTHREAD_MUTEX_INITIALIZER, .files = 1};
	struct pool *empty = pool_new(), *builtins = NULL;
	pthread_t readers[READERS], writer;
	struct error err;

	ck_assert_int_eq(pool_extend_set(empty, builtin_descriptor_set(), &builtins, &err),
			 STATUS_OK);
	p.pool = change(builtins, 0, 0);
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&readers[i], NULL, read_pools, &p), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_pools, &p), 0);
	pthread_join(writer, NULL);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	pool_unref(p.pool);
	pool_unref(builtins);
	pool_unref(empty);
}
END_TEST

/* Forks of one pool are changed by threads that know nothing of each other. */
static void *extend_alone(void *arg)
{
	struct pool *pool = pool_ref(arg);

	for (int n = 1; n < FILES / 4; n++) {
		struct pool *next = change(pool, n, 0);

		pool_unref(pool);
		pool = next;
		read_pool(pool, n);
	}
	pool_unref(pool);
	return NULL;
}

START_TEST(many_extend_the_same_pool)
{
	struct pool *empty = pool_new(), *builtins = NULL, *base;
	pthread_t writers[READERS];
	struct error err;

	ck_assert_int_eq(pool_extend_set(empty, builtin_descriptor_set(), &builtins, &err),
			 STATUS_OK);
	base = change(builtins, 0, 0);
	pool_unref(builtins);
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&writers[i], NULL, extend_alone, base), 0);
	for (int i = 0; i < READERS; i++)
		pthread_join(writers[i], NULL);
	read_pool(base, 0);
	pool_unref(base);
	pool_unref(empty);
}
END_TEST

int main(void)
{
	return suite_run("pool_threads", NULL, NULL,
			 (const TTest *const[]){
				 many_read_while_one_changes,
				 many_extend_the_same_pool,
				 NULL,
			 });
}
