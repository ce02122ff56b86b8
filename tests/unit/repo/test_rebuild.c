/*
 * Vectors are collected anew, part by part: what is found before, between and after any two
 * parts, whatever is written meanwhile and wherever the program ends.
 */
#include <math.h>
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "services/repo/store.h"
#include "services/repo/store_internal.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

enum { RECORDS = 600, EXTRA = 8, MAX_ID = RECORDS + EXTRA, TOP = 5, PARTS_MAX = 50 };

/*
 * Generation 1 has two numbers a record, generation 2 one, generation 3 none, and so on. They
 * order the records in different ways.
 */
static float values[MAX_ID]; /* by id; NAN: there is no such record */
static int64_t now_generation, old_generation;

static size_t vector_of(int64_t generation, float value, float out[2])
{
	static const size_t dimensions[] = {0, 2, 1};
	const size_t count = dimensions[generation % 3];

	out[0] = count == 2 ? value : fmodf(value * 37, 101);
	out[1] = 0;
	return count;
}

static struct bytes numbers_of(int64_t generation, float value)
{
	float v[2];
	const size_t count = vector_of(generation, value, v);

	return count ? bytes_of(arena_memdup(&f.arena, v, count * sizeof(*v)),
				count * sizeof(*v))
		     : (struct bytes){NULL, 0};
}

static void setup(void)
{
	static const char *const indexed[] = {NULL};

	fixture_open("collector.Execution", indexed, false);
	for (size_t i = 0; i < MAX_ID; i++)
		values[i] = NAN;
	now_generation = old_generation = 0;
}

/* As a program writes that knows of these generations. */
static void put_as(size_t id, float value, int64_t generation, int64_t old)
{
	AUTO_STRBUF proto = STRBUF_INIT;
	char text[32], name[32];

	(void)snprintf(text, sizeof(text), "%.0f", (double)value);
	(void)snprintf(name, sizeof(name), "%zu", id);
	wire_add_string(&proto, 2, text);
	struct store_write *w = fixture_write(name, &proto);
	w->schema_version = 1;
	w->vector = (struct store_vector){numbers_of(generation, value), generation};
	w->old_vector = (struct store_vector){numbers_of(old, value), old};
	struct store_write *const writes[] = {w, NULL};
	fixture_commit(writes);
	ck_assert_int_eq(w->status, STATUS_OK);
	values[id] = value;
}

static void put(size_t id, float value)
{
	put_as(id, value, now_generation, old_generation);
}

static void delete_one(size_t id)
{
	struct store_write *w = arena_zalloc(&f.arena, sizeof(*w));

	w->is_delete = true;
	w->expectation = STORE_MUST_EXIST;
	w->id = arena_printf(&f.arena, "%zu", id);
	struct store_write *const writes[] = {w, NULL};
	fixture_commit(writes);
	ck_assert_int_eq(w->status, STATUS_OK);
	values[id] = NAN;
}

/* ------------------------------------------------------------ changing */

static bool render(void *arg, const char *type_url, struct bytes proto, struct strbuf *doc,
		   struct strbuf *vector, struct strbuf *old_vector)
{
	struct bytes text = {NULL, 0}, numbers;
	struct error err;

	(void)arg;
	(void)type_url;
	ck_assert(wire_find_bytes(proto, 2, &text));
	AUTO_FREE char *value = xstrndup((const char *)text.data, text.size);
	numbers = numbers_of(now_generation, strtof(value, NULL));
	strbuf_add(vector, numbers.data, numbers.size);
	numbers = numbers_of(old_generation, strtof(value, NULL));
	strbuf_add(old_vector, numbers.data, numbers.size);
	return wire_to_jsonb(f.type.pool, f.type.message, proto, JSON_OUT_SEARCH, doc, &err) ==
	       STATUS_OK;
}

static struct store_modify modification(size_t dimensions)
{
	return (struct store_modify){
		.definition = bytes_of_string("d"),
		.building_definition = bytes_of_string("building"),
		.sets_vector = true,
		.vectors = {dimensions, VECTOR_L2},
		.old_vector_field = "before",
		.old_vector_numbers = "7",
	};
}

static enum status try_modify(size_t dimensions, struct error *err)
{
	struct store_modify m = modification(dimensions);
	struct store_write w = {.operation = store_modify, .operands = &m, .now_us = 1};
	struct store_write *const writes[] = {&w, NULL};

	fixture_commit(writes);
	*err = w.error;
	if (w.status == STATUS_OK)
		ck_assert(m.is_building);
	return w.status;
}

static void modify(size_t dimensions)
{
	struct error err = {0};

	ck_assert_msg(try_modify(dimensions, &err) == STATUS_OK, "%s", err.message);
	old_generation = now_generation++;
}

/* One part; false: all is done. With @undo it did not happen after all. */
static bool build(bool undo)
{
	struct store_build b = {.render = render,
				.schema_version = 1,
				.vector_generation = now_generation,
				.old_generation = old_generation};
	struct store_write w = {.operation = store_build, .operands = &b, .now_us = 1};
	struct error err;

	ck_assert_int_eq(store_begin(f.store, &err), STATUS_OK);
	fixture_apply(&w);
	ck_assert_msg(w.status == STATUS_OK, "%s", w.error.message);
	if (undo)
		store_rollback(f.store);
	else
		ck_assert_int_eq(store_commit(f.store, &err), STATUS_OK);
	return !b.is_done;
}

static void build_all(void)
{
	while (build(false)) {
	}
	old_generation = now_generation;
}

static struct store_vector_state vector_state(void)
{
	struct store_vector_state state = {.has_next = false};
	struct store_reader *reader;
	struct error err;

	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	ck_assert_int_eq(store_vector_state(reader, &f.arena, &state, &err), STATUS_OK);
	store_give_reader(f.store, reader);
	return state;
}

static struct store_build_state build_state(void)
{
	struct store_build_state state = {.is_building = false};
	struct store_reader *reader;
	struct error err;

	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	ck_assert_int_eq(store_build_state(reader, &state, &err), STATUS_OK);
	store_give_reader(f.store, reader);
	return state;
}

static void reopen(void)
{
	struct error err;

	store_close(f.store);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
}

/* ------------------------------------------------------------ finding */

static enum status nearest(const float *vector, size_t dimensions, const char **ret_ids,
			   struct error *err)
{
	struct query *q = fixture_query();
	struct strbuf ids = STRBUF_INIT;
	struct store_reader *reader;

	q->vector = vector;
	q->vector_len = dimensions;
	q->limit = TOP;
	query_finish(q);
	ck_assert_int_eq(store_take_reader(f.store, &reader, err), STATUS_OK);
	enum status status = store_query(reader, q, fixture_collect, &ids, err);
	store_give_reader(f.store, reader);
	*ret_ids = arena_strdup(&f.arena, strbuf_str(&ids));
	strbuf_release(&ids);
	return status;
}

static float distance(int64_t generation, size_t id, const float *wanted)
{
	float v[2];

	(void)vector_of(generation, values[id], v);
	return fabsf(v[0] - wanted[0]);
}

/* By looking at all records: the set of the nearest distances, not their order within one. */
static void check_nearest(int64_t generation, float wanted)
{
	const float vector[2] = {wanted, 0};
	bool is_taken[MAX_ID] = {false};
	const char *ids;
	struct error err;
	float v[2];
	const size_t dimensions = vector_of(generation, 0, v);
	enum status status = nearest(vector, dimensions, &ids, &err);

	ck_assert_msg(status == STATUS_OK, "generation %lld: %s", (long long)generation,
		      err.message);
	char *at = arena_strdup(&f.arena, ids);
	for (size_t place = 0; place < TOP; place++) {
		size_t best = MAX_ID;
		char *end;
		const size_t id = strtoul(at, &end, 10);

		ck_assert_msg(end != at, "only %zu are found: %s", place, ids);
		at = end;
		for (size_t i = 0; i < MAX_ID; i++)
			if (!is_taken[i] && !isnan(values[i]) &&
			    (best == MAX_ID || distance(generation, i, vector) <
						       distance(generation, best, vector)))
				best = i;
		ck_assert_msg(!is_taken[id] && !isnan(values[id]) &&
				      distance(generation, id, vector) ==
					      distance(generation, best, vector),
			      "generation %lld near %.0f: %s, but there is %zu",
			      (long long)generation, (double)wanted, ids, best);
		is_taken[id] = true;
	}
}

static int64_t record_count(void)
{
	int64_t count = 0;

	for (size_t i = 0; i < MAX_ID; i++)
		count += !isnan(values[i]);
	return count;
}

static void refuse(size_t dimensions, enum status expected)
{
	static const float zeros[2];
	const char *ids;
	struct error err = {0};

	ck_assert_int_eq(nearest(zeros, dimensions, &ids, &err), expected);
}

/* Whatever is going on: what searches go by is complete. */
static void check(void)
{
	const struct store_vector_state state = vector_state();
	const int64_t serving = state.has_next ? old_generation : now_generation;

	for (int i = 0; i < 4; i++)
		check_nearest(serving, (float)(i * 31));
	ck_assert_int_eq(state.now_count, record_count());
	if (!state.has_next) {
		refuse(serving % 3 == 1 ? 1 : 2, STATUS_INVALID_ARGUMENT);
		return;
	}
	ck_assert_str_eq(state.now_field, "before");
	ck_assert_uint_eq(state.now.dimensions, 2);
	ck_assert_uint_eq(state.next.dimensions, 1);
	ck_assert_int_le(state.next_count, record_count());
	refuse(1, STATUS_FAILED_PRECONDITION);
}

static void fill(void)
{
	modify(2);
	build_all();
	for (size_t i = 0; i < RECORDS; i++)
		put(i, (float)((i * 7919) % 1009));
	check();
}

/* Before, behind and where the build is. */
static void write_meanwhile(int part)
{
	if (part == 0) {
		put_as(3, 1, 1, 1); /* under way since before */
		put_as(500, 2, 1, 1);
		put_as(RECORDS, 3, 1, 1);
	}
	put(10, (float)(200 + part));
	put(400, (float)(300 + part));
	if (part < 3) {
		put(RECORDS + 1 + (size_t)part, (float)(400 + part));
		delete_one(20 + (size_t)part);
		delete_one(450 + (size_t)part);
	}
}

static int modify_in_parts(int reopened_before)
{
	struct error err;
	bool more = true;
	int part = 0;

	fill();
	modify(1);
	check();
	for (; more; part++) {
		ck_assert_int_lt(part, PARTS_MAX);
		if (part == reopened_before)
			reopen();
		write_meanwhile(part);
		check();
		const bool is_building = build_state().is_building;
		if (is_building)
			ck_assert_int_eq(try_modify(2, &err), STATUS_FAILED_PRECONDITION);
		(void)build(true);
		check();
		more = build(false);
		check();
		ck_assert(more == is_building);
	}
	ck_assert(!build_state().is_building);
	ck_assert(!vector_state().has_next);
	return part;
}

START_TEST(the_old_ones_serve_until_the_new_are_whole)
{
	const int parts = modify_in_parts(-1);

	/* Three of records, what was under way, the switch, the old ones. */
	ck_assert_int_ge(parts, 5);
	for (int at = 0; at < parts; at++) {
		fixture_close();
		setup();
		ck_assert_int_eq(modify_in_parts(at), parts);
	}
}
END_TEST

/* The tables of before are used again, and again. */
START_TEST(there_and_back_and_none)
{
	fill();
	for (int64_t round = 0; round < 2; round++) {
		modify(1);
		check();
		build_all();
		check();
		put(5, 77);
		delete_one(6);
		check();

		modify(0);
		check_nearest(3 * round + 2, 11);
		put(6, 78);
		check_nearest(3 * round + 2, fmodf(78 * 37, 101));
		build_all();
		refuse(1, STATUS_FAILED_PRECONDITION);
		refuse(2, STATUS_FAILED_PRECONDITION);
		ck_assert_int_eq(vector_state().now_count, 0);

		modify(2);
		/* There are none yet: neither that many numbers nor others. */
		refuse(1, STATUS_FAILED_PRECONDITION);
		refuse(2, STATUS_FAILED_PRECONDITION);
		put(7, 79);
		build_all();
		check();
	}
}
END_TEST

START_TEST(what_was_under_way_until_the_end_is_made_ready)
{
	fill();
	modify(1);
	build_all();
	check();
	ck_assert(!build_state().is_building);
	put_as(7, 5, 1, 1);
	/* It is known that it is to be done, also after a kill; a change waits for it. */
	reopen();
	ck_assert(build_state().is_building);
	struct error err;
	ck_assert_int_eq(try_modify(2, &err), STATUS_FAILED_PRECONDITION);
	build_all();
	check();
	ck_assert(!build_state().is_building);
	modify(0);
}
END_TEST

START_TEST(a_search_is_interrupted)
{
	static const float zeros[2];
	struct query *q = fixture_query();
	struct strbuf ids = STRBUF_INIT;
	struct store_reader *reader;
	struct error err;

	fill();
	q->vector = zeros;
	q->vector_len = 2;
	q->limit = TOP;
	query_finish(q);
	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	store_interrupt(reader);
	ck_assert_int_eq(store_query(reader, q, fixture_collect, &ids, &err), STATUS_CANCELLED);
	ck_assert_uint_eq(ids.len, 0);
	store_give_reader(f.store, reader);
	strbuf_release(&ids);
	/* The next who is given the reader is not. */
	check();
}
END_TEST

/* Who looked before a change must not build after it. */
START_TEST(who_knows_less_builds_nothing)
{
	fill();
	modify(1);
	struct store_build b = {.render = render,
				.schema_version = 1,
				.vector_generation = old_generation,
				.old_generation = old_generation};
	struct store_write w = {.operation = store_build, .operands = &b, .now_us = 1};
	struct store_write *const writes[] = {&w, NULL};
	fixture_commit(writes);
	ck_assert_int_eq(w.status, STATUS_ABORTED);
	ck_assert(!b.is_done);
	check();
	build_all();
	check();
}
END_TEST

static int deny_meta(void *arg, int action, const char *table, const char *column,
		     const char *database, const char *trigger)
{
	(void)arg;
	(void)column;
	(void)database;
	(void)trigger;
	return action == SQLITE_READ && table && !strcmp(table, "meta") ? SQLITE_DENY
									: SQLITE_OK;
}

/* What cannot be read when a change is undone is read before anything is written. */
START_TEST(nothing_is_written_by_settings_that_are_not_known)
{
	sqlite3 *sqlite = database_sqlite(f.store->writer);
	struct store_modify m = modification(1);
	struct store_write w = {.operation = store_modify, .operands = &m, .now_us = 1};
	AUTO_STRBUF empty = STRBUF_INIT;
	struct store_batch put_again = {.writes = fixture_write("1", &empty)};
	struct error err;

	fill();
	ck_assert_int_eq(store_begin(f.store, &err), STATUS_OK);
	fixture_apply(&w);
	ck_assert_int_eq(w.status, STATUS_OK);
	ck_assert_int_eq(sqlite3_set_authorizer(sqlite, deny_meta, NULL), SQLITE_OK);
	store_rollback(f.store);
	ck_assert_int_ne(store_write(f.store, &put_again, &err), STATUS_OK);
	ck_assert_int_eq(sqlite3_set_authorizer(sqlite, NULL, NULL), SQLITE_OK);
	put(10, 31);
	check();
	modify(1);
	build_all();
	check();
}
END_TEST

int main(void)
{
	return suite_run("repo/rebuild", setup, fixture_close,
			 (const TTest *const[]){
				 the_old_ones_serve_until_the_new_are_whole,
				 there_and_back_and_none,
				 what_was_under_way_until_the_end_is_made_ready,
				 who_knows_less_builds_nothing, a_search_is_interrupted,
				 nothing_is_written_by_settings_that_are_not_known, NULL});
}
