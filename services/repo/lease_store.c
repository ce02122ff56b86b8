/*
 * Leases: who may work on which records for a while. Each has a token, greater than
 * all before it; what is over stays until somebody looks for records to lease.
 */
#include <sqlite3.h>

#include "services/repo/condition_store.h"
#include "services/repo/query.h"
#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

enum {
	FORGET_AT_ONCE = 1000,
	STEPS_BETWEEN_LOOKS = 10000, /* of SQLite's machine: well below a millisecond */
};

enum status leases_check(struct store *s, int64_t rid, int64_t token, uint64_t now_us,
			 struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT 1 FROM leases WHERE rid = ? AND token = ? AND expires_at_us > ?", &stmt,
		err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	sqlite3_bind_int64(stmt, 2, token);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)now_us);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_DONE)
		status = error_set(err, STATUS_ABORTED, "lease %lld is not held any more",
				   (long long)token);
	else if (code != SQLITE_ROW)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

/* ------------------------------------------------------------ taking */

static enum status forget_expired(struct store *s, uint64_t now_us, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status =
		database_prepare(s->writer,
				 "DELETE FROM leases WHERE rid IN (SELECT rid FROM leases"
				 " WHERE expires_at_us <= ? LIMIT ?)",
				 &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)now_us);
	sqlite3_bind_int(stmt, 2, FORGET_AT_ONCE);
	return database_run(s->writer, stmt, err);
}

/* Ends a search that others wait for too long. */
static int is_too_long(void *arg)
{
	const struct store_take *take = arg;

	return take->is_over && take->is_over(take->arg);
}

static enum status step_all(struct store *s, sqlite3_stmt *stmt, struct store_take *take,
			    int64_t *rids, struct error *err)
{
	struct store_record record;
	int code = SQLITE_DONE;

	take->count = 0;
	while (take->count < STORE_LEASES_MAX && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		read_record(stmt, &record);
		if (!take->row(take->arg, &record,
			       s->counters.next_token + (int64_t)take->count))
			return STATUS_OK;
		rids[take->count++] = sqlite3_column_int64(stmt, 0);
	}
	return code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK
							 : database_error(s->writer, code, err);
}

/* The rows that match and nobody holds; the caller's row function sees each. */
static enum status find_free(struct store *s, struct store_take *take, int64_t *rids,
			     struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3 *sqlite = database_sqlite(s->writer);
	sqlite3_stmt *stmt;
	enum status status;

	render_query(&r, s, take->query);
	status = database_prepare(s->writer, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		sqlite3_progress_handler(sqlite, STEPS_BETWEEN_LOOKS, is_too_long, take);
		status = step_all(s, stmt, take, rids, err);
		sqlite3_progress_handler(sqlite, 0, NULL, NULL);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}

static enum status hold(struct store *s, const struct store_take *take, int64_t rid,
			struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"INSERT OR REPLACE INTO leases (rid, token, expires_at_us, owner)"
		" VALUES (?, ?, ?, ?)",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	sqlite3_bind_int64(stmt, 2, s->counters.next_token++);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)take->expires_us);
	sqlite3_bind_text(stmt, 4, take->owner, -1, SQLITE_STATIC);
	return database_run(s->writer, stmt, err);
}

enum status store_take_leases(struct store *s, struct store_write *w, struct error *err)
{
	struct store_take *take = w->operands;
	int64_t rids[STORE_LEASES_MAX], next = 0;
	enum status status = is_too_long(take)
				     ? error_set(err, STATUS_CANCELLED, "the caller has gone")
				     : forget_expired(s, w->now_us, err);

	take->query->free_at_us = w->now_us;
	if (status == STATUS_OK)
		status = find_free(s, take, rids, err);
	for (size_t i = 0; status == STATUS_OK && i < take->count; i++)
		status = hold(s, take, rids[i], err);
	if (status == STATUS_OK && !take->count)
		status = read_number(s->writer,
				     "SELECT coalesce(min(expires_at_us), 0) FROM leases",
				     &next, err);
	take->next_expiry_us = (uint64_t)next;
	return status;
}

/* ------------------------------------------------------------ keeping and giving back */

static enum status run_on_lease(struct store *s, const char *sql, const struct store_write *w,
				struct store_lease *lease, uint64_t expires_us,
				struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, lease->id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, lease->token);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)w->now_us);
	if (expires_us)
		sqlite3_bind_int64(stmt, 4, (sqlite3_int64)expires_us);
	status = database_run(s->writer, stmt, err);
	lease->was_held = status == STATUS_OK && sqlite3_changes(database_sqlite(s->writer));
	return status;
}

#define LEASE_OF_ID                                                                            \
	"rid = (SELECT rid FROM records WHERE id = ?1) AND token = ?2 AND expires_at_us > ?3"

enum status store_keep_leases(struct store *s, struct store_write *w, struct error *err)
{
	static const char renew[] = "UPDATE leases SET expires_at_us = ?4 WHERE " LEASE_OF_ID;
	static const char release[] = "DELETE FROM leases WHERE " LEASE_OF_ID;
	struct store_keep *keep = w->operands;
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < keep->count; i++)
		status = run_on_lease(s, keep->expires_us ? renew : release, w,
				      &keep->leases[i], keep->expires_us, err);
	return status;
}
