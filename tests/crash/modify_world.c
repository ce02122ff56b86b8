/* Modify in the world: asked for, built, and what must be found of it after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/reflect/search.h"
#include "common/reflect/wire.h"
#include "tests/crash/world.h"

enum { WAIT_S = 60 };

/* Of collector.Collection. */
enum {
	FIELD_INDEXED = 4,
	FIELD_TEXT_FIELDS = 100,
	FIELD_TEXT_DISABLED = 101,
	FIELD_SCHEMA_VERSION = 103,
	FIELD_BUILDING = 110,
};

static bool is_among(uint32_t field, const uint32_t *fields)
{
	while (*fields && *fields != field)
		fields++;
	return *fields != 0;
}

void world_definition(const struct collection *c, const uint32_t *without, struct strbuf *out)
{
	struct wire_cursor cursor = wire_cursor_of(c->definition);
	struct wire_field f;

	while (wire_next(&cursor, &f))
		if (f.number != FIELD_BUILDING && !is_among(f.number, without))
			strbuf_add(out, f.raw.data, f.raw.size);
}

static void define(const struct collection *c, const char *indexed, enum world_text text,
		   struct strbuf *out)
{
	static const uint32_t changed[] = {FIELD_INDEXED, FIELD_TEXT_FIELDS,
					   FIELD_TEXT_DISABLED, FIELD_SCHEMA_VERSION, 0};

	world_definition(c, changed, out);
	wire_add_string(out, FIELD_INDEXED, indexed);
	if (text == WORLD_TEXT_NAME)
		wire_add_string(out, FIELD_TEXT_FIELDS, "name");
	if (text == WORLD_TEXT_NONE)
		wire_add_uint(out, FIELD_TEXT_DISABLED, 1);
	wire_add_uint(out, FIELD_SCHEMA_VERSION, (uint64_t)c->schema_version + 1);
}

/* "<indexed> <text>", as expectations have it. */
static void value_of(const char *indexed, enum world_text text, char out[EXPECTED_TEXT_MAX])
{
	static const char *const texts[] = {[WORLD_TEXT_NAME] = "name",
					    [WORLD_TEXT_NONE] = "none",
					    [WORLD_TEXT_ALL] = "all"};

	(void)snprintf(out, EXPECTED_TEXT_MAX, "%s %s", indexed, texts[text]);
}

void world_modify_as(struct world *w, const char *collection, struct store_modify *m,
		     struct strbuf *definition, const char *what, const char *value)
{
	AUTO_STRBUF building = STRBUF_INIT;
	enum status status;
	struct collection *c;
	struct error err;

	strbuf_add(&building, definition->buf, definition->len);
	wire_add_uint(&building, FIELD_BUILDING, 1);
	m->definition = bytes_of(definition->buf, definition->len);
	m->building_definition = bytes_of(building.buf, building.len);
	expectation_begin(collection, what, value);
	/* The catalogue may just be told that the last change is built. */
	do {
		must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err,
		     "acquire");
		status = catalog_modify(w->catalog, c, m, WORLD_NOW_US, &err);
		catalog_release(w->catalog, c);
	} while (status == STATUS_ABORTED);
	must(status, &err, "catalog_modify");
	expectation_done(collection, what, value);
}

void world_modify(struct world *w, const char *collection, const char *indexed,
		  enum world_text text)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	char value[EXPECTED_TEXT_MAX];
	struct search_path index, name;
	const struct search_path *const indexes[] = {&index}, *const texts[] = {&name};
	struct collection *c;
	struct arena arena;
	struct error err;

	arena_init(&arena, 0);
	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	must(search_resolve(c->type.pool, c->type.message, indexed, &arena, &index, &err), &err,
	     "path");
	must(search_resolve(c->type.pool, c->type.message, "name", &arena, &name, &err), &err,
	     "path");
	define(c, indexed, text, &definition);
	struct store_modify m = {
		.sets_indexed = true,
		.indexed = indexes,
		.indexed_count = 1,
		.sets_text = true,
		.has_text = text != WORLD_TEXT_NONE,
		.text = texts,
		.text_count = text == WORLD_TEXT_NAME,
		.message_name = c->message_name,
		.descriptor_set = bytes_of_string(""), /* as of what is built in */
		.schema_version = c->schema_version + 1,
	};
	value_of(indexed, text, value);
	world_modify_as(w, collection, &m, &definition, "shape of", value);
	catalog_release(w->catalog, c);
	arena_release(&arena);
}

/* ------------------------------------------------------------ quotas */

/* Of collector.Collection and collector.CollectionQuota. */
enum { FIELD_QUOTA = 131, FIELD_MAX_RECORDS = 1 };

/* None is as if nobody had ever asked for one. */
static void quota_text(uint64_t records, char out[EXPECTED_TEXT_MAX])
{
	*out = '\0';
	if (records)
		(void)snprintf(out, EXPECTED_TEXT_MAX, "%llu", (unsigned long long)records);
}

void world_modify_quota(struct world *w, const char *collection, int64_t records)
{
	static const uint32_t changed[] = {FIELD_QUOTA, 0};
	AUTO_STRBUF definition = STRBUF_INIT;
	struct store_modify m = {.sets_quota = true, .quota = {.records = records}};
	char value[EXPECTED_TEXT_MAX];
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	world_definition(c, changed, &definition);
	if (records) {
		const size_t mark = wire_open(&definition, FIELD_QUOTA);

		wire_add_uint(&definition, FIELD_MAX_RECORDS, (uint64_t)records);
		wire_close(&definition, mark);
	}
	quota_text((uint64_t)records, value);
	world_modify_as(w, collection, &m, &definition, "quota of", value);
	catalog_release(w->catalog, c);
}

static uint64_t quota_of(struct collection *c)
{
	struct store_definition stored;
	struct wire_cursor cursor;
	struct wire_field f;
	struct bytes quota = {NULL, 0};
	struct arena arena;
	struct error err;
	uint64_t records = 0;

	arena_init(&arena, 0);
	must(store_load(c->store, &arena, &stored, &err), &err, "store_load");
	(void)wire_find_bytes(stored.definition, FIELD_QUOTA, &quota);
	cursor = wire_cursor_of(quota);
	while (wire_next(&cursor, &f))
		if (f.number == FIELD_MAX_RECORDS)
			records = f.value;
	arena_release(&arena);
	return records;
}

void world_quota_value(struct collection *c, char out[EXPECTED_TEXT_MAX])
{
	quota_text(quota_of(c), out);
}

bool world_quota_holds(struct world *w, struct collection *c, size_t records)
{
	const uint64_t quota = quota_of(c);
	const bool is_full = quota && records >= quota;
	struct store_write put = {.expectation = STORE_MUST_NOT_EXIST,
				  .id = "one more",
				  .doc = bytes_of("\x0c", 1), /* {} as JSONB */
				  .now_us = WORLD_NOW_US};
	struct store_write remove = put;
	struct error err;
	enum status status = writer_run(catalog_writer(w->catalog), c->queue, &put, &err);

	if (status == STATUS_OK) {
		remove.is_delete = true;
		remove.expectation = STORE_MUST_EXIST;
		must(writer_run(catalog_writer(w->catalog), c->queue, &remove, &err), &err,
		     "remove");
	}
	if (status == (is_full ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK))
		return true;
	fprintf(stderr, "%s: a quota of %llu with %zu records does not hold\n", c->name,
		(unsigned long long)quota, records);
	return false;
}

/* ------------------------------------------------------------ what is there */

/* What the store says, whatever the catalogue knows; text in @arena. */
struct shape {
	char indexed[EXPECTED_TEXT_MAX];
	enum world_text text;
	bool is_building;
};

static struct shape shape_of(struct collection *c)
{
	struct shape shape = {.text = WORLD_TEXT_ALL};
	struct store_definition stored;
	struct arena arena;
	struct error err;

	arena_init(&arena, 0);
	must(store_load(c->store, &arena, &stored, &err), &err, "store_load");
	struct wire_cursor cursor = wire_cursor_of(stored.definition);
	struct wire_field f;
	while (wire_next(&cursor, &f)) {
		if (f.number == FIELD_INDEXED)
			(void)snprintf(shape.indexed, sizeof(shape.indexed), "%.*s",
				       (int)f.data.size, (const char *)f.data.data);
		else if (f.number == FIELD_TEXT_FIELDS)
			shape.text = WORLD_TEXT_NAME;
		else if (f.number == FIELD_TEXT_DISABLED)
			shape.text = WORLD_TEXT_NONE;
		else if (f.number == FIELD_BUILDING)
			shape.is_building = true;
	}
	arena_release(&arena);
	return shape;
}

bool world_has_text(struct collection *c)
{
	return shape_of(c).text != WORLD_TEXT_NONE;
}

void world_shape_value(struct collection *c, char out[EXPECTED_TEXT_MAX])
{
	const struct shape shape = shape_of(c);

	value_of(shape.indexed, shape.text, out);
}

bool world_shape_is_whole(struct collection *c)
{
	static const char *const paths[] = {"name", "namespace"};
	const struct shape shape = shape_of(c);
	struct arena arena;
	bool good = true;

	arena_init(&arena, 0);
	for (size_t i = 0; good && i < sizeof(paths) / sizeof(paths[0]); i++) {
		const bool is_wanted = !strcmp(paths[i], shape.indexed);
		struct search_path path;
		struct error err;

		must(search_resolve(c->type.pool, c->type.message, paths[i], &arena, &path,
				    &err),
		     &err, "path");
		good = store_has_index(c->store, &path) == is_wanted;
		if (!good)
			fprintf(stderr, "%s: the index on %s is%s there\n", c->name, paths[i],
				is_wanted ? " not" : "");
	}
	arena_release(&arena);
	return good;
}

/* False: nothing was written for so long that nobody can be building. */
static bool wait_for_commit(struct world *w, unsigned seen)
{
	struct timespec until;
	int code = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&w->mu);
	while (w->commits == seen && code == 0)
		code = pthread_cond_timedwait(&w->written, &w->mu, &until);
	pthread_mutex_unlock(&w->mu);
	return code == 0;
}

/* The builder's last commit is followed by that of the catalogue's record. */
void world_wait_built(struct world *w, const char *collection)
{
	struct collection *c;
	struct error err;
	unsigned seen;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	do {
		pthread_mutex_lock(&w->mu);
		seen = w->commits;
		pthread_mutex_unlock(&w->mu);
		if (!shape_of(c).is_building) {
			catalog_release(w->catalog, c);
			return;
		}
	} while (wait_for_commit(w, seen));
	fprintf(stderr, "%s: nobody builds what Modify left\n", collection);
	exit(1);
}
