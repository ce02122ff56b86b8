#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/pool.h"
#include "tests/support/suite.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int at_gate, done;

static void wait_at_gate(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&mutex);
	at_gate++;
	pthread_cond_broadcast(&changed);
	while (!gate_open)
		pthread_cond_wait(&changed, &mutex);
	done++;
	pthread_mutex_unlock(&mutex);
}

static void await_at_gate(int n)
{
	pthread_mutex_lock(&mutex);
	while (at_gate < n)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void open_gate(void)
{
	pthread_mutex_lock(&mutex);
	gate_open = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

START_TEST(the_queue_is_bounded)
{
	struct rpc_pool *pool = rpc_pool_new("test", 2, 3);

	for (int i = 0; i < 2; i++)
		ck_assert(rpc_pool_submit(pool, wait_at_gate, NULL));
	await_at_gate(2); /* both threads are busy: what follows is queued */
	for (int i = 0; i < 3; i++)
		ck_assert(rpc_pool_submit(pool, wait_at_gate, NULL));
	ck_assert(!rpc_pool_submit(pool, wait_at_gate, NULL));
	open_gate();
	rpc_pool_free(pool);
	ck_assert_int_eq(done, 5);
}
END_TEST

static void *open_gate_soon(void *arg)
{
	(void)arg;
	await_at_gate(2);
	open_gate();
	return NULL;
}

START_TEST(settled_is_when_nothing_is_done_any_more)
{
	struct rpc_pool *pool = rpc_pool_new("test", 2, 3);
	pthread_t opener;

	rpc_pool_settle(pool);
	for (int i = 0; i < 3; i++)
		ck_assert(rpc_pool_submit(pool, wait_at_gate, NULL));
	ck_assert_int_eq(pthread_create(&opener, NULL, open_gate_soon, NULL), 0);
	rpc_pool_settle(pool);
	ck_assert_int_eq(done, 3);
	pthread_join(opener, NULL);
	rpc_pool_settle(pool);
	rpc_pool_free(pool);
}
END_TEST

START_TEST(freeing_runs_what_is_queued)
{
	struct rpc_pool *pool = rpc_pool_new("test", 1, 100);

	gate_open = true;
	for (int i = 0; i < 100; i++)
		if (!rpc_pool_submit(pool, wait_at_gate, NULL))
			ck_abort_msg("refused at %d", i);
	rpc_pool_free(pool);
	ck_assert_int_eq(done, 100);
}
END_TEST

static int order[50], ordered;

static void note_order(void *arg)
{
	order[ordered++] = *(int *)arg;
}

START_TEST(one_thread_keeps_the_order)
{
	struct rpc_pool *pool = rpc_pool_new("test", 1, 50);
	int numbers[50];

	for (int i = 0; i < 50; i++) {
		numbers[i] = i;
		ck_assert(rpc_pool_submit(pool, note_order, &numbers[i]));
	}
	rpc_pool_free(pool);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(order[i], i);
}
END_TEST

START_TEST(no_pool_is_freed)
{
	rpc_pool_free(NULL);
}
END_TEST

int main(void)
{
	return suite_run("pool", NULL, NULL,
			 (const TTest *const[]){
				 the_queue_is_bounded,
				 settled_is_when_nothing_is_done_any_more,
				 freeing_runs_what_is_queued,
				 one_thread_keeps_the_order,
				 no_pool_is_freed,
				 NULL,
			 });
}
