/* What a store knows of its own shape: full text, indexes, the version of its type. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"

/* ------------------------------------------------------------ full text */

const char *text_view_after(const char *view)
{
	return strcmp(view, "words_a") != 0 ? "words_a" : "words_b";
}

static void release_text(struct store_text *t)
{
	free(t->forget);
	free(t->index);
	*t = (struct store_text){0};
}

static void set_text(struct store_text *t, const char *table, const char *view)
{
	release_text(t);
	t->table = table;
	(void)snprintf(t->view, sizeof(t->view), "%s", view);
	t->forget = xasprintf("INSERT INTO %s (%s, rowid, body) SELECT 'delete', rid, body"
			      " FROM %s WHERE rid = ?",
			      table, table, view);
	t->index = xasprintf("INSERT INTO %s (rowid, body) SELECT rid, body FROM %s"
			     " WHERE rid = ?",
			     table, view);
}

static bool holds(const struct store_text *t, int64_t rid)
{
	return t->table && (rid <= t->position || rid > t->last);
}

enum status forget_text(struct store *s, int64_t rid, struct error *err)
{
	enum status status = STATUS_OK;

	if (holds(&s->text, rid))
		status = run_on_row(s, s->text.forget, rid, err);
	if (status == STATUS_OK && holds(&s->next_text, rid))
		status = run_on_row(s, s->next_text.forget, rid, err);
	return status;
}

enum status index_text(struct store *s, int64_t rid, struct error *err)
{
	enum status status = STATUS_OK;

	if (holds(&s->text, rid))
		status = run_on_row(s, s->text.index, rid, err);
	if (status == STATUS_OK && holds(&s->next_text, rid))
		status = run_on_row(s, s->next_text.index, rid, err);
	return status;
}

enum status read_shape(struct store *s, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT (SELECT value FROM meta WHERE key = 'has_text'),"
		" (SELECT value FROM meta WHERE key = 'text_view'),"
		" (SELECT value FROM meta WHERE key = 'schema_version'),"
		" (SELECT count(*) FROM sqlite_schema WHERE name = 'text_next'),"
		" coalesce((SELECT position FROM builds WHERE kind = 4), 0),"
		" coalesce((SELECT last FROM builds WHERE kind = 4), 0)",
		&stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	release_text(&s->text);
	release_text(&s->next_text);
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		const char *view = column_text(stmt, 1);

		if (sqlite3_column_int(stmt, 0))
			set_text(&s->text, "text", view);
		else
			(void)snprintf(s->text.view, sizeof(s->text.view), "%s", view);
		if (sqlite3_column_int(stmt, 3))
			set_text(&s->next_text, "text_next", text_view_after(view));
		s->schema_version = sqlite3_column_int64(stmt, 2);
		s->next_text.position = sqlite3_column_int64(stmt, 4);
		s->next_text.last = sqlite3_column_int64(stmt, 5);
	} else {
		status = database_error(s->writer, code, err);
	}
	database_reset(stmt);
	return status;
}

/* ------------------------------------------------------------ indexes */

/* The expression out of "CREATE INDEX field_0 ON records (<expression>)". */
static void add_index(struct store_indexes *all, const char *name, const char *sql)
{
	static const char before[] = "ON records (";
	const char *at = strstr(sql, before);

	if (!at)
		return;
	at += sizeof(before) - 1;
	all->names = xreallocarray(all->names, all->count + 1, sizeof(*all->names));
	all->expressions =
		xreallocarray(all->expressions, all->count + 1, sizeof(*all->expressions));
	all->names[all->count] = xstrdup(name);
	all->expressions[all->count++] = xstrndup(at, strlen(at) - 1);
}

enum status read_indexes(struct store *s, struct error *err)
{
	struct store_indexes *all = xcalloc(1, sizeof(*all));
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND name LIKE"
		" 'field\\_%' ESCAPE '\\' ORDER BY name",
		&stmt, err);
	int code = SQLITE_DONE;

	all->older = (struct store_indexes *)atomic_load(&s->indexes);
	if (status == STATUS_OK) {
		while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
			add_index(all, column_text(stmt, 0), column_text(stmt, 1));
		if (code != SQLITE_DONE)
			status = database_error(s->writer, code, err);
		database_reset(stmt);
	}
	/* Also when it failed: there must be one, and what is in it is there. */
	atomic_store(&s->indexes, all);
	return status;
}

void forget_shape(struct store *s)
{
	struct store_indexes *all = (struct store_indexes *)atomic_load(&s->indexes), *older;

	for (; all; all = older) {
		older = all->older;
		for (size_t i = 0; i < all->count; i++) {
			free(all->names[i]);
			free(all->expressions[i]);
		}
		free(all->names);
		free(all->expressions);
		free(all);
	}
	release_text(&s->text);
	release_text(&s->next_text);
}
