#include "tests/crash/world.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/random.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "common/reflect/wire.h"
#include "services/repo/query.h"

/* Records: a built-in message with two texts. */
#define MESSAGE "collector.NamespacedName"

enum { FIELD_VALUE = 2, FIELD_PADDING = 1000, NOW_US = WORLD_NOW_US };

void must(enum status status, const struct error *err, const char *what)
{
	if (status == STATUS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, err->message);
	exit(1);
}

/* The key of page tokens, so that it can be expected. */
static void key_text(const struct world *w, char out[EXPECTED_TEXT_MAX])
{
	static const uint8_t no_key[HASH_KEY_BYTES];

	(void)snprintf(
		out, EXPECTED_TEXT_MAX, "%016llx",
		(unsigned long long)hash_siphash(no_key, w->key.bytes, sizeof(w->key.bytes)));
}

/* The writer's thread: somebody may wait for what was written. */
static void committed(void *arg, const char *incarnation)
{
	struct world *w = arg;

	(void)incarnation;
	pthread_mutex_lock(&w->mu);
	w->commits++;
	pthread_cond_broadcast(&w->written);
	pthread_mutex_unlock(&w->mu);
}

void world_open(struct world *w, const char *directory)
{
	AUTO_FREE char *key = xasprintf("%s/page_token.key", directory);
	char text[EXPECTED_TEXT_MAX];
	struct error err;

	w->types = types_new(NULL);
	w->commits = 0;
	pthread_mutex_init(&w->mu, NULL);
	pthread_cond_init(&w->written, NULL);
	must(page_token_load_key(key, &w->key, &err), &err, "page_token_load_key");
	const struct catalog_options options = {
		.directory = directory,
		.writer_threads = 1,
		.max_open = 16,
		.types = w->types,
		.notify = committed,
		.notify_arg = w,
	};
	must(catalog_open(&options, &w->catalog, &err), &err, "catalog_open");
	key_text(w, text);
	expectation_done("key", "the", text);
}

void world_close(struct world *w)
{
	catalog_close(w->catalog);
	types_free(w->types);
	pthread_cond_destroy(&w->written);
	pthread_mutex_destroy(&w->mu);
}

/* ------------------------------------------------------------ collections */

void world_describe(const char *collection, const char *message, struct strbuf *out)
{
	char incarnation[UUID_TEXT_BYTES];

	random_uuid7(NOW_US / 1000, incarnation);
	wire_add_string(out, 1, "default");
	wire_add_string(out, 2, collection);
	size_t mark = wire_open(out, 3);
	wire_add_string(out, 2, message);
	wire_close(out, mark);
	wire_add_string(out, 102, incarnation);
	wire_add_uint(out, 103, 1);
}

void world_create(struct world *w, const char *collection)
{
	AUTO_STRBUF definition = STRBUF_INIT;
	struct search_path path;
	const struct search_path *const indexed[] = {&path};
	struct arena arena;
	struct error err;
	struct type type;

	arena_init(&arena, 0);
	world_describe(collection, MESSAGE, &definition);
	wire_add_string(&definition, 4, "name");
	must(types_load(w->types, (struct bytes){0}, MESSAGE, &type, &err), &err, "types_load");
	must(search_resolve(type.pool, type.message, "name", &arena, &path, &err), &err,
	     "path");
	const struct store_definition d = {
		.definition = bytes_of(definition.buf, definition.len),
		.message_name = MESSAGE,
		.indexed = indexed,
		.indexed_count = 1,
		.has_text = true,
		.created_us = NOW_US,
	};
	expectation_begin(collection, "", "yes");
	expectation_begin(collection, "shape of", "name all");
	enum status status = catalog_create(w->catalog, &d, &err);
	/* Killed before, it may have been made. */
	if (status != STATUS_ALREADY_EXISTS)
		must(status, &err, "catalog_create");
	expectation_done(collection, "", "yes");
	expectation_done(collection, "shape of", "name all");
	pool_unref(type.pool);
	arena_release(&arena);
}

void world_delete(struct world *w, const char *collection)
{
	struct error err;
	int64_t records;

	expectation_begin(collection, "", "");
	must(catalog_delete(w->catalog, "default", collection, NOW_US, &records, &err), &err,
	     "catalog_delete");
	expectation_done(collection, "", "");
}

/* ------------------------------------------------------------ records */

struct put {
	struct store_batch batch; /* first */
	struct store_write store;
	struct strbuf proto, doc;
	struct world_vectors vectors;
	const char *collection;
	char id[EXPECTED_TEXT_MAX], value[EXPECTED_TEXT_MAX];
	struct put *next; /* of the same batch */
	struct waiting *waiting;
};

struct waiting {
	pthread_mutex_t mu;
	pthread_cond_t all_done;
	size_t left;
};

static void prepare(struct put *p, struct collection *c, const char *id, const char *value,
		    size_t padding)
{
	struct error err;

	*p = (struct put){.collection = c->name};
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	(void)snprintf(p->value, sizeof(p->value), "%s", value);
	wire_add_string(&p->proto, FIELD_VALUE, value);
	if (padding) {
		AUTO_FREE char *text = xcalloc(1, padding + 1);

		memset(text, 'p', padding);
		wire_add_string(&p->proto, FIELD_PADDING, text);
	}
	world_add_vectors(c, value, &p->proto);
	p->store = (struct store_write){
		.expectation = STORE_MAY_EXIST,
		.id = p->id,
		.proto = bytes_of(p->proto.buf, p->proto.len),
		.now_us = NOW_US,
	};
	const struct bytes rest = world_take_vectors(c, &p->store, &p->vectors);
	must(wire_to_jsonb(c->type.pool, c->type.message, rest, JSON_OUT_SEARCH, &p->doc, &err),
	     &err, "wire_to_jsonb");
	p->store.doc = bytes_of(p->doc.buf, p->doc.len);
}

static void put_release(struct put *p)
{
	strbuf_release(&p->proto);
	strbuf_release(&p->doc);
	world_vectors_release(&p->vectors);
}

static struct collection *acquire(struct world *w, const char *name)
{
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", name, &c, &err), &err, "catalog_acquire");
	return c;
}

void world_put_large(struct world *w, const char *collection, const char *id, const char *value,
		     size_t padding)
{
	struct collection *c = acquire(w, collection);
	struct error err;
	struct put p;

	prepare(&p, c, id, value, padding);
	expectation_begin(collection, id, value);
	must(writer_run(catalog_writer(w->catalog), c->queue, &p.store, &err), &err, "put");
	expectation_done(collection, id, value);
	put_release(&p);
	catalog_release(w->catalog, c);
}

void world_put(struct world *w, const char *collection, const char *id, const char *value)
{
	world_put_large(w, collection, id, value, 0);
}

void world_remove(struct world *w, const char *collection, const char *id)
{
	struct collection *c = acquire(w, collection);
	struct store_write remove = {
		.is_delete = true, .expectation = STORE_MUST_EXIST, .id = id, .now_us = NOW_US};
	struct error err;

	expectation_begin(collection, id, "");
	must(writer_run(catalog_writer(w->catalog), c->queue, &remove, &err), &err, "remove");
	expectation_done(collection, id, "");
	catalog_release(w->catalog, c);
}

static void batch_done(struct store_batch *batch)
{
	struct put *first = (struct put *)batch;

	must(batch->status, &batch->error, "batch");
	for (struct put *p = first; p; p = p->next) {
		must(p->store.status, &p->store.error, "put");
		expectation_done(p->collection, p->id, p->value);
	}
	pthread_mutex_lock(&first->waiting->mu);
	if (--first->waiting->left == 0)
		pthread_cond_signal(&first->waiting->all_done);
	pthread_mutex_unlock(&first->waiting->mu);
}

/* Link all puts into one batch. */
static void join(struct put *puts, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) {
		puts[i].next = &puts[i + 1];
		puts[i].store.next = &puts[i + 1].store;
	}
}

static void put_all(struct world *w, const char *collection, const char *prefix,
		    const char *value, size_t count, bool atomic)
{
	struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
				  atomic ? 1 : count};
	struct collection *c = acquire(w, collection);
	struct put *puts = xcalloc(count, sizeof(*puts));

	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *id = xasprintf("%s%zu", prefix, i);

		prepare(&puts[i], c, id, value, 0);
		puts[i].batch = (struct store_batch){
			.writes = &puts[i].store, .atomic = atomic, .done = batch_done};
		puts[i].waiting = &waiting;
		expectation_begin(collection, id, value);
	}
	if (atomic)
		join(puts, count);
	for (size_t i = 0; i < (atomic ? 1 : count); i++)
		if (!writer_submit(catalog_writer(w->catalog), c->queue, &puts[i].batch))
			exit(1);
	pthread_mutex_lock(&waiting.mu);
	while (waiting.left)
		pthread_cond_wait(&waiting.all_done, &waiting.mu);
	pthread_mutex_unlock(&waiting.mu);
	for (size_t i = 0; i < count; i++)
		put_release(&puts[i]);
	free(puts);
	catalog_release(w->catalog, c);
}

void world_put_many(struct world *w, const char *collection, const char *prefix,
		    const char *value, size_t count)
{
	put_all(w, collection, prefix, value, count, false);
}

void world_put_batch(struct world *w, const char *collection, const char *prefix,
		     const char *value, size_t count)
{
	expectation_atomic(collection, prefix, value);
	put_all(w, collection, prefix, value, count, true);
}

/* ------------------------------------------------------------ checking */

static bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
	return false;
}

static bool count_row(void *arg, const struct store_record *record)
{
	(void)record;
	++*(size_t *)arg;
	return true;
}

struct query *world_query(const struct collection *c, const char *value, struct arena *arena)
{
	const struct query_operand o = {.type = OPERAND_TEXT, .text = value};
	struct query *q = arena_zalloc(arena, sizeof(*q));
	struct error err;

	query_init(q, c->type.pool, c->type.message, arena);
	if (value)
		must(query_add(q, "name", QUERY_EQUALS, &o, 1, "", &err), &err, "query_add");
	return q;
}

/* How many records a query finds; @condition and @text are NULL or a value's. */
static size_t find(struct collection *c, const char *condition, const char *text)
{
	struct store_reader *reader;
	struct arena arena;
	struct query *q;
	struct error err;
	size_t count = 0;

	arena_init(&arena, 0);
	q = world_query(c, condition, &arena);
	if (text)
		query_set_text(q, text, false);
	query_finish(q);
	must(store_take_reader(c->store, &reader, &err), &err, "store_take_reader");
	must(store_query(reader, q, count_row, &count, &err), &err, "store_query");
	store_give_reader(c->store, reader);
	arena_release(&arena);
	return count;
}

static void value_of(struct collection *c, const char *id, char out[EXPECTED_TEXT_MAX])
{
	struct store_record record;
	struct store_reader *reader;
	struct arena arena;
	struct error err;

	arena_init(&arena, 0);
	*out = '\0';
	must(store_take_reader(c->store, &reader, &err), &err, "store_take_reader");
	enum status status = store_get(reader, id, &arena, &record, &err);
	if (status != STATUS_NOT_FOUND) {
		struct bytes value = {NULL, 0};

		must(status, &err, "store_get");
		if (wire_find_bytes(record.proto, FIELD_VALUE, &value) && value.size < 39)
			(void)snprintf(out, EXPECTED_TEXT_MAX, "%.*s", (int)value.size,
				       (const char *)value.data);
	}
	store_give_reader(c->store, reader);
	arena_release(&arena);
}

/* What is found of it, "": it is not there. */
static void look_for(struct world *w, struct collection *c, const struct expected *x,
		     char out[EXPECTED_TEXT_MAX])
{
	if (expected_which(x, "file"))
		world_file_value(c, expected_which(x, "file"), out);
	else if (expected_which(x, "shape"))
		world_shape_value(c, out);
	else if (expected_which(x, "quota"))
		world_quota_value(c, out);
	else if (expected_which(x, "vectors"))
		world_vectors_value(c, out);
	else if (expected_which(x, "lease"))
		world_lease_value(w, c, expected_which(x, "lease"), out);
	else
		value_of(c, x->id, out);
}

/* Of an atomic batch all records have its value, or none has. */
static bool check_batches(struct world *w, struct collection *c, const struct expectations *e)
{
	for (const struct expected *b = e->all; b < e->all + e->count; b++) {
		size_t all = 0, written = 0;

		if (!b->is_batch || strcmp(b->collection, c->name) != 0)
			continue;
		for (const struct expected *x = e->all; x < e->all + e->count; x++) {
			char value[EXPECTED_TEXT_MAX];

			if (x->is_batch || strcmp(x->collection, c->name) != 0 || !*x->id ||
			    strncmp(x->id, b->id, strlen(b->id)) != 0)
				continue;
			look_for(w, c, x, value);
			all++;
			written += !strcmp(value, b->done);
		}
		if (written && written != all)
			return wrong("%zu of a batch of %zu were written", written, all);
	}
	return true;
}

void world_read(struct world *w, const char *collection, const char *id)
{
	struct collection *c;
	struct error err;
	char value[EXPECTED_TEXT_MAX];
	enum status status = catalog_acquire(w->catalog, "default", collection, &c, &err);

	if (status == STATUS_NOT_FOUND)
		return;
	must(status, &err, "catalog_acquire");
	expectation_done(collection, "", "yes");
	value_of(c, id, value);
	if (*value)
		expectation_done(collection, id, value);
	catalog_release(w->catalog, c);
}

/* The collection's records and whatever else; counter, index and text agree with them. */
static bool check_all(struct world *w, struct collection *c, const struct expectations *e)
{
	const bool has_text = world_has_text(c);
	struct store_sizes sizes;
	struct error err;
	size_t present = 0;

	for (const struct expected *x = e->all; x < e->all + e->count; x++) {
		char value[EXPECTED_TEXT_MAX];

		if (!*x->id || x->is_batch || expected_which(x, "tokens") ||
		    strcmp(x->collection, c->name) != 0)
			continue;
		look_for(w, c, x, value);
		if (!expected_allows(x, value))
			return wrong("%s/%s is \"%s\", must be \"%s\"", c->name, x->id, value,
				     x->done);
		if (!*value || !expected_is_record(x))
			continue;
		present++;
		if (!find(c, value, NULL) || (has_text && !find(c, NULL, value)) ||
		    !world_is_found_by_vector(c, value))
			return wrong("%s/%s is not found by its value", c->name, x->id);
	}
	must(store_measure(c->store, &sizes, &err), &err, "store_measure");
	if (find(c, NULL, NULL) != present || (size_t)sizes.record_count != present)
		return wrong("%s: %zu records are there, %zu listed, %lld counted", c->name,
			     present, find(c, NULL, NULL), (long long)sizes.record_count);
	return world_vectors_are_whole(c, present) && world_quota_holds(w, c, present);
}

/* While what was left to build is being built. */
static bool check_meanwhile(struct collection *c, const struct expectations *e)
{
	for (const struct expected *x = e->all; x < e->all + e->count; x++) {
		char value[EXPECTED_TEXT_MAX];

		if (!*x->id || x->is_batch || !expected_is_record(x) ||
		    strcmp(x->collection, c->name) != 0)
			continue;
		value_of(c, x->id, value);
		if (*value && !world_is_found_by_vector(c, value))
			return wrong("%s/%s is not found meanwhile", c->name, x->id);
	}
	return true;
}

static bool check_collection(struct world *w, const struct expected *x,
			     const struct expectations *e)
{
	struct collection *c;
	struct error err;
	enum status status = catalog_acquire(w->catalog, "default", x->collection, &c, &err);
	bool good;

	if (status == STATUS_NOT_FOUND)
		return expected_allows(x, "") ||
		       wrong("collection %s is not there", x->collection);
	must(status, &err, "catalog_acquire");
	good = expected_allows(x, "yes") || wrong("collection %s is there", x->collection);
	good = good && check_meanwhile(c, e);
	world_wait_built(w, x->collection);
	good = good && check_all(w, c, e) && check_batches(w, c, e) &&
	       world_shape_is_whole(c) && world_tokens_go_on(w, c, e);
	catalog_release(w->catalog, c);
	return good;
}

/* A token of before the crash must be taken after it. */
static bool check_key(const struct world *w, const struct expectations *e)
{
	char now[EXPECTED_TEXT_MAX];

	key_text(w, now);
	for (const struct expected *x = e->all; x < e->all + e->count; x++)
		if (!strcmp(x->collection, "key") && *x->done && strcmp(x->done, now) != 0)
			return wrong("the key of page tokens has changed");
	return true;
}

bool world_is_as_expected(const char *directory, const struct expectations *e)
{
	struct world w;
	bool good = true;

	world_open(&w, directory);
	good = check_key(&w, e);
	for (const struct expected *x = e->all; good && x < e->all + e->count; x++)
		if (!*x->id)
			good = check_collection(&w, x, e);
	good = good && world_is_clean(&w, directory);
	/* It can be worked with. */
	if (good) {
		world_create(&w, "afterwards");
		world_put(&w, "afterwards", "1", "one");
	}
	world_close(&w);
	return good && world_is_sound(directory, 0);
}
