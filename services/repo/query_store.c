/* Queries as SQL: one function renders a path, here and for the indexes. */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/query.h"
#include "services/repo/store_internal.h"

enum { MAX_BINDS = QUERY_MAX_TOTAL_VALUES + 2 * QUERY_MAX_LABELS + 128 };

/* SQL text and the values for its parameters, in order. */
struct rendering {
	struct strbuf sql;
	const struct query_value *values[MAX_BINDS];
	struct query_value made[2 * QUERY_MAX_LABELS + 8]; /* for what is no query_value */
	size_t count, made_count;
};

static void bind_value(struct rendering *r, const struct query_value *value)
{
	r->values[r->count++] = value;
	strbuf_addch(&r->sql, '?');
}

static void bind_text(struct rendering *r, const char *text)
{
	struct query_value *v = &r->made[r->made_count++];

	*v = (struct query_value){.type = VALUE_TEXT, .text = text, .len = strlen(text)};
	bind_value(r, v);
}

static void bind_integer(struct rendering *r, int64_t integer)
{
	struct query_value *v = &r->made[r->made_count++];

	*v = (struct query_value){.type = VALUE_INT, .integer = integer};
	bind_value(r, v);
}

static void bind_all(sqlite3_stmt *stmt, const struct rendering *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct query_value *v = r->values[i];
		const int at = (int)i + 1;

		switch (v->type) {
		case VALUE_INT:
			sqlite3_bind_int64(stmt, at, v->integer);
			break;
		case VALUE_REAL:
			sqlite3_bind_double(stmt, at, v->real);
			break;
		case VALUE_TEXT:
			sqlite3_bind_text64(stmt, at, v->text, v->len, SQLITE_STATIC,
					    SQLITE_UTF8);
			break;
		case VALUE_BLOB:
			sqlite3_bind_blob64(stmt, at, v->text, v->len, SQLITE_STATIC);
			break;
		case VALUE_NULL:
			break;
		}
	}
}

/* ------------------------------------------------------------ conditions */

/* <expression> <operator> <values>; EXISTS and NOT_EQUALS are not told here. */
static void render_comparison(struct rendering *r, const struct query_condition *c,
			      const char *expression)
{
	static const char *const operators[] = {
		[QUERY_EQUALS] = " = ",         [QUERY_NOT_EQUALS] = " = ",
		[QUERY_GREATER] = " > ",        [QUERY_LESS] = " < ",
		[QUERY_GREATER_EQUAL] = " >= ", [QUERY_LESS_EQUAL] = " <= ",
	};

	if (c->op == QUERY_CONTAINS && !c->path.is_list) {
		strbuf_addf(&r->sql, "instr(%s, ", expression);
		bind_value(r, &c->values[0]);
		strbuf_addstr(&r->sql, ") > 0");
	} else if (c->op == QUERY_IN) {
		strbuf_addf(&r->sql, "%s IN (", expression);
		for (size_t i = 0; i < c->value_count; i++) {
			strbuf_addstr(&r->sql, i ? ", " : "");
			bind_value(r, &c->values[i]);
		}
		strbuf_addch(&r->sql, ')');
	} else {
		/* CONTAINS of a list is that an element equals. */
		strbuf_addf(&r->sql, "%s%s", expression,
			    c->op == QUERY_CONTAINS ? " = " : operators[c->op]);
		bind_value(r, &c->values[0]);
	}
}

/* The first list among parts [first, count), or count. */
static size_t next_list(const struct search_path *path, size_t first)
{
	while (first < path->part_count && !path->parts[first].is_list)
		first++;
	return first;
}

/* A path through lists holds if it holds for one way along their elements. */
static void render_through_lists(struct rendering *r, const struct query_condition *c)
{
	const struct search_path *path = &c->path;
	size_t first = 0, list = next_list(path, 0);
	unsigned depth = 0;
	AUTO_STRBUF expression = STRBUF_INIT;

	for (; list < path->part_count; list = next_list(path, first), depth++) {
		strbuf_addstr(&r->sql, depth ? " AND EXISTS (SELECT 1 FROM json_each("
					     : "EXISTS (SELECT 1 FROM json_each(");
		if (depth)
			strbuf_addf(&r->sql, "e%u.value", depth - 1);
		else
			strbuf_addstr(&r->sql, "doc");
		strbuf_addstr(&r->sql, ", '");
		search_path_sql_range(path, first, list + 1, &r->sql);
		strbuf_addf(&r->sql, "') AS e%u WHERE 1", depth);
		first = list + 1;
	}
	if (first == path->part_count) {
		strbuf_addf(&expression, "e%u.value", depth - 1);
	} else {
		strbuf_addf(&expression, "json_extract(e%u.value, '", depth - 1);
		search_path_sql_range(path, first, path->part_count, &expression);
		strbuf_addstr(&expression, "')");
	}
	if (c->op == QUERY_EXISTS || c->op == QUERY_NOT_EXISTS) {
		strbuf_addf(&r->sql, " AND %s IS NOT NULL", strbuf_str(&expression));
	} else {
		strbuf_addstr(&r->sql, " AND ");
		render_comparison(r, c, strbuf_str(&expression));
	}
	for (; depth; depth--)
		strbuf_addch(&r->sql, ')');
}

static void render_condition(struct rendering *r, const struct query_condition *c)
{
	AUTO_STRBUF expression = STRBUF_INIT;
	const bool negated = c->op == QUERY_NOT_EQUALS || c->op == QUERY_NOT_EXISTS;

	if (c->path.is_list || c->path.crosses_list) {
		strbuf_addstr(&r->sql, negated ? "NOT " : "");
		render_through_lists(r, c);
		return;
	}
	if (c->path.is_map) {
		strbuf_addf(&r->sql, "%sEXISTS (SELECT 1 FROM json_each(doc, '",
			    negated ? "NOT " : "");
		search_path_sql(&c->path, &r->sql);
		strbuf_addstr(&r->sql, "'))");
		return;
	}
	render_path(&c->path, &expression);
	if (c->op == QUERY_EXISTS || c->op == QUERY_NOT_EXISTS) {
		strbuf_addf(&r->sql, "%s IS %sNULL", strbuf_str(&expression),
			    negated ? "" : "NOT ");
	} else if (negated) {
		strbuf_addf(&r->sql, "%s IS NOT ", strbuf_str(&expression));
		bind_value(r, &c->values[0]);
	} else {
		render_comparison(r, c, strbuf_str(&expression));
	}
}

static void render_where(struct rendering *r, const struct query *q)
{
	strbuf_addstr(&r->sql, q->match ? " FROM text JOIN records r ON r.rid = text.rowid"
					  " WHERE text MATCH "
					: " FROM records r WHERE 1");
	if (q->match)
		bind_text(r, q->match);
	for (size_t i = 0; i < q->condition_count; i++) {
		strbuf_addstr(&r->sql, " AND ");
		render_condition(r, &q->conditions[i]);
	}
	for (size_t i = 0; i < q->label_count; i++) {
		strbuf_addstr(&r->sql, " AND EXISTS (SELECT 1 FROM json_each(r.labels) AS l"
				       " WHERE l.key = ");
		bind_text(r, q->labels[i].key);
		strbuf_addstr(&r->sql, " AND l.atom = ");
		bind_text(r, q->labels[i].value);
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
	bind_value(r, value);
	if (order->descending)
		strbuf_addf(&r->sql, " OR %s IS NULL)", strbuf_str(&expression));
}

/*
 * (k1 after v1) or (k1 is v1 and k2 after v2) or ... or (all are, and the row is
 * later). Not SQL's row values: those lose NULLs and use no expression index.
 */
static void render_position(struct rendering *r, const struct query *q)
{
	/* An ascending first key bounds the scan of its index. */
	if (q->order_count && !q->orders[0].descending && q->after.keys[0].type != VALUE_NULL) {
		strbuf_addstr(&r->sql, " AND ");
		render_path(&q->orders[0].path, &r->sql);
		strbuf_addstr(&r->sql, " >= ");
		bind_value(r, &q->after.keys[0]);
	}
	strbuf_addstr(&r->sql, " AND (");
	for (size_t i = 0; i <= q->order_count; i++) {
		strbuf_addstr(&r->sql, i ? " OR (" : "(");
		for (size_t j = 0; j < i; j++) {
			render_path(&q->orders[j].path, &r->sql);
			strbuf_addstr(&r->sql, " IS ");
			bind_value(r, &q->after.keys[j]);
			strbuf_addstr(&r->sql, " AND ");
		}
		if (i < q->order_count) {
			render_after_key(r, &q->orders[i], &q->after.keys[i]);
		} else {
			strbuf_addstr(&r->sql, rows_descend(q) ? "r.rid < " : "r.rid > ");
			bind_integer(r, q->after.row);
		}
		strbuf_addch(&r->sql, ')');
	}
	strbuf_addch(&r->sql, ')');
}

static bool is_indexed(const struct store *store, const struct search_path *path)
{
	AUTO_STRBUF expression = STRBUF_INIT;

	render_path(path, &expression);
	for (size_t i = 0; i < store->indexed_count; i++)
		if (!strcmp(store->indexed[i], strbuf_str(&expression)))
			return true;
	return false;
}

/*
 * Can an index find the records? Then the rows' order must not be taken from the
 * table: to spare a sort, SQLite would scan all of it for a range.
 */
static bool has_index(const struct store *store, const struct query *q)
{
	for (size_t i = 0; i < q->condition_count; i++) {
		const struct query_condition *c = &q->conditions[i];

		if (c->op != QUERY_NOT_EQUALS && c->op != QUERY_CONTAINS &&
		    c->op != QUERY_NOT_EXISTS && is_indexed(store, &c->path))
			return true;
	}
	return false;
}

static void render_query(struct rendering *r, const struct store *store, const struct query *q)
{
	strbuf_addstr(&r->sql, "SELECT " RECORD_COLUMNS);
	if (q->match)
		strbuf_addstr(&r->sql, ", -text.rank, snippet(text, 0, '[', ']', '…', 16)");
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
	bind_integer(r, q->limit);
	strbuf_addstr(&r->sql, " OFFSET ");
	bind_integer(r, q->offset);
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

/* An FTS expression that a user wrote may be wrong; then it is the user's error. */
static enum status query_error(struct store_reader *reader, const struct query *q, int code,
			       struct error *err)
{
	if (q->match && (code & 0xff) == SQLITE_ERROR)
		return error_field(err, "full_text", "%s",
				   sqlite3_errmsg(database_sqlite(reader->db)));
	return database_error(reader->db, code, err);
}

static enum status step_all(struct store_reader *reader, sqlite3_stmt *stmt, struct query *q,
			    store_row *row, void *arg, struct error *err)
{
	struct store_record record;
	bool more = true;
	int code = SQLITE_DONE;

	while (more && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		read_record(stmt, &record);
		if (q->match) {
			record.score = sqlite3_column_double(stmt, RECORD_COLUMN_COUNT);
			record.snippet = column_text(stmt, RECORD_COLUMN_COUNT + 1);
		}
		more = row(arg, &record);
		if (more)
			take_position(stmt, q);
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
	render_query(&r, reader->store, q);
	status = database_prepare(reader->db, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		bind_all(stmt, &r);
		status = step_all(reader, stmt, q, row, arg, err);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
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
	if (!q->match && !q->condition_count && !q->label_count) {
		strbuf_addstr(&r.sql, "SELECT value FROM meta WHERE key = 'record_count'");
	} else {
		strbuf_addstr(&r.sql, "SELECT count(*)");
		render_where(&r, q);
	}
	status = database_prepare(reader->db, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		bind_all(stmt, &r);
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

enum status store_explain(struct store_reader *reader, const struct query *q,
			  struct strbuf *out, struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;

	strbuf_addstr(&r.sql, "EXPLAIN QUERY PLAN ");
	render_query(&r, reader->store, q);
	status = database_prepare(reader->db, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		bind_all(stmt, &r);
		while (sqlite3_step(stmt) == SQLITE_ROW)
			strbuf_addf(out, "%s\n", column_text(stmt, 3));
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}
