#include "services/registry/publish.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/client/repo_client.h"
#include "services/registry/catalog.h"
#include "services/registry/published.h"

enum {
	CALL_TIMEOUT_MS = 10000,
	RETRY_FIRST_MS = 50,
	RETRY_MAX_MS = 2000,
	RETRY_REFUSED_MS = 60000,
	PAGE = 1000,
	BATCH_MAX = 250,
	BATCH_MAX_BYTES = 1 << 20,
};

struct publisher {
	struct catalog *catalog;
	struct rpc_channel *repo;
	const struct publisher_observer *observer;
	pthread_t thread;
	bool is_started;
	pthread_mutex_t mu; /* the next two */
	pthread_cond_t changed;
	bool is_woken, is_closing;
	/* Of the thread: */
	struct map published; /* namespace -> the snapshot that is in the repo, owned */
	uint64_t generation;  /* of the catalog, up to which namespaces are looked at */
	bool is_synced;       /* the repo has what is in `published`, and nothing else */
	uint64_t resync_ns;   /* when what was refused is tried again; 0: nothing was */
	struct publisher_progress progress;
};

static void tell(struct publisher *p)
{
	p->observer->tell(p->observer->arg, &p->progress);
}

/* ------------------------------------------------------------------ entries */

/* A record that is or is to be in the repo. */
struct entry {
	const char *id;
	int64_t stamp;
	const struct snapshot *snapshot; /* NULL: as the repo told */
	const char *ns;
	size_t index; /* in the snapshot's list */
};

struct entries {
	struct entry *items;
	size_t count, room;
};

static void add_entry(struct entries *e, struct entry entry)
{
	if (e->count == e->room) {
		e->room = e->room ? 2 * e->room : 64;
		e->items = xreallocarray(e->items, e->room, sizeof(*e->items));
	}
	e->items[e->count++] = entry;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static void sort(struct entries *e)
{
	if (e->count)
		qsort(e->items, e->count, sizeof(*e->items), by_id);
}

static struct entry entry_of(const struct published_kind *kind, const char *ns,
			     const struct snapshot *s, size_t i, struct arena *arena)
{
	return (struct entry){published_id(kind, s, ns, i, arena), published_stamp(kind, s, i),
			      s, ns, i};
}

/* All of a namespace. */
static void add_snapshot(struct entries *e, const struct published_kind *kind, const char *ns,
			 const struct snapshot *s, struct arena *arena)
{
	const size_t count = published_count(kind, s);

	for (size_t i = 0; i < count; i++)
		add_entry(e, entry_of(kind, ns, s, i, arena));
}

/* By name; snapshots share the names of files that did not change. */
static int compare_at(const struct published_kind *kind, const struct snapshot *a, size_t i,
		      const struct snapshot *b, size_t k)
{
	const char *x = snapshot_name(a, kind->list, i), *y = snapshot_name(b, kind->list, k);

	return x == y ? 0 : strcmp(x, y);
}

/* What is not the same in two snapshots, of which @before may be NULL. */
static void add_differing(struct entries *old, struct entries *new,
			  const struct published_kind *kind, const char *ns,
			  const struct snapshot *before, const struct snapshot *now,
			  struct arena *arena)
{
	const size_t old_count = before ? published_count(kind, before) : 0;
	const size_t new_count = published_count(kind, now);
	size_t i = 0, k = 0;

	while (i < old_count || k < new_count) {
		const int order = i == old_count   ? 1
				  : k == new_count ? -1
						   : compare_at(kind, before, i, now, k);
		const bool is_same = !order && published_stamp(kind, before, i) ==
						       published_stamp(kind, now, k);
		if (order <= 0 && !is_same)
			add_entry(old, entry_of(kind, ns, before, i, arena));
		if (order >= 0 && !is_same)
			add_entry(new, entry_of(kind, ns, now, k, arena));
		i += order <= 0;
		k += order >= 0;
	}
}

/* ------------------------------------------------------------------- writing */

/* Writes that go together. */
struct batch {
	struct publisher *publisher;
	const struct published_kind *kind;
	struct arena arena; /* of the records */
	struct repo_write writes[BATCH_MAX];
	size_t count, bytes;
};

static bool is_closing(struct publisher *p)
{
	bool closing;

	pthread_mutex_lock(&p->mu);
	closing = p->is_closing;
	pthread_mutex_unlock(&p->mu);
	return closing;
}

static enum status flush(struct batch *b)
{
	const struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct publisher *p = b->publisher;
	enum status outcomes[BATCH_MAX];
	struct error ignored; /* told by what is pending; the repo logs its side */
	enum status status = STATUS_OK;

	if (b->count)
		status = repo_client_write(p->repo, NAMES_SYSTEM_NAMESPACE, b->kind->collection,
					   b->writes, b->count, &options, &b->arena, outcomes,
					   &ignored);
	for (size_t i = 0; status == STATUS_OK && i < b->count; i++) {
		if (outcomes[i] == STATUS_OK)
			p->progress.written++;
		else
			p->progress.refused++;
	}
	b->count = b->bytes = 0;
	arena_reset(&b->arena);
	return status == STATUS_OK && is_closing(p) ? STATUS_CANCELLED : status;
}

static enum status add_write(struct batch *b, struct repo_write write)
{
	b->writes[b->count++] = write;
	b->bytes += write.item.size;
	return b->count == BATCH_MAX || b->bytes >= BATCH_MAX_BYTES ? flush(b) : STATUS_OK;
}

static enum status put_entry(struct batch *b, const struct entry *e)
{
	return add_write(
		b, (struct repo_write){.id = e->id,
				       .type_name = b->kind->type,
				       .replaces = true,
				       .item = published_record(b->kind, e->snapshot, e->ns,
								e->index, &b->arena)});
}

static enum status delete_entry(struct batch *b, const struct entry *e)
{
	return add_write(b, (struct repo_write){.id = e->id});
}

/* Have the repo hold @now, where it holds @before; both sorted by id. */
static enum status write_difference(struct publisher *p, const struct published_kind *kind,
				    const struct entries *before, const struct entries *now)
{
	struct batch *b = xmalloc(sizeof(*b));
	enum status status = STATUS_OK;
	size_t i = 0, k = 0;

	b->publisher = p;
	b->kind = kind;
	b->count = b->bytes = 0;
	arena_init(&b->arena, 0);
	while (status == STATUS_OK && (i < before->count || k < now->count)) {
		const int order = i == before->count ? 1
				  : k == now->count  ? -1
						     : by_id(&before->items[i], &now->items[k]);
		if (order < 0)
			status = delete_entry(b, &before->items[i]);
		else if (order > 0 || before->items[i].stamp != now->items[k].stamp)
			status = put_entry(b, &now->items[k]);
		i += order <= 0;
		k += order >= 0;
	}
	if (status == STATUS_OK)
		status = flush(b);
	arena_release(&b->arena);
	free(b);
	return status;
}

/* ----------------------------------------------------------- one namespace */

static enum status publish_kind(struct publisher *p, const struct published_kind *kind,
				const char *ns, const struct snapshot *before,
				const struct snapshot *now)
{
	struct entries old = {0}, new = {0};
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	add_differing(&old, &new, kind, ns, before, now, &arena);
	sort(&old);
	sort(&new);
	status = write_difference(p, kind, &old, &new);
	free(old.items);
	free(new.items);
	arena_release(&arena);
	return status;
}

static enum status publish_namespace(struct publisher *p, const char *ns)
{
	const struct snapshot *before = map_get(&p->published, ns);
	struct snapshot *now = catalog_snapshot(p->catalog, ns);
	enum status status = STATUS_OK;

	for (int i = 0; i < 2 && status == STATUS_OK; i++)
		status = publish_kind(p, &published_kinds[i], ns, before, now);
	if (status == STATUS_OK)
		now = map_put(&p->published, ns, now);
	snapshot_unref(now);
	return status;
}

static enum status publish_changes(struct publisher *p)
{
	enum status status = STATUS_OK;
	struct arena arena;
	uint64_t generation;
	size_t count;
	const char *const *changed;

	arena_init(&arena, 0);
	changed = catalog_changed_since(p->catalog, p->generation, &arena, &count, &generation);
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		p->progress.pending = count - i;
		tell(p);
		status = publish_namespace(p, changed[i]);
	}
	if (status == STATUS_OK) {
		p->generation = generation;
		p->progress.pending = 0;
	}
	tell(p);
	arena_release(&arena);
	return status;
}

/* ------------------------------------------------------------- all of them */

static void free_snapshot(void *snapshot)
{
	snapshot_unref(snapshot);
}

static enum status ensure_collections(struct publisher *p)
{
	const struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	enum status status = STATUS_OK;
	struct arena arena;
	struct error ignored;

	arena_init(&arena, 0);
	for (int i = 0; i < 2 && status == STATUS_OK; i++)
		status = repo_client_ensure_collection(
			p->repo, NAMES_SYSTEM_NAMESPACE, published_kinds[i].collection,
			published_kinds[i].type, published_kinds[i].indexed_fields, &options,
			&arena, &ignored);
	arena_release(&arena);
	return status;
}

/* What the repo has; ids are in @arena. */
static enum status list_published(struct publisher *p, const struct published_kind *kind,
				  struct entries *ret, struct arena *arena)
{
	const struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	static const char *const mask[] = {"metadata", NULL};
	struct repo_page page = {.next_page_token = ""};
	const char *token = "";
	enum status status = STATUS_OK;
	struct arena of_page;
	struct error ignored;

	arena_init(&of_page, 0);
	do {
		token = arena_strdup(arena, page.next_page_token);
		arena_reset(&of_page);
		status = repo_client_list_fields(p->repo, NAMES_SYSTEM_NAMESPACE,
						 kind->collection, mask, PAGE, token, &options,
						 &of_page, &page, &ignored);
		for (size_t i = 0; status == STATUS_OK && i < page.count; i++)
			add_entry(ret,
				  (struct entry){
					  .id = arena_strdup(arena, page.records[i].id),
					  .stamp = published_stamp_of(page.records[i].item)});
		if (status == STATUS_OK && is_closing(p))
			status = STATUS_CANCELLED;
	} while (status == STATUS_OK && *page.next_page_token);
	arena_release(&of_page);
	return status;
}

static enum status sync_kind(struct publisher *p, const struct published_kind *kind)
{
	struct entries there = {0}, wanted = {0};
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	map_for_each (&p->published, e)
		add_snapshot(&wanted, kind, e->key, e->value, &arena);
	status = list_published(p, kind, &there, &arena);
	sort(&there);
	sort(&wanted);
	if (status == STATUS_OK)
		status = write_difference(p, kind, &there, &wanted);
	free(there.items);
	free(wanted.items);
	arena_release(&arena);
	return status;
}

/* From here on `published` is what the repo is to have: all that there is now. */
static void take_all(struct publisher *p)
{
	struct arena arena;
	const char *const *names;
	size_t count;

	map_release(&p->published, free_snapshot);
	arena_init(&arena, 0);
	names = catalog_changed_since(p->catalog, 0, &arena, &count, &p->generation);
	for (size_t i = 0; i < count; i++)
		map_put(&p->published, names[i], catalog_snapshot(p->catalog, names[i]));
	p->progress.pending = count;
	arena_release(&arena);
}

static enum status sync_all(struct publisher *p)
{
	enum status status = ensure_collections(p);

	take_all(p);
	p->progress.refused = 0;
	p->resync_ns = 0;
	tell(p);
	for (int i = 0; i < 2 && status == STATUS_OK; i++)
		status = sync_kind(p, &published_kinds[i]);
	if (status == STATUS_OK) {
		p->progress.pending = 0;
		tell(p);
	}
	return status;
}

/* -------------------------------------------------------------------- thread */

static enum status publish(struct publisher *p)
{
	enum status status = STATUS_OK;

	if (p->resync_ns && clock_monotonic_ns() >= p->resync_ns)
		p->is_synced = false;
	if (!p->is_synced)
		status = sync_all(p);
	p->is_synced = status == STATUS_OK;
	if (p->is_synced)
		status = publish_changes(p);
	/* Some of it may be there and some not. */
	p->is_synced = status == STATUS_OK;
	return status;
}

static struct timespec in_ms(int delay_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += delay_ms / 1000;
	until.tv_nsec += delay_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	return until;
}

/* Wait until something changes, or @delay_ms if it is not 0. False: it is to end. */
static bool wait_for_change(struct publisher *p, int delay_ms)
{
	const struct timespec until = in_ms(delay_ms);
	bool goes_on;

	pthread_mutex_lock(&p->mu);
	while (!p->is_woken && !p->is_closing) {
		if (!delay_ms)
			pthread_cond_wait(&p->changed, &p->mu);
		else if (pthread_cond_timedwait(&p->changed, &p->mu, &until))
			break;
	}
	p->is_woken = false;
	goes_on = !p->is_closing;
	pthread_mutex_unlock(&p->mu);
	return goes_on;
}

/* The same, but changes are no reason to be earlier: the repo is away. */
static bool wait_to_retry(struct publisher *p, int delay_ms)
{
	const struct timespec until = in_ms(delay_ms);
	bool goes_on;

	pthread_mutex_lock(&p->mu);
	while (!p->is_closing && !pthread_cond_timedwait(&p->changed, &p->mu, &until))
		;
	goes_on = !p->is_closing;
	pthread_mutex_unlock(&p->mu);
	return goes_on;
}

static void *run(void *arg)
{
	struct publisher *p = arg;
	int delay_ms = RETRY_FIRST_MS;
	bool goes_on = true;

	while (goes_on) {
		if (publish(p) != STATUS_OK) {
			goes_on = wait_to_retry(p, delay_ms);
			delay_ms = 2 * delay_ms < RETRY_MAX_MS ? 2 * delay_ms : RETRY_MAX_MS;
			continue;
		}
		delay_ms = RETRY_FIRST_MS;
		/* What was refused, for want of space perhaps, is tried again. */
		if (!p->progress.refused)
			p->resync_ns = 0;
		else if (!p->resync_ns)
			p->resync_ns = clock_monotonic_ns() + RETRY_REFUSED_MS * 1000000ull;
		goes_on = wait_for_change(p, p->resync_ns ? RETRY_REFUSED_MS : 0);
	}
	return NULL;
}

static void wake(void *arg)
{
	struct publisher *p = arg;

	pthread_mutex_lock(&p->mu);
	p->is_woken = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->mu);
}

struct publisher *publisher_new(struct catalog *catalog, struct rpc_channel *repo,
				const struct publisher_observer *observer)
{
	struct publisher *p = xcalloc(1, sizeof(*p));

	p->catalog = catalog;
	p->repo = repo;
	p->observer = observer;
	pthread_mutex_init(&p->mu, NULL);
	pthread_cond_init(&p->changed, NULL);
	catalog_on_change(catalog, wake, p);
	return p;
}

void publisher_start(struct publisher *p)
{
	if (pthread_create(&p->thread, NULL, run, p))
		abort();
	p->is_started = true;
}

void publisher_free(struct publisher *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->mu);
	p->is_closing = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->mu);
	if (p->is_started)
		pthread_join(p->thread, NULL);
	map_release(&p->published, free_snapshot);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->mu);
	free(p);
}
