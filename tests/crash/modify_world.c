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

static bool is_changed(uint32_t field)
{
	return field == FIELD_INDEXED || field == FIELD_TEXT_FIELDS ||
	       field == FIELD_TEXT_DISABLED || field == FIELD_SCHEMA_VERSION ||
	       field == FIELD_BUILDING;
}

static void define(const struct collection *c, const char *indexed, enum world_text text,
		   struct strbuf *out)
{
	struct wire_cursor cursor = wire_cursor_of(c->definition);
	struct wire_field f;

	while (wire_next(&cursor, &f))
		if (!is_changed(f.number))
			strbuf_add(out, f.raw.data, f.raw.size);
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

void world_modify(struct world *w, const char *collection, const char *indexed,
		  enum world_text text)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	AUTO_STRBUF building = STRBUF_INIT;
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
	strbuf_add(&building, definition.buf, definition.len);
	wire_add_uint(&building, FIELD_BUILDING, 1);
	struct store_modify m = {
		.definition = bytes_of(definition.buf, definition.len),
		.building_definition = bytes_of(building.buf, building.len),
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
	expectation_begin(collection, "shape of", value);
	must(catalog_modify(w->catalog, "default", collection, &m, WORLD_NOW_US, &err), &err,
	     "catalog_modify");
	expectation_done(collection, "shape of", value);
	catalog_release(w->catalog, c);
	arena_release(&arena);
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
