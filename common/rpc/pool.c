#include "common/rpc/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "common/base/alloc.h"

struct job {
	void (*work)(void *arg);
	void *arg;
};

struct rpc_pool {
	pthread_mutex_t mutex; /* guards all below but the thread array */
	pthread_cond_t has_work, at_rest;
	struct job *ring;
	unsigned capacity, first, queued, idle;
	bool stopping;
	char name[16]; /* the kernel's limit */
	unsigned thread_count;
	pthread_t threads[];
};

static void *pool_run(void *arg)
{
	struct rpc_pool *pool = arg;

	(void)prctl(PR_SET_NAME, pool->name); /* for debuggers only */
	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		struct job job;
		while (!pool->queued && !pool->stopping) {
			if (++pool->idle == pool->thread_count)
				pthread_cond_broadcast(&pool->at_rest);
			pthread_cond_wait(&pool->has_work, &pool->mutex);
			pool->idle--;
		}
		if (!pool->queued)
			break;
		job = pool->ring[pool->first];
		pool->first = (pool->first + 1) % pool->capacity;
		pool->queued--;
		pthread_mutex_unlock(&pool->mutex);
		job.work(job.arg);
		pthread_mutex_lock(&pool->mutex);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

struct rpc_pool *rpc_pool_new(const char *thread_name, unsigned threads, unsigned max_queued)
{
	struct rpc_pool *pool = xcalloc(1, sizeof(*pool) + threads * sizeof(pthread_t));
	sigset_t all, old;

	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->has_work, NULL);
	pthread_cond_init(&pool->at_rest, NULL);
	pool->capacity = max_queued ? max_queued : 1;
	pool->ring = xcalloc(pool->capacity, sizeof(*pool->ring));
	pool->thread_count = threads;
	snprintf(pool->name, sizeof(pool->name), "%s", thread_name);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&pool->threads[i], NULL, pool_run, pool))
			abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pool;
}

void rpc_pool_free(struct rpc_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->has_work);
	pthread_mutex_unlock(&pool->mutex);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->has_work);
	pthread_cond_destroy(&pool->at_rest);
	pthread_mutex_destroy(&pool->mutex);
	free(pool->ring);
	free(pool);
}

bool rpc_pool_submit(struct rpc_pool *pool, void (*work)(void *arg), void *arg)
{
	bool taken;

	pthread_mutex_lock(&pool->mutex);
	taken = pool->queued < pool->capacity;
	if (taken) {
		pool->ring[(pool->first + pool->queued) % pool->capacity] =
			(struct job){work, arg};
		pool->queued++;
		/* A busy thread looks for itself when it is done. */
		if (pool->idle)
			pthread_cond_signal(&pool->has_work);
	}
	pthread_mutex_unlock(&pool->mutex);
	return taken;
}

void rpc_pool_settle(struct rpc_pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	while (pool->queued || pool->idle < pool->thread_count)
		pthread_cond_wait(&pool->at_rest, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
}
