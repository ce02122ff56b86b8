/* A database of the first form is brought to the present one, with all that is in it. */
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

static void setup(void)
{
	static const char *const indexed[] = {"workflow_id", NULL};

	fixture_open("collector.Execution", indexed, true);
}

static struct store_write *record(const char *id)
{
	AUTO_STRBUF proto = STRBUF_INIT;

	wire_add_string(&proto, 2, id);
	return fixture_write(id, &proto);
}

static void run_sql(const char *sql)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", f.directory);
	char *problem = NULL;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &problem) == SQLITE_OK, "%s", problem);
	sqlite3_close(db);
}

/* What programs of the first form left behind: nothing that came later. */
static const char back_to_first[] =
	"DROP TABLE changes; DROP TABLE deleted; DROP TABLE requests; DROP TABLE leases;"
	"DROP TABLE stale_docs; DROP TABLE files; DROP TABLE vector_chunks;"
	"DROP TABLE vector_versions; DROP TABLE vector_rows; DROP TABLE builds;"
	"DELETE FROM meta WHERE key NOT IN "
	"('record_count',"
	" 'next_revision', 'definition', 'has_text'); PRAGMA user_version = 1;";

START_TEST(an_old_database_is_brought_forward)
{
	struct store_write *const writes[] = {record("a"), record("b"), NULL};
	struct store_sizes sizes;
	struct error err;

	fixture_commit(writes);
	store_close(f.store);
	f.store = NULL;
	run_sql(back_to_first);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
	ck_assert_str_eq(fixture_find(fixture_query()), "a b");
	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	ck_assert_int_eq(sizes.record_count, 2);
	/* There is no change to tell of what was before. */
	ck_assert_int_eq(sizes.last_sequence, 2);
	ck_assert_int_eq(sizes.forgotten_sequence, 2);
	ck_assert_int_eq(sizes.record_bytes,
			 (int64_t)(writes[0]->proto.size + writes[1]->proto.size));
	ck_assert_int_eq(sizes.file_count, 0);

	struct store_write *const more[] = {record("c"), NULL};
	fixture_commit(more);
	ck_assert_str_eq(fixture_find(fixture_query()), "a b c");
	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	ck_assert_int_eq(sizes.last_sequence, 3);
}
END_TEST

/*
 * Form 5 knew one set of vectors: while they were collected there were none to search by.
 * What it had begun goes on.
 */
static const char in_the_middle_of_form_5[] =
	"DELETE FROM meta WHERE key GLOB 'next_vector*' OR key GLOB 'old_vector*'"
	" OR key = 'vector_set';"
	"UPDATE meta SET value = 3 WHERE key = 'vector_dimensions';"
	"UPDATE meta SET value = 2 WHERE key = 'vector_metric';"
	"UPDATE meta SET value = 4 WHERE key = 'vector_generation';"
	"UPDATE meta SET value = 7 WHERE key = 'vector_count';"
	"PRAGMA user_version = 5;";

static struct store_vector_state vectors_of_store(void)
{
	struct store_vector_state state;
	struct store_reader *reader;
	struct error err;

	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	ck_assert_int_eq(store_vector_state(reader, &f.arena, &state, &err), STATUS_OK);
	store_give_reader(f.store, reader);
	return state;
}

static struct store_vector_state open_vectors(const char *sql)
{
	struct error err;

	store_close(f.store);
	f.store = NULL;
	run_sql(sql);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
	return vectors_of_store();
}

/* All that is left to build of a collection without records. */
static void build_all(const struct store_definition *stored)
{
	struct store_build b = {.schema_version = stored->schema_version,
				.vector_generation = stored->vector_generation,
				.old_generation = stored->old_generation};
	struct store_write w = {.operation = store_build, .operands = &b, .now_us = 1};
	struct store_write *const writes[] = {&w, NULL};

	while (!b.is_done) {
		fixture_commit(writes);
		ck_assert_msg(w.status == STATUS_OK, "%s", w.error.message);
	}
}

START_TEST(vectors_of_form_5)
{
	AUTO_FREE char *building = xasprintf("%s INSERT INTO builds VALUES (1, 6, '', 0, 9)",
					     in_the_middle_of_form_5);
	struct store_vector_state state = open_vectors(in_the_middle_of_form_5);
	struct store_definition stored;
	struct error err;

	ck_assert(!state.has_next);
	ck_assert_uint_eq(state.now.dimensions, 3);
	ck_assert_int_eq(state.now_count, 7);
	state = open_vectors(building);
	ck_assert(state.has_next);
	ck_assert_uint_eq(state.now.dimensions, 0);
	ck_assert_int_eq(state.now_count, 0);
	ck_assert_uint_eq(state.next.dimensions, 3);
	ck_assert_int_eq(state.next.metric, VECTOR_DOT);
	ck_assert_int_eq(state.next_count, 7);
	ck_assert_int_eq(store_load(f.store, &f.arena, &stored, &err), STATUS_OK);
	ck_assert_int_eq(stored.vector_generation, 4);
	ck_assert_uint_eq(stored.vectors.dimensions, 3);
	ck_assert_int_eq(stored.old_generation, 3);
	ck_assert_uint_eq(stored.old_vectors.dimensions, 0);
	build_all(&stored);
	state = vectors_of_store();
	ck_assert(!state.has_next);
	ck_assert_uint_eq(state.now.dimensions, 3);
	ck_assert_int_eq(state.now_count, 7);
}
END_TEST

START_TEST(a_newer_database_is_refused)
{
	struct error err;

	store_close(f.store);
	f.store = NULL;
	run_sql("PRAGMA user_version = 99");
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_FAILED_PRECONDITION);
}
END_TEST

int main(void)
{
	return suite_run("repo/schema", setup, fixture_close,
			 (const TTest *const[]){an_old_database_is_brought_forward,
						vectors_of_form_5, a_newer_database_is_refused,
						NULL});
}
