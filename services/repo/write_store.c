/* Writing records, in groups. */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/store_internal.h"

enum status store_begin(struct store *s, struct error *err)
{
	s->broken.status = STATUS_OK;
	return database_exec(s->writer, "BEGIN IMMEDIATE", err);
}

void store_rollback(struct store *s)
{
	struct error ignored;

	/* It may have been rolled back by the error itself. */
	if (!sqlite3_get_autocommit(database_sqlite(s->writer)))
		(void)!database_exec(s->writer, "ROLLBACK", &ignored);
	s->record_count = s->committed_count;
	s->next_revision = s->committed_revision;
}

static enum status save_counter(struct store *s, const char *key, int64_t value,
				struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "UPDATE meta SET value = ?2 WHERE key = ?1", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, value);
	return database_run(s->writer, stmt, err);
}

enum status store_commit(struct store *s, struct error *err)
{
	enum status status = s->broken.status;

	if (status != STATUS_OK && err)
		*err = s->broken;
	if (status == STATUS_OK && s->record_count != s->committed_count)
		status = save_counter(s, "record_count", s->record_count, err);
	if (status == STATUS_OK && s->next_revision != s->committed_revision)
		status = save_counter(s, "next_revision", s->next_revision, err);
	if (status == STATUS_OK)
		status = database_exec(s->writer, "COMMIT", err);
	if (status != STATUS_OK) {
		store_rollback(s);
		return status;
	}
	s->committed_count = s->record_count;
	s->committed_revision = s->next_revision;
	return STATUS_OK;
}

/* ------------------------------------------------------------ one write */

struct current {
	bool exists;
	int64_t rid, revision;
};

static enum status find_current(struct store *s, const char *id, struct current *ret,
				struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT rid, revision FROM records WHERE id = ?", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
	int code = sqlite3_step(stmt);
	*ret = (struct current){0};
	if (code == SQLITE_ROW)
		*ret = (struct current){true, sqlite3_column_int64(stmt, 0),
					sqlite3_column_int64(stmt, 1)};
	else if (code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

static enum status check_expectation(const struct store_write *w, const struct current *c,
				     struct error *err)
{
	char etag[STORE_ETAG_BYTES];

	if (c->exists && w->expectation == STORE_MUST_NOT_EXIST)
		return error_set(err, STATUS_ALREADY_EXISTS, "record \"%s\" exists", w->id);
	if (!c->exists && w->expectation == STORE_MUST_EXIST)
		return error_set(err, STATUS_NOT_FOUND, "there is no record \"%s\"", w->id);
	if (!w->etag || !*w->etag)
		return STATUS_OK;
	if (!c->exists)
		return error_set(err, STATUS_NOT_FOUND, "there is no record \"%s\"", w->id);
	format_etag(c->revision, etag);
	if (strcmp(etag, w->etag) != 0)
		return error_set(err, STATUS_ABORTED,
				 "record \"%s\" has changed: its etag is %s", w->id, etag);
	return STATUS_OK;
}

static enum status run_on_row(struct store *s, const char *sql, int64_t rid, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	return database_run(s->writer, stmt, err);
}

/* Before the row changes: what was indexed must be told to be forgotten. */
static enum status forget_text(struct store *s, int64_t rid, struct error *err)
{
	return s->has_text ? run_on_row(s,
					"INSERT INTO text (text, rowid, body) SELECT 'delete',"
					" rid, body FROM text_content WHERE rid = ?",
					rid, err)
			   : STATUS_OK;
}

static enum status index_text(struct store *s, int64_t rid, struct error *err)
{
	return s->has_text ? run_on_row(s,
					"INSERT INTO text (rowid, body) SELECT rid, body"
					" FROM text_content WHERE rid = ?",
					rid, err)
			   : STATUS_OK;
}

static void bind_content(sqlite3_stmt *stmt, const struct store_write *w)
{
	sqlite3_bind_text(stmt, 1, w->id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)w->now_us);
	if (w->type_url)
		sqlite3_bind_text(stmt, 4, w->type_url, -1, SQLITE_STATIC);
	if (w->data_uri && *w->data_uri)
		sqlite3_bind_text(stmt, 5, w->data_uri, -1, SQLITE_STATIC);
	if (w->labels.size)
		sqlite3_bind_blob64(stmt, 6, w->labels.data, w->labels.size, SQLITE_STATIC);
	sqlite3_bind_blob64(stmt, 7, w->doc.data, w->doc.size, SQLITE_STATIC);
	sqlite3_bind_blob64(stmt, 8, w->proto.data ? (const void *)w->proto.data : "",
			    w->proto.size, SQLITE_STATIC);
}

static enum status insert_record(struct store *s, struct store_write *w, int64_t *ret_rid,
				 struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"INSERT INTO records (id, revision, created_at_us, updated_at_us, type_url,"
		" data_uri, labels, doc, proto) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	bind_content(stmt, w);
	sqlite3_bind_int64(stmt, 2, s->next_revision);
	status = database_run(s->writer, stmt, err);
	if (status == STATUS_ALREADY_EXISTS)
		return error_set(err, STATUS_ALREADY_EXISTS, "record \"%s\" exists", w->id);
	*ret_rid = sqlite3_last_insert_rowid(database_sqlite(s->writer));
	return status;
}

/* Labels are merged as RFC 7396 patches objects; ours hold no nulls. */
static enum status update_record(struct store *s, struct store_write *w, int64_t rid,
				 struct error *err)
{
	static const char *const sql[] = {
		[STORE_LABELS_MERGE] =
			"UPDATE records SET revision = ?2, updated_at_us = ?3, type_url = ?4,"
			" data_uri = coalesce(?5, data_uri), labels = CASE WHEN ?6 IS NULL THEN"
			" labels ELSE jsonb_patch(coalesce(labels, jsonb('{}')), ?6) END,"
			" doc = ?7, proto = ?8 WHERE rid = ?9",
		[STORE_LABELS_REPLACE] =
			"UPDATE records SET revision = ?2, updated_at_us = ?3, type_url = ?4,"
			" data_uri = coalesce(?5, data_uri), labels = ?6,"
			" doc = ?7, proto = ?8 WHERE rid = ?9",
	};
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql[w->labels_mode], &stmt, err);

	if (status != STATUS_OK)
		return status;
	bind_content(stmt, w);
	/* Parameter 1 is the id, which stays. */
	sqlite3_bind_int64(stmt, 2, s->next_revision);
	sqlite3_bind_int64(stmt, 9, rid);
	return database_run(s->writer, stmt, err);
}

static enum status merge(struct store *s, struct store_write *w, int64_t rid, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT proto FROM records WHERE rid = ?", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		status = w->merge(w, column_bytes(stmt, 0), err);
	else
		status = database_error(s->writer, code == SQLITE_DONE ? SQLITE_CORRUPT : code,
					err);
	database_reset(stmt);
	return status;
}

static enum status put(struct store *s, struct store_write *w, struct error *err)
{
	struct current current = {0};
	enum status status = STATUS_OK;

	/* A plain create leaves the look-up to the unique index. */
	if (w->expectation != STORE_MUST_NOT_EXIST)
		status = find_current(s, w->id, &current, err);
	if (status == STATUS_OK)
		status = check_expectation(w, &current, err);
	if (status == STATUS_OK && w->merge && current.exists)
		status = merge(s, w, current.rid, err);
	if (status != STATUS_OK)
		return status;
	if (current.exists) {
		status = forget_text(s, current.rid, err);
		if (status == STATUS_OK)
			status = update_record(s, w, current.rid, err);
	} else {
		status = insert_record(s, w, &current.rid, err);
		s->record_count++;
	}
	if (status == STATUS_OK)
		status = index_text(s, current.rid, err);
	format_etag(s->next_revision++, w->new_etag);
	return status;
}

static enum status delete_record(struct store *s, const struct store_write *w,
				 struct error *err)
{
	struct current current;
	enum status status = find_current(s, w->id, &current, err);

	if (status == STATUS_OK)
		status = check_expectation(w, &current, err);
	if (status != STATUS_OK || !current.exists)
		return status;
	status = forget_text(s, current.rid, err);
	if (status == STATUS_OK)
		status = run_on_row(s, "DELETE FROM records WHERE rid = ?", current.rid, err);
	s->record_count--;
	return status;
}

void store_apply(struct store *s, struct store_write *w)
{
	const int64_t count = s->record_count;
	struct error *err = &w->error;
	enum status status = database_exec(s->writer, "SAVEPOINT one", err);

	if (status == STATUS_OK)
		status = w->is_delete ? delete_record(s, w, err) : put(s, w, err);
	if (status == STATUS_OK) {
		status = database_exec(s->writer, "RELEASE one", err);
	} else if (sqlite3_get_autocommit(database_sqlite(s->writer))) {
		/* Some errors, such as a full disk, undo the whole group. */
		s->broken = *err;
	} else {
		struct error ignored;

		(void)!database_exec(s->writer, "ROLLBACK TO one; RELEASE one", &ignored);
	}
	if (status != STATUS_OK)
		s->record_count = count;
	w->status = status;
}
