/* Which files there are: rows; their bytes are files.c's. */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/store_internal.h"

#define FILE_COLUMNS                                                                           \
	"record_id, path, blob, uri, size_bytes, sha256, created_at_us, updated_at_us"

static bool is_directory(const char *path)
{
	const size_t len = strlen(path);

	return len && path[len - 1] == '/';
}

/* The statement with the record and up to two texts as parameters 1 to 3. */
static enum status prepare(struct database *db, const char *sql, const char *record_id,
			   const char *from, const char *to, sqlite3_stmt **ret,
			   struct error *err)
{
	enum status status = database_prepare(db, sql, ret, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(*ret, 1, record_id, -1, SQLITE_STATIC);
	if (from)
		sqlite3_bind_text(*ret, 2, from, -1, SQLITE_TRANSIENT);
	if (to)
		sqlite3_bind_text(*ret, 3, to, -1, SQLITE_TRANSIENT);
	return STATUS_OK;
}

/* The first text after all that begin with @prefix; NULL: there is none. */
static const char *after_prefix(const char *prefix, struct strbuf *out)
{
	strbuf_addstr(out, prefix);
	while (out->len && (uint8_t)out->buf[out->len - 1] == 0xff)
		strbuf_truncate(out, out->len - 1);
	if (!out->len)
		return NULL;
	out->buf[out->len - 1] = (char)((uint8_t)out->buf[out->len - 1] + 1);
	return out->buf;
}

static void read_file(sqlite3_stmt *stmt, struct store_file *ret)
{
	const struct bytes sha256 = column_bytes(stmt, 5);

	*ret = (struct store_file){
		.record_id = column_text(stmt, 0),
		.path = column_text(stmt, 1),
		.blob = (const char *)sqlite3_column_text(stmt, 2),
		.uri = (const char *)sqlite3_column_text(stmt, 3),
		.size_bytes = sqlite3_column_int64(stmt, 4),
		.created_us = (uint64_t)sqlite3_column_int64(stmt, 6),
		.updated_us = (uint64_t)sqlite3_column_int64(stmt, 7),
	};
	if (sha256.size == sizeof(ret->sha256))
		memcpy(ret->sha256, sha256.data, sha256.size);
}

/* ------------------------------------------------------------ writing */

static enum status has_row(struct store *s, sqlite3_stmt *stmt, bool *ret, struct error *err)
{
	int code = sqlite3_step(stmt);
	enum status status = code == SQLITE_ROW || code == SQLITE_DONE
				     ? STATUS_OK
				     : database_error(s->writer, code, err);

	*ret = code == SQLITE_ROW;
	database_reset(stmt);
	return status;
}

/* No part of @path before its end is a file. */
static enum status check_ancestors(struct store *s, const char *record_id, const char *path,
				   struct error *err)
{
	AUTO_STRBUF part = STRBUF_INIT;
	sqlite3_stmt *stmt;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		bool is_file;
		enum status status;

		strbuf_reset(&part);
		strbuf_add(&part, path, (size_t)(slash - path));
		status = prepare(s->writer,
				 "SELECT 1 FROM files WHERE record_id = ?1 AND path = ?2",
				 record_id, part.buf, NULL, &stmt, err);
		if (status == STATUS_OK)
			status = has_row(s, stmt, &is_file, err);
		if (status != STATUS_OK)
			return status;
		if (is_file)
			return error_set(err, STATUS_FAILED_PRECONDITION,
					 "%s is a file, no directory", part.buf);
	}
	return STATUS_OK;
}

static enum status check_no_directory(struct store *s, const char *record_id, const char *path,
				      struct error *err)
{
	AUTO_STRBUF from = STRBUF_INIT;
	AUTO_STRBUF to = STRBUF_INIT;
	sqlite3_stmt *stmt;
	bool is_taken;

	strbuf_addf(&from, "%s/", path);
	enum status status =
		prepare(s->writer,
			"SELECT 1 FROM files WHERE record_id = ?1 AND path >= ?2 AND path < ?3",
			record_id, from.buf, after_prefix(from.buf, &to), &stmt, err);
	if (status == STATUS_OK)
		status = has_row(s, stmt, &is_taken, err);
	if (status == STATUS_OK && is_taken)
		return error_set(err, STATUS_FAILED_PRECONDITION, "%s is a directory", path);
	return status;
}

/* A row goes: its bytes are nobody's then. */
static void account_removed(struct store *s, sqlite3_stmt *stmt, struct store_file_changes *all)
{
	struct store_file file;

	read_file(stmt, &file);
	if (is_directory(file.path))
		return;
	s->counters.files--;
	s->counters.file_bytes -= file.size_bytes;
	all->removed++;
	if (file.blob)
		strbuf_add(&all->dropped, file.blob, strlen(file.blob) + 1);
}

static enum status step_removed(struct store *s, sqlite3_stmt *stmt,
				struct store_file_changes *all, struct error *err)
{
	int code;

	while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
		account_removed(s, stmt, all);
	database_reset(stmt);
	return code == SQLITE_DONE ? STATUS_OK : database_error(s->writer, code, err);
}

static enum status remove_one(struct store *s, const struct store_file *file,
			      struct store_file_changes *all, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = prepare(s->writer,
				     "DELETE FROM files WHERE record_id = ?1 AND path = ?2"
				     " RETURNING " FILE_COLUMNS,
				     file->record_id, file->path, NULL, &stmt, err);

	return status == STATUS_OK ? step_removed(s, stmt, all, err) : status;
}

/* All in the directory @file->path, "" being the root. */
static enum status remove_below(struct store *s, const struct store_file *file,
				struct store_file_changes *all, struct error *err)
{
	AUTO_STRBUF from = STRBUF_INIT;
	AUTO_STRBUF to = STRBUF_INIT;
	sqlite3_stmt *stmt;
	enum status status;

	strbuf_addf(&from, *file->path ? "%s/" : "%s", file->path);
	status = prepare(s->writer,
			 "DELETE FROM files WHERE record_id = ?1 AND path >= ?2"
			 " AND (?3 IS NULL OR path < ?3) RETURNING " FILE_COLUMNS,
			 file->record_id, strbuf_str(&from),
			 after_prefix(strbuf_str(&from), &to), &stmt, err);
	return status == STATUS_OK ? step_removed(s, stmt, all, err) : status;
}

static enum status insert(struct store *s, const struct store_file *file, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = prepare(
		s->writer,
		"INSERT INTO files (" FILE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT (record_id, path) DO UPDATE SET blob = ?3, uri = ?4,"
		" size_bytes = ?5, sha256 = ?6, updated_at_us = ?8",
		file->record_id, file->path, file->blob, &stmt, err);

	if (status != STATUS_OK)
		return status;
	if (file->uri)
		sqlite3_bind_text(stmt, 4, file->uri, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 5, file->size_bytes);
	if (file->blob)
		sqlite3_bind_blob(stmt, 6, file->sha256, sizeof(file->sha256), SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 7, (sqlite3_int64)file->created_us);
	sqlite3_bind_int64(stmt, 8, (sqlite3_int64)file->updated_us);
	return database_run(s->writer, stmt, err);
}

/* What is at the file's path, if anything, is replaced and keeps its time of creation. */
static enum status put_file(struct store *s, struct store_file_change *change,
			    struct store_file_changes *all, uint64_t now_us, struct error *err)
{
	struct store_file *file = &change->file;
	const bool is_file = !is_directory(file->path);
	sqlite3_stmt *stmt;
	int code;
	enum status status = check_ancestors(s, file->record_id, file->path, err);

	if (status == STATUS_OK && is_file)
		status = check_no_directory(s, file->record_id, file->path, err);
	if (status == STATUS_OK)
		status = prepare(s->writer,
				 "SELECT " FILE_COLUMNS
				 " FROM files WHERE record_id = ?1 AND path = ?2",
				 file->record_id, file->path, NULL, &stmt, err);
	if (status != STATUS_OK)
		return status;
	code = sqlite3_step(stmt);
	file->created_us = file->updated_us = now_us;
	if (code == SQLITE_ROW && change->action == STORE_FILE_CREATE) {
		status = error_set(err, STATUS_ALREADY_EXISTS, "file %s exists", file->path);
	} else if (code == SQLITE_ROW) {
		account_removed(s, stmt, all);
		file->created_us = (uint64_t)sqlite3_column_int64(stmt, 6);
	} else if (code != SQLITE_DONE) {
		status = database_error(s->writer, code, err);
	}
	database_reset(stmt);
	if (status != STATUS_OK)
		return status;
	s->counters.files += is_file;
	s->counters.file_bytes += file->size_bytes;
	all->stored += is_file;
	return insert(s, file, err);
}

static enum status apply(struct store *s, struct store_file_change *change,
			 struct store_file_changes *all, uint64_t now_us, struct error *err)
{
	switch (change->action) {
	case STORE_FILE_REMOVE:
		return remove_one(s, &change->file, all, err);
	case STORE_FILE_REMOVE_BELOW:
		return remove_below(s, &change->file, all, err);
	case STORE_FILE_PUT:
	case STORE_FILE_CREATE:
		break;
	}
	return put_file(s, change, all, now_us, err);
}

static enum status check_record(struct store *s, const char *id, struct error *err)
{
	sqlite3_stmt *stmt;
	bool exists;
	enum status status = prepare(s->writer, "SELECT 1 FROM records WHERE id = ?1", id, NULL,
				     NULL, &stmt, err);

	if (status == STATUS_OK)
		status = has_row(s, stmt, &exists, err);
	return status == STATUS_OK && !exists
		       ? error_set(err, STATUS_NOT_FOUND, "there is no record \"%s\"", id)
		       : status;
}

enum status files_remove_all(struct store *s, const char *record_id,
			     struct store_file_changes *all, struct error *err)
{
	const struct store_file root = {.record_id = record_id, .path = ""};

	all->removed = 0;
	strbuf_reset(&all->dropped);
	return remove_below(s, &root, all, err);
}

enum status store_change_files(struct store *s, struct store_write *w, struct error *err)
{
	struct store_file_changes *all = w->operands;
	enum status status = STATUS_OK;

	all->stored = all->removed = 0;
	strbuf_reset(&all->dropped);
	if (w->id && *w->id)
		status = check_record(s, w->id, err);
	for (size_t i = 0; status == STATUS_OK && i < all->count; i++)
		status = apply(s, &all->changes[i], all, w->now_us, err);
	return status;
}

/* ------------------------------------------------------------ reading */

enum status store_get_file(struct store_reader *reader, const char *record_id, const char *path,
			   struct arena *arena, struct store_file *ret, struct error *err)
{
	struct store_file file;
	sqlite3_stmt *stmt;
	enum status status =
		prepare(reader->db,
			"SELECT " FILE_COLUMNS " FROM files WHERE record_id = ?1 AND path = ?2",
			record_id, path, NULL, &stmt, err);

	if (status != STATUS_OK)
		return status;
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		read_file(stmt, &file);
		*ret = store_file_copy(&file, arena);
	} else {
		status = code == SQLITE_DONE ? error_set(err, STATUS_NOT_FOUND,
							 "there is no file \"%s\"", path)
					     : database_error(reader->db, code, err);
	}
	database_reset(stmt);
	return status;
}

struct store_file store_file_copy(const struct store_file *file, struct arena *arena)
{
	struct store_file copy = *file;

	copy.record_id = arena_strdup(arena, file->record_id);
	copy.path = arena_strdup(arena, file->path);
	copy.blob = file->blob ? arena_strdup(arena, file->blob) : NULL;
	copy.uri = file->uri ? arena_strdup(arena, file->uri) : NULL;
	return copy;
}

/* Rows in the order of the primary key, after one, with a prefix. */
static enum status prepare_list(struct database *db, const struct store_file_query *q,
				sqlite3_stmt **ret, struct error *err)
{
	static const char *const sql[] = {
		"SELECT " FILE_COLUMNS " FROM files WHERE record_id = ?1 AND path >= ?2"
		" AND (?3 IS NULL OR path < ?3) AND path > ?4 ORDER BY path",
		"SELECT " FILE_COLUMNS " FROM files WHERE (record_id, path) > (?1, ?4)"
		" AND path >= ?2 AND (?3 IS NULL OR path < ?3) ORDER BY record_id, path",
	};
	AUTO_STRBUF end = STRBUF_INIT;
	const char *record_id = q->all_records ? q->after_record : q->record_id;
	enum status status = prepare(db, sql[q->all_records], record_id, q->prefix,
				     after_prefix(q->prefix, &end), ret, err);

	if (status == STATUS_OK)
		sqlite3_bind_text(*ret, 4, q->after_path, -1, SQLITE_STATIC);
	return status;
}

enum status store_list_files(struct store_reader *reader, const struct store_file_query *q,
			     store_file_row *row, void *arg, struct error *err)
{
	struct store_file file;
	sqlite3_stmt *stmt;
	bool more = true;
	int code = SQLITE_DONE;
	enum status status = prepare_list(reader->db, q, &stmt, err);

	if (status != STATUS_OK)
		return status;
	while (more && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		read_file(stmt, &file);
		more = row(arg, &file);
	}
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		status = database_error(reader->db, code, err);
	database_reset(stmt);
	return status;
}

enum status store_list_blobs(struct store *s, void (*each)(void *arg, const char *blob),
			     void *arg, struct error *err)
{
	sqlite3_stmt *stmt;
	int code;
	enum status status = database_prepare(
		s->writer, "SELECT blob FROM files WHERE blob IS NOT NULL", &stmt, err);

	if (status != STATUS_OK)
		return status;
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
		each(arg, column_text(stmt, 0));
	database_reset(stmt);
	return code == SQLITE_DONE ? STATUS_OK : database_error(s->writer, code, err);
}
