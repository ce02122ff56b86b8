#include "common/base/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

/* Lives until it is freed and the last of its lookups has ended. */
struct resolver {
	pthread_mutex_t mutex; /* guards what follows, and the lookups */
	unsigned max, under_way;
	bool freed;
};

/* Lives until it is done and nobody waits for it. */
struct lookup {
	struct resolver *resolver;
	char *host;
	pthread_cond_t done_cond;
	bool done, abandoned;
	int error; /* of getaddrinfo(3) */
	struct resolver_answer answer;
};

struct resolver *resolver_new(unsigned max_lookups)
{
	struct resolver *r = xcalloc(1, sizeof(*r));

	pthread_mutex_init(&r->mutex, NULL);
	r->max = max_lookups;
	return r;
}

/* With the lock, which it gives back. */
static void unlock_or_free(struct resolver *r)
{
	bool last = r->freed && !r->under_way;

	pthread_mutex_unlock(&r->mutex);
	if (!last)
		return;
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->mutex);
	r->freed = true;
	unlock_or_free(r);
}

static void lookup_free(struct lookup *l)
{
	pthread_cond_destroy(&l->done_cond);
	free(l->host);
	free(l);
}

static void take(struct resolver_answer *answer, const struct addrinfo *info)
{
	for (; info && answer->count < RESOLVER_MAX_ADDRESSES; info = info->ai_next)
		if (!getnameinfo(info->ai_addr, info->ai_addrlen,
				 answer->addresses[answer->count], RESOLVER_ADDRESS_BYTES, NULL,
				 0, NI_NUMERICHOST))
			answer->count++;
}

static void *look_up(void *arg)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct lookup *l = arg;
	struct resolver *r = l->resolver;
	struct addrinfo *info = NULL;
	int error = getaddrinfo(l->host, NULL, &hints, &info);

	pthread_mutex_lock(&r->mutex);
	l->error = error;
	take(&l->answer, info);
	l->done = true;
	if (l->abandoned)
		lookup_free(l);
	else
		pthread_cond_signal(&l->done_cond);
	r->under_way--;
	unlock_or_free(r);
	if (info)
		freeaddrinfo(info);
	return NULL;
}

/* With the lock. False: the system gives no thread. */
static bool start(struct lookup *l)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	started = !pthread_create(&thread, &attributes, look_up, l);
	pthread_attr_destroy(&attributes);
	l->resolver->under_way += started;
	return started;
}

static struct lookup *lookup_new(struct resolver *r, const char *host)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	pthread_condattr_t attributes;

	l->resolver = r;
	l->host = xstrdup(host);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&l->done_cond, &attributes);
	pthread_condattr_destroy(&attributes);
	return l;
}

static void wait_until(struct lookup *l, uint64_t deadline_ns)
{
	const struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
				       .tv_nsec = (long)(deadline_ns % 1000000000)};

	while (!l->done &&
	       pthread_cond_timedwait(&l->done_cond, &l->resolver->mutex, &until) != ETIMEDOUT)
		;
}

static enum status result_of(const struct lookup *l, struct resolver_answer *ret,
			     struct error *err)
{
	if (l->error || !l->answer.count)
		return error_set(err, STATUS_UNAVAILABLE, "%s has no known address: %s",
				 l->host, l->error ? gai_strerror(l->error) : "none");
	*ret = l->answer;
	return STATUS_OK;
}

enum status resolver_lookup(struct resolver *r, const char *host, uint64_t deadline_ns,
			    struct resolver_answer *ret, struct error *err)
{
	struct lookup *l = lookup_new(r, host);
	enum status status;

	pthread_mutex_lock(&r->mutex);
	if (r->under_way >= r->max || !start(l)) {
		pthread_mutex_unlock(&r->mutex);
		lookup_free(l);
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "too many names are being looked up");
	}
	wait_until(l, deadline_ns);
	l->abandoned = !l->done;
	if (l->done)
		status = result_of(l, ret, err);
	else
		status = error_set(err, STATUS_DEADLINE_EXCEEDED,
				   "the deadline passed while %s was being looked up", host);
	if (l->done)
		lookup_free(l);
	pthread_mutex_unlock(&r->mutex);
	return status;
}
