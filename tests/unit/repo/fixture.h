/*
 * A store of collector.Execution records, for the repo's unit tests: it has
 * texts, numbers, an enum, times, sub-messages and a list-free shape; lists and
 * maps are collector.Collection's.
 */
#ifndef TESTS_UNIT_REPO_FIXTURE_H
#define TESTS_UNIT_REPO_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "common/reflect/wire.h"
#include "services/repo/directory.h"
#include "services/repo/query.h"
#include "services/repo/store.h"
#include "services/repo/types.h"

struct fixture {
	char directory[48];
	struct arena arena;
	struct types *types;
	struct type type;
	struct store *store;
};

static struct fixture f;

static inline const struct search_path *fixture_path(const char *name)
{
	struct search_path *path = arena_alloc(&f.arena, sizeof(*path));
	struct error err;

	ck_assert_int_eq(
		search_resolve(f.type.pool, f.type.message, name, &f.arena, path, &err),
		STATUS_OK);
	return path;
}

/* A store of @message with these indexes (NULL at the end), opened. */
static inline void fixture_open(const char *message, const char *const *indexed, bool has_text)
{
	const struct search_path *paths[8];
	struct store_definition d = {.message_name = message,
				     .indexed = paths,
				     .has_text = has_text,
				     .definition = {(const uint8_t *)"d", 1}};
	struct error err;

	memcpy(f.directory, "/tmp/collector-test-repo-XXXXXX", 32);
	ck_assert_ptr_nonnull(mkdtemp(f.directory));
	arena_init(&f.arena, 0);
	f.types = types_new(NULL);
	ck_assert_int_eq(types_load(f.types, (struct bytes){0}, message, &f.type, &err),
			 STATUS_OK);
	for (; indexed[d.indexed_count]; d.indexed_count++)
		paths[d.indexed_count] = fixture_path(indexed[d.indexed_count]);
	ck_assert_int_eq(store_create(f.directory, &d, &err), STATUS_OK);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
}

static inline void fixture_close(void)
{
	store_close(f.store);
	pool_unref(f.type.pool);
	types_free(f.types);
	arena_release(&f.arena);
	directory_remove(f.directory);
}

/* A write of @proto under @id; its memory is the fixture's. */
static inline struct store_write *fixture_write(const char *id, const struct strbuf *proto)
{
	struct store_write *w = arena_zalloc(&f.arena, sizeof(*w));
	AUTO_STRBUF doc = STRBUF_INIT;
	struct error err;

	w->expectation = STORE_MAY_EXIST;
	w->id = arena_strdup(&f.arena, id);
	w->now_us = 1000000;
	w->proto = bytes_of(arena_memdup(&f.arena, proto->buf, proto->len), proto->len);
	ck_assert_int_eq(wire_to_jsonb(f.type.pool, f.type.message, w->proto, JSON_OUT_SEARCH,
				       &doc, &err),
			 STATUS_OK);
	w->doc = bytes_of(arena_memdup(&f.arena, doc.buf, doc.len), doc.len);
	return w;
}

/* As the writer does with one write. */
static inline void fixture_apply(struct store_write *w)
{
	struct store_batch b = {.writes = w};

	w->next = NULL;
	store_apply(f.store, &b);
	if (b.status != STATUS_OK) {
		w->status = b.status;
		w->error = b.error;
	}
}

/* Commit writes (NULL at the end) as one group. */
static inline void fixture_commit(struct store_write *const *writes)
{
	struct store_batch *group = NULL, **end = &group;
	struct error err;

	for (; *writes; writes++, end = &(*end)->next) {
		*end = arena_zalloc(&f.arena, sizeof(**end));
		(*end)->writes = *writes;
		(*writes)->next = NULL;
	}
	ck_assert_int_eq(store_write(f.store, group, &err), STATUS_OK);
	for (const struct store_batch *b = group; b; b = b->next) {
		if (b->status != STATUS_OK) {
			b->writes->status = b->status;
			b->writes->error = b->error;
		}
	}
}

static inline struct query *fixture_query(void)
{
	struct query *q = arena_alloc(&f.arena, sizeof(*q));

	query_init(q, f.type.pool, f.type.message, &f.arena);
	return q;
}

static inline bool fixture_collect(void *arg, const struct store_record *record)
{
	struct strbuf *ids = arg;

	if (ids->len)
		strbuf_addch(ids, ' ');
	strbuf_addstr(ids, record->id);
	return true;
}

/* The ids that @q finds, in order, with spaces between; in the arena. */
static inline const char *fixture_find(struct query *q)
{
	AUTO_STRBUF ids = STRBUF_INIT;
	struct store_reader *reader;
	struct error err;

	query_finish(q);
	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	enum status status = store_query(reader, q, fixture_collect, &ids, &err);
	ck_assert_msg(status == STATUS_OK, "%s", err.message);
	store_give_reader(f.store, reader);
	return arena_strdup(&f.arena, strbuf_str(&ids));
}

static inline struct store_cost fixture_cost(struct query *q, enum store_step step,
					     int64_t max_records)
{
	struct store_reader *reader;
	struct store_cost cost;
	struct error err;

	query_finish(q);
	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	enum status status = store_explain(reader, q, step, max_records, &f.arena, &cost, &err);
	ck_assert_msg(status == STATUS_OK, "%s", err.message);
	store_give_reader(f.store, reader);
	return cost;
}

/* The plan of the page, a line a step. */
static inline const char *fixture_explain(struct query *q)
{
	AUTO_STRBUF plan = STRBUF_INIT;
	const struct store_cost cost = fixture_cost(q, STORE_STEP_PAGE, 0);

	for (size_t i = 0; i < cost.plan_count; i++)
		strbuf_addf(&plan, "%s\n", cost.plan[i]);
	return arena_strdup(&f.arena, strbuf_str(&plan));
}

static inline void fixture_where_text(struct query *q, const char *path, enum query_operator op,
				      const char *text)
{
	const struct query_operand o = {.type = OPERAND_TEXT, .text = text};
	struct error err;
	enum status status = query_add(q, path, op, &o, 1, "filter", &err);

	ck_assert_msg(status == STATUS_OK, "%s: %s", path, err.message);
}

static inline void fixture_where_number(struct query *q, const char *path,
					enum query_operator op, double number)
{
	const struct query_operand o = {.type = OPERAND_NUMBER, .number = number, .text = ""};
	struct error err;

	ck_assert_int_eq(query_add(q, path, op, &o, 1, "filter", &err), STATUS_OK);
}

#endif
