#include "services/repo/builder.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/repo/catalog_entry.h"

enum { RETRY_S = 1, OUTDATED_MAX = 3 };

struct builder {
	struct catalog *catalog;
	pthread_t thread;
	bool is_started;
	pthread_mutex_t mu; /* what follows */
	pthread_cond_t changed;
	struct map waiting; /* "<namespace>/<name>" -> anything */
	struct map failed;  /* the same; all are tried again at once, when nothing else waits */
	struct timespec retry_at;
	struct map problems; /* the same -> why it is tried again; owned */
	bool is_closing;
};

/* ------------------------------------------------------------ one part */

struct rendering_of {
	const struct collection *collection;
	struct pool *others; /* for an Any */
};

/* One of another length is none, of a record from before. */
static void take_vector(const struct vector_field *field, struct bytes proto,
			struct strbuf *rest, struct strbuf *vector)
{
	struct error ignored;

	if (field->depth &&
	    vector_field_take(field, proto, rest, vector, &ignored) != STATUS_OK)
		strbuf_reset(vector);
}

static bool render(void *arg, const char *type_url, struct bytes proto, struct strbuf *doc,
		   struct strbuf *vector, struct strbuf *old_vector)
{
	const struct rendering_of *r = arg;
	const struct collection *c = r->collection;
	AUTO_STRBUF rest = STRBUF_INIT;
	AUTO_STRBUF old_rest = STRBUF_INIT;
	struct error ignored;

	(void)type_url; /* only collections with a type have versions of it, or vectors */
	take_vector(&c->old_vector, proto, &old_rest, old_vector);
	take_vector(&c->vector, proto, &rest, vector);
	if (c->vector.depth)
		proto = bytes_of(rest.buf, rest.len);
	return wire_to_jsonb_among(c->type.pool, r->others, c->type.message, proto,
				   JSON_OUT_SEARCH, doc, &ignored) == STATUS_OK;
}

/* The definition without the mark that it is being built. */
static void finished(struct bytes definition, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(definition);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number != FIELD_BUILDING)
			strbuf_add(out, f.raw.data, f.raw.size);
}

static enum status build_part(struct catalog *catalog, struct collection *c, bool *ret_done,
			      struct error *err)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	struct rendering_of r = {c, NULL};
	struct store_build build = {.render = render,
				    .arg = &r,
				    .schema_version = c->schema_version,
				    .vector_generation = c->vector_generation,
				    .old_generation = c->old_generation};
	struct store_write w = {.operation = store_build, .operands = &build};
	enum status status;

	w.now_us = clock_unix_us();
	if (c->may_hold_any)
		r.others = types_of_namespace(c->types, c->ns, NULL);
	if (entry_is_building((struct entry *)c)) {
		finished(c->definition, &definition);
		build.definition = bytes_of(definition.buf, definition.len);
		build.definition_before = c->definition;
	}
	status = writer_run_apart(catalog->writer, c->queue, &w, err);
	*ret_done = build.is_done;
	pool_unref(r.others);
	return status;
}

/* ------------------------------------------------------------ one collection */

static bool is_closing(struct builder *b)
{
	bool closing;

	pthread_mutex_lock(&b->mu);
	closing = b->is_closing;
	pthread_mutex_unlock(&b->mu);
	return closing;
}

/* Until a change that came in between is in the catalogue too. */
static void wait_for_change(struct catalog *catalog)
{
	pthread_mutex_lock(&catalog->changes);
	pthread_mutex_unlock(&catalog->changes);
}

/* All parts; the collection is looked up for each, as it may be gone, or another. */
static enum status build(struct builder *b, const char *ns, const char *name, struct error *err)
{
	struct collection *c;
	bool done = false, was_building = false;
	unsigned outdated = 0;
	enum status status = STATUS_OK;

	while (status == STATUS_OK && !done && !is_closing(b)) {
		status = catalog_acquire(b->catalog, ns, name, &c, err);
		if (status == STATUS_NOT_FOUND)
			return STATUS_OK;
		if (status != STATUS_OK)
			return status;
		was_building = was_building || entry_is_building((struct entry *)c);
		status = build_part(b->catalog, c, &done, err);
		catalog_release(b->catalog, c);
		if (status == STATUS_ABORTED && outdated++ < OUTDATED_MAX) {
			wait_for_change(b->catalog);
			status = STATUS_OK;
		} else if (status == STATUS_OK) {
			outdated = 0;
		}
	}
	return status == STATUS_OK && done && was_building
		       ? catalog_refresh(b->catalog, ns, name, err)
		       : status;
}

/* With the mutex held. NULL: none; owned by the caller. */
static char *take(struct builder *b)
{
	const struct map_entry *first = map_next(&b->waiting, NULL);
	char *id = first ? xstrdup(first->key) : NULL;

	if (id)
		(void)map_remove(&b->waiting, id);
	return id;
}

/* NULL: none any more. */
static void set_problem(struct builder *b, const char *ns, const char *name,
			const char *problem)
{
	AUTO_FREE char *id = xasprintf("%s/%s", ns, name);

	pthread_mutex_lock(&b->mu);
	free(problem ? map_put(&b->problems, id, xstrdup(problem))
		     : map_remove(&b->problems, id));
	pthread_mutex_unlock(&b->mu);
}

const char *builder_problem(struct builder *b, const char *ns, const char *name,
			    struct arena *arena)
{
	AUTO_FREE char *id = xasprintf("%s/%s", ns, name);
	const char *problem;

	pthread_mutex_lock(&b->mu);
	problem = map_get(&b->problems, id);
	problem = arena_strdup(arena, problem ? problem : "");
	pthread_mutex_unlock(&b->mu);
	return problem;
}

static void build_one(struct builder *b, char *id)
{
	char *name = strchr(id, '/');
	struct error err;
	enum status status;

	*name++ = '\0';
	status = build(b, id, name, &err);
	set_problem(b, id, name, status == STATUS_OK ? NULL : err.message);
	if (status == STATUS_OK)
		return;
	log_warn("what a change of %s/%s left to build is tried again: %s", id, name,
		 err.message);
	name[-1] = '/';
	pthread_mutex_lock(&b->mu);
	map_put(&b->failed, id, b);
	clock_gettime(CLOCK_REALTIME, &b->retry_at);
	b->retry_at.tv_sec += RETRY_S;
	pthread_mutex_unlock(&b->mu);
}

/* With the mutex held, nothing else to do: for more, or for those that failed. */
static void wait_for_work(struct builder *b)
{
	if (!b->failed.count) {
		pthread_cond_wait(&b->changed, &b->mu);
	} else if (pthread_cond_timedwait(&b->changed, &b->mu, &b->retry_at) == ETIMEDOUT &&
		   !b->waiting.count) {
		map_release(&b->waiting, NULL);
		b->waiting = b->failed;
		b->failed = (struct map){0};
	}
}

static void *run(void *arg)
{
	struct builder *b = arg;

	pthread_mutex_lock(&b->mu);
	while (!b->is_closing) {
		AUTO_FREE char *id = take(b);

		if (!id) {
			wait_for_work(b);
			continue;
		}
		pthread_mutex_unlock(&b->mu);
		build_one(b, id);
		pthread_mutex_lock(&b->mu);
	}
	pthread_mutex_unlock(&b->mu);
	return NULL;
}

/* ------------------------------------------------------------ life */

struct builder *builder_new(struct catalog *catalog)
{
	struct builder *b = xcalloc(1, sizeof(*b));

	b->catalog = catalog;
	pthread_mutex_init(&b->mu, NULL);
	pthread_cond_init(&b->changed, NULL);
	return b;
}

void builder_start(struct builder *b)
{
	if (pthread_create(&b->thread, NULL, run, b) != 0)
		abort(); /* at start-up, without threads there is no repo */
	b->is_started = true;
}

void builder_stop(struct builder *b)
{
	pthread_mutex_lock(&b->mu);
	b->is_closing = true;
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->mu);
	if (b->is_started)
		pthread_join(b->thread, NULL);
	b->is_started = false;
}

void builder_free(struct builder *b)
{
	if (!b)
		return;
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->mu);
	map_release(&b->waiting, NULL);
	map_release(&b->failed, NULL);
	map_release(&b->problems, free);
	free(b);
}

void builder_add(struct builder *b, const char *ns, const char *name)
{
	AUTO_FREE char *id = xasprintf("%s/%s", ns, name);

	pthread_mutex_lock(&b->mu);
	map_put(&b->waiting, id, b);
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->mu);
}
