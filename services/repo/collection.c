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

	c->vector = c->old_vector = (struct vector_field){0};
	c->vector_generation = stored->vector_generation;
	c->old_generation = stored->old_generation;
	if (stored->old_vectors.dimensions &&
	    !vector_field_read(stored->old_vector_numbers, &c->old_vector))
		return error_set(err, STATUS_DATA_LOSS, "there is no field \"%s\" of vectors",
				 stored->old_vector_numbers);
	c->old_vector.dimensions = stored->old_vectors.dimensions;
	c->old_vector.metric = stored->old_vectors.metric;
	if (!stored->vectors.dimensions)
		return STATUS_OK;
	(void)wire_find_bytes(stored->definition, FIELD_VECTOR, &index);
	(void)wire_find_bytes(index, FIELD_VECTOR_FIELD, &path);
	status = vector_field_find(c->type.message,
				   arena_strndup(arena, (const char *)path.data, path.size),
				   &c->vector, err);
	c->vector.dimensions = stored->vectors.dimensions;
	c->vector.metric = stored->vectors.metric;
	return status;
}

static enum status load_type(struct collection *c, struct types *types,
			     const struct store_definition *stored, struct arena *arena,
			     struct error *err)
{
	enum status status = STATUS_OK;

	c->types = types;
	if (!*stored->message_name)
		types_dynamic(types, &c->type);
	else
		status = types_load(types, stored->descriptor_set, stored->message_name,
				    &c->type, err);
	/* It is in @arena. */
	c->type.descriptor_set = (struct bytes){NULL, 0};
	if (status == STATUS_OK)
		status = find_vector(c, stored, arena, err);
	if (status != STATUS_OK)
		return status;
	c->message_name = xstrdup(stored->message_name);
	c->type_url = xasprintf(USUAL_URL_PREFIX "%s", stored->message_name);
	c->has_text = stored->has_text;
	c->schema_version = stored->schema_version;
	c->may_hold_any = types_may_hold_any(c->type.message);
	return STATUS_OK;
}

enum status collection_load(struct collection *c, struct types *types,
			    struct bytes *ret_definition, struct error *err)
{
	struct store_definition stored;
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	status = store_load(c->store, &arena, &stored, err);
	if (status == STATUS_OK)
		status = load_type(c, types, &stored, &arena, err);
	if (status == STATUS_OK)
		*ret_definition =
			bytes_of(xmemdup(stored.definition.data, stored.definition.size),
				 stored.definition.size);
	arena_release(&arena);
	return status;
}

void collection_forget_type(struct collection *c)
{
	pool_unref(c->type.pool);
	free((char *)c->message_name);
	free((char *)c->type_url);
	c->message_name = c->type_url = NULL;
	c->type = (struct type){0};
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
			    struct vector_cache *vectors, struct bytes *ret_definition,
			    struct error *err)
{
	struct bytes definition = {NULL, 0};
	enum status status = store_open(directory, &c->store, err);

	if (status != STATUS_OK)
		return status;
	if (vectors)
		store_use_vector_cache(c->store, vectors);
	c->files = files_new(directory);
	status = collection_load(c, types, &definition, err);
	if (status == STATUS_OK)
		status = clean_files(c, err);
	if (status == STATUS_OK) {
		*ret_definition = definition;
		return STATUS_OK;
	}
	free((uint8_t *)definition.data);
	collection_close(c);
	return status;
}

void collection_close(struct collection *c)
{
	store_close(c->store);
	files_free(c->files);
	free(c->queue);
	collection_forget_type(c);
	c->store = NULL;
	c->files = NULL;
	c->queue = NULL;
}
