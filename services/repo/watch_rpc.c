/*
 * Watch. Each watcher has a position in the changes of a collection and no queue: it is
 * told what comes next when something was written, or when its client has taken the
 * last message. It holds neither a thread nor the collection between two messages.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/daemon/daemon.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "services/repo/watch_rpc.h"

enum {
	MAX_WATCHERS = 1024,
	THREADS = 2,
	EVENTS_MAX = 256,           /* of one message */
	EVENTS_MAX_BYTES = 1 << 20, /* one message holds more only when one record does */
	QUIET_CHANGES = 1000,       /* so many that do not match are told as a new cursor */
	TICK_MS = 1000,             /* so often stalled clients are looked for */
};

struct watcher {
	struct watcher *next, **link; /* link NULL: not listed */
	struct watches *all;
	void *call;
	const Collector__WatchRecordsRequest *request;
	Collector__WatchRecordsResponse_Closure reply;
	const char *ns, *incarnation; /* in the call's arena */
	bool is_queued, is_due;       /* tell() will run or runs; and is to run again */
	atomic_uint_fast64_t sent_ns; /* what was sent then is not taken yet; 0: all is */
	/* Of the thread that tells. */
	int64_t sequence;     /* up to here all was told */
	int64_t snapshot_row; /* in a snapshot: rows up to this one were */
	bool in_snapshot, is_begun, was_caught_up;
	int64_t said_sequence; /* in the last message */
};

struct watches {
	struct repo *repo;
	struct rpc_pool *threads;
	atomic_uint count;  /* changed with the mutex held */
	pthread_mutex_t mu; /* what follows; and of watchers: next, link, is_queued, is_due */
	struct watcher *first;
	bool is_stopped;
};

static void unlist(struct watcher *w)
{
	if (!w->link)
		return;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
	atomic_fetch_sub(&w->all->count, 1);
}

static void unlist_locked(struct watcher *w)
{
	pthread_mutex_lock(&w->all->mu);
	unlist(w);
	pthread_mutex_unlock(&w->all->mu);
}

/* ------------------------------------------------------------ one message */

/* A message in the making. */
struct message {
	struct watcher *watcher;
	struct collection *collection;
	struct arena arena;
	Collector__WatchRecordsResponse response;
	size_t bytes;
	enum status status; /* of an event that could not be made */
	struct error *err;
};

static const Collector__RecordEventKind kinds[] = {
	[STORE_UPSERTED] = COLLECTOR__RECORD_EVENT_KIND__RECORD_UPSERTED,
	[STORE_DELETED] = COLLECTOR__RECORD_EVENT_KIND__RECORD_DELETED,
	[STORE_UNMATCHED] = COLLECTOR__RECORD_EVENT_KIND__RECORD_UNMATCHED,
};

static enum status fill_event(struct message *m, const struct store_change *change,
			      Collector__RecordEvent *e)
{
	const Collector__WatchRecordsRequest *r = m->watcher->request;

	e->kind = kinds[change->kind];
	e->sequence = change->sequence;
	if (change->kind == STORE_UNMATCHED) {
		e->info = arena_alloc(&m->arena, sizeof(*e->info));
		collector__record_info__init(e->info);
		e->info->id = arena_strdup(&m->arena, change->record->id);
	} else {
		e->info = info_of(&m->arena, change->record);
	}
	if (m->watcher->in_snapshot)
		e->kind = COLLECTOR__RECORD_EVENT_KIND__RECORD_SNAPSHOT;
	else
		e->happened_at = timestamp_of(&m->arena, change->at_us);
	return change->kind == STORE_UNMATCHED
		       ? STATUS_OK
		       : item_of(&m->arena, m->collection, change->record, r->read_mask,
				 r->n_read_mask, &e->item, m->err);
}

static bool add_event(void *arg, const struct store_change *change)
{
	struct message *m = arg;
	Collector__WatchRecordsResponse *r = &m->response;
	Collector__RecordEvent *e;

	if (r->n_events == EVENTS_MAX ||
	    (r->n_events && m->bytes + change->record->proto.size > EVENTS_MAX_BYTES))
		return false;
	e = arena_alloc(&m->arena, sizeof(*e));
	collector__record_event__init(e);
	m->status = fill_event(m, change, e);
	if (m->status != STATUS_OK)
		return false;
	m->bytes += e->item ? e->item->value.len : 0;
	r->events[r->n_events++] = e;
	return true;
}

static enum status query_of(const struct collection *c, const Collector__WatchRecordsRequest *r,
			    struct arena *arena, struct query **ret, struct error *err)
{
	struct query *q = arena_alloc(arena, sizeof(*q));
	enum status status;

	query_init(q, c->type.pool, c->type.message, arena);
	status = filter_add_struct(q, r->filter, err);
	if (status == STATUS_OK)
		status = filter_add_labels(q, r->label_filters, r->n_label_filters, err);
	if (status == STATUS_OK)
		status = check_read_mask(c, r->read_mask, r->n_read_mask, err);
	query_finish(q);
	*ret = q;
	return status;
}

/* What is next, from where the watcher is. */
static enum status read_on(struct message *m, struct store_reader *reader,
			   const struct query *q)
{
	struct watcher *w = m->watcher;
	bool done;
	enum status status;

	if (w->in_snapshot) {
		status = store_snapshot(reader, q, w->sequence, &w->snapshot_row, &done,
					add_event, m, m->err);
		w->in_snapshot = status != STATUS_OK || !done;
		m->response.last_sequence = w->sequence;
		return status;
	}
	status = store_changes(reader, q, w->request->include_unmatched, &w->sequence,
			       &m->response.last_sequence, add_event, m, m->err);
	m->response.caught_up = status == STATUS_OK && w->sequence >= m->response.last_sequence;
	return status;
}

static enum status fill(struct message *m)
{
	struct watcher *w = m->watcher;
	struct repo *repo = w->all->repo;
	struct store_reader *reader;
	struct query *q;
	enum status status = catalog_acquire(repo->catalog, w->ns, w->request->collection_name,
					     &m->collection, m->err);

	if (status != STATUS_OK)
		return status;
	if (strcmp(m->collection->incarnation, w->incarnation) != 0)
		status = error_set(m->err, STATUS_NOT_FOUND, "the collection was replaced");
	if (status == STATUS_OK)
		status = query_of(m->collection, w->request, &m->arena, &q, m->err);
	if (status == STATUS_OK)
		status = store_take_reader(m->collection->store, &reader, m->err);
	if (status == STATUS_OK) {
		m->response.events = arena_alloc(&m->arena, EVENTS_MAX * sizeof(void *));
		status = read_on(m, reader, q);
		store_give_reader(m->collection->store, reader);
	}
	catalog_release(repo->catalog, m->collection);
	return status == STATUS_OK ? m->status : status;
}

/* Is there something in it, or does the client want to know how far it is? */
static bool is_worth_sending(const struct message *m)
{
	const struct watcher *w = m->watcher;

	return m->response.n_events || !w->is_begun ||
	       (m->response.caught_up && !w->was_caught_up) ||
	       w->sequence - w->said_sequence >= QUIET_CHANGES;
}

static void send(struct message *m)
{
	struct watcher *w = m->watcher;
	Collector__WatchCursor cursor = COLLECTOR__WATCH_CURSOR__INIT;

	cursor.incarnation = (char *)w->incarnation;
	cursor.sequence = w->sequence;
	cursor.snapshot_row = w->in_snapshot ? w->snapshot_row + 1 : 0;
	m->response.cursor = &cursor;
	w->is_begun = true;
	w->was_caught_up = m->response.caught_up;
	w->said_sequence = w->sequence;
	atomic_store(&w->sent_ns, clock_monotonic_ns());
	w->reply(&m->response, w->call);
}

/* True: nothing was sent, and there is more to look at. */
static bool tell_once(struct watcher *w)
{
	struct error err = {0};
	struct message m = {.watcher = w, .err = &err};
	bool more = false;

	arena_init(&m.arena, 0);
	collector__watch_records_response__init(&m.response);
	if (fill(&m) != STATUS_OK) {
		unlist_locked(w);
		rpc_fail_error(w->call, &err);
	} else if (is_worth_sending(&m)) {
		send(&m);
	} else {
		more = !m.response.caught_up;
	}
	arena_release(&m.arena);
	return more;
}

/* ------------------------------------------------------------ when to tell */

static void tell(void *arg)
{
	struct watcher *w = arg;
	struct watches *all = w->all;
	void *call = w->call;
	bool more = false;

	if (!rpc_is_cancelled(call) && !rpc_backlog(call))
		more = tell_once(w);
	pthread_mutex_lock(&all->mu);
	w->is_queued = (more || w->is_due) && w->link;
	w->is_due = false;
	/* There is room for all watchers, and each is in it once: it is never full. */
	if (w->is_queued)
		w->is_queued = rpc_pool_submit(all->threads, tell, w);
	more = w->is_queued;
	pthread_mutex_unlock(&all->mu);
	if (!more)
		rpc_release(call); /* which may free the watcher */
}

/* With the mutex held: have tell() run after this. */
static void make_due(struct watcher *w)
{
	if (w->is_queued) {
		w->is_due = true;
		return;
	}
	rpc_hold(w->call);
	w->is_queued = rpc_pool_submit(w->all->threads, tell, w);
	if (!w->is_queued)
		rpc_release(w->call);
}

void watches_wake(struct watches *all, const char *incarnation)
{
	if (!atomic_load(&all->count))
		return;
	pthread_mutex_lock(&all->mu);
	for (struct watcher *w = all->first; w; w = w->next)
		if (!strcmp(w->incarnation, incarnation))
			make_due(w);
	pthread_mutex_unlock(&all->mu);
}

/* A loop thread: the client took the message. */
static void taken(void *arg)
{
	struct watcher *w = arg;

	atomic_store(&w->sent_ns, 0);
	pthread_mutex_lock(&w->all->mu);
	if (w->link)
		make_due(w);
	pthread_mutex_unlock(&w->all->mu);
}

/* ------------------------------------------------------------ watchers */

/* The call is freed: nobody can reach the watcher any more. */
static void drop_watcher(void *user)
{
	unlist_locked(user);
	free(user);
}

static void cancelled(void *call)
{
	unlist_locked(rpc_user(call));
	rpc_fail(call, STATUS_CANCELLED, "the watch was cancelled");
}

static enum status list(struct watcher *w, struct error *err)
{
	struct watches *all = w->all;
	enum status status = STATUS_OK;

	pthread_mutex_lock(&all->mu);
	if (all->is_stopped) {
		status = error_set(err, STATUS_UNAVAILABLE, "the repo is going away");
	} else if (atomic_load(&all->count) == MAX_WATCHERS) {
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "%d watches are open already", MAX_WATCHERS);
	} else {
		w->next = all->first;
		w->link = &all->first;
		if (w->next)
			w->next->link = &w->next;
		all->first = w;
		atomic_fetch_add(&all->count, 1);
	}
	pthread_mutex_unlock(&all->mu);
	return status;
}

/* ------------------------------------------------------------ requests */

static enum status begin_at_cursor(struct watcher *w, const Collector__WatchCursor *cursor,
				   struct error *err)
{
	if (w->request->initial_snapshot)
		return error_field(err, "initial_snapshot", "not together with a cursor");
	if (cursor->sequence < 0 || cursor->snapshot_row < 0)
		return error_field(err, "cursor", "this is no cursor of a watch");
	if (strcmp(cursor->incarnation, w->incarnation) != 0)
		return error_set(err, STATUS_OUT_OF_RANGE,
				 "the cursor is of a collection that was replaced: list again");
	w->sequence = cursor->sequence;
	w->in_snapshot = cursor->snapshot_row > 0;
	w->snapshot_row = w->in_snapshot ? cursor->snapshot_row - 1 : 0;
	return STATUS_OK;
}

/* Where it begins, and whether all that it asks for is there. */
static enum status begin(struct watcher *w, struct collection *c, struct error *err)
{
	const Collector__WatchRecordsRequest *r = w->request;
	struct arena *arena = rpc_arena(w->call);
	struct store_sizes sizes;
	struct query *q;
	enum status status = query_of(c, r, arena, &q, err);

	w->ns = arena_strdup(arena, c->ns);
	w->incarnation = arena_strdup(arena, c->incarnation);
	if (status != STATUS_OK || r->cursor)
		return status == STATUS_OK ? begin_at_cursor(w, r->cursor, err) : status;
	status = store_measure(c->store, &sizes, err);
	if (status == STATUS_OK)
		w->sequence = sizes.last_sequence;
	w->in_snapshot = r->initial_snapshot;
	return status;
}

void repo_watch(Collector__CollectionService_Service *service,
		const Collector__WatchRecordsRequest *request,
		Collector__WatchRecordsResponse_Closure reply, void *call)
{
	struct repo *repo = repo_of_records(service);
	struct watches *all = repo->watches;
	struct watcher *w = xcalloc(1, sizeof(*w));
	struct collection *c;
	struct error err;
	enum status status;

	w->all = all;
	w->call = call;
	w->request = request;
	w->reply = reply;
	rpc_set_user(call, w, drop_watcher);
	rpc_on_sent(call, taken, w);
	/* Once listed, the call may be ended by others. */
	rpc_hold(call);
	status = repo_acquire(repo, call, request->namespace_, request->collection_name,
			      ACCESS_READ, &c, &err);
	if (status == STATUS_OK) {
		status = begin(w, c, &err);
		catalog_release(repo->catalog, c);
	}
	if (status == STATUS_OK)
		status = list(w, &err);
	if (status == STATUS_OK) {
		rpc_on_cancel(call, cancelled, call);
		taken(w);
	} else {
		rpc_fail_error(call, &err);
	}
	rpc_release(call);
}

/* ------------------------------------------------------------ life */

/* Take those out of the list that @is_over; they are held. */
static size_t take_out(struct watches *all, bool (*is_over)(const struct watcher *w),
		       struct watcher *out[MAX_WATCHERS])
{
	struct watcher *next;
	size_t count = 0;

	pthread_mutex_lock(&all->mu);
	for (struct watcher *w = all->first; w; w = next) {
		next = w->next;
		if (!is_over(w))
			continue;
		rpc_hold(w->call);
		unlist(w);
		out[count++] = w;
	}
	pthread_mutex_unlock(&all->mu);
	return count;
}

static void end_all(struct watcher *watchers[], size_t count, enum status status,
		    const char *why)
{
	for (size_t i = 0; i < count; i++) {
		void *call = watchers[i]->call;

		rpc_fail(call, status, "%s", why);
		rpc_release(call);
	}
}

static bool is_stalled(const struct watcher *w)
{
	const uint64_t sent_ns = atomic_load(&w->sent_ns);
	const uint64_t stall_s = (uint64_t)w->all->repo->config.watch_stall_seconds;

	return sent_ns && clock_monotonic_ns() - sent_ns > UINT64_C(1000000000) * stall_s;
}

static void tick(void *arg)
{
	struct watcher *stalled[MAX_WATCHERS];

	end_all(stalled, take_out(arg, is_stalled, stalled), STATUS_RESOURCE_EXHAUSTED,
		"the client does not read: watch again from the last cursor");
}

static bool always(const struct watcher *w)
{
	(void)w;
	return true;
}

struct watches *watches_new(struct repo *repo)
{
	struct watches *all = xcalloc(1, sizeof(*all));

	all->repo = repo;
	pthread_mutex_init(&all->mu, NULL);
	all->threads = rpc_pool_new("watch", THREADS, 2 * MAX_WATCHERS);
	daemon_every(repo->daemon, TICK_MS, TICK_MS, tick, all);
	return all;
}

void watches_end(struct watches *all)
{
	struct watcher *watchers[MAX_WATCHERS];

	pthread_mutex_lock(&all->mu);
	all->is_stopped = true;
	pthread_mutex_unlock(&all->mu);
	end_all(watchers, take_out(all, always, watchers), STATUS_UNAVAILABLE,
		"the repo is going away");
}

void watches_free(struct watches *all)
{
	if (!all)
		return;
	rpc_pool_free(all->threads);
	pthread_mutex_destroy(&all->mu);
	free(all);
}
