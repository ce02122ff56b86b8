#include "services/worker/delay.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

struct delay {
	uint64_t due_ns;
	void (*due)(void *arg, bool cancelled);
	void *arg;
};

struct delays {
	pthread_t thread;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	struct delay *heap; /* the earliest first, heap[i] before heap[2i+1] and heap[2i+2] */
	size_t count, room;
	bool closing;
};

struct timespec delay_until(int delay_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += delay_ms / 1000;
	t.tv_nsec += delay_ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

static void swap(struct delay *a, struct delay *b)
{
	struct delay t = *a;

	*a = *b;
	*b = t;
}

static void push(struct delays *d, struct delay x)
{
	size_t i = d->count++;

	if (d->count > d->room) {
		d->room = d->room ? d->room * 2 : 16;
		d->heap = xreallocarray(d->heap, d->room, sizeof(*d->heap));
	}
	d->heap[i] = x;
	for (; i && d->heap[i].due_ns < d->heap[(i - 1) / 2].due_ns; i = (i - 1) / 2)
		swap(&d->heap[i], &d->heap[(i - 1) / 2]);
}

static struct delay pop(struct delays *d)
{
	struct delay first = d->heap[0];
	size_t i = 0;

	d->heap[0] = d->heap[--d->count];
	for (;;) {
		size_t least = i;
		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < d->count; k++)
			if (d->heap[k].due_ns < d->heap[least].due_ns)
				least = k;
		if (least == i)
			return first;
		swap(&d->heap[i], &d->heap[least]);
		i = least;
	}
}

/* Holds d->mu; gives it up while waiting. */
static void wait_for_earliest(struct delays *d)
{
	uint64_t now = clock_monotonic_ns();
	struct timespec until;

	if (!d->count) {
		pthread_cond_wait(&d->changed, &d->mu);
	} else if (d->heap[0].due_ns > now) {
		until = delay_until((int)((d->heap[0].due_ns - now) / 1000000 + 1));
		pthread_cond_timedwait(&d->changed, &d->mu, &until);
	}
}

static void *run(void *arg)
{
	struct delays *d = arg;

	pthread_mutex_lock(&d->mu);
	while (!d->closing || d->count) {
		if (!d->closing && (!d->count || d->heap[0].due_ns > clock_monotonic_ns())) {
			wait_for_earliest(d);
			continue;
		}
		struct delay x = pop(d);
		bool cancelled = d->closing;
		pthread_mutex_unlock(&d->mu);
		x.due(x.arg, cancelled);
		pthread_mutex_lock(&d->mu);
	}
	pthread_mutex_unlock(&d->mu);
	return NULL;
}

struct delays *delays_new(void)
{
	struct delays *d = xcalloc(1, sizeof(*d));

	pthread_mutex_init(&d->mu, NULL);
	pthread_cond_init(&d->changed, NULL);
	if (pthread_create(&d->thread, NULL, run, d))
		abort();
	return d;
}

void delays_free(struct delays *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->mu);
	d->closing = true;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->mu);
	pthread_join(d->thread, NULL);
	pthread_mutex_destroy(&d->mu);
	pthread_cond_destroy(&d->changed);
	free(d->heap);
	free(d);
}

void delays_add(struct delays *d, int delay_ms, void (*due)(void *arg, bool cancelled),
		void *arg)
{
	struct delay x = {clock_monotonic_ns() + (uint64_t)delay_ms * 1000000, due, arg};
	bool closing;

	pthread_mutex_lock(&d->mu);
	closing = d->closing;
	if (!closing) {
		push(d, x);
		pthread_cond_signal(&d->changed);
	}
	pthread_mutex_unlock(&d->mu);
	if (closing)
		due(arg, true);
}
