#include "services/dispatcher/bindings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/client/repo_client.h"
#include "common/client/repo_follower.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/records.h"
#include "services/dispatcher/wrappers.h"

enum {
	PAGE = 500,
	LOAD_TIMEOUT_MS = 5000,
	LOAD_TRIES = 3,
	RETRY_MS = 250,
	TABLES = 2,
};
static const uint64_t refresh_ns = 100000000, reload_ns = 2000000000,
		      reload_followed_ns = 10000000000;

/* A collection that is followed. */
struct followed {
	struct bindings *bindings;
	struct repo_follower *follower;
	bool is_current; /* bindings.mu: whatever changes is told from now on */
	/* Is a change of this record one of the tables? */
	bool (*concerns)(struct bytes record);
};

struct bindings {
	struct dispatcher *d;
	struct rpc_channel *repo;
	struct followed followed[TABLES];
	pthread_mutex_t loading; /* one load at a time */
	bool have_collections;   /* loading: they are there, to be followed */
	pthread_mutex_t mu;      /* all below */
	uint64_t loaded_ns;      /* when the tables were last loaded; 0: never */
	unsigned changes;        /* made in the tables by this process */
	bool queued;             /* a load waits for a pool thread, or is on one */
	pthread_cond_t idle;     /* it is not */
	bool is_behind;          /* something changed, and could not be loaded */
};

static const char *const server_fields[] = {"service.service_name", NULL};
static const char *const no_fields[] = {NULL};
static const struct {
	const char *collection, *type;
	const char *const *indexed;
} tables[TABLES] = {
	{DISPATCH_SERVERS_COLLECTION, DISPATCH_SERVER_TYPE, server_fields},
	{SERVE_WRAPPERS_COLLECTION, SERVE_WRAPPER_TYPE, no_fields},
};

struct bindings *bindings_new(struct dispatcher *d)
{
	struct bindings *b = xcalloc(1, sizeof(*b));

	b->d = d;
	b->repo = daemon_channel(d->daemon, DAEMON_REPO);
	pthread_mutex_init(&b->loading, NULL);
	pthread_mutex_init(&b->mu, NULL);
	pthread_cond_init(&b->idle, NULL);
	return b;
}

void bindings_free(struct bindings *b)
{
	if (!b)
		return;
	for (int i = 0; i < TABLES; i++)
		repo_follower_stop(b->followed[i].follower);
	pthread_mutex_lock(&b->mu);
	while (b->queued)
		pthread_cond_wait(&b->idle, &b->mu);
	pthread_mutex_unlock(&b->mu);
	pthread_cond_destroy(&b->idle);
	pthread_mutex_destroy(&b->loading);
	pthread_mutex_destroy(&b->mu);
	free(b);
}

/* ----------------------------------------------------------------- loading */

/* What is kept, read page by page. */
struct loaded {
	struct handler_record *handlers;
	size_t handler_count;
	struct wrapper_record *wrappers;
	size_t wrapper_count;
};

static enum status take_handlers(const struct repo_page *page, struct arena *arena,
				 struct loaded *all, struct error *err)
{
	all->handlers = xreallocarray(all->handlers, all->handler_count + page->count + 1,
				      sizeof(*all->handlers));
	for (size_t i = 0; i < page->count; i++) {
		enum status status = handler_record_unpack(
			page->records[i].item, arena, &all->handlers[all->handler_count], err);
		if (status != STATUS_OK)
			return status;
		all->handler_count++;
	}
	return STATUS_OK;
}

static enum status take_wrappers(const struct repo_page *page, struct arena *arena,
				 struct loaded *all, struct error *err)
{
	all->wrappers = xreallocarray(all->wrappers, all->wrapper_count + page->count + 1,
				      sizeof(*all->wrappers));
	for (size_t i = 0; i < page->count; i++) {
		enum status status = wrapper_record_unpack(
			page->records[i].item, arena, &all->wrappers[all->wrapper_count], err);
		if (status != STATUS_OK)
			return status;
		all->wrapper_count++;
	}
	return STATUS_OK;
}

static enum status load_all(struct bindings *b, const char *collection,
			    enum status (*take)(const struct repo_page *, struct arena *,
						struct loaded *, struct error *),
			    struct arena *arena, struct loaded *all, struct error *err)
{
	struct rpc_options options = {.timeout_ms = LOAD_TIMEOUT_MS};
	struct repo_page page = {.next_page_token = ""};

	do {
		enum status status = repo_client_list(
			b->repo, NAMES_SYSTEM_NAMESPACE, collection, "", "", PAGE,
			page.next_page_token, &options, arena, &page, err);
		if (status == STATUS_OK)
			status = take(&page, arena, all, err);
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

/*
 * What was attached to a process of this collector that was killed. Only before anything
 * is attached now: a record is there later than its handler.
 */
static void remove_left_over(struct bindings *b, const struct loaded *all)
{
	for (size_t i = 0; i < all->handler_count; i++) {
		const struct handler_record *h = &all->handlers[i];
		if (h->kind == HANDLER_ATTACHED && !strcmp(h->collector_id, b->d->self.id) &&
		    !handlers_has(b->d->handlers, h->ns, h->service, h->id))
			records_remove(b->d->records, DISPATCH_SERVERS_COLLECTION, h->id);
	}
}

/* Into the tables, unless they were changed while it was read. */
static bool take_over(struct bindings *b, const struct loaded *all, unsigned changes)
{
	bool current, first;

	pthread_mutex_lock(&b->mu);
	current = b->changes == changes;
	first = !b->loaded_ns;
	if (current) {
		wrappers_replace(b->d->wrappers, all->wrappers, all->wrapper_count);
		handlers_replace(b->d->handlers, all->handlers, all->handler_count);
		b->loaded_ns = clock_monotonic_ns();
		b->is_behind = false;
	}
	pthread_mutex_unlock(&b->mu);
	if (current && first)
		remove_left_over(b, all);
	return current;
}

static enum status ensure_collection(struct bindings *b, int table,
				     const struct rpc_options *options, struct arena *arena,
				     struct error *err)
{
	return repo_client_ensure_collection(b->repo, NAMES_SYSTEM_NAMESPACE,
					     tables[table].collection, tables[table].type,
					     tables[table].indexed, options, arena, err);
}

/* One that nothing was ever kept in could not be followed. */
static enum status ensure_collections(struct bindings *b, struct arena *arena,
				      struct error *err)
{
	const struct rpc_options options = {.timeout_ms = LOAD_TIMEOUT_MS};
	enum status status = STATUS_OK;

	if (b->have_collections)
		return STATUS_OK;
	for (int i = 0; status == STATUS_OK && i < TABLES; i++)
		status = ensure_collection(b, i, &options, arena, err);
	b->have_collections = status == STATUS_OK;
	return status;
}

static enum status load_once(struct bindings *b, bool *ret_current, struct error *err)
{
	struct loaded all = {0};
	struct arena arena;
	enum status status;
	unsigned changes;

	pthread_mutex_lock(&b->mu);
	changes = b->changes;
	pthread_mutex_unlock(&b->mu);
	arena_init(&arena, 0);
	status = ensure_collections(b, &arena, err);
	if (status == STATUS_OK)
		status = load_all(b, DISPATCH_SERVERS_COLLECTION, take_handlers, &arena, &all,
				  err);
	if (status == STATUS_OK)
		status = load_all(b, SERVE_WRAPPERS_COLLECTION, take_wrappers, &arena, &all,
				  err);
	if (status == STATUS_OK)
		*ret_current = take_over(b, &all, changes);
	if (status == STATUS_NOT_FOUND)
		b->have_collections = false; /* somebody deleted one */
	free(all.handlers);
	free(all.wrappers);
	arena_release(&arena);
	return status;
}

static enum status load(struct bindings *b, struct error *err)
{
	enum status status = STATUS_OK;
	bool current = false;

	for (int i = 0; status == STATUS_OK && !current && i < LOAD_TRIES; i++)
		status = load_once(b, &current, err);
	daemon_set_number(b->d->daemon, "handlers", (int64_t)handlers_count(b->d->handlers));
	return status;
}

void bindings_refresh(struct bindings *b)
{
	struct error ignored; /* what is known goes on being used */

	if (was_loaded_within(b, refresh_ns))
		return;
	pthread_mutex_lock(&b->loading);
	if (!was_loaded_within(b, refresh_ns))
		(void)load(b, &ignored);
	pthread_mutex_unlock(&b->loading);
}

static bool is_due(struct bindings *b)
{
	bool followed = true, is_behind;

	pthread_mutex_lock(&b->mu);
	is_behind = b->is_behind;
	for (int i = 0; i < TABLES; i++)
		followed &= b->followed[i].is_current;
	pthread_mutex_unlock(&b->mu);
	return is_behind || !was_loaded_within(b, followed ? reload_followed_ns : reload_ns);
}

static void load_on_pool(void *arg)
{
	struct bindings *b = arg;
	struct error err;

	pthread_mutex_lock(&b->loading);
	if (is_due(b) && load(b, &err) != STATUS_OK)
		log_debug("handlers cannot be loaded now: %s; trying again", err.message);
	pthread_mutex_unlock(&b->loading);
	pthread_mutex_lock(&b->mu);
	b->queued = false;
	pthread_cond_signal(&b->idle);
	pthread_mutex_unlock(&b->mu);
}

/* The event thread must not wait for the repo: a pool thread does. */
static void load_when_due(void *arg)
{
	struct bindings *b = arg;
	bool submit = is_due(b);

	pthread_mutex_lock(&b->mu);
	submit = submit && !b->queued;
	b->queued |= submit;
	pthread_mutex_unlock(&b->mu);
	if (submit &&
	    !rpc_pool_submit(rpc_server_pool(daemon_server(b->d->daemon)), load_on_pool, b)) {
		pthread_mutex_lock(&b->mu);
		b->queued = false;
		pthread_mutex_unlock(&b->mu);
	}
}

/* --------------------------------------------------------------- following */

/* What is attached is in the tables of its own dispatcher, and not from records. */
static bool handler_concerns(struct bytes record)
{
	struct handler_record h;
	struct arena arena;
	struct error ignored; /* then loading tells */
	bool concerns;

	arena_init(&arena, 0);
	concerns = handler_record_unpack(record, &arena, &h, &ignored) != STATUS_OK ||
		   h.kind != HANDLER_ATTACHED;
	arena_release(&arena);
	return concerns;
}

static bool wrapper_concerns(struct bytes record)
{
	(void)record;
	return true;
}

/* Was it told of all until now? What it was before. */
static bool set_current(struct followed *f, bool is_current)
{
	struct bindings *b = f->bindings;
	int64_t count = 0;
	bool before;

	pthread_mutex_lock(&b->mu);
	before = f->is_current;
	f->is_current = is_current;
	for (int i = 0; i < TABLES; i++)
		count += b->followed[i].is_current;
	pthread_mutex_unlock(&b->mu);
	daemon_set_number(b->d->daemon, "handler_tables_followed", count);
	return before;
}

/*
 * The records as they are, not the events: those of a binding that is gone again would
 * bring it back for a moment.
 */
static void load_now(struct bindings *b)
{
	struct error err;

	pthread_mutex_lock(&b->loading);
	if (load(b, &err) != STATUS_OK) {
		log_debug("handlers cannot be loaded now: %s; trying again", err.message);
		pthread_mutex_lock(&b->mu);
		b->is_behind = true;
		pthread_mutex_unlock(&b->mu);
	}
	pthread_mutex_unlock(&b->loading);
}

static void take_news(void *arg, const struct repo_news *news)
{
	struct followed *f = arg;
	bool is_due = news->caught_up && !set_current(f, true);

	for (size_t i = 0; i < news->count; i++)
		is_due |= f->concerns(news->events[i].item);
	if (is_due)
		load_now(f->bindings);
}

static void opened(void *arg)
{
	(void)set_current(arg, false);
}

static void ended(void *arg, enum status status)
{
	(void)status;
	(void)set_current(arg, false);
}

void bindings_start(struct bindings *b)
{
	for (int i = 0; i < TABLES; i++) {
		struct followed *f = &b->followed[i];
		*f = (struct followed){.bindings = b,
				       .concerns = i ? wrapper_concerns : handler_concerns};
		f->follower = repo_follower_start(&(struct repo_following){
			.repo = b->repo,
			.ns = NAMES_SYSTEM_NAMESPACE,
			.collection = tables[i].collection,
			.opened = opened,
			.news = take_news,
			.ended = ended,
			.arg = f,
		});
	}
	daemon_every(b->d->daemon, 0, RETRY_MS, load_when_due, b);
}

/* A table was changed: what is being read now may not know of it. */
static void changed(struct bindings *b)
{
	pthread_mutex_lock(&b->mu);
	b->changes++;
	pthread_mutex_unlock(&b->mu);
	daemon_set_number(b->d->daemon, "handlers", (int64_t)handlers_count(b->d->handlers));
}

/* ----------------------------------------------------------------- binding */

enum status bindings_add(struct bindings *b, const struct handler_record *record,
			 const struct rpc_options *options, struct arena *arena,
			 struct error *err)
{
	struct bytes packed = handler_record_pack(record, arena);
	enum status status;

	if (handlers_count(b->d->handlers) >= HANDLERS_MAX)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "there are %d handlers already", HANDLERS_MAX);
	status = ensure_collection(b, 0, options, arena, err);
	if (status == STATUS_OK)
		status = repo_client_put(b->repo, "system", DISPATCH_SERVERS_COLLECTION,
					 record->id, "", true, DISPATCH_SERVER_TYPE, packed,
					 options, arena, NULL, err);
	if (status != STATUS_OK)
		return status;
	(void)handlers_put(b->d->handlers, record, NULL); /* the address was checked */
	changed(b);
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
	changed(b);
	return STATUS_OK;
}

enum status bindings_set_wrapper(struct bindings *b, const struct wrapper_record *record,
				 const struct rpc_options *options, struct arena *arena,
				 struct error *err)
{
	enum status status = ensure_collection(b, 1, options, arena, err);

	if (status == STATUS_OK && *record->service)
		status = repo_client_put(b->repo, NAMES_SYSTEM_NAMESPACE,
					 SERVE_WRAPPERS_COLLECTION, record->ns, "", true,
					 SERVE_WRAPPER_TYPE, wrapper_record_pack(record, arena),
					 options, arena, NULL, err);
	else if (status == STATUS_OK)
		status = repo_client_delete(b->repo, NAMES_SYSTEM_NAMESPACE,
					    SERVE_WRAPPERS_COLLECTION, record->ns, options,
					    arena, err);
	if (status == STATUS_OK && !wrappers_set(b->d->wrappers, record))
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "there are %d wrappers already", WRAPPERS_MAX);
	changed(b);
	return status;
}
