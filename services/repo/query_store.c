/* Queries as SQL, and what they give. */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/condition_store.h"
#include "services/repo/query.h"
#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

void render_where(struct rendering *r, const struct query *q)
{
	strbuf_addstr(&r->sql, q->match ? " FROM text JOIN records r ON r.rid = text.rowid"
					  " WHERE text MATCH "
					: " FROM records r WHERE 1");
	if (q->match)
		render_text(r, q->match);
	/* First, so that what the other terms turn down is counted too. */
	if (r->counts_rows)
		strbuf_addstr(&r->sql, " AND collector_seen(r.rid)");
	for (const struct query_node *n = q->root.first; n; n = n->next) {
		strbuf_addstr(&r->sql, " AND ");
		render_node(r, n);
	}
	if (q->free_at_us) {
		strbuf_addstr(&r->sql, " AND NOT EXISTS (SELECT 1 FROM leases WHERE"
				       " leases.rid = r.rid AND expires_at_us > ");
		render_integer(r, (int64_t)q->free_at_us);
		strbuf_addch(&r->sql, ')');
	}
	for (size_t i = 0; i < q->label_count; i++) {
		strbuf_addstr(&r->sql, " AND EXISTS (SELECT 1 FROM json_each(r.labels) AS l"
				       " WHERE l.key = ");
		render_text(r, q->labels[i].key);
		strbuf_addstr(&r->sql, " AND l.atom = ");
		render_text(r, q->labels[i].value);
		strbuf_addch(&r->sql, ')');
	}
}

/* ------------------------------------------------------------ pages */

static bool rows_descend(const struct query *q)
{
	return q->order_count && q->orders[q->order_count - 1].descending;
}

/*
 * What comes after @value in the order of one key. SQLite puts NULL first, or
 * last when descending.
 */
static void render_after_key(struct rendering *r, const struct query_order *order,
			     const struct query_value *value)
{
	AUTO_STRBUF expression = STRBUF_INIT;

	render_path(&order->path, &expression);
	if (value->type == VALUE_NULL) {
		if (order->descending)
			strbuf_addstr(&r->sql, "0");
		else
			strbuf_addf(&r->sql, "%s IS NOT NULL", strbuf_str(&expression));
		return;
	}
	strbuf_addf(&r->sql, order->descending ? "(%s < " : "%s > ", strbuf_str(&expression));
	render_value(r, value);
	if (order->descending)
		strbuf_addf(&r->sql, " OR %s IS NULL)", strbuf_str(&expression));
}

/* Is nothing that comes later on the other side of @value? When descending, NULLs are. */
static bool is_bound(const struct query_order *order, const struct query_value *value)
{
	const struct search_path *path = &order->path;
	const bool is_never_null = path->part_count == 1 && !path->has_presence;

	return value->type != VALUE_NULL && (!order->descending || is_never_null);
}

/*
 * (k1 after v1) or (k1 is v1 and k2 after v2) or ... or (all are, and the row is
 * later). Not SQL's row values: those lose NULLs and use no expression index.
 */
static void render_position(struct rendering *r, const struct query *q)
{
	/* The first key bounds the scan of its index. */
	if (q->order_count && is_bound(&q->orders[0], &q->after.keys[0])) {
		strbuf_addstr(&r->sql, " AND ");
		render_path(&q->orders[0].path, &r->sql);
		strbuf_addstr(&r->sql, q->orders[0].descending ? " <= " : " >= ");
		render_value(r, &q->after.keys[0]);
	}
	strbuf_addstr(&r->sql, " AND (");
	for (size_t i = 0; i <= q->order_count; i++) {
		strbuf_addstr(&r->sql, i ? " OR (" : "(");
		for (size_t j = 0; j < i; j++) {
			render_path(&q->orders[j].path, &r->sql);
			strbuf_addstr(&r->sql, " IS ");
			render_value(r, &q->after.keys[j]);
			strbuf_addstr(&r->sql, " AND ");
		}
		if (i < q->order_count) {
			render_after_key(r, &q->orders[i], &q->after.keys[i]);
		} else {
			strbuf_addstr(&r->sql, rows_descend(q) ? "r.rid < " : "r.rid > ");
			render_integer(r, q->after.row);
		}
		strbuf_addch(&r->sql, ')');
	}
	strbuf_addch(&r->sql, ')');
}

bool store_has_index(const struct store *store, const struct search_path *path)
{
	AUTO_STRBUF expression = STRBUF_INIT;

	render_path(path, &expression);
	const struct store_indexes *indexes = atomic_load(&store->indexes);
	for (size_t i = 0; i < indexes->count; i++)
		if (!strcmp(indexes->expressions[i], strbuf_str(&expression)))
			return true;
	return false;
}

/* Can an index find all that is not excluded by @node? */
static bool node_has_index(const struct store *store, const struct query_node *node)
{
	const struct query_condition *c = &node->condition;
	bool one = false, all = true;

	if (node->join == QUERY_CONDITION)
		return c->op != QUERY_NOT_EQUALS && c->op != QUERY_CONTAINS &&
		       c->op != QUERY_NOT_EXISTS && store_has_index(store, &c->path);
	for (const struct query_node *n = node->first; n; n = n->next) {
		const bool has = node_has_index(store, n);

		one = one || has;
		all = all && has;
	}
	return node->join == QUERY_ALL ? one : node->join == QUERY_ANY && all;
}

/*
 * Can an index find the records? Then the rows' order must not be taken from the
 * table: to spare a sort, SQLite would scan all of it for a range.
 */
static bool has_index(const struct store *store, const struct query *q)
{
	return node_has_index(store, &q->root);
}

void render_snippet(struct rendering *r, const struct query *q)
{
	strbuf_addstr(&r->sql, "snippet(text, 0, ");
	render_text(r, q->highlight_start);
	strbuf_addstr(&r->sql, ", ");
	render_text(r, q->highlight_end);
	strbuf_addstr(&r->sql, ", '…', 16)");
}

static void render_score(struct rendering *r, const struct query *q)
{
	strbuf_addstr(&r->sql, ", -text.rank, ");
	render_snippet(r, q);
}

void render_query(struct rendering *r, const struct store *store, const struct query *q)
{
	strbuf_addstr(&r->sql, "SELECT " RECORD_COLUMNS);
	if (q->match)
		render_score(r, q);
	for (size_t i = 0; i < q->order_count; i++) {
		strbuf_addstr(&r->sql, ", ");
		render_path(&q->orders[i].path, &r->sql);
	}
	render_where(r, q);
	if (q->has_after)
		render_position(r, q);
	strbuf_addstr(&r->sql, " ORDER BY ");
	if (q->match && !q->order_count)
		strbuf_addstr(&r->sql, "text.rank, ");
	for (size_t i = 0; i < q->order_count; i++) {
		render_path(&q->orders[i].path, &r->sql);
		strbuf_addstr(&r->sql, q->orders[i].descending ? " DESC, " : ", ");
	}
	if (!q->order_count && has_index(store, q))
		strbuf_addch(&r->sql, '+');
	strbuf_addstr(&r->sql, rows_descend(q) ? "r.rid DESC LIMIT " : "r.rid LIMIT ");
	render_integer(r, q->limit);
	strbuf_addstr(&r->sql, " OFFSET ");
	render_integer(r, q->offset);
}

/* ------------------------------------------------------------ running */

static struct query_value column_value(sqlite3_stmt *stmt, int i, struct arena *arena)
{
	struct bytes data;

	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_INTEGER:
		return (struct query_value){.type = VALUE_INT,
					    .integer = sqlite3_column_int64(stmt, i)};
	case SQLITE_FLOAT:
		return (struct query_value){.type = VALUE_REAL,
					    .real = sqlite3_column_double(stmt, i)};
	case SQLITE_TEXT:
		data = bytes_of(sqlite3_column_text(stmt, i),
				(size_t)sqlite3_column_bytes(stmt, i));
		return (struct query_value){.type = VALUE_TEXT,
					    .text = arena_memdup(arena, data.data, data.size),
					    .len = data.size};
	case SQLITE_BLOB:
		data = column_bytes(stmt, i);
		return (struct query_value){.type = VALUE_BLOB,
					    .text = arena_memdup(arena, data.data, data.size),
					    .len = data.size};
	default:
		return (struct query_value){.type = VALUE_NULL};
	}
}

static void take_position(sqlite3_stmt *stmt, struct query *q)
{
	const int first = RECORD_COLUMN_COUNT + (q->match ? 2 : 0);

	q->last.row = sqlite3_column_int64(stmt, 0);
	for (size_t i = 0; i < q->order_count; i++)
		q->last.keys[i] = column_value(stmt, first + (int)i, q->arena);
}

/*
 * @status, unless it is because full text was removed since the query was made: nobody did
 * anything wrong then.
 */
static enum status unless_removed(struct store_reader *reader, const struct query *q,
				  enum status status, struct error *err)
{
	struct error ignored;
	int64_t there = 1;

	if (q->match &&
	    read_number(reader->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'text'",
			&there, &ignored) == STATUS_OK &&
	    !there)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "full text is disabled for the collection");
	return status;
}

enum status query_prepare(struct store_reader *reader, const struct query *q, const char *sql,
			  struct sqlite3_stmt **ret, struct error *err)
{
	enum status status = database_prepare(reader->db, sql, ret, err);

	return status == STATUS_OK ? status : unless_removed(reader, q, status, err);
}

enum status query_error(struct store_reader *reader, const struct query *q, int code,
			struct error *err)
{
	if (!q->match || (code & 0xff) != SQLITE_ERROR)
		return database_error(reader->db, code, err);
	enum status status = error_field(err, "full_text", "%s",
					 sqlite3_errmsg(database_sqlite(reader->db)));
	return unless_removed(reader, q, status, err);
}

static enum status step_all(struct store_reader *reader, sqlite3_stmt *stmt, struct query *q,
			    store_row *row, void *arg, struct error *err)
{
	struct store_record record;
	struct query_position before;
	bool more = true;
	int code = SQLITE_DONE;

	while (more && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		before = q->last;
		take_position(stmt, q);
		read_record(stmt, &record);
		if (q->match) {
			record.score = sqlite3_column_double(stmt, RECORD_COLUMN_COUNT);
			record.snippet = column_text(stmt, RECORD_COLUMN_COUNT + 1);
		}
		more = row(arg, &record);
		if (!more)
			q->last = before;
	}
	return code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK
							 : query_error(reader, q, code, err);
}

enum status store_query(struct store_reader *reader, struct query *q, store_row *row, void *arg,
			struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;

	if (q->matches_nothing)
		return STATUS_OK;
	if (q->vector)
		return ranked_query(reader, q, row, arg, err);
	render_query(&r, reader->store, q);
	status = query_prepare(reader, q, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		status = step_all(reader, stmt, q, row, arg, err);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}

enum status read_record_count(struct store_reader *reader, int64_t *ret, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		reader->db, "SELECT value FROM meta WHERE key = 'record_count'", &stmt, err);

	if (status != STATUS_OK)
		return status;
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	else
		status = database_error(reader->db, code == SQLITE_DONE ? SQLITE_CORRUPT : code,
					err);
	database_reset(stmt);
	return status;
}

enum status store_count(struct store_reader *reader, const struct query *q, int64_t *ret_count,
			struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;

	*ret_count = 0;
	if (q->matches_nothing)
		return STATUS_OK;
	if (q->vector) {
		/* They were counted as they were found. */
		*ret_count = q->matched;
		return STATUS_OK;
	}
	if (query_is_everything(q))
		return read_record_count(reader, ret_count, err);
	strbuf_addstr(&r.sql, "SELECT count(*)");
	render_where(&r, q);
	status = query_prepare(reader, q, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		int code = sqlite3_step(stmt);
		if (code == SQLITE_ROW)
			*ret_count = sqlite3_column_int64(stmt, 0);
		else
			status = query_error(reader, q, code, err);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}
