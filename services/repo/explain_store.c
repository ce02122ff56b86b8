/* What a query costs: SQLite's plan, what it should look at, and what it does look at. */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/condition_store.h"
#include "services/repo/query.h"
#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

enum { ESTIMATE_MAX = 10000 };

/* ------------------------------------------------------------ counting rows */

struct seen {
	int64_t count, max;
	bool is_cut_off;
};

/* collector_seen(rid): true, and counted; past the limit an error that ends the query. */
static void collector_seen(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct seen *seen = sqlite3_user_data(context);

	(void)argc;
	(void)argv;
	if (seen->count == seen->max) {
		seen->is_cut_off = true;
		sqlite3_result_error(context, "enough", -1);
		return;
	}
	seen->count++;
	sqlite3_result_int(context, 1);
}

/* NULL takes it away again: then no statement refers to @seen any more. */
static enum status register_seen(struct store_reader *reader, struct seen *seen,
				 struct error *err)
{
	int code = sqlite3_create_function_v2(database_sqlite(reader->db), "collector_seen", 1,
					      SQLITE_UTF8, seen, seen ? collector_seen : NULL,
					      NULL, NULL, NULL);

	return code == SQLITE_OK ? STATUS_OK : database_error(reader->db, code, err);
}

/* ------------------------------------------------------------ statements */

/* Not kept as those of queries are: each of these is asked once. */
static enum status prepare(struct store_reader *reader, const struct rendering *r,
			   const char *prefix, sqlite3_stmt **ret, struct error *err)
{
	AUTO_STRBUF sql = STRBUF_INIT;

	strbuf_addf(&sql, "%s%s", prefix, strbuf_str(&r->sql));
	int code = sqlite3_prepare_v2(database_sqlite(reader->db), strbuf_str(&sql), -1, ret,
				      NULL);
	if (code != SQLITE_OK)
		return database_error(reader->db, code, err);
	render_bind(r, *ret);
	return STATUS_OK;
}

static void render_step(struct rendering *r, const struct store *store, const struct query *q,
			enum store_step step)
{
	if (step == STORE_STEP_PAGE) {
		render_query(r, store, q);
		return;
	}
	strbuf_addstr(&r->sql, "SELECT 1");
	render_where(r, q);
}

/* ------------------------------------------------------------ the plan */

/* The path out of jsonb_extract(doc, '$.a.b'), as it was given: a.b */
static const char *path_of_index(struct store_reader *reader, const char *name,
				 struct arena *arena)
{
	static const char before[] = "'$.";
	const char *path = NULL, *end;
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(
		    database_sqlite(reader->db),
		    "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", -1,
		    &stmt, NULL) != SQLITE_OK)
		return NULL;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	if (sqlite3_step(stmt) == SQLITE_ROW && (path = strstr(column_text(stmt, 0), before))) {
		path += sizeof(before) - 1;
		end = strrchr(path, '\'');
		path = arena_strndup(arena, path, end ? (size_t)(end - path) : strlen(path));
	}
	sqlite3_finalize(stmt);
	return path;
}

/* "SEARCH r USING INDEX field_0 (<expr>=?)" names an index of ours. */
static void take_index(struct store_reader *reader, const char *line, struct arena *arena,
		       struct store_cost *cost)
{
	static const char before[] = "USING INDEX ";
	const char *at = strstr(line, before), *path;

	if (!at)
		return;
	at += sizeof(before) - 1;
	path = path_of_index(reader, arena_strndup(arena, at, strcspn(at, " ")), arena);
	for (size_t i = 0; path && i < cost->index_count; i++)
		if (!strcmp(cost->indexes[i], path))
			return;
	if (path && cost->index_count < STORE_MAX_USED_INDEXES)
		cost->indexes[cost->index_count++] = path;
}

static void take_line(struct store_reader *reader, const char *line, struct arena *arena,
		      struct store_cost *cost)
{
	take_index(reader, line, arena, cost);
	if (strstr(line, "TEMP B-TREE"))
		cost->sorts = true;
	if (!strncmp(line, "SCAN text", 9))
		cost->uses_text = true;
	if (!strncmp(line, "SCAN r", 6))
		cost->scans_all = true;
	if (cost->plan_count < STORE_MAX_PLAN_LINES)
		cost->plan[cost->plan_count++] = arena_strdup(arena, line);
}

static enum status read_plan(struct store_reader *reader, const struct rendering *r,
			     struct arena *arena, struct store_cost *cost, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = prepare(reader, r, "EXPLAIN QUERY PLAN ", &stmt, err);

	if (status != STATUS_OK)
		return status;
	while (sqlite3_step(stmt) == SQLITE_ROW)
		take_line(reader, column_text(stmt, 3), arena, cost);
	sqlite3_finalize(stmt);
	return STATUS_OK;
}

/* ------------------------------------------------------------ the estimate */

static bool is_used(const struct store_cost *cost, const struct query_condition *c)
{
	AUTO_STRBUF path = STRBUF_INIT;

	search_path_sql(&c->path, &path);
	for (size_t i = 0; i < cost->index_count; i++)
		if (!strcmp(strbuf_str(&path) + 2, cost->indexes[i]))
			return true;
	return false;
}

/* Can what @node excludes be passed over, with the indexes that are used? */
static bool narrows(const struct store_cost *cost, const struct query_node *node)
{
	if (node->join == QUERY_CONDITION)
		return node->condition.op != QUERY_NOT_EQUALS &&
		       node->condition.op != QUERY_CONTAINS && is_used(cost, &node->condition);
	if (node->join == QUERY_NOT || !node->first)
		return false;
	for (const struct query_node *n = node->first; n; n = n->next)
		if (narrows(cost, n) != (node->join == QUERY_ANY))
			return node->join == QUERY_ALL;
	return node->join == QUERY_ANY;
}

/* What the index gives, counted up to a limit. */
static enum status count_narrowed(struct store_reader *reader, const struct query *q,
				  const struct store_cost *cost, int64_t *ret,
				  struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;

	if (cost->uses_text) {
		strbuf_addstr(&r.sql, "SELECT 1 FROM text WHERE text MATCH ");
		render_text(&r, q->match);
	} else {
		strbuf_addstr(&r.sql, "SELECT 1 FROM records r WHERE 1");
	}
	for (const struct query_node *n = q->root.first; n && !cost->uses_text; n = n->next) {
		if (!narrows(cost, n))
			continue;
		strbuf_addstr(&r.sql, " AND ");
		render_node(&r, n);
	}
	strbuf_addf(&r.sql, " LIMIT %d", ESTIMATE_MAX);
	status = prepare(reader, &r, "", &stmt, err);
	strbuf_release(&r.sql);
	if (status != STATUS_OK)
		return status;
	int code;
	for (*ret = 0; (code = sqlite3_step(stmt)) == SQLITE_ROW; ++*ret) {
	}
	if (code != SQLITE_DONE)
		status = query_error(reader, q, code, err);
	sqlite3_finalize(stmt);
	return status;
}

static enum status estimate(struct store_reader *reader, const struct query *q,
			    enum store_step step, struct store_cost *cost, struct error *err)
{
	if (!cost->scans_all)
		return count_narrowed(reader, q, cost, &cost->estimated, err);
	cost->estimated = cost->record_count;
	/* Rows that come in order are looked at until there are enough. */
	if (step == STORE_STEP_PAGE && query_is_everything(q) && !cost->sorts &&
	    q->limit + q->offset < cost->estimated)
		cost->estimated = q->limit + q->offset;
	return STATUS_OK;
}

/* ------------------------------------------------------------ running */

static enum status measure(struct store_reader *reader, const struct query *q,
			   enum store_step step, int64_t max_records, struct store_cost *cost,
			   struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT, .counts_rows = true};
	struct seen seen = {.max = max_records};
	struct error ignored;
	sqlite3_stmt *stmt;
	enum status status = register_seen(reader, &seen, err);

	if (status != STATUS_OK)
		return status;
	render_step(&r, reader->store, q, step);
	status = prepare(reader, &r, "", &stmt, err);
	strbuf_release(&r.sql);
	if (status == STATUS_OK) {
		int code;

		while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
			cost->matched++;
		if (code != SQLITE_DONE && !seen.is_cut_off)
			status = query_error(reader, q, code, err);
		sqlite3_finalize(stmt);
	}
	(void)!register_seen(reader, NULL, &ignored);
	cost->scanned = seen.count;
	cost->is_cut_off = seen.is_cut_off;
	return status;
}

enum status store_explain(struct store_reader *reader, const struct query *q,
			  enum store_step step, int64_t max_records, struct arena *arena,
			  struct store_cost *ret, struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	enum status status;

	*ret = (struct store_cost){0};
	status = read_record_count(reader, &ret->record_count, err);
	if (status != STATUS_OK || q->matches_nothing)
		return status;
	render_step(&r, reader->store, q, step);
	if (status == STATUS_OK)
		status = read_plan(reader, &r, arena, ret, err);
	strbuf_release(&r.sql);
	if (status == STATUS_OK)
		status = estimate(reader, q, step, ret, err);
	if (status == STATUS_OK && max_records)
		status = measure(reader, q, step, max_records, ret, err);
	return status;
}
