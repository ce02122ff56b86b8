/*
 * What a collection's database looks like: its first form, and every change of it
 * since. A new database goes the same way as an old one.
 */
#include <sqlite3.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"

enum { APPLICATION = 0x434f4c43 /* "COLC", PRAGMA application_id */ };

/*
 * Form 1. Small columns first: those behind a long blob cost a walk along its pages.
 * `meta` holds counters that each group updates and what the collection is.
 */
static const char first_form[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE schema_versions (version INTEGER PRIMARY KEY, message_name TEXT NOT NULL,"
	" created_at_us INTEGER NOT NULL, descriptor_set BLOB NOT NULL);"
	"CREATE TABLE records (rid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
	" revision INTEGER NOT NULL, created_at_us INTEGER NOT NULL,"
	" updated_at_us INTEGER NOT NULL, type_url TEXT, data_uri TEXT, labels BLOB,"
	" doc BLOB NOT NULL, proto BLOB NOT NULL);"
	"INSERT INTO meta VALUES ('record_count', 0), ('next_revision', 1);";

/*
 * steps[i] makes form i + 2 out of form i + 1; PRAGMA user_version is the form.
 * Never changed once it was released: append another.
 */
static const char *const steps[] = {
	/*
	 * A change's sequence is the revision that it gave; `forgotten` is the last one that
	 * is not kept. A deletion keeps the record as it was, in the columns of `records`.
	 */
	"CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, rid INTEGER NOT NULL,"
	" kind INTEGER NOT NULL, at_us INTEGER NOT NULL);"
	"CREATE TABLE deleted (rid INTEGER PRIMARY KEY /* changes.seq */, id TEXT NOT NULL,"
	" revision INTEGER NOT NULL, created_at_us INTEGER NOT NULL,"
	" updated_at_us INTEGER NOT NULL, type_url TEXT, data_uri TEXT, labels BLOB,"
	" doc BLOB NOT NULL, proto BLOB NOT NULL);"
	"CREATE TABLE requests (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
	" fingerprint INTEGER NOT NULL, at_us INTEGER NOT NULL, outcome BLOB NOT NULL);"
	"CREATE TABLE leases (rid INTEGER PRIMARY KEY, token INTEGER NOT NULL,"
	" expires_at_us INTEGER NOT NULL, owner TEXT NOT NULL);"
	"CREATE INDEX leases_by_end ON leases (expires_at_us);"
	/* Rows whose doc was made with an older version of the type than the last. */
	"CREATE TABLE stale_docs (rid INTEGER PRIMARY KEY);"
	"INSERT INTO meta VALUES ('next_token', 1), ('schema_version', 1),"
	" ('deleted_bytes', 0);"
	"INSERT INTO meta SELECT 'forgotten', value - 1 FROM meta WHERE key = 'next_revision';",
	/*
	 * Files by record and path; their bytes are on the disk under the name in `blob`.
	 * Vectors: see vector_store.c. Quotas of 0 are none.
	 */
	"CREATE TABLE files (record_id TEXT NOT NULL, path TEXT NOT NULL, blob TEXT, uri TEXT,"
	" size_bytes INTEGER NOT NULL, sha256 BLOB, created_at_us INTEGER NOT NULL,"
	" updated_at_us INTEGER NOT NULL, PRIMARY KEY (record_id, path)) WITHOUT ROWID;"
	"CREATE TABLE vector_chunks (chunk INTEGER PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE vector_versions (chunk INTEGER PRIMARY KEY, version INTEGER NOT NULL);"
	"CREATE TABLE vector_rows (rid INTEGER PRIMARY KEY, slot INTEGER NOT NULL);"
	"INSERT INTO meta VALUES ('file_count', 0), ('file_bytes', 0), ('vector_count', 0),"
	" ('vector_dimensions', 0), ('vector_metric', 0), ('quota_records', 0),"
	" ('quota_record_bytes', 0), ('quota_files', 0), ('quota_file_bytes', 0);"
	"INSERT INTO meta SELECT 'record_bytes', coalesce(sum(length(proto)), 0) FROM records;",
	/* What a change of the definition has still to build; and what `text` is made of. */
	"CREATE TABLE builds (step INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"
	" detail TEXT NOT NULL, position INTEGER NOT NULL, last INTEGER NOT NULL);"
	"INSERT INTO meta VALUES ('text_view', '" TEXT_FIRST_VIEW "');",
	/* A chunk's version was the revision that changed it. */
	"INSERT INTO meta VALUES ('vector_generation', 0);"
	"INSERT INTO meta SELECT 'vector_version', value FROM meta WHERE key = "
	"'next_revision';",
	/*
	 * Vectors that are being collected are kept beside those that searches go by. Where
	 * some were being collected the others were gone already.
	 */
	"INSERT INTO meta SELECT 'vector_set', count(*) FROM builds WHERE kind = 6;"
	"INSERT INTO meta SELECT 'next_' || m.key, CASE s.value WHEN 1 THEN m.value ELSE 0 END"
	" FROM meta m, meta s WHERE s.key = 'vector_set' AND m.key IN ('vector_dimensions',"
	" 'vector_metric', 'vector_generation', 'vector_count');"
	"UPDATE meta SET value = 0 WHERE key IN ('vector_dimensions', 'vector_metric',"
	" 'vector_count') AND (SELECT value FROM meta WHERE key = 'vector_set') = 1;"
	"UPDATE meta SET value = value - 1 WHERE key = 'vector_generation' AND (SELECT value"
	" FROM meta WHERE key = 'vector_set') = 1;"
	"INSERT INTO meta VALUES ('old_vector_field', ''), ('old_vector_numbers', '');",
};
enum { STEP_COUNT = sizeof(steps) / sizeof(steps[0]), FORM = 1 + STEP_COUNT };

/* ------------------------------------------------------------ create */

void render_text_schema(const char *table, const char *view,
			const struct search_path *const *paths, size_t count,
			struct strbuf *sql)
{
	strbuf_addf(sql, "CREATE VIEW %s (rid, body) AS SELECT rid, collector_text(", view);
	for (size_t i = 0; i < count; i++) {
		strbuf_addstr(sql, i ? ", " : "");
		render_path(paths[i], sql);
	}
	strbuf_addf(sql,
		    "%s) FROM records;"
		    "CREATE VIRTUAL TABLE %s USING fts5(body, content = '%s',"
		    " content_rowid = 'rid', tokenize = 'porter unicode61');",
		    count ? "" : "doc", table, view);
}

static enum status insert_definition(struct database *db, const struct store_definition *d,
				     struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		db, "INSERT INTO meta VALUES ('definition', ?), ('has_text', ?)", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_blob64(stmt, 1, d->definition.data, d->definition.size, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 2, d->has_text);
	status = database_run(db, stmt, err);
	if (status == STATUS_OK)
		status = database_prepare(db, "INSERT INTO schema_versions VALUES (1, ?, ?, ?)",
					  &stmt, err);
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, d->message_name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)d->created_us);
	sqlite3_bind_blob64(stmt, 3,
			    d->descriptor_set.data ? (const void *)d->descriptor_set.data : "",
			    d->descriptor_set.size, SQLITE_STATIC);
	return database_run(db, stmt, err);
}

static void render_settings(const struct store_definition *d, struct strbuf *sql)
{
	const struct {
		const char *key;
		int64_t value;
	} all[] = {
		{"vector_dimensions", (int64_t)d->vectors.dimensions},
		{"vector_metric", (int64_t)d->vectors.metric},
		{"quota_records", d->quota.records},
		{"quota_record_bytes", d->quota.record_bytes},
		{"quota_files", d->quota.files},
		{"quota_file_bytes", d->quota.file_bytes},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		strbuf_addf(sql, "UPDATE meta SET value = %lld WHERE key = '%s';",
			    (long long)all[i].value, all[i].key);
}

static void render_steps(int64_t form, struct strbuf *sql)
{
	for (; form < FORM; form++)
		strbuf_addstr(sql, steps[form - 1]);
	strbuf_addf(sql, "PRAGMA user_version = %d;", FORM);
}

static enum status fill(struct database *db, const struct store_definition *d,
			struct error *err)
{
	AUTO_STRBUF sql = STRBUF_INIT;
	enum status status = text_store_register(db, err);

	strbuf_addf(&sql, "PRAGMA application_id = %d; BEGIN; %s", APPLICATION, first_form);
	render_steps(1, &sql);
	render_settings(d, &sql);
	for (size_t i = 0; i < d->indexed_count; i++) {
		strbuf_addf(&sql, "CREATE INDEX field_%zu ON records (", i);
		render_path(d->indexed[i], &sql);
		strbuf_addstr(&sql, ");");
	}
	if (d->has_text)
		render_text_schema("text", TEXT_FIRST_VIEW, d->text, d->text_count, &sql);
	if (status == STATUS_OK)
		status = database_exec(db, strbuf_str(&sql), err);
	if (status == STATUS_OK)
		status = insert_definition(db, d, err);
	if (status == STATUS_OK)
		status = database_exec(db, "COMMIT", err);
	return status;
}

enum status store_create(const char *directory, const struct store_definition *definition,
			 struct error *err)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", directory);
	struct database *db;
	enum status status = database_open(path, DATABASE_CREATE, &db, err);

	if (status != STATUS_OK)
		return status;
	status = fill(db, definition, err);
	/*
	 * The last connection moves the log into the file, synced, and removes it. The
	 * directory needs no sync: SQLite did that after it had made both files.
	 */
	database_close(db);
	return status;
}

/* ------------------------------------------------------------ open */

static enum status migrate(struct database *db, int64_t form, struct error *err)
{
	AUTO_STRBUF sql = STRBUF_INIT;
	struct error ignored;
	enum status status;

	strbuf_addstr(&sql, "BEGIN IMMEDIATE;");
	render_steps(form, &sql);
	strbuf_addstr(&sql, "COMMIT");
	status = database_exec(db, strbuf_str(&sql), err);
	if (status != STATUS_OK && !sqlite3_get_autocommit(database_sqlite(db)))
		(void)!database_exec(db, "ROLLBACK", &ignored);
	return status;
}

enum status schema_store_check(struct database *db, struct error *err)
{
	int64_t application = 0, form = 0;
	enum status status = read_number(db, "PRAGMA application_id", &application, err);

	if (status == STATUS_OK)
		status = read_number(db, "PRAGMA user_version", &form, err);
	if (status != STATUS_OK)
		return status;
	if (application != APPLICATION)
		return error_set(err, STATUS_DATA_LOSS, "this is no collection's database");
	if (form < 1 || form > FORM)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the database has form %lld, this program knows 1 to %d",
				 (long long)form, FORM);
	return form == FORM ? STATUS_OK : migrate(db, form, err);
}
