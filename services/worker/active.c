#include "services/worker/active.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/rpc/pool.h"
#include "services/worker/delay.h"

enum { REPO_RETRY_FIRST_MS = 50, REPO_RETRY_MAX_MS = 2000 };

/* ------------------------------------------------------------------ lifetime */

void active_ref(struct active *a)
{
	pthread_mutex_lock(&a->mu);
	a->refs++;
	pthread_mutex_unlock(&a->mu);
}

void active_unref(struct active *a)
{
	struct engine *e = a->engine;
	bool last;

	pthread_mutex_lock(&a->mu);
	last = --a->refs == 0;
	pthread_mutex_unlock(&a->mu);
	if (!last)
		return;
	arena_release(&a->arena);
	pthread_mutex_destroy(&a->mu);
	free(a->key);
	free(a->etag);
	free(a);
	pthread_mutex_lock(&e->mu);
	e->live--;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->mu);
}

bool engine_is_closing(struct engine *e)
{
	bool closing;

	pthread_mutex_lock(&e->mu);
	closing = e->closing;
	pthread_mutex_unlock(&e->mu);
	return closing;
}

void active_submit(struct active *a, void (*work)(void *arg), void *arg)
{
	if (!rpc_pool_submit(a->engine->pool, work, arg)) {
		log_error(
			"the engine's queue is full: run %s stands still until the next start",
			a->key);
		active_unref(a);
	}
}

void active_add_event(struct active *a, struct event *event)
{
	pthread_mutex_lock(&a->mu);
	event->next = NULL;
	*a->last_event = event;
	a->last_event = &event->next;
	pthread_mutex_unlock(&a->mu);
}

void *active_alloc(struct active *a, size_t size)
{
	void *p;

	pthread_mutex_lock(&a->mu);
	p = arena_zalloc(&a->arena, size);
	pthread_mutex_unlock(&a->mu);
	return p;
}

/* --------------------------------------------------------------------- writing */

/* Wait until the engine closes, at most @delay_ms. False: it closes. */
bool engine_pause(struct engine *e, int delay_ms)
{
	struct timespec until = delay_until(delay_ms);
	bool closing;

	pthread_mutex_lock(&e->mu);
	while (!e->closing)
		if (pthread_cond_timedwait(&e->changed, &e->mu, &until))
			break;
	closing = e->closing;
	pthread_mutex_unlock(&e->mu);
	return !closing;
}

bool engine_is_absence(enum status status)
{
	return status == STATUS_UNAVAILABLE || status == STATUS_DEADLINE_EXCEEDED ||
	       status == STATUS_RESOURCE_EXHAUSTED;
}

/* Do @step until the repo is there to answer. CANCELLED: the engine closes. */
enum status engine_persist(struct engine *e, enum status (*step)(void *arg, struct error *err),
			   void *arg, struct error *err)
{
	int delay_ms = REPO_RETRY_FIRST_MS;

	for (;;) {
		enum status status = step(arg, err);
		if (!engine_is_absence(status))
			return status;
		if (!engine_pause(e, delay_ms))
			return error_set(err, STATUS_CANCELLED, "the worker stops");
		delay_ms = delay_ms * 2 < REPO_RETRY_MAX_MS ? delay_ms * 2 : REPO_RETRY_MAX_MS;
	}
}
