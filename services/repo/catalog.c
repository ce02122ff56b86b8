#include "services/repo/catalog.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/repo/builder.h"
#include "services/repo/catalog_entry.h"
#include "services/repo/directory.h"
#include "services/repo/left_overs.h"
#include "services/repo/query.h"

#define CATALOG_TYPE        "collector.Collection"
#define CATALOG_INCARNATION "catalog"

/* ------------------------------------------------------------ using them */

static void add_idle(struct catalog *catalog, struct entry *e)
{
	e->is_idle = true;
	e->idle_before = catalog->last_idle;
	e->idle_after = NULL;
	if (catalog->last_idle)
		catalog->last_idle->idle_after = e;
	else
		catalog->first_idle = e;
	catalog->last_idle = e;
}

static void remove_idle(struct catalog *catalog, struct entry *e)
{
	if (!e->is_idle)
		return;
	e->is_idle = false;
	if (e->idle_before)
		e->idle_before->idle_after = e->idle_after;
	else
		catalog->first_idle = e->idle_after;
	if (e->idle_after)
		e->idle_after->idle_before = e->idle_before;
	else
		catalog->last_idle = e->idle_before;
}

/* Open, the catalogue's alone, and not its own store, which stays open. */
static bool may_be_closed(const struct catalog *catalog, const struct entry *e)
{
	return e->is_open && e->state == ENTRY_READY && !e->successor && e != catalog->self;
}

void entry_use(struct catalog *catalog, struct entry *e)
{
	remove_idle(catalog, e);
	e->refs++;
}

/*
 * With the mutex held: the collection beyond the limit that nobody has used for
 * longest, marked as closed; the caller closes it without the mutex, still
 * holding e->opening, so that nobody opens it meanwhile.
 */
static struct entry *pick_victim(struct catalog *catalog)
{
	struct entry *victim = catalog->first_idle;

	if (catalog->open_count <= catalog->options.max_open || !victim ||
	    pthread_mutex_trylock(&victim->opening) != 0)
		return NULL;
	entry_use(catalog, victim);
	victim->is_open = false;
	catalog->open_count--;
	return victim;
}

static bool close_one_beyond_limit(struct catalog *catalog)
{
	struct entry *victim;

	pthread_mutex_lock(&catalog->mu);
	victim = pick_victim(catalog);
	pthread_mutex_unlock(&catalog->mu);
	if (!victim)
		return false;
	collection_close(&victim->collection);
	pthread_mutex_unlock(&victim->opening);
	entry_release(catalog, victim);
	return true;
}

struct entry *catalog_find(struct catalog *catalog, const char *ns, const char *name)
{
	AUTO_FREE char *id = xasprintf("%s/%s", ns, name);
	struct entry *e = map_get(&catalog->entries, id);

	return e && e->state == ENTRY_READY ? e : NULL;
}

enum status catalog_acquire(struct catalog *catalog, const char *ns, const char *name,
			    struct collection **ret, struct error *err)
{
	enum status status = STATUS_OK;
	bool is_open, opened = false;

	pthread_mutex_lock(&catalog->mu);
	struct entry *e = catalog_find(catalog, ns, name);
	if (e)
		entry_use(catalog, e);
	is_open = e && e->is_open;
	pthread_mutex_unlock(&catalog->mu);
	if (!e)
		return error_set(err, STATUS_NOT_FOUND, "there is no collection %s/%s", ns,
				 name);
	if (!is_open) {
		pthread_mutex_lock(&e->opening);
		if (!e->is_open)
			status = entry_open(catalog, e, err);
		pthread_mutex_lock(&catalog->mu);
		opened = status == STATUS_OK && !e->is_open;
		if (opened) {
			e->is_open = true;
			catalog->open_count++;
		}
		pthread_mutex_unlock(&catalog->mu);
		pthread_mutex_unlock(&e->opening);
	}
	if (status != STATUS_OK) {
		entry_release(catalog, e);
		return status;
	}
	while (opened && close_one_beyond_limit(catalog)) {
	}
	*ret = &e->collection;
	return STATUS_OK;
}

struct collection *catalog_try_acquire(struct catalog *catalog, const char *ns,
				       const char *name)
{
	pthread_mutex_lock(&catalog->mu);
	struct entry *e = catalog_find(catalog, ns, name);
	if (e && e->is_open)
		entry_use(catalog, e);
	else
		e = NULL;
	pthread_mutex_unlock(&catalog->mu);
	return e ? &e->collection : NULL;
}

void entry_release(struct catalog *catalog, struct entry *e)
{
	struct entry *successor = NULL;

	pthread_mutex_lock(&catalog->mu);
	if (--e->refs == 0 && e->successor) {
		successor = e->successor;
	} else if (e->refs == 0) {
		e->next_dead = catalog->dead;
		catalog->dead = e;
	} else if (e->refs == 1 && may_be_closed(catalog, e)) {
		add_idle(catalog, e);
	}
	pthread_mutex_unlock(&catalog->mu);
	if (!successor)
		return;
	/* What was written by @e after all was built is made ready by what there is now. */
	builder_add(catalog->builder, e->collection.ns, e->collection.name);
	/* What was open is the successor's now. */
	collection_forget_type(&e->collection);
	entry_free(e);
	entry_release(catalog, successor);
}

void catalog_hold(struct catalog *catalog, struct collection *collection)
{
	pthread_mutex_lock(&catalog->mu);
	((struct entry *)collection)->refs++;
	pthread_mutex_unlock(&catalog->mu);
}

void catalog_release(struct catalog *catalog, struct collection *collection)
{
	/* The collection is the entry's first member. */
	entry_release(catalog, (struct entry *)collection);
}

/* Close and remove what was deleted and is not used any more. */
static void sweep(struct catalog *catalog)
{
	struct entry *next;

	pthread_mutex_lock(&catalog->mu);
	struct entry *dead = catalog->dead;
	catalog->dead = NULL;
	for (struct entry *e = dead; e; e = e->next_dead)
		catalog->open_count -= e->is_open;
	pthread_mutex_unlock(&catalog->mu);
	for (struct entry *e = dead; e; e = next) {
		AUTO_FREE char *directory = entry_directory(catalog, &e->collection);

		next = e->next_dead;
		if (e->is_open)
			collection_close(&e->collection);
		directory_remove(directory);
		entry_free(e);
	}
}

/* ------------------------------------------------------------ create and delete */

enum status entry_record(struct catalog *catalog, const struct entry *e,
			 enum entry_change change, uint64_t now_us, struct error *err)
{
	struct collection *self = &catalog->self->collection;
	AUTO_STRBUF doc = STRBUF_INIT;
	struct store_write w = {
		.is_delete = change == ENTRY_GOES,
		.expectation = change == ENTRY_COMES ? STORE_MUST_NOT_EXIST : STORE_MUST_EXIST,
		.id = e->id,
		.proto = e->collection.definition,
		.now_us = now_us,
	};
	enum status status = wire_to_jsonb(self->type.pool, self->type.message, w.proto,
					   JSON_OUT_SEARCH, &doc, err);

	if (status != STATUS_OK)
		return status;
	w.doc = bytes_of(doc.buf, doc.len);
	return writer_run(catalog->writer, self->queue, &w, err);
}

/* The database, made in the staging area and moved to its place when it is whole. */
static enum status make_files(struct catalog *catalog, const struct collection *c,
			      const struct store_definition *definition, struct error *err)
{
	AUTO_FREE char *staging =
		xasprintf("%s/staging/%s", catalog->directory, c->incarnation);
	AUTO_FREE char *ns = xasprintf("%s/ns/%s", catalog->directory, c->ns);
	AUTO_FREE char *parent = xasprintf("%s/%s", ns, c->name);
	AUTO_FREE char *directory = entry_directory(catalog, c);
	enum status status = directory_make_scratch(staging, err);

	if (status == STATUS_OK)
		status = store_create(staging, definition, err);
	if (status == STATUS_OK)
		status = directory_make(ns, err);
	if (status == STATUS_OK)
		status = directory_make(parent, err);
	if (status == STATUS_OK)
		status = directory_move(staging, directory, err);
	if (status != STATUS_OK)
		directory_remove(staging);
	return status;
}

/*
 * Put a new entry into the map, if its name is free. One that is being made by
 * another is waited for: "it exists" must mean that it can be used.
 */
static enum status reserve(struct catalog *catalog, struct entry *e, struct error *err)
{
	const struct entry *other;
	enum status status = STATUS_OK;

	pthread_mutex_lock(&catalog->mu);
	while ((other = map_get(&catalog->entries, e->id)) && other->state == ENTRY_CREATING)
		pthread_cond_wait(&catalog->settled, &catalog->mu);
	if (other)
		status = error_set(err, STATUS_ALREADY_EXISTS, "collection %s exists", e->id);
	else
		map_put(&catalog->entries, e->id, e);
	pthread_mutex_unlock(&catalog->mu);
	return status;
}

static void set_state(struct catalog *catalog, struct entry *e, enum entry_state state)
{
	pthread_mutex_lock(&catalog->mu);
	e->state = state;
	if (state == ENTRY_DELETED)
		map_remove(&catalog->entries, e->id);
	pthread_cond_broadcast(&catalog->settled);
	pthread_mutex_unlock(&catalog->mu);
}

enum status catalog_create(struct catalog *catalog, const struct store_definition *definition,
			   struct error *err)
{
	struct entry *e = entry_new(definition->definition);
	enum status status = reserve(catalog, e, err);

	if (status != STATUS_OK) {
		entry_free(e);
		return status;
	}
	status = make_files(catalog, &e->collection, definition, err);
	if (status == STATUS_OK)
		status = entry_record(catalog, e, ENTRY_COMES, definition->created_us, err);
	if (status == STATUS_OK) {
		set_state(catalog, e, ENTRY_READY);
		return STATUS_OK;
	}
	set_state(catalog, e, ENTRY_DELETED);
	entry_release(catalog, e);
	sweep(catalog);
	return status;
}

enum status catalog_delete(struct catalog *catalog, const char *ns, const char *name,
			   uint64_t now_us, int64_t *ret_records, struct error *err)
{
	struct store_sizes sizes;
	struct collection *c;
	struct entry *e;
	enum status status;

	/* It is not replaced meanwhile. */
	pthread_mutex_lock(&catalog->changes);
	status = catalog_acquire(catalog, ns, name, &c, err);
	if (status != STATUS_OK) {
		pthread_mutex_unlock(&catalog->changes);
		return status;
	}
	e = (struct entry *)c;
	status = store_measure(c->store, &sizes, err);
	if (status == STATUS_OK)
		status = entry_record(catalog, e, ENTRY_GOES, now_us, err);
	if (status == STATUS_OK) {
		set_state(catalog, e, ENTRY_DELETED);
		*ret_records = sizes.record_count;
		if (catalog->options.notify)
			catalog->options.notify(catalog->options.notify_arg, c->incarnation);
		entry_release(catalog, e); /* the catalogue's own */
	}
	pthread_mutex_unlock(&catalog->changes);
	entry_release(catalog, e);
	sweep(catalog);
	return status;
}

/* ------------------------------------------------------------ list */

static int compare_items(const void *a, const void *b)
{
	const struct catalog_item *x = a, *y = b;
	int namespaces = strcmp(x->ns, y->ns);

	return namespaces ? namespaces : strcmp(x->name, y->name);
}

size_t catalog_list(struct catalog *catalog, const char *ns, struct arena *arena,
		    struct catalog_item **ret_items)
{
	size_t count = 0;

	pthread_mutex_lock(&catalog->mu);
	struct catalog_item *items =
		arena_alloc(arena, (catalog->entries.count + 1) * sizeof(*items));
	map_for_each (&catalog->entries, slot) {
		const struct entry *e = slot->value;
		const struct collection *c = &e->collection;

		if (e->state != ENTRY_READY || (ns && strcmp(ns, c->ns) != 0))
			continue;
		items[count++] = (struct catalog_item){
			arena_strdup(arena, c->ns), arena_strdup(arena, c->name),
			bytes_of(arena_memdup(arena, c->definition.data, c->definition.size),
				 c->definition.size)};
	}
	pthread_mutex_unlock(&catalog->mu);
	qsort(items, count, sizeof(*items), compare_items);
	*ret_items = items;
	return count;
}

struct writer *catalog_writer(struct catalog *catalog)
{
	return catalog->writer;
}

/* ------------------------------------------------------------ start and end */

static void describe_self(struct strbuf *out)
{
	wire_add_string(out, FIELD_NAMESPACE, CATALOG_NAMESPACE);
	wire_add_string(out, FIELD_NAME, CATALOG_COLLECTION);
	size_t mark = wire_open(out, FIELD_MESSAGE_TYPE);
	wire_add_string(out, FIELD_MESSAGE_NAME, CATALOG_TYPE);
	wire_close(out, mark);
	wire_add_string(out, FIELD_INCARNATION, CATALOG_INCARNATION);
	wire_add_uint(out, FIELD_SCHEMA_VERSION, 1);
}

/* The catalogue's own collection: made at the very first start, a record of itself. */
static enum status open_self(struct catalog *catalog, struct error *err)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	enum status status = STATUS_OK;

	describe_self(&definition);
	catalog->self = entry_new(bytes_of(definition.buf, definition.len));
	map_put(&catalog->entries, catalog->self->id, catalog->self);
	catalog->self->state = ENTRY_READY;
	AUTO_FREE char *directory = entry_directory(catalog, &catalog->self->collection);
	if (access(directory, F_OK) != 0) {
		const struct store_definition d = {
			.definition = catalog->self->collection.definition,
			.message_name = CATALOG_TYPE,
			.has_text = true,
			.created_us = clock_unix_us(),
		};
		status = make_files(catalog, &catalog->self->collection, &d, err);
	} else {
		status = directory_make(directory, err); /* its move may not be synced */
	}
	if (status == STATUS_OK)
		status = entry_open(catalog, catalog->self, err);
	if (status != STATUS_OK)
		return status;
	catalog->self->is_open = true;
	catalog->open_count++;
	/* Not only when it is new: a crash may have come in between. */
	status = entry_record(catalog, catalog->self, ENTRY_COMES, clock_unix_us(), err);
	return status == STATUS_ALREADY_EXISTS ? STATUS_OK : status;
}

static bool load_record(void *arg, const struct store_record *record)
{
	struct catalog *catalog = arg;

	if (!map_get(&catalog->entries, record->id)) {
		struct entry *e = entry_new(record->proto);

		e->state = ENTRY_READY;
		map_put(&catalog->entries, e->id, e);
		if (entry_is_building(e))
			builder_add(catalog->builder, e->collection.ns, e->collection.name);
	}
	return true;
}

static enum status load_all(struct catalog *catalog, struct error *err)
{
	struct collection *self = &catalog->self->collection;
	struct store_reader *reader;
	struct arena arena;
	struct query *q = xcalloc(1, sizeof(*q));
	enum status status = store_take_reader(self->store, &reader, err);

	arena_init(&arena, 0);
	query_init(q, self->type.pool, self->type.message, &arena);
	if (status == STATUS_OK) {
		status = store_query(reader, q, load_record, catalog, err);
		store_give_reader(self->store, reader);
	}
	arena_release(&arena);
	free(q);
	return status;
}

static bool is_current(void *arg, const char *ns, const char *name, const char *incarnation)
{
	struct catalog *catalog = arg;
	AUTO_FREE char *id = xasprintf("%s/%s", ns, name);
	const struct entry *e = map_get(&catalog->entries, id);

	return e && !strcmp(e->collection.incarnation, incarnation);
}

enum status catalog_open(const struct catalog_options *options, struct catalog **ret_catalog,
			 struct error *err)
{
	struct catalog *catalog = xcalloc(1, sizeof(*catalog));
	AUTO_FREE char *ns = xasprintf("%s/ns", options->directory);
	AUTO_FREE char *staging = xasprintf("%s/staging", options->directory);
	enum status status;

	pthread_mutex_init(&catalog->mu, NULL);
	pthread_mutex_init(&catalog->changes, NULL);
	pthread_cond_init(&catalog->settled, NULL);
	catalog->directory = xstrdup(options->directory);
	catalog->options = *options;
	catalog->writer = writer_new(options->writer_threads);
	writer_on_commit(catalog->writer, options->notify, options->notify_arg);
	catalog->builder = builder_new(catalog);
	status = directory_make(ns, err);
	directory_remove(staging); /* what the last process was making */
	if (status == STATUS_OK)
		status = directory_make_scratch(staging, err);
	if (status == STATUS_OK)
		status = open_self(catalog, err);
	if (status == STATUS_OK)
		status = load_all(catalog, err);
	if (status != STATUS_OK) {
		catalog_close(catalog);
		return status;
	}
	left_overs_remove(catalog->directory, is_current, catalog);
	builder_start(catalog->builder);
	*ret_catalog = catalog;
	return STATUS_OK;
}

void catalog_close(struct catalog *catalog)
{
	if (!catalog)
		return;
	builder_stop(catalog->builder);
	writer_free(catalog->writer);
	builder_free(catalog->builder);
	sweep(catalog);
	map_for_each (&catalog->entries, slot) {
		struct entry *e = slot->value;

		if (e->is_open)
			collection_close(&e->collection);
		entry_free(e);
	}
	map_release(&catalog->entries, NULL);
	pthread_cond_destroy(&catalog->settled);
	pthread_mutex_destroy(&catalog->mu);
	pthread_mutex_destroy(&catalog->changes);
	free(catalog->directory);
	free(catalog);
}
