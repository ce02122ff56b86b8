/* Writing records, in groups. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"
#include "services/repo/vector_store.h"

/* A statement of the group itself, parsed once. */
static enum status run_on_group(struct store *s, const char *sql, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	return status == STATUS_OK ? database_run(s->writer, stmt, err) : status;
}

static enum status read_all_shape(struct store *s, struct error *err)
{
	enum status status = read_shape(s, err);

	if (status == STATUS_OK)
		status = read_settings(s, err);
	s->shape_is_unknown = status != STATUS_OK;
	return status;
}

/* After what changed it was undone. If it cannot be read, nothing can be written either. */
static void restore_shape(struct store *s)
{
	struct error err;

	if (s->shape_changed && read_all_shape(s, &err) != STATUS_OK &&
	    s->broken.status == STATUS_OK)
		s->broken = err;
}

enum status store_begin(struct store *s, struct error *err)
{
	enum status status;

	s->broken.status = STATUS_OK;
	s->is_unguarded = s->must_repeat = false;
	s->has_changed = s->shape_changed = s->indexes_changed = false;
	s->total_changes = sqlite3_total_changes64(database_sqlite(s->writer));
	status = run_on_group(s, "BEGIN IMMEDIATE", err);
	if (status == STATUS_OK && s->shape_is_unknown)
		status = read_all_shape(s, err);
	if (status != STATUS_OK)
		store_rollback(s);
	return status;
}

void store_rollback(struct store *s)
{
	struct error ignored;

	/* It may have been rolled back by the error itself. */
	if (!sqlite3_get_autocommit(database_sqlite(s->writer)))
		(void)!database_exec(s->writer, "ROLLBACK", &ignored);
	s->counters = s->committed;
	restore_shape(s);
}

enum status store_commit(struct store *s, struct error *err)
{
	enum status status = s->broken.status;

	if (status != STATUS_OK && err)
		*err = s->broken;
	if (status == STATUS_OK)
		status = changes_prune(s, err);
	if (status == STATUS_OK)
		status = requests_prune(s, err);
	if (status == STATUS_OK)
		status = counters_save(s, err);
	if (status == STATUS_OK)
		status = run_on_group(s, "COMMIT", err);
	if (status != STATUS_OK) {
		store_rollback(s);
		return status;
	}
	s->committed = s->counters;
	/* If it fails they are found at the next change, or when it is opened again. */
	if (s->indexes_changed)
		(void)!read_indexes(s, err);
	s->has_changed =
		sqlite3_total_changes64(database_sqlite(s->writer)) != s->total_changes;
	return STATUS_OK;
}

bool store_wants_checkpoint(const struct store *s)
{
	return database_wants_checkpoint(s->writer);
}

void store_checkpoint(struct store *s)
{
	database_checkpoint(s->writer);
}

uint64_t store_sync_ns(const struct store *s)
{
	return database_sync_ns(s->writer);
}

bool store_has_changed(const struct store *s)
{
	return s->has_changed;
}

/* ------------------------------------------------------------ one write */

struct current {
	bool exists;
	int64_t rid, revision, bytes;
};

static enum status find_current(struct store *s, const char *id, struct current *ret,
				struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT rid, revision, length(proto) FROM records WHERE id = ?",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
	int code = sqlite3_step(stmt);
	*ret = (struct current){0};
	if (code == SQLITE_ROW)
		*ret = (struct current){true, sqlite3_column_int64(stmt, 0),
					sqlite3_column_int64(stmt, 1),
					sqlite3_column_int64(stmt, 2)};
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

enum status run_on_row(struct store *s, const char *sql, int64_t number, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, number);
	return database_run(s->writer, stmt, err);
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
	sqlite3_bind_int64(stmt, 2, s->counters.next_revision);
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
	sqlite3_bind_int64(stmt, 2, s->counters.next_revision);
	sqlite3_bind_int64(stmt, 9, rid);
	return database_run(s->writer, stmt, err);
}

/* Only what is beside the message. */
static enum status touch_record(struct store *s, const struct store_write *w, int64_t rid,
				struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status =
		database_prepare(s->writer,
				 "UPDATE records SET revision = ?1, updated_at_us = ?2,"
				 " data_uri = coalesce(?3, data_uri) WHERE rid = ?4",
				 &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, s->counters.next_revision);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)w->now_us);
	if (w->data_uri)
		sqlite3_bind_text(stmt, 3, w->data_uri, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 4, rid);
	return database_run(s->writer, stmt, err);
}

static enum status merge(struct store *s, struct store_write *w, int64_t rid, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT type_url, proto FROM records WHERE rid = ?", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		status = w->merge(w, (const char *)sqlite3_column_text(stmt, 0),
				  column_bytes(stmt, 1), err);
	else
		status = database_error(s->writer, code == SQLITE_DONE ? SQLITE_CORRUPT : code,
					err);
	database_reset(stmt);
	return status;
}

/* What must be so before the record is touched. */
static enum status check_write(struct store *s, const struct store_write *w,
			       struct current *ret, struct error *err)
{
	enum status status = STATUS_OK;

	*ret = (struct current){0};
	/* A plain create leaves the look-up to the unique index. */
	if (w->is_delete || w->expectation != STORE_MUST_NOT_EXIST)
		status = find_current(s, w->id, ret, err);
	if (status == STATUS_OK)
		status = check_expectation(w, ret, err);
	if (status == STATUS_OK && w->lease_token)
		status = leases_check(s, ret->rid, w->lease_token, w->now_us, err);
	return status;
}

/* It was under way while type or vectors were changed: what was made of it is of before. */
static bool is_stale(const struct store *s, const struct store_write *w)
{
	return w->schema_version && (w->schema_version != s->schema_version ||
				     w->vector.generation != vectors_last(s)->generation);
}

/* The message, and all that is made of it. */
static enum status put_message(struct store *s, struct store_write *w, struct current *current,
			       struct error *err)
{
	enum status status = STATUS_OK;

	if (current->exists) {
		status = forget_text(s, current->rid, err);
		if (status == STATUS_OK)
			status = update_record(s, w, current->rid, err);
	} else {
		status = insert_record(s, w, &current->rid, err);
		s->counters.records++;
	}
	s->counters.record_bytes += (int64_t)w->proto.size - current->bytes;
	if (status == STATUS_OK)
		status = index_text(s, current->rid, err);
	if (status == STATUS_OK)
		status = vectors_write(s, current->rid, w, err);
	return status;
}

static enum status put(struct store *s, struct store_write *w, struct error *err)
{
	struct current current;
	enum status status = check_write(s, w, &current, err);
	const int64_t revision = s->counters.next_revision;

	if (status == STATUS_OK && w->merge && current.exists)
		status = merge(s, w, current.rid, err);
	if (status != STATUS_OK)
		return status;
	if (current.exists && w->keeps_message)
		status = touch_record(s, w, current.rid, err);
	else
		status = put_message(s, w, &current, err);
	if (status == STATUS_OK && is_stale(s, w))
		status = run_on_row(s, "INSERT OR IGNORE INTO stale_docs VALUES (?)",
				    current.rid, err);
	if (status == STATUS_OK)
		status = changes_add(s, revision, current.rid,
				     current.exists ? CHANGE_UPDATED : CHANGE_CREATED,
				     w->now_us, err);
	format_etag(revision, w->new_etag);
	s->counters.next_revision++;
	return status;
}

static enum status delete_record(struct store *s, const struct store_write *w,
				 struct error *err)
{
	struct current current;
	enum status status = check_write(s, w, &current, err);

	if (status == STATUS_OK && w->files)
		status = files_remove_all(s, w->id, w->files, err);
	if (status != STATUS_OK || !current.exists)
		return status;
	status = changes_add(s, s->counters.next_revision, current.rid, CHANGE_DELETED,
			     w->now_us, err);
	if (status == STATUS_OK)
		status = forget_text(s, current.rid, err);
	if (status == STATUS_OK)
		status = vectors_remove(s, current.rid, err);
	if (status == STATUS_OK)
		status = run_on_row(s, "DELETE FROM records WHERE rid = ?", current.rid, err);
	/* Row numbers are used again. */
	if (status == STATUS_OK)
		status = run_on_row(s, "DELETE FROM leases WHERE rid = ?", current.rid, err);
	s->counters.records--;
	s->counters.record_bytes -= current.bytes;
	s->counters.next_revision++;
	return status;
}

/* ------------------------------------------------------------ batches */

/* Undo what happened since SAVEPOINT @name. False: an error has undone the whole group. */
static bool undo(struct store *s, const char *name, const struct store_counters *counters,
		 const struct error *err)
{
	AUTO_FREE char *sql = xasprintf("ROLLBACK TO %s; RELEASE %s", name, name);
	struct error ignored;

	s->counters = *counters;
	/* Some errors, such as a full disk, do. */
	if (sqlite3_get_autocommit(database_sqlite(s->writer))) {
		s->broken = *err;
		return false;
	}
	(void)!database_exec(s->writer, sql, &ignored);
	restore_shape(s);
	return true;
}

static enum status carry_out(struct store *s, struct store_write *w,
			     const struct store_counters *before, struct error *err)
{
	enum status status = w->operation   ? w->operation(s, w, err)
			     : w->is_delete ? delete_record(s, w, err)
					    : put(s, w, err);

	return status == STATUS_OK ? quota_check(s, before, err) : status;
}

static enum status apply_guarded(struct store *s, struct store_write *w, struct error *err)
{
	const struct store_counters before = s->counters;
	enum status status = run_on_group(s, "SAVEPOINT one", err);

	if (status == STATUS_OK)
		status = carry_out(s, w, &before, err);
	if (status == STATUS_OK)
		status = run_on_group(s, "RELEASE one", err);
	else
		(void)undo(s, "one", &before, err);
	return status;
}

/* What fails before it changed anything, such as a record that exists, leaves nothing to undo. */
static enum status apply_unguarded(struct store *s, struct store_write *w, struct error *err)
{
	const struct store_counters before = s->counters;
	sqlite3 *sqlite = database_sqlite(s->writer);
	const sqlite3_int64 changes = sqlite3_total_changes64(sqlite);
	enum status status = carry_out(s, w, &before, err);

	if (status == STATUS_OK)
		return status;
	s->counters = before;
	if (sqlite3_get_autocommit(sqlite))
		s->broken = *err;
	else if (sqlite3_total_changes64(sqlite) != changes)
		s->must_repeat = true;
	return status;
}

static enum status apply_one(struct store *s, struct store_write *w)
{
	enum status status = s->is_unguarded ? apply_unguarded(s, w, &w->error)
					     : apply_guarded(s, w, &w->error);

	w->status = status;
	if (w->now_us > s->now_us)
		s->now_us = w->now_us;
	return status;
}

static void apply_each(struct store *s, struct store_batch *b)
{
	for (struct store_write *w = b->writes; w; w = w->next) {
		if (s->broken.status == STATUS_OK) {
			(void)apply_one(s, w);
		} else {
			w->status = s->broken.status;
			w->error = s->broken;
		}
	}
}

static void apply_all_or_none(struct store *s, struct store_batch *b)
{
	const struct store_counters before = s->counters;
	struct store_write *w = b->writes;
	char field[32];
	size_t i = 0;

	b->status = run_on_group(s, "SAVEPOINT batch", &b->error);
	for (; b->status == STATUS_OK && w; w = w->next, i++) {
		b->status = apply_one(s, w);
		if (b->status == STATUS_OK)
			continue;
		b->error = w->error;
		(void)snprintf(field, sizeof(field), "operations[%zu]", i);
		error_prefix_field(&b->error, field);
	}
	if (b->status == STATUS_OK)
		b->status = run_on_group(s, "RELEASE batch", &b->error);
	else
		(void)undo(s, "batch", &before, &b->error);
}

void store_apply(struct store *s, struct store_batch *b)
{
	bool found = false;

	b->status = s->broken.status;
	b->error = s->broken;
	if (b->status == STATUS_OK && b->request_id)
		b->status = requests_recall(s, b, &found, &b->error);
	if (b->status != STATUS_OK || found)
		return;
	if (b->atomic)
		apply_all_or_none(s, b);
	else
		apply_each(s, b);
	if (!b->request_id || s->broken.status != STATUS_OK)
		return;
	struct error err;
	if (requests_remember(s, b, &err) != STATUS_OK)
		s->broken = err; /* what is not remembered must not have happened */
}

/* ------------------------------------------------------------ groups */

/* Can it be carried out twice, the first time being undone? */
static bool is_plain(const struct store_batch *b)
{
	if (b->atomic)
		return false;
	for (const struct store_write *w = b->writes; w; w = w->next)
		if (w->operation || w->is_delete || w->merge)
			return false;
	return true;
}

static void apply_group(struct store *s, struct store_batch *group)
{
	for (struct store_batch *b = group; b && !s->must_repeat; b = b->next)
		store_apply(s, b);
}

/*
 * With a savepoint SQLite copies each page that a write changes, in case it fails. Hardly any
 * does after it changed something: groups of nothing but puts go without, and are written again
 * with savepoints if one did.
 */
enum status store_write(struct store *s, struct store_batch *group, struct error *err)
{
	enum status status = store_begin(s, err);
	bool all_plain = true;

	for (const struct store_batch *b = group; b && all_plain; b = b->next)
		all_plain = is_plain(b);
	s->is_unguarded = all_plain;
	if (status == STATUS_OK)
		apply_group(s, group);
	if (status == STATUS_OK && s->must_repeat) {
		store_rollback(s);
		status = store_begin(s, err);
		if (status == STATUS_OK)
			apply_group(s, group);
	}
	return status == STATUS_OK ? store_commit(s, err) : status;
}
