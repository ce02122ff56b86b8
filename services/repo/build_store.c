#include "services/repo/build_store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/vector_store.h"

enum { ROWS_AT_ONCE = 256, BYTES_AT_ONCE = 1 << 20 };

struct build {
	int64_t step;
	enum build_kind kind;
	char *detail; /* owned */
	int64_t position, last;
};

/* ------------------------------------------------------------ documents */

struct row {
	int64_t rid;
	char *type_url; /* owned; NULL: the usual one */
	struct strbuf proto;
};

static void free_rows(struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(rows[i].type_url);
		strbuf_release(&rows[i].proto);
	}
}

/* The next rows whose documents are to be made anew; copies, as they are about to change. */
static enum status read_rows(struct store *s, const char *sql, const struct build *b,
			     struct row *rows, size_t *ret_count, struct error *err)
{
	size_t bytes = 0, count = 0;
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);
	int code = SQLITE_DONE;

	*ret_count = 0;
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, b->position);
	sqlite3_bind_int64(stmt, 2, b->last);
	while (count < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE &&
	       (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *url = (const char *)sqlite3_column_text(stmt, 1);
		const struct bytes proto = column_bytes(stmt, 2);

		rows[count] = (struct row){sqlite3_column_int64(stmt, 0),
					   url ? xstrdup(url) : NULL, STRBUF_INIT};
		strbuf_add(&rows[count++].proto, proto.data, proto.size);
		bytes += proto.size;
	}
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	*ret_count = count;
	return status;
}

static enum status set_doc(struct store *s, int64_t rid, struct bytes doc, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = forget_text(s, rid, err);

	if (status == STATUS_OK)
		status = database_prepare(s->writer, "UPDATE records SET doc = ? WHERE rid = ?",
					  &stmt, err);
	if (status != STATUS_OK)
		return status;
	sqlite3_bind_blob64(stmt, 1, doc.data, doc.size, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, rid);
	status = database_run(s->writer, stmt, err);
	return status == STATUS_OK ? index_text(s, rid, err) : status;
}

enum {
	SQL_ALL = 0,   /* rows of a build, in their order */
	SQL_STALE = 1, /* rows whose documents were made with what was before */
};

static const char *const row_sql[] = {
	[SQL_ALL] = "SELECT rid, type_url, proto FROM records WHERE rid > ? AND rid <= ?"
		    " ORDER BY rid",
	[SQL_STALE] = "SELECT rid, type_url, proto FROM records WHERE rid IN (SELECT rid FROM"
		      " stale_docs) AND rid > ? AND rid <= ? ORDER BY rid",
};

/* Of all rows, those that searches go by are as they must be already. */
static enum status set_vectors(struct store *s, const struct store_write *made, int which,
			       int64_t rid, struct error *err)
{
	return which == SQL_ALL ? vectors_write_last(s, rid, &made->vector, err)
				: vectors_write(s, rid, made, err);
}

static enum status make_doc(struct store *s, const struct store_build *o, int which,
			    const struct row *row, struct error *err)
{
	const struct bytes proto = bytes_of(row->proto.buf, row->proto.len);
	AUTO_STRBUF doc = STRBUF_INIT;
	AUTO_STRBUF vector = STRBUF_INIT;
	AUTO_STRBUF old = STRBUF_INIT;
	struct store_write made = {.schema_version = o->schema_version};
	enum status status;

	/* One that cannot be read as the new version stays found as it was. */
	if (!o->render(o->arg, row->type_url, proto, &doc, &vector, &old))
		return STATUS_OK;
	made.vector =
		(struct store_vector){bytes_of(vector.buf, vector.len), o->vector_generation};
	made.old_vector = (struct store_vector){bytes_of(old.buf, old.len), o->old_generation};
	status = set_doc(s, row->rid, bytes_of(doc.buf, doc.len), err);
	return status == STATUS_OK ? set_vectors(s, &made, which, row->rid, err) : status;
}

/* The next rows get new documents. *ret_count: how many there were. */
static enum status make_docs(struct store *s, const struct store_build *o, int which,
			     struct build *b, size_t *ret_count, struct error *err)
{
	struct row rows[ROWS_AT_ONCE];
	enum status status = read_rows(s, row_sql[which], b, rows, ret_count, err);

	for (size_t i = 0; status == STATUS_OK && i < *ret_count; i++) {
		status = make_doc(s, o, which, &rows[i], err);
		if (status == STATUS_OK)
			status = run_on_row(s, "DELETE FROM stale_docs WHERE rid = ?",
					    rows[i].rid, err);
		b->position = rows[i].rid;
	}
	free_rows(rows, *ret_count);
	return status;
}

static enum status build_docs(struct store *s, const struct store_build *o, struct build *b,
			      bool *ret_done, struct error *err)
{
	size_t count;
	enum status status = make_docs(s, o, SQL_ALL, b, &count, err);

	*ret_done = status == STATUS_OK && !count;
	return status;
}

/* Documents that were made with what was before, by a write that was under way. */
static enum status make_stale_docs(struct store *s, const struct store_build *o, bool *ret_done,
				   struct error *err)
{
	struct build all = {.position = 0, .last = INT64_MAX};
	size_t count;
	enum status status = make_docs(s, o, SQL_STALE, &all, &count, err);

	*ret_done = status == STATUS_OK && !count;
	/* What is left of it was deleted since. */
	return *ret_done ? database_exec(s->writer, "DELETE FROM stale_docs", err) : status;
}

/* All records are in the next set, also what was written meanwhile, before searches use it. */
static enum status build_vectors(struct store *s, const struct store_build *o, struct build *b,
				 bool *ret_done, struct error *err)
{
	char old[8];
	int64_t chunks = 0;
	enum status status = build_docs(s, o, b, ret_done, err);

	if (status == STATUS_OK && *ret_done)
		status = make_stale_docs(s, o, ret_done, err);
	if (status != STATUS_OK || !*ret_done)
		return status;
	status = vectors_switch(s, old, &chunks, err);
	if (status == STATUS_OK && chunks)
		status = add_build(s, BUILD_DROP_VECTORS, old, err);
	return status == STATUS_OK && chunks
		       ? run_on_row(s, "UPDATE builds SET last = ? WHERE kind = 7", chunks, err)
		       : status;
}

/* ------------------------------------------------------------ text and indexes */

static enum status fill_text(struct store *s, struct build *b, bool *ret_done,
			     struct error *err)
{
	const int64_t end = b->position + ROWS_AT_ONCE;
	AUTO_FREE char *sql = xasprintf("INSERT INTO text_next (rowid, body) SELECT rid, body"
					" FROM %s WHERE rid > %lld AND rid <= %lld",
					b->detail, (long long)b->position,
					(long long)(end < b->last ? end : b->last));
	enum status status;

	*ret_done = b->position >= b->last;
	if (*ret_done)
		return STATUS_OK;
	/* Not kept: every text is another. */
	status = database_exec(s->writer, sql, err);
	b->position = end < b->last ? end : b->last;
	return status;
}

static enum status swap_text(struct store *s, const struct build *b, struct error *err)
{
	const bool had_text = s->text.table != NULL;
	AUTO_FREE char *drop =
		had_text ? xasprintf("DROP TABLE text; DROP VIEW %s;", s->text.view)
			 : xstrdup("");
	AUTO_FREE char *sql = xasprintf("%s ALTER TABLE text_next RENAME TO text;"
					"UPDATE meta SET value = 1 WHERE key = 'has_text';"
					"UPDATE meta SET value = '%s' WHERE key = 'text_view'",
					drop, b->detail);

	return database_exec(s->writer, sql, err);
}

static enum status drop_text(struct store *s, struct error *err)
{
	AUTO_FREE char *sql = xasprintf("DROP TABLE text; DROP VIEW %s;"
					"UPDATE meta SET value = 0 WHERE key = 'has_text'",
					s->text.view);

	return database_exec(s->writer, sql, err);
}

static enum status make_index(struct store *s, const struct build *b, struct error *err)
{
	int64_t number = 0;
	enum status status = read_number(
		s->writer,
		"SELECT coalesce(max(CAST(substr(name, 7) AS INTEGER)), -1) + 1 FROM"
		" sqlite_schema WHERE type = 'index' AND name LIKE 'field\\_%' ESCAPE '\\'",
		&number, err);
	AUTO_FREE char *sql = xasprintf("CREATE INDEX field_%lld ON records (%s)",
					(long long)number, b->detail);

	s->indexes_changed = true;
	return status == STATUS_OK ? database_exec(s->writer, sql, err) : status;
}

static enum status drop_index(struct store *s, const struct build *b, struct error *err)
{
	AUTO_FREE char *sql = xasprintf("DROP INDEX IF EXISTS %s", b->detail);

	s->indexes_changed = true;
	return database_exec(s->writer, sql, err);
}

/* ------------------------------------------------------------ one part */

static enum status next_build(struct database *db, struct build *b, bool *ret_found,
			      struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(db,
					      "SELECT step, kind, detail, position, last FROM"
					      " builds ORDER BY step LIMIT 1",
					      &stmt, err);
	int code;

	*ret_found = false;
	if (status != STATUS_OK)
		return status;
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		*b = (struct build){
			.step = sqlite3_column_int64(stmt, 0),
			.kind = (enum build_kind)sqlite3_column_int(stmt, 1),
			.detail = xstrdup(column_text(stmt, 2)),
			.position = sqlite3_column_int64(stmt, 3),
			.last = sqlite3_column_int64(stmt, 4),
		};
		*ret_found = true;
	} else if (code != SQLITE_DONE) {
		status = database_error(db, code, err);
	}
	database_reset(stmt);
	return status;
}

static enum status save_position(struct store *s, const struct build *b, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "UPDATE builds SET position = ? WHERE step = ?", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, b->position);
	sqlite3_bind_int64(stmt, 2, b->step);
	return database_run(s->writer, stmt, err);
}

static enum status do_part(struct store *s, const struct store_build *o, struct build *b,
			   struct error *err)
{
	bool done = true;
	enum status status = STATUS_OK;

	switch (b->kind) {
	case BUILD_DOCS:
		status = build_docs(s, o, b, &done, err);
		break;
	case BUILD_VECTORS:
		status = build_vectors(s, o, b, &done, err);
		break;
	case BUILD_DROP_VECTORS:
		status = vectors_drop_part(s, b->detail, &b->position, &done, err);
		break;
	case BUILD_INDEX:
		status = make_index(s, b, err);
		break;
	case BUILD_DROP:
		status = drop_index(s, b, err);
		break;
	case BUILD_TEXT:
		status = fill_text(s, b, &done, err);
		if (status == STATUS_OK && done)
			status = swap_text(s, b, err);
		break;
	case BUILD_NO_TEXT:
		status = drop_text(s, err);
		break;
	}
	if (status != STATUS_OK)
		return status;
	return done ? run_on_row(s, "DELETE FROM builds WHERE step = ?", b->step, err)
		    : save_position(s, b, err);
}

/* Unless a change came in between, which says itself what it is. */
static enum status set_definition(struct store *s, const struct store_build *o,
				  struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "UPDATE meta SET value = ? WHERE key = 'definition' AND value = ?",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_blob64(stmt, 1, o->definition.data, o->definition.size, SQLITE_STATIC);
	sqlite3_bind_blob64(stmt, 2, o->definition_before.data, o->definition_before.size,
			    SQLITE_STATIC);
	return database_run(s->writer, stmt, err);
}

static enum status do_stale(struct store *s, struct store_build *o, struct error *err)
{
	enum status status = make_stale_docs(s, o, &o->is_done, err);

	return o->is_done && status == STATUS_OK && o->definition.size
		       ? set_definition(s, o, err)
		       : status;
}

enum status store_build(struct store *s, struct store_write *w, struct error *err)
{
	struct store_build *o = w->operands;
	struct build b = {0};
	bool found;
	enum status status;

	o->is_done = false;
	/* A change came in between: the caller's is of before it. */
	if (o->schema_version != s->schema_version ||
	    o->vector_generation != vectors_last(s)->generation)
		return error_set(err, STATUS_ABORTED, "the collection was changed again");
	status = next_build(s->writer, &b, &found, err);
	s->shape_changed = true;
	if (status == STATUS_OK)
		status = found ? do_part(s, o, &b, err) : do_stale(s, o, err);
	free(b.detail);
	/* What is written next in this group must know of it. */
	return status == STATUS_OK ? read_shape(s, err) : status;
}

/* A write that was under way when all was built left something after all. */
static enum status stale_state(struct store_reader *r, struct store_build_state *ret,
			       struct error *err)
{
	enum status status =
		read_number(r->db, "SELECT count(*) FROM stale_docs", &ret->total, err);

	ret->done = 0;
	ret->is_building = ret->total != 0;
	ret->step = "records that were written meanwhile are made ready";
	return status;
}

enum status store_build_state(struct store_reader *r, struct store_build_state *ret,
			      struct error *err)
{
	static const char *const names[] = {
		[BUILD_DOCS] = "records are made ready for the new version of the type",
		[BUILD_INDEX] = "an index is built",
		[BUILD_DROP] = "an index is removed",
		[BUILD_TEXT] = "full text is built",
		[BUILD_NO_TEXT] = "full text is removed",
		[BUILD_VECTORS] = "vectors are collected",
		[BUILD_DROP_VECTORS] = "the vectors of before are removed",
	};
	struct build b = {0};
	enum status status = next_build(r->db, &b, &ret->is_building, err);

	if (status == STATUS_OK && !ret->is_building)
		return stale_state(r, ret, err);
	if (status == STATUS_OK) {
		ret->step = names[b.kind];
		ret->done = b.position < b.last ? b.position : b.last;
		ret->total = b.last;
	}
	free(b.detail);
	return status;
}

enum status store_vector_state(struct store_reader *r, struct arena *arena,
			       struct store_vector_state *ret, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		r->db,
		"SELECT (SELECT value FROM meta WHERE key = 'vector_dimensions'),"
		" (SELECT value FROM meta WHERE key = 'vector_metric'),"
		" (SELECT value FROM meta WHERE key = 'vector_count'),"
		" (SELECT value FROM meta WHERE key = 'next_vector_dimensions'),"
		" (SELECT value FROM meta WHERE key = 'next_vector_metric'),"
		" (SELECT value FROM meta WHERE key = 'next_vector_count'),"
		" (SELECT value FROM meta WHERE key = 'next_vector_generation'),"
		" (SELECT value FROM meta WHERE key = 'old_vector_field')",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		ret->now =
			(struct store_vectors){(size_t)sqlite3_column_int64(stmt, 0),
					       (enum vector_metric)sqlite3_column_int(stmt, 1)};
		ret->now_count = sqlite3_column_int64(stmt, 2);
		ret->next =
			(struct store_vectors){(size_t)sqlite3_column_int64(stmt, 3),
					       (enum vector_metric)sqlite3_column_int(stmt, 4)};
		ret->next_count = sqlite3_column_int64(stmt, 5);
		ret->has_next = sqlite3_column_int64(stmt, 6) != 0;
		ret->now_field = ret->has_next ? arena_strdup(arena, column_text(stmt, 7)) : "";
	} else {
		status = database_error(r->db, code, err);
	}
	database_reset(stmt);
	return status;
}
