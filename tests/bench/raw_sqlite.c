/*
 * What SQLite itself can do on this machine with a collection's own database: its
 * tables, indexes and full text as the repo made them, its settings, and rows with the same
 * bytes, but without checks, conversion and calls.
 *
 *	raw_sqlite DATABASE create|get|search SECONDS GROUP
 *
 * DATABASE is a copy of a collection.db with records in it. `create` inserts in transactions
 * of GROUP rows what the repo writes for a Create: the first record again with another
 * id, VARIES in it being another text each time, its full text if there is such an index,
 * its change, and the counters of the group. `get` reads records by id; `search` counts and
 * reads ten rows by `class`. Prints "rows/s=N".
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "services/repo/store_internal.h"
#include "tests/bench/varies.h"

enum { MAX_IDS = 20000, CLASSES = 2000 };

static sqlite3 *db;

static void must(int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return;
	fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
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

static int64_t number(const char *sql)
{
	sqlite3_stmt *s = prepare(sql);
	int64_t value = 0;

	if (sqlite3_step(s) == SQLITE_ROW)
		value = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return value;
}

/* ------------------------------------------------------------ create */

/* A column as the repo made it. */
struct blob {
	char *data;
	size_t size;
	char *varies; /* in it; may be NULL */
};

static struct blob take_blob(sqlite3_stmt *s, int column)
{
	struct blob b = {.size = (size_t)sqlite3_column_bytes(s, column)};

	b.data = xmemdup(sqlite3_column_blob(s, column), b.size);
	b.varies = varies_find(b.data, b.size);
	return b;
}

static void vary(struct blob *b, uint32_t row)
{
	if (b->varies)
		varies_write(b->varies, row);
}

struct create {
	sqlite3_stmt *begin, *row, *text, *change, *counter, *commit;
	struct blob doc, proto;
	int64_t records, record_bytes, revision;
};

static void prepare_create(struct create *c)
{
	sqlite3_stmt *first = prepare("SELECT doc, proto FROM records ORDER BY rid LIMIT 1");

	must(sqlite3_step(first), "no record");
	c->doc = take_blob(first, 0);
	c->proto = take_blob(first, 1);
	sqlite3_finalize(first);
	c->begin = prepare("BEGIN IMMEDIATE");
	c->row = prepare("INSERT INTO records (id, revision, created_at_us, updated_at_us, doc,"
			 " proto) VALUES (?1, ?2, ?3, ?3, ?4, ?5)");
	if (number("SELECT count(*) FROM sqlite_schema WHERE name = 'text'"))
		c->text = prepare("INSERT INTO text (rowid, body)"
				  " SELECT rid, body FROM text_content WHERE rid = ?1");
	c->change =
		prepare("INSERT INTO changes (seq, rid, kind, at_us) VALUES (?1, ?2, 0, ?3)");
	c->counter = prepare("UPDATE meta SET value = ?2 WHERE key = ?1");
	c->commit = prepare("COMMIT");
	c->records = number("SELECT value FROM meta WHERE key = 'record_count'");
	c->record_bytes = number("SELECT value FROM meta WHERE key = 'record_bytes'");
	c->revision = number("SELECT value FROM meta WHERE key = 'next_revision'");
}

static void insert(struct create *c)
{
	const int64_t now_us = (int64_t)clock_unix_us();
	char id[UUID_TEXT_BYTES];
	int64_t rid;

	random_uuid7((uint64_t)now_us / 1000, id);
	vary(&c->doc, (uint32_t)c->revision);
	vary(&c->proto, (uint32_t)c->revision);
	sqlite3_bind_text(c->row, 1, id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(c->row, 2, c->revision);
	sqlite3_bind_int64(c->row, 3, now_us);
	sqlite3_bind_blob64(c->row, 4, c->doc.data, c->doc.size, SQLITE_STATIC);
	sqlite3_bind_blob64(c->row, 5, c->proto.data, c->proto.size, SQLITE_STATIC);
	step(c->row);
	rid = sqlite3_last_insert_rowid(db);
	if (c->text) {
		sqlite3_bind_int64(c->text, 1, rid);
		step(c->text);
	}
	sqlite3_bind_int64(c->change, 1, c->revision++);
	sqlite3_bind_int64(c->change, 2, rid);
	sqlite3_bind_int64(c->change, 3, now_us);
	step(c->change);
	c->records++;
	c->record_bytes += (int64_t)c->proto.size;
}

static void save(struct create *c, const char *key, int64_t value)
{
	sqlite3_bind_text(c->counter, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(c->counter, 2, value);
	step(c->counter);
}

static double create(double seconds, long group)
{
	uint64_t start, now;
	struct create c = {0};
	long rows = 0;

	prepare_create(&c);
	start = now = clock_monotonic_ns();
	while ((double)(now - start) < seconds * 1e9) {
		step(c.begin);
		for (long i = 0; i < group; i++, rows++)
			insert(&c);
		save(&c, "record_count", c.records);
		save(&c, "next_revision", c.revision);
		save(&c, "record_bytes", c.record_bytes);
		step(c.commit);
		now = clock_monotonic_ns();
	}
	return (double)rows / ((double)(now - start) / 1e9);
}

/* ------------------------------------------------------------ get and search */

static double get(double seconds)
{
	static char ids[MAX_IDS][64];
	sqlite3_stmt *list = prepare("SELECT id FROM records LIMIT ?1");
	sqlite3_stmt *s = prepare("SELECT " RECORD_COLUMNS " FROM records r WHERE r.id = ?");
	uint64_t start, now;
	size_t count = 0, rows = 0;

	sqlite3_bind_int(list, 1, MAX_IDS);
	for (; sqlite3_step(list) == SQLITE_ROW; count++)
		(void)snprintf(ids[count], sizeof(ids[count]), "%s",
			       (const char *)sqlite3_column_text(list, 0));
	sqlite3_finalize(list);
	if (!count)
		return 0;
	start = now = clock_monotonic_ns();
	while ((double)(now - start) < seconds * 1e9) {
		for (int k = 0; k < 64; k++, rows++) {
			sqlite3_bind_text(s, 1, ids[rows * 7919 % count], -1, SQLITE_STATIC);
			if (sqlite3_step(s) != SQLITE_ROW)
				exit(1);
			must(sqlite3_reset(s), "get");
		}
		now = clock_monotonic_ns();
	}
	return (double)rows / ((double)(now - start) / 1e9);
}

static double search(double seconds)
{
	sqlite3_stmt *count = prepare("SELECT count(*) FROM records WHERE "
				      "jsonb_extract(doc, '$.class') = ?1");
	sqlite3_stmt *s = prepare("SELECT " RECORD_COLUMNS " FROM records r WHERE "
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
	return (double)n / ((double)(now - start) / 1e9);
}

/* As the repo has it, but with SQLite's own files and checkpoints. */
static void open_database(const char *path)
{
	static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				       "PRAGMA cache_size = -4096";

	must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL),
	     path);
	must(text_store_add_functions(db), "functions");
	must(sqlite3_exec(db, settings, NULL, NULL, NULL), settings);
}

int main(int argc, char **argv)
{
	double rate, seconds;

	if (argc != 5) {
		fprintf(stderr, "usage: raw_sqlite DATABASE create|get|search SECONDS GROUP\n");
		return 2;
	}
	open_database(argv[1]);
	seconds = atof(argv[3]);
	rate = !strcmp(argv[2], "create") ? create(seconds, atol(argv[4]))
	       : !strcmp(argv[2], "get")  ? get(seconds)
					  : search(seconds);
	printf("rows/s=%.0f\n", rate);
	return 0;
}
