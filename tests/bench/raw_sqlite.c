/*
 * What SQLite itself can do on this machine with a table like the repo's: the
 * same columns, an index, full text, WAL with synchronous=FULL.
 *
 *	raw_sqlite DIR create|get|search SECONDS GROUP [INDEXES FULL-TEXT]
 *
 * INDEXES is how many expression indexes there are (1), FULL-TEXT 1 or 0 (1).
 * `create` inserts in transactions of GROUP rows; `get` reads by id; `search`
 * counts and reads ten rows by an index. Prints "rows/s=N".
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { PREPARED_ROWS = 20000, CLASSES = 2000 };

static sqlite3 *db;
static long indexes = 1, has_text = 1;

static void must(int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return;
	fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

static void run(const char *sql)
{
	must(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *s;

	must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
	return s;
}

static void step(sqlite3_stmt *s)
{
	must(sqlite3_step(s), sqlite3_sql(s));
	must(sqlite3_reset(s), sqlite3_sql(s));
}

static void open_database(const char *dir)
{
	char *path AUTO_FREE = xasprintf("%s/raw.db", dir);

	must(sqlite3_open(path, &db), path);
	run("PRAGMA journal_mode=WAL");
	run("PRAGMA synchronous=FULL");
	run("CREATE TABLE IF NOT EXISTS records(rid INTEGER PRIMARY KEY, id TEXT NOT NULL "
	    "UNIQUE, "
	    "revision INT, created_at_us INT, updated_at_us INT, data_uri TEXT, labels BLOB, "
	    "doc BLOB NOT NULL, proto BLOB NOT NULL)");
	for (long i = 0; i < indexes; i++) {
		char *sql AUTO_FREE = xasprintf("CREATE INDEX IF NOT EXISTS by_%ld ON records("
						"jsonb_extract(doc, '$.%s'))",
						i, i ? i == 1 ? "name" : "size" : "class");

		run(sql);
	}
	run("CREATE VIEW IF NOT EXISTS texts AS SELECT rid, jsonb_extract(doc, '$.text') AS "
	    "body "
	    "FROM records");
	run("CREATE VIRTUAL TABLE IF NOT EXISTS fts USING fts5(body, content='texts', "
	    "content_rowid='rid', tokenize='porter unicode61')");
}

/* Insert @count rows in one transaction. */
static void insert(long first, long count, const char *text)
{
	static sqlite3_stmt *begin, *row, *full_text, *commit;
	static char proto[900];

	if (!begin) {
		begin = prepare("BEGIN IMMEDIATE");
		row = prepare("INSERT INTO records(rid, id, revision, created_at_us, "
			      "updated_at_us, doc, proto) VALUES(?1, ?2, 1, 0, 0, "
			      "jsonb_object('class', ?3, 'text', ?4, 'name', ?2, 'size', ?1),"
			      " ?5)");
		full_text = prepare("INSERT INTO fts(rowid, body) VALUES(?1, ?2)");
		commit = prepare("COMMIT");
		memset(proto, 'p', sizeof(proto));
	}
	step(begin);
	for (long i = first; i < first + count; i++) {
		char id[32];
		snprintf(id, sizeof(id), "%08lx",
			 (unsigned long)(i * 2654435761u) & 0xffffffff);
		sqlite3_bind_int64(row, 1, i + 1);
		sqlite3_bind_text(row, 2, id, -1, SQLITE_STATIC);
		sqlite3_bind_int64(row, 3, i % CLASSES);
		sqlite3_bind_text(row, 4, text, -1, SQLITE_STATIC);
		sqlite3_bind_blob(row, 5, proto, sizeof(proto), SQLITE_STATIC);
		step(row);
		if (!has_text)
			continue;
		sqlite3_bind_int64(full_text, 1, i + 1);
		sqlite3_bind_text(full_text, 2, text, -1, SQLITE_STATIC);
		step(full_text);
	}
	step(commit);
}

static double create(double seconds, long group, const char *text)
{
	uint64_t start = clock_monotonic_ns(), now = start;
	long rows = 0;

	while ((double)(now - start) < seconds * 1e9) {
		insert(rows, group, text);
		rows += group;
		now = clock_monotonic_ns();
	}
	return (double)rows / ((double)(now - start) / 1e9);
}

static double get(double seconds)
{
	sqlite3_stmt *s = prepare("SELECT proto, revision FROM records WHERE id = ?1");
	uint64_t start = clock_monotonic_ns(), now = start;
	long rows = 0;

	while ((double)(now - start) < seconds * 1e9) {
		for (int k = 0; k < 64; k++, rows++) {
			char id[32];
			snprintf(id, sizeof(id), "%08lx",
				 (unsigned long)(rows % PREPARED_ROWS * 2654435761u) &
					 0xffffffff);
			sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
			if (sqlite3_step(s) != SQLITE_ROW)
				exit(1);
			must(sqlite3_reset(s), "get");
		}
		now = clock_monotonic_ns();
	}
	sqlite3_finalize(s);
	return (double)rows / ((double)(now - start) / 1e9);
}

static double search(double seconds)
{
	sqlite3_stmt *count = prepare("SELECT count(*) FROM records WHERE "
				      "jsonb_extract(doc, '$.class') = ?1");
	sqlite3_stmt *s = prepare("SELECT id, proto FROM records WHERE "
				  "jsonb_extract(doc, '$.class') = ?1 LIMIT 10");
	uint64_t start = clock_monotonic_ns(), now = start;
	long n = 0;

	while ((double)(now - start) < seconds * 1e9) {
		sqlite3_bind_int64(count, 1, n % CLASSES);
		step(count);
		sqlite3_bind_int64(s, 1, n++ % CLASSES);
		while (sqlite3_step(s) == SQLITE_ROW) {
		}
		must(sqlite3_reset(s), "search");
		now = clock_monotonic_ns();
	}
	sqlite3_finalize(count);
	sqlite3_finalize(s);
	return (double)n / ((double)(now - start) / 1e9);
}

int main(int argc, char **argv)
{
	static const char text[] =
		"A shared library for reading, writing and searching structured records, with "
		"bindings for several languages, command line tools and their documentation; "
		"this package holds the files that programs need when they run.";
	double rate, seconds;
	long group;

	if (argc != 5 && argc != 7) {
		fprintf(stderr, "usage: raw_sqlite DIR create|get|search SECONDS GROUP"
				" [INDEXES FULL-TEXT]\n");
		return 2;
	}
	if (argc == 7) {
		indexes = atol(argv[5]);
		has_text = atol(argv[6]);
	}
	seconds = atof(argv[3]);
	group = atol(argv[4]);
	open_database(argv[1]);
	if (!strcmp(argv[2], "create")) {
		rate = create(seconds, group, text);
	} else {
		insert(0, PREPARED_ROWS, text);
		rate = strcmp(argv[2], "get") ? search(seconds) : get(seconds);
	}
	printf("rows/s=%.0f\n", rate);
	sqlite3_close(db);
	return 0;
}
