/* Reading the change feed, and the records that it begins with. */
#include <sqlite3.h>

#include "services/repo/condition_store.h"
#include "services/repo/query.h"
#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

enum {
	CHANGES_AT_ONCE = 256, /* looked at by one call */
	ROWS_AT_ONCE = 4096,
};

/* One look at the feed; everything in it is of one read transaction. */
struct look {
	struct store_reader *reader;
	const struct query *q;
	bool with_unmatched;
	store_change_row *row;
	void *arg;
	struct error *err;
};

/* A row of `changes`. */
struct change_row {
	int64_t sequence, rid;
	enum change_kind kind;
	uint64_t at_us;
};

/* ------------------------------------------------------------ one change */

/*
 * The record that the change left, if it matches and has not changed since. What was
 * deleted is asked for in the place of `records`, so that conditions are the same.
 */
static void render_image(struct rendering *r, const struct query *q,
			 const struct change_row *change)
{
	if (change->kind == CHANGE_DELETED) {
		strbuf_addstr(&r->sql, "WITH records AS (SELECT * FROM deleted WHERE rid = ");
		render_integer(r, change->sequence);
		strbuf_addstr(&r->sql, ") ");
	}
	strbuf_addstr(&r->sql, "SELECT " RECORD_COLUMNS);
	render_where(r, q);
	if (change->kind != CHANGE_DELETED) {
		strbuf_addstr(&r->sql, " AND r.rid = ");
		render_integer(r, change->rid);
		strbuf_addstr(&r->sql, " AND r.revision = ");
		render_integer(r, change->sequence);
	}
}

/* Give what is found to the row function, which says whether it wants more. */
static enum status tell(const struct look *l, sqlite3_stmt *stmt, struct store_change *change,
			bool *ret_found, bool *ret_more)
{
	struct store_record record;
	const int code = sqlite3_step(stmt);

	*ret_found = code == SQLITE_ROW;
	if (code == SQLITE_ROW) {
		read_record(stmt, &record);
		change->record = &record;
		*ret_more = l->row(l->arg, change);
	} else if (code != SQLITE_DONE) {
		return database_error(l->reader->db, code, l->err);
	}
	return STATUS_OK;
}

static enum status tell_image(const struct look *l, const struct change_row *row,
			      bool *ret_found, bool *ret_more)
{
	struct rendering r = {.sql = STRBUF_INIT};
	struct store_change change = {
		.kind = row->kind == CHANGE_DELETED ? STORE_DELETED : STORE_UPSERTED,
		.sequence = row->sequence,
		.at_us = row->at_us,
	};
	sqlite3_stmt *stmt;
	enum status status;

	render_image(&r, l->q, row);
	status = database_prepare(l->reader->db, strbuf_str(&r.sql), &stmt, l->err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		status = tell(l, stmt, &change, ret_found, ret_more);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}

/* It did not match; or it changed again since, then there is nothing to tell. */
static enum status tell_unmatched(const struct look *l, const struct change_row *row,
				  bool *ret_more)
{
	static const char changed[] = "SELECT " RECORD_COLUMNS " FROM records r"
				      " WHERE r.rid = ? AND r.revision = ?";
	static const char deleted[] = "SELECT " RECORD_COLUMNS " FROM deleted r"
				      " WHERE r.rid = ?2";
	struct store_change change = {
		.kind = STORE_UNMATCHED,
		.sequence = row->sequence,
		.at_us = row->at_us,
	};
	sqlite3_stmt *stmt;
	bool found;
	enum status status = database_prepare(
		l->reader->db, row->kind == CHANGE_DELETED ? deleted : changed, &stmt, l->err);

	if (status != STATUS_OK)
		return status;
	if (row->kind != CHANGE_DELETED)
		sqlite3_bind_int64(stmt, 1, row->rid);
	sqlite3_bind_int64(stmt, 2, row->sequence);
	status = tell(l, stmt, &change, &found, ret_more);
	database_reset(stmt);
	return status;
}

static enum status tell_change(const struct look *l, const struct change_row *row,
			       bool *ret_more)
{
	bool found;
	enum status status = tell_image(l, row, &found, ret_more);

	if (status != STATUS_OK || found || !l->with_unmatched || row->kind == CHANGE_CREATED)
		return status;
	return tell_unmatched(l, row, ret_more);
}

/* ------------------------------------------------------------ the feed */

static enum status check_sequence(struct store_reader *reader, int64_t sequence,
				  int64_t *ret_last, struct error *err)
{
	int64_t forgotten, next;
	enum status status = read_number(
		reader->db, "SELECT value FROM meta WHERE key = 'forgotten'", &forgotten, err);

	if (status == STATUS_OK)
		status = read_number(reader->db,
				     "SELECT value FROM meta WHERE key = 'next_revision'",
				     &next, err);
	if (status != STATUS_OK)
		return status;
	if (sequence < forgotten)
		return error_set(err, STATUS_OUT_OF_RANGE,
				 "changes up to %lld are not kept any more: list again",
				 (long long)forgotten);
	if (sequence >= next)
		return error_set(err, STATUS_OUT_OF_RANGE,
				 "there was no change %lld yet: list again",
				 (long long)sequence);
	*ret_last = next - 1;
	return STATUS_OK;
}

/* The next rows after @sequence; fewer than there is room for: there are no more. */
static enum status read_rows(struct store_reader *reader, int64_t sequence,
			     struct change_row *rows, size_t *ret_count, struct error *err)
{
	static const char sql[] = "SELECT seq, rid, kind, at_us FROM changes WHERE seq > ?"
				  " ORDER BY seq LIMIT ?";
	size_t count = 0;
	sqlite3_stmt *stmt;
	enum status status = database_prepare(reader->db, sql, &stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, sequence);
	sqlite3_bind_int64(stmt, 2, CHANGES_AT_ONCE);
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
		rows[count++] = (struct change_row){
			.sequence = sqlite3_column_int64(stmt, 0),
			.rid = sqlite3_column_int64(stmt, 1),
			.kind = (enum change_kind)sqlite3_column_int(stmt, 2),
			.at_us = (uint64_t)sqlite3_column_int64(stmt, 3),
		};
	if (code != SQLITE_DONE)
		status = database_error(reader->db, code, err);
	database_reset(stmt);
	*ret_count = count;
	return status;
}

static enum status tell_changes(const struct look *l, int64_t *sequence, int64_t last)
{
	struct change_row rows[CHANGES_AT_ONCE];
	bool more = true;
	size_t count;
	enum status status = read_rows(l->reader, *sequence, rows, &count, l->err);

	for (size_t i = 0; status == STATUS_OK && more && i < count; i++) {
		status = tell_change(l, &rows[i], &more);
		if (status == STATUS_OK && more)
			*sequence = rows[i].sequence;
	}
	/* Behind the last row there are only numbers of writes that failed. */
	if (status == STATUS_OK && more && count < CHANGES_AT_ONCE)
		*sequence = last;
	return status;
}

/* Run in one read transaction: what is kept does not change under it. */
static enum status begin(struct store_reader *reader, struct error *err)
{
	return database_exec(reader->db, "BEGIN", err);
}

static void end(struct store_reader *reader)
{
	struct error ignored;

	(void)!database_exec(reader->db, "ROLLBACK", &ignored);
}

enum status store_changes(struct store_reader *reader, const struct query *q,
			  bool with_unmatched, int64_t *sequence, int64_t *ret_last,
			  store_change_row *row, void *arg, struct error *err)
{
	const struct look l = {reader, q, with_unmatched, row, arg, err};
	enum status status = begin(reader, err);

	if (status != STATUS_OK)
		return status;
	status = check_sequence(reader, *sequence, ret_last, err);
	if (status == STATUS_OK)
		status = tell_changes(&l, sequence, *ret_last);
	end(reader);
	return status;
}

/* ------------------------------------------------------------ the snapshot */

/* The caller's row function, and whether it wanted no more. */
struct refusal {
	store_change_row *row;
	void *arg;
	bool was;
};

static bool note_refusal(void *arg, const struct store_change *change)
{
	struct refusal *refusal = arg;

	refusal->was = !refusal->row(refusal->arg, change);
	return !refusal->was;
}

static enum status tell_rows(const struct look *l, sqlite3_stmt *stmt, int64_t *row)
{
	struct store_record record;
	struct store_change change = {.kind = STORE_UPSERTED, .record = &record};
	int code;

	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		read_record(stmt, &record);
		if (!l->row(l->arg, &change))
			return STATUS_OK;
		*row = sqlite3_column_int64(stmt, 0);
	}
	return code == SQLITE_DONE ? STATUS_OK : database_error(l->reader->db, code, l->err);
}

/* Records of rows (@row, @end], in their order. *row is the last one that was given. */
static enum status tell_snapshot(const struct look *l, int64_t sequence, int64_t end,
				 int64_t *row)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;

	strbuf_addstr(&r.sql, "SELECT " RECORD_COLUMNS);
	render_where(&r, l->q);
	strbuf_addstr(&r.sql, " AND r.revision <= ");
	render_integer(&r, sequence);
	strbuf_addstr(&r.sql, " AND r.rid > ");
	render_integer(&r, *row);
	strbuf_addstr(&r.sql, " AND r.rid <= ");
	render_integer(&r, end);
	strbuf_addstr(&r.sql, " ORDER BY r.rid");
	status = database_prepare(l->reader->db, strbuf_str(&r.sql), &stmt, l->err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		status = tell_rows(l, stmt, row);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}

enum status store_snapshot(struct store_reader *reader, const struct query *q, int64_t sequence,
			   int64_t *snapshot_row, bool *ret_done, store_change_row *row,
			   void *arg, struct error *err)
{
	const int64_t end = *snapshot_row + ROWS_AT_ONCE;
	struct refusal refusal = {row, arg, false};
	const struct look l = {reader, q, false, note_refusal, &refusal, err};
	int64_t last_row = 0;
	/* Rows that come later are changes: those behind the last now need no look. */
	enum status status = read_number(
		reader->db, "SELECT coalesce(max(rid), 0) FROM records", &last_row, err);

	if (status == STATUS_OK)
		status = tell_snapshot(&l, sequence, end, snapshot_row);
	if (status != STATUS_OK)
		return status;
	if (!refusal.was)
		*snapshot_row = end;
	*ret_done = !refusal.was && end >= last_row;
	return STATUS_OK;
}
