/* The log's writes are joined, and nothing else about them changes. */
#include "common/store/log_vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/store/database.h"
#include "tests/support/suite.h"

static char directory[] = "/tmp/collector-test-log-vfs-XXXXXX";
static char path[64];

/* ------------------------------------------------------------ what is below it */

static sqlite3_vfs *unix_vfs;

/* Of the log; and whether the disk is one that keeps what is beside a write. */
static bool is_safe = true;
static int writes, syncs, fail_write, fail_sync; /* those: an SQLite code, or 0 */

/* Methods with some of them ours. Both kinds of file write and sync alike. */
static const sqlite3_io_methods *real;
static sqlite3_io_methods counting_log, counting_database;

static int count_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	writes++;
	return fail_write ? fail_write : real->xWrite(file, data, size, offset);
}

static int count_sync(sqlite3_file *file, int flags)
{
	syncs++;
	return fail_sync ? fail_sync : real->xSync(file, flags);
}

static int characteristics(sqlite3_file *file)
{
	(void)file;
	return is_safe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

static int open_counted(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			int *ret_flags)
{
	int code = unix_vfs->xOpen(unix_vfs, name, file, flags, ret_flags);
	sqlite3_io_methods *ours;

	(void)vfs;
	if (code != SQLITE_OK || !(flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)))
		return code;
	ours = flags & SQLITE_OPEN_WAL ? &counting_log : &counting_database;
	real = file->pMethods;
	*ours = *real;
	ours->xDeviceCharacteristics = characteristics;
	if (flags & SQLITE_OPEN_WAL) {
		ours->xWrite = count_write;
		ours->xSync = count_sync;
	}
	file->pMethods = ours;
	return code;
}

/* Before log_vfs() is called first, which is on top of what is there then. */
static void count_below(void)
{
	static sqlite3_vfs vfs;

	unix_vfs = sqlite3_vfs_find(NULL);
	vfs = *unix_vfs;
	vfs.zName = "counting";
	vfs.xOpen = open_counted;
	ck_assert_int_eq(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

/* ------------------------------------------------------------ fixture */

static struct database *db;

static void run(const char *sql)
{
	struct error err;

	ck_assert_int_eq(database_exec(db, sql, &err), STATUS_OK);
}

static void setup(void)
{
	struct error err;

	count_below();
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/x.db", directory);
	ck_assert_int_eq(database_open(path, DATABASE_CREATE, &db, &err), STATUS_OK);
	run("CREATE TABLE t (n INTEGER PRIMARY KEY, a)");
}

static void teardown(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};

	fail_write = fail_sync = 0;
	database_close(db);
	for (size_t i = 0; i < 3; i++) {
		char name[80];

		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)unlink(name);
	}
	(void)rmdir(directory);
}

static int64_t number(struct sqlite3 *sqlite, const char *sql)
{
	sqlite3_stmt *stmt;
	int64_t n;

	ck_assert_int_eq(sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

/* One row fills a page. */
#define ADD_PAGES(count)                                                                       \
	"INSERT INTO t (a) WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c"    \
	" WHERE n < " #count ") SELECT zeroblob(3000) FROM c;"

/* The file @name and its log, as a process finds them that has SQLite's own VFS. */
static int64_t rows_in(const char *name)
{
	sqlite3 *other;
	sqlite3_stmt *stmt;
	int64_t rows;

	ck_assert_int_eq(sqlite3_open_v2(name, &other, SQLITE_OPEN_READWRITE, "unix"),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(other, "PRAGMA integrity_check", -1, &stmt, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(stmt, 0), "ok");
	sqlite3_finalize(stmt);
	rows = number(other, "SELECT count(*) FROM t");
	sqlite3_close(other);
	return rows;
}

static int64_t rows_for_others(void)
{
	return rows_in(path);
}

static void copy(const char *from, const char *to)
{
	static uint8_t bytes[8 << 20];
	FILE *in = fopen(from, "re"), *out = fopen(to, "we");
	size_t size;

	ck_assert(in && out);
	size = fread(bytes, 1, sizeof(bytes), in);
	ck_assert(feof(in));
	ck_assert_uint_eq(fwrite(bytes, 1, size, out), size);
	ck_assert_int_eq(fclose(out), 0);
	(void)fclose(in);
}

/* What is found if the process ends here: the log's index goes with it. */
static int64_t rows_after_crash(void)
{
	char name[80], log[80], other_log[80];
	int64_t rows;

	(void)snprintf(name, sizeof(name), "%s-crash", path);
	(void)snprintf(log, sizeof(log), "%s-wal", path);
	(void)snprintf(other_log, sizeof(other_log), "%s-wal", name);
	copy(path, name);
	copy(log, other_log);
	rows = rows_in(name);
	(void)unlink(name); /* its log went when it was closed */
	return rows;
}

/* ------------------------------------------------------------ tests */

START_TEST(a_commit_is_written_at_once)
{
	writes = syncs = 0;
	run(ADD_PAGES(20));
	ck_assert_int_le(writes, 2); /* the log's own head may be one */
	ck_assert_int_ge(syncs, 1);
	ck_assert_uint_gt(database_sync_ns(db), 0);
	ck_assert_int_eq(rows_for_others(), 20);
	writes = 0;
	run(ADD_PAGES(1000));
	/* 31 frames fit into what SQLite's VFS writes by one call. */
	ck_assert_int_ge(writes, 1000 / 31);
	ck_assert_int_le(writes, 1000 / 31 + 5);
	ck_assert_int_eq(rows_for_others(), 1020);
}
END_TEST

/* More than its cache holds goes to the log before it is committed, and is read there. */
START_TEST(what_is_not_committed_yet_is_read_again)
{
	run("PRAGMA cache_size = 10; BEGIN;" ADD_PAGES(200));
	ck_assert_int_eq(number(database_sqlite(db), "SELECT sum(length(a)) FROM t"),
			 INT64_C(200) * 3000);
	ck_assert_int_eq(rows_for_others(), 0);
	/* Pages that are in the log are changed there. */
	run("UPDATE t SET a = zeroblob(2000); ROLLBACK");
	ck_assert_int_eq(rows_for_others(), 0);
	run("BEGIN;" ADD_PAGES(200) "UPDATE t SET a = zeroblob(2000); COMMIT");
	ck_assert_int_eq(rows_for_others(), 200);
	ck_assert_int_eq(number(database_sqlite(db), "SELECT sum(length(a)) FROM t"),
			 INT64_C(200) * 2000);
}
END_TEST

static void fails_and_recovers(int *fail, int code, enum status expected)
{
	struct error err;

	run(ADD_PAGES(10));
	*fail = code;
	ck_assert_int_eq(database_exec(db, ADD_PAGES(100), &err), expected);
	*fail = 0;
	ck_assert_int_eq(sqlite3_get_autocommit(database_sqlite(db)), 1);
	ck_assert_int_eq(rows_for_others(), 10);
	run(ADD_PAGES(100));
	ck_assert_int_eq(rows_for_others(), 110);
}

START_TEST(a_write_that_fails_fails_the_commit)
{
	fails_and_recovers(&fail_write, SQLITE_FULL, STATUS_RESOURCE_EXHAUSTED);
}
END_TEST

START_TEST(a_sync_that_fails_fails_the_commit)
{
	fails_and_recovers(&fail_sync, SQLITE_IOERR_FSYNC, STATUS_INTERNAL);
}
END_TEST

/* What was refused must not be found after a crash, which would be before anything is written. */
START_TEST(a_refused_commit_is_not_written_later)
{
	struct error err;

	run("PRAGMA cache_size = 10;" ADD_PAGES(10));
	fail_write = SQLITE_FULL;
	ck_assert_int_ne(database_exec(db, ADD_PAGES(3), &err), STATUS_OK);
	fail_write = 0;
	(void)number(database_sqlite(db), "SELECT sum(length(a)) FROM t");
	ck_assert_int_eq(rows_after_crash(), 10);
	ck_assert_int_ne(database_exec(db, "INSERT INTO t (n) VALUES (1)", &err), STATUS_OK);
	database_checkpoint(db);
	ck_assert_int_eq(rows_after_crash(), 10);
	ck_assert_int_eq(rows_for_others(), 10);
}
END_TEST

/*
 * Frames that a transaction left in the log early are read again without the disk, so that a
 * full one fails no read: for that SQLite would undo no more than the statement.
 */
START_TEST(what_is_not_written_yet_is_read_on_a_full_disk)
{
	run("PRAGMA cache_size = 10;" ADD_PAGES(10));
	run("BEGIN;" ADD_PAGES(201));
	fail_write = SQLITE_FULL;
	ck_assert_int_eq(number(database_sqlite(db), "SELECT sum(length(a)) FROM t"),
			 INT64_C(211) * 3000);
	fail_write = 0;
	run(ADD_PAGES(50) "COMMIT");
	ck_assert_int_eq(rows_for_others(), 261);
	database_checkpoint(db);
	ck_assert_int_eq(rows_for_others(), 261);
}
END_TEST

/* With a journal of its own, as two rows may come to have one number. */
START_TEST(a_full_disk_in_a_transaction_undoes_all_or_harms_nothing)
{
	struct error err;

	for (int kept = 10; kept <= 300; kept += 29) {
		run("PRAGMA cache_size = 10; DELETE FROM t; BEGIN;" ADD_PAGES(201));
		fail_write = SQLITE_FULL;
		ck_assert_int_eq(
			database_exec(db, "UPDATE t SET n = n + 1000 WHERE n < 150", &err),
			STATUS_RESOURCE_EXHAUSTED);
		fail_write = 0;
		if (sqlite3_get_autocommit(database_sqlite(db))) {
			ck_assert_int_eq(rows_for_others(), 0);
		} else {
			run(ADD_PAGES(50) "COMMIT");
			ck_assert_int_eq(rows_for_others(), 251);
		}
		run(ADD_PAGES(5));
		(void)rows_for_others();
	}
}
END_TEST

START_TEST(a_log_begins_again_and_is_found_after_a_crash)
{
	struct error err;

	for (int i = 0; i < 3; i++) {
		run(ADD_PAGES(50));
		database_checkpoint(db);
	}
	run(ADD_PAGES(7));
	/* As if the process ended here: the files are opened as they are, elsewhere. */
	ck_assert_int_eq(rows_for_others(), 157);
	database_close(db);
	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_OK);
	ck_assert_int_eq(rows_for_others(), 157);
}
END_TEST

/* SQLite writes on after the sync, to the end of a sector: others must find that too. */
START_TEST(on_a_disk_that_is_not_safe_nothing_is_joined)
{
	struct error err;

	database_close(db);
	is_safe = false;
	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_OK);
	for (int i = 1; i <= 10; i++) {
		writes = 0;
		run(ADD_PAGES(3));
		ck_assert_int_ge(writes, 6);
		ck_assert_int_eq(rows_for_others(), 3 * i);
	}
}
END_TEST

int main(void)
{
	return suite_run(
		"store/log_vfs", setup, teardown,
		(const TTest *const[]){
			a_commit_is_written_at_once, what_is_not_committed_yet_is_read_again,
			a_write_that_fails_fails_the_commit, a_sync_that_fails_fails_the_commit,
			a_refused_commit_is_not_written_later,
			what_is_not_written_yet_is_read_on_a_full_disk,
			a_full_disk_in_a_transaction_undoes_all_or_harms_nothing,
			a_log_begins_again_and_is_found_after_a_crash,
			on_a_disk_that_is_not_safe_nothing_is_joined, NULL});
}
