#include "services/dispatcher/bindings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/client/repo_client.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"

enum {
	PAGE = 500,
	LOAD_TIMEOUT_MS = 5000,
	RETRY_MS = 250,
	REFRESH_NS = 1000000000,
};

struct bindings {
	struct dispatcher *d;
	struct rpc_channel *repo;
	pthread_mutex_t loading; /* one load at a time */
	pthread_mutex_t mu;      /* all below */
	uint64_t loaded_ns;      /* when the table was last loaded; 0: never */
	bool queued;             /* a load waits for a pool thread */
};

struct bindings *bindings_new(struct dispatcher *d)
{
	struct bindings *b = xcalloc(1, sizeof(*b));

	b->d = d;
	b->repo = daemon_channel(d->daemon, DAEMON_REPO);
	pthread_mutex_init(&b->loading, NULL);
	pthread_mutex_init(&b->mu, NULL);
	return b;
}

void bindings_free(struct bindings *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->loading);
	pthread_mutex_destroy(&b->mu);
	free(b);
}

/* ----------------------------------------------------------------- loading */

struct loaded {
	struct handler_record *records;
	size_t count;
};

static enum status take_page(const struct repo_page *page, struct arena *arena,
			     struct loaded *all, struct error *err)
{
	all->records = xreallocarray(all->records, all->count + page->count + 1,
				     sizeof(*all->records));
	for (size_t i = 0; i < page->count; i++) {
		enum status status = handler_record_unpack(page->records[i].item, arena,
							   &all->records[all->count], err);
		if (status != STATUS_OK)
			return status;
		all->count++;
	}
	return STATUS_OK;
}

static enum status load_all(struct bindings *b, struct arena *arena, struct loaded *all,
			    struct error *err)
{
	struct rpc_options options = {.timeout_ms = LOAD_TIMEOUT_MS};
	struct repo_page page = {.next_page_token = ""};

	do {
		enum status status = repo_client_list(
			b->repo, "system", DISPATCH_SERVERS_COLLECTION, "", "", PAGE,
			page.next_page_token, &options, arena, &page, err);
		if (status == STATUS_NOT_FOUND)
			return STATUS_OK; /* nothing was ever bound */
		if (status == STATUS_OK)
			status = take_page(&page, arena, all, err);
		if (status != STATUS_OK)
			return status;
	} while (*page.next_page_token);
	return STATUS_OK;
}

static bool was_loaded_within(struct bindings *b, uint64_t ns)
{
	bool fresh;

	pthread_mutex_lock(&b->mu);
	fresh = b->loaded_ns && clock_monotonic_ns() - b->loaded_ns < ns;
	pthread_mutex_unlock(&b->mu);
	return fresh;
}

static enum status load(struct bindings *b, struct error *err)
{
	struct loaded all = {0};
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	status = load_all(b, &arena, &all, err);
	if (status == STATUS_OK) {
		handlers_replace(b->d->handlers, all.records, all.count);
		pthread_mutex_lock(&b->mu);
		b->loaded_ns = clock_monotonic_ns();
		pthread_mutex_unlock(&b->mu);
		daemon_set_number(b->d->daemon, "handlers",
				  (int64_t)handlers_count(b->d->handlers));
	}
	free(all.records);
	arena_release(&arena);
	return status;
}

void bindings_refresh(struct bindings *b)
{
	struct error ignored; /* what is known goes on being used */

	if (was_loaded_within(b, REFRESH_NS))
		return;
	pthread_mutex_lock(&b->loading);
	if (!was_loaded_within(b, REFRESH_NS))
		(void)load(b, &ignored);
	pthread_mutex_unlock(&b->loading);
}

static void load_on_pool(void *arg)
{
	struct bindings *b = arg;
	struct error err;

	pthread_mutex_lock(&b->loading);
	if (!was_loaded_within(b, UINT64_MAX) && load(b, &err) != STATUS_OK)
		log_debug("handlers cannot be loaded yet: %s; trying again", err.message);
	pthread_mutex_unlock(&b->loading);
	pthread_mutex_lock(&b->mu);
	b->queued = false;
	pthread_mutex_unlock(&b->mu);
}

/* The event thread must not wait for the repo: a pool thread does. */
static void load_first(void *arg)
{
	struct bindings *b = arg;
	bool submit;

	pthread_mutex_lock(&b->mu);
	submit = !b->loaded_ns && !b->queued;
	b->queued |= submit;
	pthread_mutex_unlock(&b->mu);
	if (submit &&
	    !rpc_pool_submit(rpc_server_pool(daemon_server(b->d->daemon)), load_on_pool, b)) {
		pthread_mutex_lock(&b->mu);
		b->queued = false;
		pthread_mutex_unlock(&b->mu);
	}
}

void bindings_start(struct bindings *b)
{
	daemon_every(b->d->daemon, 0, RETRY_MS, load_first, b);
}

/* ----------------------------------------------------------------- binding */

enum status bindings_add(struct bindings *b, const struct handler_record *record,
			 const struct rpc_options *options, struct arena *arena,
			 struct error *err)
{
	static const char *const indexed[] = {"service.service_name", NULL};
	struct bytes packed = handler_record_pack(record, arena);
	enum status status;

	if (handlers_count(b->d->handlers) >= HANDLERS_MAX)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "there are %d handlers already", HANDLERS_MAX);
	status = repo_client_ensure_collection(b->repo, "system", DISPATCH_SERVERS_COLLECTION,
					       DISPATCH_SERVER_TYPE, indexed, options, arena,
					       err);
	if (status == STATUS_OK)
		status = repo_client_put(b->repo, "system", DISPATCH_SERVERS_COLLECTION,
					 record->id, "", true, DISPATCH_SERVER_TYPE, packed,
					 options, arena, NULL, err);
	if (status != STATUS_OK)
		return status;
	(void)handlers_put(b->d->handlers, record, NULL); /* the address was checked */
	daemon_set_number(b->d->daemon, "handlers", (int64_t)handlers_count(b->d->handlers));
	return STATUS_OK;
}

enum status bindings_remove(struct bindings *b, const char *ns, const char *id,
			    const struct rpc_options *options, struct arena *arena,
			    struct error *err)
{
	struct repo_record record;
	struct handler_record handler;
	enum status status = repo_client_get(b->repo, "system", DISPATCH_SERVERS_COLLECTION, id,
					     options, arena, &record, err);

	if (status == STATUS_OK)
		status = handler_record_unpack(record.item, arena, &handler, err);
	if (status == STATUS_NOT_FOUND || (status == STATUS_OK && strcmp(handler.ns, ns)))
		return error_set(err, STATUS_NOT_FOUND,
				 "there is no handler %s in namespace %s", id, ns);
	if (status == STATUS_OK)
		status = repo_client_delete(b->repo, "system", DISPATCH_SERVERS_COLLECTION, id,
					    options, arena, err);
	if (status != STATUS_OK)
		return status;
	(void)handlers_remove(b->d->handlers, ns, id);
	daemon_set_number(b->d->daemon, "handlers", (int64_t)handlers_count(b->d->handlers));
	return STATUS_OK;
}
