#include "common/client/repo_follower.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/alloc.h"

enum {
	WATCH_TIMEOUT_MS = 3600000, /* then it is opened anew */
	RETRY_FIRST_MS = 20,
	RETRY_MAX_MS = 1000,
};

struct repo_follower {
	struct repo_following following;
	pthread_t thread;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t closing;
	struct repo_watch *watch; /* NULL: none is open */
	bool is_closing;
};

/* Have stop() know @watch, to cancel it. False: it is not wanted any more. */
static bool publish(struct repo_follower *f, struct repo_watch *watch)
{
	bool goes_on;

	pthread_mutex_lock(&f->mu);
	goes_on = !f->is_closing;
	f->watch = goes_on ? watch : NULL;
	pthread_mutex_unlock(&f->mu);
	return goes_on;
}

/* True: it was told of all that there was. */
static bool take_news(struct repo_follower *f, struct repo_watch *watch, enum status *ret_why)
{
	struct repo_news news;
	bool caught_up = false;
	struct error ignored; /* it is opened again whatever it was */

	f->following.opened(f->following.arg);
	while ((*ret_why = repo_watch_next(watch, &news, &ignored)) == STATUS_OK) {
		f->following.news(f->following.arg, &news);
		caught_up |= news.caught_up;
	}
	return caught_up;
}

/* One watch, from its opening to its end. True: it was told of all that there was. */
static bool follow(struct repo_follower *f)
{
	const struct rpc_options options = {.timeout_ms = WATCH_TIMEOUT_MS};
	const struct repo_following *of = &f->following;
	struct repo_watch *watch;
	enum status why = STATUS_UNAVAILABLE;
	bool caught_up = false;
	struct error ignored;

	/* Connecting is not waited for, and so not in the way of the daemon's end. */
	if (rpc_channel_is_ready(of->repo) &&
	    repo_watch_open(of->repo, of->ns, of->collection, of->snapshot, &options, &watch,
			    &ignored) == STATUS_OK) {
		if (publish(f, watch))
			caught_up = take_news(f, watch, &why);
		(void)publish(f, NULL);
		repo_watch_free(watch);
	}
	if (of->ended)
		of->ended(of->arg, why);
	return caught_up;
}

/* False: it is to end. */
static bool pause_ms(struct repo_follower *f, int delay_ms)
{
	struct timespec until;
	bool goes_on;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += delay_ms % 1000 * 1000000L;
	until.tv_sec += delay_ms / 1000 + until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&f->mu);
	while (!f->is_closing && !pthread_cond_timedwait(&f->closing, &f->mu, &until))
		;
	goes_on = !f->is_closing;
	pthread_mutex_unlock(&f->mu);
	return goes_on;
}

static void *run(void *arg)
{
	struct repo_follower *f = arg;
	int delay_ms = RETRY_FIRST_MS;

	do {
		if (follow(f))
			delay_ms = RETRY_FIRST_MS;
		else
			delay_ms = delay_ms * 2 < RETRY_MAX_MS ? delay_ms * 2 : RETRY_MAX_MS;
	} while (pause_ms(f, delay_ms));
	return NULL;
}

struct repo_follower *repo_follower_start(const struct repo_following *following)
{
	struct repo_follower *f = xcalloc(1, sizeof(*f));
	pthread_condattr_t attributes;

	f->following = *following;
	pthread_mutex_init(&f->mu, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&f->closing, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&f->thread, NULL, run, f))
		abort();
	return f;
}

void repo_follower_stop(struct repo_follower *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->mu);
	f->is_closing = true;
	if (f->watch)
		repo_watch_cancel(f->watch);
	pthread_cond_signal(&f->closing);
	pthread_mutex_unlock(&f->mu);
	pthread_join(f->thread, NULL);
	pthread_cond_destroy(&f->closing);
	pthread_mutex_destroy(&f->mu);
	free(f);
}
