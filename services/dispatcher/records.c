#include "services/dispatcher/records.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/client/dispatch_records.h"
#include "common/client/repo_client.h"

enum {
	CALL_TIMEOUT_MS = 5000,
	RETRY_FIRST_MS = 100,
	RETRY_MAX_MS = 5000,
	TRIES = 3,
	LAST_WISHES_MS = 1000,
};

struct record {
	struct record *next;
	const char *collection, *type; /* type NULL: remove it */
	char *id;
	size_t size;
	uint8_t data[];
};

struct records {
	struct rpc_channel *repo;
	pthread_t thread;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	struct record *first, **last;
	unsigned queued;
	uint64_t dropped;
	bool closing;
	bool have_collections; /* the thread's own */
};

/* Bindings are written by RegisterHandler itself; the rest is made here. */
static const struct {
	const char *name, *type;
	const char *indexed[4];
} collections[] = {
	{DISPATCH_SERVERS_COLLECTION, DISPATCH_SERVER_TYPE, {"service.service_name", NULL}},
	{CONNECTIONS_COLLECTION, CONNECTION_TYPE, {"target_collector_id", NULL}},
	{COLLECTORS_COLLECTION, COLLECTOR_TYPE, {NULL}},
};

static bool ensure_collections(struct records *r, struct arena *arena)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};

	for (size_t i = 0; i < sizeof(collections) / sizeof(collections[0]); i++) {
		struct error ignored; /* the caller tries again; the repo logs its side */
		if (repo_client_ensure_collection(r->repo, "system", collections[i].name,
						  collections[i].type, collections[i].indexed,
						  &options, arena, &ignored) != STATUS_OK)
			return false;
	}
	return true;
}

static enum status write_one(struct records *r, const struct record *x, struct arena *arena)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct error ignored;

	if (!r->have_collections)
		r->have_collections = ensure_collections(r, arena);
	if (!r->have_collections)
		return STATUS_UNAVAILABLE;
	if (!x->type)
		return repo_client_delete(r->repo, "system", x->collection, x->id, &options,
					  arena, &ignored);
	return repo_client_put(r->repo, "system", x->collection, x->id, "", true, x->type,
			       bytes_of(x->data, x->size), &options, arena, NULL, &ignored);
}

/* Wait, but not when the daemon is to end. */
static void pause_ms(struct records *r, int delay_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += delay_ms / 1000;
	until.tv_nsec += delay_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&r->mu);
	while (!r->closing)
		if (pthread_cond_timedwait(&r->changed, &r->mu, &until))
			break;
	pthread_mutex_unlock(&r->mu);
}

static bool is_closing(struct records *r)
{
	bool closing;

	pthread_mutex_lock(&r->mu);
	closing = r->closing;
	pthread_mutex_unlock(&r->mu);
	return closing;
}

/* An absent repo is waited for: the queue's bound decides what is lost meanwhile. */
static void write_until_done(struct records *r, const struct record *x)
{
	int delay_ms = RETRY_FIRST_MS, tries = 0;
	struct arena arena;
	bool done = false;

	while (!done) {
		enum status status;
		arena_init(&arena, 0);
		status = write_one(r, x, &arena);
		arena_release(&arena);
		done = status == STATUS_OK || is_closing(r) ||
		       (status != STATUS_UNAVAILABLE && ++tries == TRIES);
		if (done && status != STATUS_OK) {
			pthread_mutex_lock(&r->mu);
			r->dropped++;
			pthread_mutex_unlock(&r->mu);
		} else if (!done) {
			pause_ms(r, delay_ms);
			delay_ms = delay_ms * 2 < RETRY_MAX_MS ? delay_ms * 2 : RETRY_MAX_MS;
		}
	}
}

static struct record *take(struct records *r)
{
	struct record *x;

	pthread_mutex_lock(&r->mu);
	while (!r->first && !r->closing)
		pthread_cond_wait(&r->changed, &r->mu);
	x = r->first;
	if (x) {
		r->first = x->next;
		if (!r->first)
			r->last = &r->first;
		r->queued--;
	}
	pthread_mutex_unlock(&r->mu);
	return x;
}

static void *run(void *arg)
{
	struct records *r = arg;
	uint64_t give_up_ns = UINT64_MAX;
	struct record *x;

	while ((x = take(r))) {
		if (give_up_ns == UINT64_MAX && is_closing(r))
			give_up_ns = clock_monotonic_ns() + LAST_WISHES_MS * 1000000ull;
		if (clock_monotonic_ns() < give_up_ns)
			write_until_done(r, x);
		free(x->id);
		free(x);
	}
	return NULL;
}

struct records *records_new(struct rpc_channel *repo)
{
	struct records *r = xcalloc(1, sizeof(*r));

	r->repo = repo;
	r->last = &r->first;
	pthread_mutex_init(&r->mu, NULL);
	pthread_cond_init(&r->changed, NULL);
	if (pthread_create(&r->thread, NULL, run, r))
		abort();
	return r;
}

void records_free(struct records *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->mu);
	r->closing = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->mu);
	pthread_join(r->thread, NULL);
	pthread_mutex_destroy(&r->mu);
	pthread_cond_destroy(&r->changed);
	free(r);
}

static void enqueue(struct records *r, const char *collection, const char *id, const char *type,
		    struct bytes data)
{
	struct record *x = xmalloc(sizeof(*x) + data.size);

	*x = (struct record){NULL, collection, type, xstrdup(id), data.size};
	if (data.size)
		memcpy(x->data, data.data, data.size);
	pthread_mutex_lock(&r->mu);
	if (r->queued < RECORDS_QUEUE && !r->closing) {
		*r->last = x;
		r->last = &x->next;
		r->queued++;
		x = NULL;
		pthread_cond_signal(&r->changed);
	} else {
		r->dropped++;
	}
	pthread_mutex_unlock(&r->mu);
	if (x) {
		free(x->id);
		free(x);
	}
}

void records_put(struct records *r, const char *collection, const char *id, const char *type,
		 struct bytes data)
{
	enqueue(r, collection, id, type, data);
}

void records_remove(struct records *r, const char *collection, const char *id)
{
	enqueue(r, collection, id, NULL, bytes_of(NULL, 0));
}

uint64_t records_dropped(struct records *r)
{
	uint64_t n;

	pthread_mutex_lock(&r->mu);
	n = r->dropped;
	pthread_mutex_unlock(&r->mu);
	return n;
}
