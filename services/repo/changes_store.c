/*
 * The change feed: a row for every write, numbered by the revision that it gave. The
 * row of a record that changed again since says nothing any more; it is passed over.
 */
#include <sqlite3.h>

#include "services/repo/query.h"
#include "services/repo/store_internal.h"

enum { PRUNE_AT_ONCE = 64, PRUNE_MAX = 1024 };

/* ------------------------------------------------------------ writing */

/* Keep the row as it is before it is deleted, as @seq. */
static enum status keep_deleted(struct store *s, int64_t seq, int64_t rid, struct error *err)
{
	sqlite3_stmt *stmt;
	int64_t bytes = 0;
	enum status status = database_prepare(
		s->writer,
		"INSERT INTO deleted SELECT ?1, id, revision, created_at_us, updated_at_us,"
		" type_url, data_uri, labels, doc, proto FROM records WHERE rid = ?2"
		" RETURNING length(doc) + length(proto)",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, seq);
	sqlite3_bind_int64(stmt, 2, rid);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		bytes = sqlite3_column_int64(stmt, 0);
		code = sqlite3_step(stmt);
	}
	if (code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	s->counters.deleted_bytes += bytes;
	return status;
}

enum status changes_add(struct store *s, int64_t seq, int64_t rid, enum change_kind kind,
			uint64_t at_us, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = STATUS_OK;

	if (kind == CHANGE_DELETED)
		status = keep_deleted(s, seq, rid, err);
	if (status == STATUS_OK)
		status = database_prepare(s->writer,
					  "INSERT INTO changes (seq, rid, kind, at_us)"
					  " VALUES (?, ?, ?, ?)",
					  &stmt, err);
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, seq);
	sqlite3_bind_int64(stmt, 2, rid);
	sqlite3_bind_int(stmt, 3, (int)kind);
	sqlite3_bind_int64(stmt, 4, (sqlite3_int64)at_us);
	return database_run(s->writer, stmt, err);
}

/* ------------------------------------------------------------ forgetting */

/* Up to which change is it too much or too old? Looks at @limit of the oldest. */
static enum status find_floor(struct store *s, int64_t limit, int64_t *ret, struct error *err)
{
	const struct store_retention *r = &s->retention;
	const bool too_large = s->counters.deleted_bytes > r->max_deleted_bytes;
	const uint64_t age = r->change_age_us;
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT max(seq) FROM (SELECT seq, at_us FROM changes ORDER BY seq LIMIT ?1)"
		" WHERE ?2 OR seq <= ?3 OR at_us < ?4",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, limit);
	sqlite3_bind_int(stmt, 2, too_large);
	sqlite3_bind_int64(stmt, 3, s->counters.next_revision - 1 - r->max_changes);
	sqlite3_bind_int64(stmt, 4, s->now_us > age ? (sqlite3_int64)(s->now_us - age) : 0);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	else
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

static enum status forget_deleted(struct store *s, int64_t floor, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer,
					      "DELETE FROM deleted WHERE rid <= ?"
					      " RETURNING length(doc) + length(proto)",
					      &stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, floor);
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
		s->counters.deleted_bytes -= sqlite3_column_int64(stmt, 0);
	if (code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

enum status changes_prune(struct store *s, struct error *err)
{
	const int64_t added = s->counters.next_revision - s->changes_pruned_at;
	int64_t floor = 0;
	enum status status;

	if (added < PRUNE_AT_ONCE &&
	    s->counters.deleted_bytes <= s->retention.max_deleted_bytes)
		return STATUS_OK;
	/* More than come in, so that it catches up; never so much that writers wait. */
	status = find_floor(s, added < PRUNE_MAX / 2 ? 2 * added + PRUNE_AT_ONCE : PRUNE_MAX,
			    &floor, err);
	s->changes_pruned_at = s->counters.next_revision;
	if (status != STATUS_OK || floor <= s->counters.forgotten)
		return status;
	s->counters.forgotten = floor;
	status = run_on_row(s, "DELETE FROM changes WHERE seq <= ?", floor, err);
	return status == STATUS_OK ? forget_deleted(s, floor, err) : status;
}
