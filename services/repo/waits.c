#include "services/repo/waits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { MAX_WAITING = 1024 };

struct waits {
	pthread_t thread;
	pthread_mutex_t mu; /* what follows, and next and link of all that wait */
	pthread_cond_t changed;
	struct wait *first; /* in no order: there are few */
	struct wait *due;   /* will go on */
	unsigned count;     /* of first */
	bool is_ended, is_closing;
};

static void put(struct wait **list, struct wait *w)
{
	w->next = *list;
	w->link = list;
	if (w->next)
		w->next->link = &w->next;
	*list = w;
}

static void take(struct wait *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
}

/* With the mutex held. */
static void make_due(struct waits *waits, struct wait *w)
{
	take(w);
	waits->count--;
	put(&waits->due, w);
	pthread_cond_signal(&waits->changed);
}

/* Those whose time has come are due; the time of the next, or 0. */
static uint64_t collect(struct waits *waits)
{
	const uint64_t now = clock_monotonic_ns();
	uint64_t earliest = 0;
	struct wait *next;

	for (struct wait *w = waits->first; w; w = next) {
		next = w->next;
		if (w->until_ns <= now)
			make_due(waits, w);
		else if (!earliest || w->until_ns < earliest)
			earliest = w->until_ns;
	}
	return earliest;
}

static void rest(struct waits *waits, uint64_t until_ns)
{
	const struct timespec until = {(time_t)(until_ns / 1000000000),
				       (long)(until_ns % 1000000000)};

	if (until_ns)
		pthread_cond_timedwait(&waits->changed, &waits->mu, &until);
	else
		pthread_cond_wait(&waits->changed, &waits->mu);
}

static void *run(void *arg)
{
	struct waits *waits = arg;

	pthread_mutex_lock(&waits->mu);
	while (!waits->is_closing || waits->due) {
		const uint64_t earliest = collect(waits);
		struct wait *w = waits->due;

		if (!w) {
			rest(waits, earliest);
			continue;
		}
		take(w);
		pthread_mutex_unlock(&waits->mu);
		w->go_on(w);
		pthread_mutex_lock(&waits->mu);
	}
	pthread_mutex_unlock(&waits->mu);
	return NULL;
}

struct waits *waits_new(void)
{
	struct waits *waits = xcalloc(1, sizeof(*waits));
	pthread_condattr_t monotonic;

	pthread_mutex_init(&waits->mu, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&waits->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (pthread_create(&waits->thread, NULL, run, waits) != 0)
		abort(); /* at start-up, without threads there is no repo */
	return waits;
}

void waits_free(struct waits *waits)
{
	if (!waits)
		return;
	pthread_mutex_lock(&waits->mu);
	waits->is_closing = true;
	pthread_cond_signal(&waits->changed);
	pthread_mutex_unlock(&waits->mu);
	pthread_join(waits->thread, NULL);
	pthread_cond_destroy(&waits->changed);
	pthread_mutex_destroy(&waits->mu);
	free(waits);
}

enum status waits_add(struct waits *waits, struct wait *w, struct error *err)
{
	enum status status = STATUS_OK;

	pthread_mutex_lock(&waits->mu);
	if (waits->is_ended) {
		status = error_set(err, STATUS_UNAVAILABLE, "the repo is going away");
	} else if (waits->count == MAX_WAITING) {
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED, "%d calls wait already",
				   MAX_WAITING);
	} else {
		put(&waits->first, w);
		waits->count++;
		pthread_cond_signal(&waits->changed);
	}
	pthread_mutex_unlock(&waits->mu);
	return status;
}

bool waits_remove(struct waits *waits, struct wait *w)
{
	bool was_there;

	pthread_mutex_lock(&waits->mu);
	was_there = w->link != NULL;
	/* One that is due goes on. */
	for (struct wait *due = waits->due; due; due = due->next)
		was_there = was_there && due != w;
	if (was_there) {
		take(w);
		waits->count--;
	}
	pthread_mutex_unlock(&waits->mu);
	return was_there;
}

void waits_wake(struct waits *waits, const char *incarnation)
{
	struct wait *next;

	pthread_mutex_lock(&waits->mu);
	for (struct wait *w = waits->first; w; w = next) {
		next = w->next;
		if (!strcmp(w->incarnation, incarnation))
			make_due(waits, w);
	}
	pthread_mutex_unlock(&waits->mu);
}

void waits_end(struct waits *waits)
{
	pthread_mutex_lock(&waits->mu);
	waits->is_ended = true;
	while (waits->first)
		make_due(waits, waits->first);
	pthread_mutex_unlock(&waits->mu);
}
