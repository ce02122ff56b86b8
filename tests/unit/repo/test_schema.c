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
						a_newer_database_is_refused, NULL});
}
