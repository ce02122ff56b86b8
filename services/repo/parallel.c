#include "services/repo/parallel.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/pool.h"

/* Lives until the last helper has looked, which may be after all is done. */
struct parallel {
	void (*work)(void *arg, size_t i);
	void *arg;
	size_t count;
	pthread_mutex_t mu; /* what follows */
	pthread_cond_t idle;
	size_t next;
	unsigned working, refs;
};

static bool take(struct parallel *p, size_t *ret)
{
	bool taken;

	pthread_mutex_lock(&p->mu);
	taken = p->next < p->count;
	if (taken) {
		*ret = p->next++;
		p->working++;
	}
	pthread_mutex_unlock(&p->mu);
	return taken;
}

static void work_on(struct parallel *p)
{
	size_t i;

	while (take(p, &i)) {
		p->work(p->arg, i);
		pthread_mutex_lock(&p->mu);
		if (--p->working == 0)
			pthread_cond_broadcast(&p->idle);
		pthread_mutex_unlock(&p->mu);
	}
}

static void release(struct parallel *p)
{
	bool is_last;

	pthread_mutex_lock(&p->mu);
	is_last = --p->refs == 0;
	pthread_mutex_unlock(&p->mu);
	if (!is_last)
		return;
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->mu);
	free(p);
}

static void help(void *arg)
{
	work_on(arg);
	release(arg);
}

void parallel_run(struct rpc_pool *pool, unsigned helpers, size_t count,
		  void (*work)(void *arg, size_t i), void *arg)
{
	struct parallel *p = xcalloc(1, sizeof(*p));

	*p = (struct parallel){.work = work, .arg = arg, .count = count, .refs = 1};
	pthread_mutex_init(&p->mu, NULL);
	pthread_cond_init(&p->idle, NULL);
	for (size_t i = 0; i < helpers && i + 1 < count; i++) {
		pthread_mutex_lock(&p->mu);
		p->refs++;
		pthread_mutex_unlock(&p->mu);
		if (!rpc_pool_submit(pool, help, p)) {
			pthread_mutex_lock(&p->mu);
			p->refs--;
			pthread_mutex_unlock(&p->mu);
			break;
		}
	}
	work_on(p);
	pthread_mutex_lock(&p->mu);
	while (p->working)
		pthread_cond_wait(&p->idle, &p->mu);
	pthread_mutex_unlock(&p->mu);
	release(p);
}
