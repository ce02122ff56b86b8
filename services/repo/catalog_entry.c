#include "services/repo/catalog_entry.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/wire.h"
#include "services/repo/builder.h"

/* ------------------------------------------------------------ entries */

static char *text_field(struct bytes message, uint32_t number)
{
	struct bytes text = {NULL, 0};

	(void)wire_find_bytes(message, number, &text);
	return xstrndup(text.data ? (const char *)text.data : "", text.size);
}

struct entry *entry_new(struct bytes definition)
{
	struct entry *e = xcalloc(1, sizeof(*e));
	struct collection *c = &e->collection;

	c->ns = text_field(definition, FIELD_NAMESPACE);
	c->name = text_field(definition, FIELD_NAME);
	c->incarnation = text_field(definition, FIELD_INCARNATION);
	c->definition = bytes_of(xmemdup(definition.data, definition.size), definition.size);
	e->id = xasprintf("%s/%s", c->ns, c->name);
	e->refs = 1;
	pthread_mutex_init(&e->opening, NULL);
	return e;
}

void entry_free(struct entry *e)
{
	struct collection *c = &e->collection;

	free((char *)c->ns);
	free((char *)c->name);
	free((char *)c->incarnation);
	free((uint8_t *)c->definition.data);
	free(e->id);
	pthread_mutex_destroy(&e->opening);
	free(e);
}

char *entry_directory(const struct catalog *catalog, const struct collection *c)
{
	return xasprintf("%s/ns/%s/%s/%s", catalog->directory, c->ns, c->name, c->incarnation);
}

bool entry_is_building(const struct entry *e)
{
	struct wire_cursor c = wire_cursor_of(e->collection.definition);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == FIELD_BUILDING && f.value)
			return true;
	return false;
}

/* What the store says it is counts; the catalogue's record follows. */
static void take_definition(struct catalog *catalog, struct entry *e, struct bytes stored)
{
	struct collection *c = &e->collection;

	if (bytes_equal(stored, c->definition)) {
		free((uint8_t *)stored.data);
		return;
	}
	pthread_mutex_lock(&catalog->mu);
	free((uint8_t *)c->definition.data);
	c->definition = stored;
	pthread_mutex_unlock(&catalog->mu);
	/* If it cannot be written now, it is when the collection is opened again. */
	if (e != catalog->self)
		(void)!entry_record(catalog, e, ENTRY_CHANGES, clock_unix_us(), NULL);
}

enum status entry_load(struct catalog *catalog, struct entry *e, struct error *err)
{
	struct bytes stored;
	enum status status =
		collection_load(&e->collection, catalog->options.types, &stored, err);

	if (status == STATUS_OK)
		take_definition(catalog, e, stored);
	return status;
}

static enum status is_there_to_build(const struct collection *c, bool *ret, struct error *err)
{
	struct store_build_state state = {.is_building = false};
	struct store_reader *reader;
	enum status status = store_take_reader(c->store, &reader, err);

	if (status != STATUS_OK)
		return status;
	status = store_build_state(reader, &state, err);
	store_give_reader(c->store, reader);
	*ret = state.is_building;
	return status;
}

enum status entry_open(struct catalog *catalog, struct entry *e, struct error *err)
{
	struct collection *c = &e->collection;
	AUTO_FREE char *directory = entry_directory(catalog, c);
	struct bytes stored;
	bool is_building;
	enum status status = collection_open(c, directory, catalog->options.types,
					     catalog->options.vectors, &stored, err);

	if (status != STATUS_OK)
		return status;
	take_definition(catalog, e, stored);
	status = is_there_to_build(c, &is_building, err);
	if (status != STATUS_OK) {
		collection_close(c);
		return status;
	}
	store_retain(c->store, &catalog->options.retention);
	c->queue = xcalloc(1, sizeof(*c->queue));
	writer_bind(catalog->writer, c->queue, c->store, c->incarnation);
	if (is_building || entry_is_building(e))
		builder_add(catalog->builder, c->ns, c->name);
	return STATUS_OK;
}
