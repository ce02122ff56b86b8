#include "services/repo/turns.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"

struct turns {
	struct rpc_pool *pool;
	unsigned max_running, max_shared, max_waiting;
	/* What follows, all queues, and of turns: next, previous, is_waiting, is_over. */
	pthread_mutex_t mu;
	unsigned running; /* of all queues */
};

enum outcome { RUNS, WAITS, IS_OVER, IS_TOO_MUCH };

struct turns *turns_new(struct rpc_pool *pool, unsigned max_running, unsigned max_shared,
			unsigned max_waiting)
{
	struct turns *turns = xcalloc(1, sizeof(*turns));

	turns->pool = pool;
	turns->max_running = max_running;
	turns->max_shared = max_shared;
	turns->max_waiting = max_waiting;
	pthread_mutex_init(&turns->mu, NULL);
	return turns;
}

void turns_free(struct turns *turns)
{
	if (!turns)
		return;
	pthread_mutex_destroy(&turns->mu);
	free(turns);
}

/* ------------------------------------------------------------ who waits */

static void append(struct turn_queue *q, struct turn *t)
{
	t->previous = q->last;
	t->next = NULL;
	if (q->last)
		q->last->next = t;
	else
		q->first = t;
	q->last = t;
	q->waiting++;
	t->is_waiting = true;
}

static void take_out(struct turn_queue *q, struct turn *t)
{
	if (t->previous)
		t->previous->next = t->next;
	else
		q->first = t->next;
	if (t->next)
		t->next->previous = t->previous;
	else
		q->last = t->previous;
	q->waiting--;
	t->is_waiting = false;
}

static void refuse_as_over(struct turn *t)
{
	struct error err;

	if (rpc_time_left_ms(t->call) == 0)
		(void)!error_set(&err, STATUS_DEADLINE_EXCEEDED,
				 "the deadline passed while other queries ran");
	else
		(void)!error_set(&err, STATUS_CANCELLED, "the caller has gone");
	t->refuse(t, &err);
}

static void refuse_as_too_much(struct turn *t)
{
	struct error err;

	(void)!error_set(&err, STATUS_RESOURCE_EXHAUSTED, "too many queries are waiting");
	t->refuse(t, &err);
}

/* The caller goes, or its deadline passes, while it waits or is about to. */
static void cancelled(void *arg)
{
	struct turn *t = arg;
	struct turns *turns = t->turns;
	bool was_waiting;

	pthread_mutex_lock(&turns->mu);
	was_waiting = t->is_waiting;
	if (was_waiting)
		take_out(t->queue, t);
	else
		t->is_over = true;
	pthread_mutex_unlock(&turns->mu);
	if (was_waiting)
		refuse_as_over(t);
}

/* ------------------------------------------------------------ turns */

/* With the mutex held. */
static bool may_run(struct turns *turns, struct turn_queue *q)
{
	if (q->running &&
	    (q->running >= turns->max_running || turns->running >= turns->max_shared))
		return false;
	q->running++;
	turns->running++;
	return true;
}

/* With the mutex held. */
static void has_run(struct turns *turns, struct turn_queue *q)
{
	q->running--;
	turns->running--;
}

/* Who comes later does not go on before who waits. */
static bool may_run_at_once(struct turns *turns, struct turn_queue *q)
{
	return !q->first && may_run(turns, q);
}

static enum outcome run_or_wait(struct turns *turns, struct turn_queue *q, struct turn *t)
{
	enum outcome outcome = WAITS;

	pthread_mutex_lock(&turns->mu);
	if (t->is_over)
		outcome = IS_OVER;
	else if (may_run_at_once(turns, q))
		outcome = RUNS;
	else if (q->waiting >= turns->max_waiting)
		outcome = IS_TOO_MUCH;
	else
		append(q, t);
	pthread_mutex_unlock(&turns->mu);
	return outcome;
}

void turns_take(struct turns *turns, struct turn_queue *queue, struct turn *t)
{
	enum outcome outcome;
	bool runs;

	t->turns = turns;
	t->queue = queue;
	t->is_waiting = t->is_over = false;
	pthread_mutex_lock(&turns->mu);
	runs = may_run_at_once(turns, queue);
	pthread_mutex_unlock(&turns->mu);
	if (runs) {
		t->run(t);
		return;
	}
	/* Before it waits: another thread may let it go on at once. */
	rpc_on_cancel(t->call, cancelled, t);
	outcome = run_or_wait(turns, queue, t);
	if (outcome == WAITS)
		return;
	rpc_on_cancel(t->call, NULL, NULL);
	if (outcome == RUNS)
		t->run(t);
	else if (outcome == IS_OVER)
		refuse_as_over(t);
	else
		refuse_as_too_much(t);
}

static void run_later(void *arg)
{
	struct turn *t = arg;

	rpc_on_cancel(t->call, NULL, NULL);
	t->run(t);
}

/*
 * With the mutex held. Those that the pool has no room for, by next. Whoever waits has one of
 * its queue that runs, and goes on when that is done.
 */
static struct turn *let_next_run(struct turns *turns, struct turn_queue *q)
{
	struct turn *refused = NULL;

	while (q->first && may_run(turns, q)) {
		struct turn *t = q->first;

		take_out(q, t);
		if (rpc_pool_submit(turns->pool, run_later, t))
			continue;
		has_run(turns, q);
		t->next = refused;
		refused = t;
	}
	return refused;
}

void turns_leave(struct turns *turns, struct turn_queue *queue)
{
	struct turn *refused, *next;

	pthread_mutex_lock(&turns->mu);
	has_run(turns, queue);
	refused = let_next_run(turns, queue);
	pthread_mutex_unlock(&turns->mu);
	for (; refused; refused = next) {
		next = refused->next;
		rpc_on_cancel(refused->call, NULL, NULL);
		refuse_as_too_much(refused);
	}
}
