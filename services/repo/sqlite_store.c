/* Making and opening a collection's database, and what is told of it. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/reflect/search.h"
#include "services/repo/store_internal.h"

enum {
	SCHEMA = 1,               /* PRAGMA user_version */
	APPLICATION = 0x434f4c43, /* "COLC", PRAGMA application_id */
	MAX_IDLE_READERS = 4,
};

/*
 * Small columns first: those behind a long blob cost a walk along its pages.
 * `meta` holds counters that each group updates and what the collection is.
 */
static const char schema_sql[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE schema_versions (version INTEGER PRIMARY KEY, message_name TEXT NOT NULL,"
	" created_at_us INTEGER NOT NULL, descriptor_set BLOB NOT NULL);"
	"CREATE TABLE records (rid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
	" revision INTEGER NOT NULL, created_at_us INTEGER NOT NULL,"
	" updated_at_us INTEGER NOT NULL, type_url TEXT, data_uri TEXT, labels BLOB,"
	" doc BLOB NOT NULL, proto BLOB NOT NULL);"
	"INSERT INTO meta VALUES ('record_count', 0), ('next_revision', 1);";

void render_path(const struct search_path *path, struct strbuf *sql)
{
	strbuf_addstr(sql, "jsonb_extract(doc, '");
	search_path_sql(path, sql);
	strbuf_addstr(sql, "')");
}

struct bytes column_bytes(struct sqlite3_stmt *stmt, int i)
{
	const void *data = sqlite3_column_blob(stmt, i);

	return bytes_of(data, data ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
}

const char *column_text(struct sqlite3_stmt *stmt, int i)
{
	const char *text = (const char *)sqlite3_column_text(stmt, i);

	return text ? text : "";
}

void format_etag(int64_t revision, char out[STORE_ETAG_BYTES])
{
	(void)snprintf(out, STORE_ETAG_BYTES, "r%llx", (unsigned long long)revision);
}

/* ------------------------------------------------------------ create */

static void add_text_schema(const struct store_definition *d, struct strbuf *sql)
{
	strbuf_addstr(sql,
		      "CREATE VIEW text_content (rid, body) AS SELECT rid, collector_text(");
	for (size_t i = 0; i < d->text_count; i++) {
		strbuf_addstr(sql, i ? ", " : "");
		render_path(d->text[i], sql);
	}
	strbuf_addstr(sql, d->text_count ? "" : "doc");
	strbuf_addstr(sql,
		      ") FROM records;"
		      "CREATE VIRTUAL TABLE text USING fts5(body, content = 'text_content',"
		      " content_rowid = 'rid', tokenize = 'porter unicode61');");
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

static enum status fill(struct database *db, const struct store_definition *d,
			struct error *err)
{
	AUTO_STRBUF sql = STRBUF_INIT;
	enum status status = text_store_register(db, err);

	strbuf_addf(&sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN; %s",
		    APPLICATION, SCHEMA, schema_sql);
	for (size_t i = 0; i < d->indexed_count; i++) {
		strbuf_addf(&sql, "CREATE INDEX field_%zu ON records (", i);
		render_path(d->indexed[i], &sql);
		strbuf_addstr(&sql, ");");
	}
	if (d->has_text)
		add_text_schema(d, &sql);
	if (status == STATUS_OK)
		status = database_exec(db, strbuf_str(&sql), err);
	if (status == STATUS_OK)
		status = insert_definition(db, d, err);
	if (status == STATUS_OK)
		status = database_exec(db, "COMMIT", err);
	return status;
}

static enum status sync_directory(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		return error_set(err, STATUS_UNAVAILABLE, "cannot sync %s: %s", path,
				 strerror(saved));
	}
	close(fd);
	return STATUS_OK;
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
	/* The last connection moves the log into the file, synced, and removes it. */
	database_close(db);
	return status == STATUS_OK ? sync_directory(directory, err) : status;
}

/* ------------------------------------------------------------ open */

static enum status read_number(struct database *db, const char *sql, int64_t *ret,
			       struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(db, sql, &stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	else
		status = code == SQLITE_DONE
				 ? error_set(err, STATUS_DATA_LOSS, "nothing answers %s", sql)
				 : database_error(db, code, err);
	database_reset(stmt);
	return status;
}

static enum status check_format(struct database *db, struct error *err)
{
	int64_t application = 0, schema = 0;
	enum status status = read_number(db, "PRAGMA application_id", &application, err);

	if (status == STATUS_OK)
		status = read_number(db, "PRAGMA user_version", &schema, err);
	if (status != STATUS_OK)
		return status;
	if (application != APPLICATION)
		return error_set(err, STATUS_DATA_LOSS, "this is no collection's database");
	if (schema != SCHEMA)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the database has schema %lld, this program knows %d",
				 (long long)schema, SCHEMA);
	return STATUS_OK;
}

static enum status read_counters(struct store *s, struct error *err)
{
	int64_t has_text = 0;
	enum status status =
		read_number(s->writer, "SELECT value FROM meta WHERE key = 'record_count'",
			    &s->record_count, err);

	if (status == STATUS_OK)
		status = read_number(s->writer,
				     "SELECT value FROM meta WHERE key = 'next_revision'",
				     &s->next_revision, err);
	if (status == STATUS_OK)
		status = read_number(s->writer, "SELECT value FROM meta WHERE key = 'has_text'",
				     &has_text, err);
	s->committed_count = s->record_count;
	s->committed_revision = s->next_revision;
	s->has_text = has_text != 0;
	return status;
}

/* The expressions out of "CREATE INDEX field_0 ON records (<expression>)". */
static enum status read_indexes(struct store *s, struct error *err)
{
	static const char before[] = "ON records (";
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT sql FROM sqlite_schema WHERE type = 'index' AND name LIKE 'field\\_%'"
		" ESCAPE '\\' ORDER BY name",
		&stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *sql = column_text(stmt, 0), *at = strstr(sql, before);

		if (!at)
			continue;
		at += sizeof(before) - 1;
		s->indexed =
			xreallocarray(s->indexed, s->indexed_count + 1, sizeof(*s->indexed));
		s->indexed[s->indexed_count++] = xstrndup(at, strlen(at) - 1);
	}
	if (code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

enum status store_open(const char *directory, struct store **ret_store, struct error *err)
{
	struct store *s = xcalloc(1, sizeof(*s));
	enum status status;

	pthread_mutex_init(&s->mu, NULL);
	s->path = xasprintf("%s/collection.db", directory);
	status = database_open(s->path, DATABASE_WRITE, &s->writer, err);
	if (status == STATUS_OK)
		status = check_format(s->writer, err);
	if (status == STATUS_OK)
		status = text_store_register(s->writer, err);
	if (status == STATUS_OK)
		status = read_counters(s, err);
	if (status == STATUS_OK)
		status = read_indexes(s, err);
	if (status != STATUS_OK) {
		store_close(s);
		return status;
	}
	*ret_store = s;
	return STATUS_OK;
}

void store_close(struct store *s)
{
	struct store_reader *next;

	if (!s)
		return;
	for (struct store_reader *r = s->idle; r; r = next) {
		next = r->next;
		database_close(r->db);
		free(r);
	}
	/* Last, so that it is the one to move the log into the database. */
	database_close(s->writer);
	pthread_mutex_destroy(&s->mu);
	for (size_t i = 0; i < s->indexed_count; i++)
		free(s->indexed[i]);
	free(s->indexed);
	free(s->path);
	free(s);
}

enum status store_load(struct store *s, struct arena *arena, struct store_definition *ret,
		       struct error *err)
{
	static const char sql[] = "SELECT m.value, v.message_name, v.descriptor_set"
				  " FROM meta m, schema_versions v WHERE m.key = 'definition'"
				  " ORDER BY v.version DESC LIMIT 1";
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		struct bytes definition = column_bytes(stmt, 0), set = column_bytes(stmt, 2);

		*ret = (struct store_definition){
			.definition =
				bytes_of(arena_memdup(arena, definition.data, definition.size),
					 definition.size),
			.message_name = arena_strdup(arena, column_text(stmt, 1)),
			.descriptor_set =
				bytes_of(arena_memdup(arena, set.data, set.size), set.size),
			.has_text = s->has_text,
		};
	} else {
		status = code == SQLITE_DONE
				 ? error_set(err, STATUS_DATA_LOSS, "the definition is missing")
				 : database_error(s->writer, code, err);
	}
	database_reset(stmt);
	return status;
}

/* ------------------------------------------------------------ readers */

struct store_reader *store_try_reader(struct store *s)
{
	struct store_reader *r;

	pthread_mutex_lock(&s->mu);
	r = s->idle;
	if (r) {
		s->idle = r->next;
		s->idle_count--;
	}
	pthread_mutex_unlock(&s->mu);
	return r;
}

enum status store_take_reader(struct store *s, struct store_reader **ret, struct error *err)
{
	struct store_reader *r = store_try_reader(s);
	enum status status = STATUS_OK;

	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->store = s;
		status = database_open(s->path, DATABASE_READ, &r->db, err);
		if (status == STATUS_OK)
			status = text_store_register(r->db, err);
		if (status != STATUS_OK) {
			database_close(r->db);
			free(r);
			return status;
		}
	}
	*ret = r;
	return STATUS_OK;
}

void store_give_reader(struct store *s, struct store_reader *r)
{
	pthread_mutex_lock(&s->mu);
	if (s->idle_count < MAX_IDLE_READERS) {
		r->next = s->idle;
		s->idle = r;
		s->idle_count++;
		r = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	if (r) {
		database_close(r->db);
		free(r);
	}
}

void store_interrupt(struct store_reader *reader)
{
	database_interrupt(reader->db);
}

static int64_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

enum status store_measure(struct store *s, struct store_sizes *ret, struct error *err)
{
	AUTO_FREE char *wal = xasprintf("%s-wal", s->path);
	struct store_reader *r;
	enum status status = store_take_reader(s, &r, err);

	if (status != STATUS_OK)
		return status;
	status = read_number(r->db, "SELECT value FROM meta WHERE key = 'record_count'",
			     &ret->record_count, err);
	if (status == STATUS_OK)
		status = read_number(r->db, "SELECT max(version) FROM schema_versions",
				     &ret->schema_versions, err);
	store_give_reader(s, r);
	ret->database_bytes = file_bytes(s->path);
	ret->wal_bytes = file_bytes(wal);
	return status;
}

void store_limit_pages(struct store *s, unsigned pages)
{
	AUTO_FREE char *sql = xasprintf("PRAGMA max_page_count = %u", pages ? pages : 1U << 30);
	struct error ignored;

	(void)!database_exec(s->writer, sql, &ignored);
}
