/*
 * What became of batches that have a request_id, in the same transaction as what
 * they did: a retry is told the same.
 */
#include <sqlite3.h>
#include <string.h>

#include "common/reflect/wire.h"
#include "services/repo/store_internal.h"

enum { PRUNE_AT_ONCE = 64 };

/* An outcome's fields; of a batch, then of each of its writes in a WRITE. */
enum { STATUS = 1, FIELD = 2, MESSAGE = 3, ETAG = 4, ID = 5, WRITE = 6 };

/* ------------------------------------------------------------ as bytes */

static void put_error(struct strbuf *out, enum status status, const struct error *err)
{
	if (status == STATUS_OK)
		return;
	wire_add_uint(out, STATUS, status);
	wire_add_string(out, FIELD, err->field);
	wire_add_string(out, MESSAGE, err->message);
}

static void put_outcome(struct strbuf *out, const struct store_batch *b)
{
	put_error(out, b->status, &b->error);
	for (const struct store_write *w = b->writes; w && b->status == STATUS_OK;
	     w = w->next) {
		size_t mark = wire_open(out, WRITE);

		put_error(out, w->status, &w->error);
		wire_add_string(out, ETAG, w->new_etag);
		if (w->made_id)
			wire_add_string(out, ID, w->made_id);
		wire_close(out, mark);
	}
}

static void take_text(struct bytes text, char *out, size_t room)
{
	const size_t len = text.size < room ? text.size : room - 1;

	memcpy(out, text.data, len);
	out[len] = '\0';
}

static void take_error(const struct wire_field *f, enum status *status, struct error *err)
{
	if (f->number == STATUS) {
		*status = (enum status)f->value;
		err->status = *status;
	} else if (f->number == FIELD) {
		take_text(f->data, err->field, sizeof(err->field));
	} else if (f->number == MESSAGE) {
		take_text(f->data, err->message, sizeof(err->message));
	}
}

static void take_write(struct bytes data, struct store_write *w)
{
	struct wire_cursor c = wire_cursor_of(data);
	struct wire_field f;

	w->error = (struct error){.status = STATUS_OK};
	while (wire_next(&c, &f)) {
		take_error(&f, &w->status, &w->error);
		if (f.number == ETAG)
			take_text(f.data, w->new_etag, sizeof(w->new_etag));
		if (f.number == ID && w->made_id)
			take_text(f.data, w->made_id, STORE_ID_BYTES);
	}
}

static void take_outcome(struct bytes data, struct store_batch *b)
{
	struct wire_cursor c = wire_cursor_of(data);
	struct store_write *w = b->writes;
	struct wire_field f;

	b->error = (struct error){.status = STATUS_OK};
	while (wire_next(&c, &f)) {
		take_error(&f, &b->status, &b->error);
		if (f.number == WRITE && w) {
			take_write(f.data, w);
			w = w->next;
		}
	}
}

/* ------------------------------------------------------------ in the table */

enum status requests_recall(struct store *s, struct store_batch *b, bool *ret_found,
			    struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT fingerprint, outcome FROM requests WHERE key = ?", &stmt,
		err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, b->request_id, -1, SQLITE_STATIC);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		if ((uint64_t)sqlite3_column_int64(stmt, 0) == b->fingerprint) {
			take_outcome(column_bytes(stmt, 1), b);
			*ret_found = true;
			status = b->status;
		} else {
			status = error_field(err, "request_id",
					     "it was used for another request");
		}
	} else if (code != SQLITE_DONE) {
		status = database_error(s->writer, code, err);
	}
	database_reset(stmt);
	return status;
}

/* Was it the request itself that decided, so that a retry would be told the same? */
static bool is_decided(enum status status)
{
	return status == STATUS_OK || status == STATUS_INVALID_ARGUMENT ||
	       status == STATUS_NOT_FOUND || status == STATUS_ALREADY_EXISTS ||
	       status == STATUS_ABORTED || status == STATUS_FAILED_PRECONDITION;
}

static bool is_worth_remembering(const struct store_batch *b)
{
	bool all_decided = true;

	if (b->status != STATUS_OK)
		return is_decided(b->status);
	for (const struct store_write *w = b->writes; w; w = w->next) {
		if (w->status == STATUS_OK)
			return true;
		all_decided = all_decided && is_decided(w->status);
	}
	return all_decided;
}

enum status requests_remember(struct store *s, const struct store_batch *b, struct error *err)
{
	AUTO_STRBUF outcome = STRBUF_INIT;
	sqlite3_stmt *stmt;
	enum status status;

	if (!is_worth_remembering(b))
		return STATUS_OK;
	put_outcome(&outcome, b);
	status = database_prepare(s->writer,
				  "INSERT INTO requests (key, fingerprint, at_us, outcome)"
				  " VALUES (?, ?, ?, ?)",
				  &stmt, err);
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, b->request_id, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)b->fingerprint);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)b->writes->now_us);
	sqlite3_bind_blob64(stmt, 4, strbuf_str(&outcome), outcome.len, SQLITE_STATIC);
	s->requests_added++;
	return database_run(s->writer, stmt, err);
}

/* Looks at twice as many of the oldest as came in since it last did. */
enum status requests_prune(struct store *s, struct error *err)
{
	static const char sql[] =
		"DELETE FROM requests WHERE seq IN (SELECT seq FROM requests ORDER BY seq"
		" LIMIT ?3) AND (at_us < ?1 OR seq <= (SELECT max(seq) FROM requests) - ?2)";
	const uint64_t age = s->retention.request_age_us;
	sqlite3_stmt *stmt;
	enum status status;

	if (s->requests_added < PRUNE_AT_ONCE)
		return STATUS_OK;
	status = database_prepare(s->writer, sql, &stmt, err);
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, s->now_us > age ? (sqlite3_int64)(s->now_us - age) : 0);
	sqlite3_bind_int64(stmt, 2, s->retention.max_requests);
	sqlite3_bind_int64(stmt, 3, 2 * s->requests_added);
	s->requests_added = 0;
	return database_run(s->writer, stmt, err);
}
