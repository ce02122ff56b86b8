#include "services/repo/collection.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* Field numbers of collector.Collection and collector.VectorIndex. */
enum { FIELD_VECTOR = 130, FIELD_VECTOR_FIELD = 1 };

#define USUAL_URL_PREFIX "type.googleapis.com/"

/* ------------------------------------------------------------ type */

static enum status find_vector(struct collection *c, const struct store_definition *stored,
			       struct arena *arena, struct error *err)
{
	struct bytes index = {0}, path = {0};
	enum status status;

	c->vector = (struct vector_field){0};
	if (!stored->vector_dimensions)
		return STATUS_OK;
	(void)wire_find_bytes(stored->definition, FIELD_VECTOR, &index);
	(void)wire_find_bytes(index, FIELD_VECTOR_FIELD, &path);
	status = vector_field_find(c->type.message,
				   arena_strndup(arena, (const char *)path.data, path.size),
				   &c->vector, err);
	c->vector.dimensions = stored->vector_dimensions;
	c->vector.metric = stored->vector_metric;
	return status;
}

static enum status load_type(struct collection *c, struct types *types, struct error *err)
{
	struct store_definition stored;
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	status = store_load(c->store, &arena, &stored, err);
	if (status == STATUS_OK)
		status = types_load(types, stored.descriptor_set, stored.message_name, &c->type,
				    err);
	if (status == STATUS_OK)
		status = find_vector(c, &stored, &arena, err);
	if (status == STATUS_OK) {
		c->message_name = xstrdup(stored.message_name);
		c->type_url = xasprintf(USUAL_URL_PREFIX "%s", stored.message_name);
		c->has_text = stored.has_text;
		c->may_hold_any = types_may_hold_any(c->type.message);
	}
	arena_release(&arena);
	return status;
}

/* ------------------------------------------------------------ files */

static void add_blob(void *arg, const char *blob)
{
	map_put(arg, blob, arg);
}

static bool is_known(void *arg, const char *name)
{
	return map_get(arg, name) != NULL;
}

/* Once in a process: after that, what is written and not yet known has an owner. */
static enum status clean_files(struct collection *c, struct error *err)
{
	struct map known = {0};
	enum status status = STATUS_OK;

	if (c->files_are_clean)
		return STATUS_OK;
	status = store_list_blobs(c->store, add_blob, &known, err);
	if (status == STATUS_OK)
		files_remove_left_overs(c->files, is_known, &known);
	map_release(&known, NULL);
	c->files_are_clean = status == STATUS_OK;
	return status;
}

/* ------------------------------------------------------------ life */

enum status collection_open(struct collection *c, const char *directory, struct types *types,
			    struct vector_cache *vectors, struct error *err)
{
	enum status status = store_open(directory, &c->store, err);

	if (status != STATUS_OK)
		return status;
	if (vectors)
		store_use_vector_cache(c->store, vectors);
	c->files = files_new(directory);
	c->types = types;
	status = load_type(c, types, err);
	if (status == STATUS_OK)
		status = clean_files(c, err);
	if (status != STATUS_OK)
		collection_close(c);
	return status;
}

void collection_close(struct collection *c)
{
	store_close(c->store);
	files_free(c->files);
	pool_unref(c->type.pool);
	free((char *)c->message_name);
	free((char *)c->type_url);
	c->store = NULL;
	c->files = NULL;
	c->message_name = c->type_url = NULL;
	c->type = (struct type){0};
}
