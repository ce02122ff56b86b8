/* Records with vectors in the world: collected anew by Modify, and found all the while. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/repo/query.h"
#include "tests/crash/world.h"

#define MESSAGE "crash.Placed"

/* Of collector.Collection and collector.VectorIndex. */
enum {
	FIELD_MESSAGE_TYPE = 3,
	FIELD_VECTOR = 130,
	FIELD_PATH = 1,
	FIELD_DIMENSIONS = 2,
	FIELD_METRIC = 3,
};

/* Of the message, as of descriptors. */
enum { FIELD_VALUE = 2, FIELD_NEAR = 3, FIELD_FAR = 4, NEAR = 2, FAR = 3 };
enum { TYPE_STRING = 9, TYPE_FLOAT = 2, LABEL_OPTIONAL = 1, LABEL_REPEATED = 3 };

/* ------------------------------------------------------------ the type */

static void add_field(struct strbuf *out, const char *name, uint64_t number, uint64_t label,
		      uint64_t type)
{
	const size_t mark = wire_open(out, 2);

	wire_add_string(out, 1, name);
	wire_add_uint(out, 3, number);
	wire_add_uint(out, 4, label);
	wire_add_uint(out, 5, type);
	wire_close(out, mark);
}

/* A google.protobuf.FileDescriptorSet. */
static void describe_type(struct strbuf *out)
{
	const size_t file = wire_open(out, 1);

	wire_add_string(out, 1, "crash/placed.proto");
	wire_add_string(out, 2, "crash");
	const size_t message = wire_open(out, 4);
	wire_add_string(out, 1, "Placed");
	add_field(out, "namespace", 1, LABEL_OPTIONAL, TYPE_STRING);
	add_field(out, "name", FIELD_VALUE, LABEL_OPTIONAL, TYPE_STRING);
	add_field(out, "near", FIELD_NEAR, LABEL_REPEATED, TYPE_FLOAT);
	add_field(out, "far", FIELD_FAR, LABEL_REPEATED, TYPE_FLOAT);
	wire_close(out, message);
	wire_add_string(out, 12, "proto3");
	wire_close(out, file);
}

/* ------------------------------------------------------------ vectors of values */

static size_t dimensions_of(const char *field)
{
	return !strcmp(field, "near") ? NEAR : !strcmp(field, "far") ? FAR : 0;
}

/* Values that differ have others, exactly kept; near and far have nothing in common. */
static void numbers_of(const char *value, size_t dimensions, float *out)
{
	static const uint8_t no_key[HASH_KEY_BYTES]; /* all processes must agree */
	const uint64_t h = hash_siphash(no_key, value, strlen(value)) / dimensions;

	for (size_t i = 0; i < dimensions; i++)
		out[i] = (float)(h >> (12 * i) & 0xfff);
}

static void add_numbers(struct strbuf *proto, uint32_t number, const char *value,
			size_t dimensions)
{
	const size_t mark = wire_open(proto, number);
	float numbers[FAR];

	numbers_of(value, dimensions, numbers);
	strbuf_add(proto, numbers, dimensions * sizeof(*numbers));
	wire_close(proto, mark);
}

void world_add_vectors(const struct collection *c, const char *value, struct strbuf *proto)
{
	if (strcmp(c->message_name, MESSAGE) != 0)
		return;
	add_numbers(proto, FIELD_NEAR, value, NEAR);
	add_numbers(proto, FIELD_FAR, value, FAR);
}

static struct bytes take(const struct vector_field *field, struct bytes proto,
			 struct strbuf *rest, struct strbuf *vector)
{
	struct error err;

	if (!field->depth)
		return proto;
	must(vector_field_take(field, proto, rest, vector, &err), &err, "vector_field_take");
	return bytes_of(rest->buf, rest->len);
}

struct bytes world_take_vectors(const struct collection *c, struct store_write *w,
				struct world_vectors *v)
{
	(void)take(&c->old_vector, w->proto, &v->old_rest, &v->old);
	const struct bytes rest = take(&c->vector, w->proto, &v->rest, &v->vector);

	w->schema_version = c->schema_version;
	w->vector.generation = c->vector_generation;
	w->vector.numbers = bytes_of(v->vector.buf, v->vector.len);
	w->old_vector.generation = c->old_generation;
	w->old_vector.numbers = bytes_of(v->old.buf, v->old.len);
	return rest;
}

void world_vectors_release(struct world_vectors *v)
{
	strbuf_release(&v->rest);
	strbuf_release(&v->vector);
	strbuf_release(&v->old_rest);
	strbuf_release(&v->old);
}

/* ------------------------------------------------------------ create and modify */

static void add_index(struct strbuf *definition, const char *field)
{
	const size_t mark = wire_open(definition, FIELD_VECTOR);

	wire_add_string(definition, FIELD_PATH, field);
	wire_add_uint(definition, FIELD_DIMENSIONS, dimensions_of(field));
	wire_add_uint(definition, FIELD_METRIC, VECTOR_L2);
	wire_close(definition, mark);
}

void world_create_vectors(struct world *w, const char *collection)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	AUTO_STRBUF types = STRBUF_INIT;
	struct error err;

	world_describe(collection, MESSAGE, &definition);
	add_index(&definition, "near");
	describe_type(&types);
	const struct store_definition d = {
		.definition = bytes_of(definition.buf, definition.len),
		.descriptor_set = bytes_of(types.buf, types.len),
		.message_name = MESSAGE,
		.has_text = true,
		.vectors = {NEAR, VECTOR_L2},
		.created_us = WORLD_NOW_US,
	};
	expectation_begin(collection, "", "yes");
	expectation_begin(collection, "vectors of", "near");
	must(catalog_create(w->catalog, &d, &err), &err, "catalog_create");
	expectation_done(collection, "", "yes");
	expectation_done(collection, "vectors of", "near");
}

void world_modify_vectors(struct world *w, const char *collection, const char *field)
{
	static const uint32_t changed[] = {FIELD_VECTOR, 0};
	AUTO_STRBUF definition = STRBUF_INIT;
	AUTO_STRBUF numbers = STRBUF_INIT;
	struct store_modify m = {.sets_vector = true,
				 .vectors = {dimensions_of(field), VECTOR_L2}};
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	world_definition(c, changed, &definition);
	if (dimensions_of(field))
		add_index(&definition, field);
	vector_field_write(&c->vector, &numbers);
	m.old_vector_field = c->vector.depth ? c->vector.names[0] : "";
	m.old_vector_numbers = strbuf_str(&numbers);
	world_modify_as(w, collection, &m, &definition, "vectors of", field);
	catalog_release(w->catalog, c);
}

/* ------------------------------------------------------------ what is there */

void world_vectors_value(struct collection *c, char out[EXPECTED_TEXT_MAX])
{
	(void)snprintf(out, EXPECTED_TEXT_MAX, "%s",
		       c->vector.depth ? c->vector.names[0] : "none");
}

struct found {
	size_t count;
	char value[EXPECTED_TEXT_MAX];
	double distance;
};

static bool take_found(void *arg, const struct store_record *record)
{
	struct found *f = arg;
	struct bytes value = {NULL, 0};

	(void)wire_find_bytes(record->proto, FIELD_VALUE, &value);
	(void)snprintf(f->value, sizeof(f->value), "%.*s", (int)value.size,
		       (const char *)value.data);
	f->distance = record->distance;
	f->count++;
	return true;
}

static enum status search(struct store_reader *reader, const struct collection *c,
			  const char *value, size_t dimensions, struct found *ret,
			  struct error *err)
{
	struct arena arena;
	float numbers[FAR];
	struct query *q;
	enum status status;

	arena_init(&arena, 0);
	q = world_query(c, NULL, &arena);
	numbers_of(value, dimensions, numbers);
	q->vector = numbers;
	q->vector_len = dimensions;
	q->limit = 1;
	query_finish(q);
	status = store_query(reader, q, take_found, ret, err);
	arena_release(&arena);
	return status;
}

/* A switch may come between looking which there are and searching. */
static bool is_found_now(struct collection *c, const char *value, bool *ret_searched)
{
	struct store_vector_state state;
	struct store_reader *reader;
	struct found found = {.count = 0};
	struct arena arena;
	struct error err;
	enum status status = STATUS_OK;

	arena_init(&arena, 0);
	must(store_take_reader(c->store, &reader, &err), &err, "store_take_reader");
	must(store_vector_state(reader, &arena, &state, &err), &err, "store_vector_state");
	if (state.now.dimensions)
		status = search(reader, c, value, state.now.dimensions, &found, &err);
	store_give_reader(c->store, reader);
	arena_release(&arena);
	*ret_searched = status == STATUS_OK;
	return !state.now.dimensions ||
	       (found.count == 1 && found.distance < 1e-3 && !strcmp(found.value, value));
}

bool world_is_found_by_vector(struct collection *c, const char *value)
{
	bool searched = false, found = false;

	if (strcmp(c->message_name, MESSAGE) != 0)
		return true;
	for (int i = 0; !searched && i < 3; i++)
		found = is_found_now(c, value, &searched);
	return searched && found;
}

/* All is built: they are of the definition, one of each record, and no others are left. */
bool world_vectors_are_whole(struct collection *c, size_t records)
{
	struct store_vector_state state;
	struct store_reader *reader;
	struct arena arena;
	struct error err;
	int64_t left = 0;

	if (strcmp(c->message_name, MESSAGE) != 0)
		return true;
	arena_init(&arena, 0);
	must(store_take_reader(c->store, &reader, &err), &err, "store_take_reader");
	must(store_vector_state(reader, &arena, &state, &err), &err, "store_vector_state");
	store_give_reader(c->store, reader);
	arena_release(&arena);
	left = state.now_count - (state.now.dimensions ? (int64_t)records : 0);
	if (!state.has_next && state.now.dimensions == c->vector.dimensions && !left)
		return true;
	fprintf(stderr, "%s: %lld vectors of %zu numbers, not %zu of %zu\n", c->name,
		(long long)state.now_count, state.now.dimensions, records,
		c->vector.dimensions);
	return false;
}
