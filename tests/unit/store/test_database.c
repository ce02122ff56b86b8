#include "common/store/database.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/suite.h"

static char directory[] = "/tmp/collector-test-database-XXXXXX";
static char path[64];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/x.db", directory);
}

static void teardown(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < 3; i++) {
		char name[80];

		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)unlink(name);
	}
	(void)rmdir(directory);
}

static int64_t number(struct database *db, const char *sql)
{
	struct error err;
	sqlite3_stmt *stmt;

	ck_assert_int_eq(database_prepare(db, sql, &stmt, &err), STATUS_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(stmt, 0);
	database_reset(stmt);
	return n;
}

START_TEST(a_commit_is_durable_and_readers_see_it)
{
	struct database *writer, *reader;
	struct error err;

	ck_assert_int_eq(database_open(path, DATABASE_CREATE, &writer, &err), STATUS_OK);
	/* FULL: the log is synced at each commit. */
	ck_assert_int_eq(number(writer, "PRAGMA synchronous"), 2);
	ck_assert_int_eq(
		database_exec(writer, "CREATE TABLE t (a); INSERT INTO t VALUES (7)", &err),
		STATUS_OK);
	ck_assert_int_eq(database_open(path, DATABASE_READ, &reader, &err), STATUS_OK);
	ck_assert_int_eq(number(reader, "SELECT a FROM t"), 7);
	ck_assert_int_eq(number(reader, "PRAGMA wal_autocheckpoint"), 0);
	ck_assert_int_ne(database_exec(reader, "INSERT INTO t VALUES (8)", &err), STATUS_OK);
	database_close(reader);
	database_close(writer);
}
END_TEST

START_TEST(opening_what_is_wrong)
{
	struct database *db;
	struct error err;

	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_UNAVAILABLE);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_ge(fputs("this is no database. ", f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_DATA_LOSS);
	ck_assert_int_ne(database_open(path, DATABASE_CREATE, &db, &err), STATUS_OK);
}
END_TEST

START_TEST(errors_are_translated)
{
	struct database *db;
	struct error err;

	ck_assert_int_eq(database_open(path, DATABASE_CREATE, &db, &err), STATUS_OK);
	ck_assert_int_eq(
		database_exec(db, "CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)", &err),
		STATUS_OK);
	ck_assert_int_eq(database_exec(db, "INSERT INTO t VALUES (1)", &err),
			 STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(database_exec(db, "no such statement", &err), STATUS_INTERNAL);
	ck_assert_int_eq(database_error(db, SQLITE_FULL, &err), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(database_error(db, SQLITE_BUSY_SNAPSHOT, &err), STATUS_UNAVAILABLE);
	ck_assert_int_eq(database_error(db, SQLITE_IOERR_READ, &err), STATUS_INTERNAL);
	ck_assert_int_eq(database_error(db, SQLITE_CORRUPT_INDEX, &err), STATUS_DATA_LOSS);
	ck_assert_int_eq(database_error(db, SQLITE_INTERRUPT, &err), STATUS_CANCELLED);
	database_close(db);
}
END_TEST

START_TEST(statements_are_kept_within_a_bound)
{
	struct database *db;
	struct error err;
	sqlite3_stmt *first, *again;
	char sql[64];

	ck_assert_int_eq(database_open(path, DATABASE_CREATE, &db, &err), STATUS_OK);
	ck_assert_int_eq(database_prepare(db, "SELECT 1", &first, &err), STATUS_OK);
	ck_assert_int_eq(database_prepare(db, "SELECT 1", &again, &err), STATUS_OK);
	ck_assert_ptr_eq(first, again);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(sql, sizeof(sql), "SELECT %d", i);
		ck_assert_int_eq(number(db, sql), i);
	}
	int in_memory = 0;
	for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(database_sqlite(db), s));)
		in_memory++;
	ck_assert_int_le(in_memory, 128);
	database_close(db);
}
END_TEST

static off_t log_bytes(void)
{
	struct stat st;
	char name[80];

	(void)snprintf(name, sizeof(name), "%s-wal", path);
	return stat(name, &st) == 0 ? st.st_size : 0;
}

/* Commits until the log is long; how long it was then. */
static off_t grow(struct database *db)
{
	struct error err;

	for (int i = 0; !database_wants_checkpoint(db); i++) {
		ck_assert_int_lt(i, 1000);
		ck_assert_int_eq(
			database_exec(db, "INSERT INTO t VALUES (zeroblob(100000))", &err),
			STATUS_OK);
	}
	return log_bytes();
}

START_TEST(the_log_is_moved_when_it_is_asked_for)
{
	struct database *db;
	struct error err;
	off_t first;

	ck_assert_int_eq(database_open(path, DATABASE_CREATE, &db, &err), STATUS_OK);
	ck_assert_int_eq(database_exec(db, "CREATE TABLE t (a)", &err), STATUS_OK);
	database_close(db);
	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_OK);
	first = grow(db);
	ck_assert_int_gt(first, 1 << 20);
	for (int i = 0; i < 3; i++) {
		database_checkpoint(db);
		ck_assert(!database_wants_checkpoint(db));
		/* It begins again in the same file. */
		ck_assert_int_le(grow(db), first + 200000);
	}
	ck_assert_int_eq(number(db, "PRAGMA wal_checkpoint"), 0);
	database_close(db);
	ck_assert_int_eq(log_bytes(), 0);
}
END_TEST

int main(void)
{
	return suite_run("store/database", setup, teardown,
			 (const TTest *const[]){a_commit_is_durable_and_readers_see_it,
						opening_what_is_wrong, errors_are_translated,
						statements_are_kept_within_a_bound,
						the_log_is_moved_when_it_is_asked_for, NULL});
}
