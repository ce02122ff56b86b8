/*
 * Changing what a collection is. What takes long is a row of `builds` each, done in
 * order and in small parts; a kill costs the part that was being done. Until the last
 * of them, searches have what they had.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"
#include "services/repo/vector_store.h"

enum { ROWS_AT_ONCE = 256, BYTES_AT_ONCE = 1 << 20 };

/* Kinds of builds, as `builds.kind` has them. */
enum build_kind {
	BUILD_DOCS = 1,  /* documents anew, with the last version of the type */
	BUILD_INDEX = 2, /* detail: its expression */
	BUILD_DROP = 3,  /* detail: the index's name */
	BUILD_TEXT = 4,  /* text_next is filled, then takes the place of text */
	BUILD_NO_TEXT = 5,
	BUILD_VECTORS = 6, /* documents anew, and what they are found by */
};

struct build {
	int64_t step;
	enum build_kind kind;
	char *detail; /* owned */
	int64_t position, last;
};

/* ------------------------------------------------------------ the plan */

static enum status add_build(struct store *s, enum build_kind kind, const char *detail,
			     struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"INSERT INTO builds (kind, detail, position, last) VALUES (?, ?, 0,"
		" (SELECT coalesce(max(rid), 0) FROM records))",
		&stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int(stmt, 1, (int)kind);
	sqlite3_bind_text(stmt, 2, detail, -1, SQLITE_STATIC);
	return database_run(s->writer, stmt, err);
}

static bool is_among(const char *expression, const struct search_path *const *paths,
		     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		AUTO_STRBUF one = STRBUF_INIT;

		render_path(paths[i], &one);
		if (!strcmp(strbuf_str(&one), expression))
			return true;
	}
	return false;
}

/* New indexes first, then those that are not wanted any more go. */
static enum status plan_indexes(struct store *s, const struct store_modify *m,
				struct error *err)
{
	const struct store_indexes *now = atomic_load(&s->indexes);
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < m->indexed_count; i++) {
		AUTO_STRBUF expression = STRBUF_INIT;
		bool is_there = false;

		render_path(m->indexed[i], &expression);
		for (size_t j = 0; j < now->count; j++)
			is_there = is_there ||
				   !strcmp(now->expressions[j], strbuf_str(&expression));
		/* One that is named twice is made once. */
		if (!is_there && !is_among(strbuf_str(&expression), m->indexed, i))
			status = add_build(s, BUILD_INDEX, strbuf_str(&expression), err);
	}
	for (size_t i = 0; status == STATUS_OK && i < now->count; i++)
		if (!is_among(now->expressions[i], m->indexed, m->indexed_count))
			status = add_build(s, BUILD_DROP, now->names[i], err);
	return status;
}

static enum status plan_text(struct store *s, const struct store_modify *m, struct error *err)
{
	const char *view = text_view_after(s->text.view);
	AUTO_STRBUF sql = STRBUF_INIT;
	enum status status;

	if (!m->has_text)
		return s->text.table ? add_build(s, BUILD_NO_TEXT, "", err) : STATUS_OK;
	render_text_schema("text_next", view, m->text, m->text_count, &sql);
	status = database_exec(s->writer, strbuf_str(&sql), err);
	return status == STATUS_OK ? add_build(s, BUILD_TEXT, view, err) : status;
}

static enum status add_version(struct store *s, const struct store_modify *m, uint64_t now_us,
			       struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "INSERT INTO schema_versions VALUES (?, ?, ?, ?)", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, m->schema_version);
	sqlite3_bind_text(stmt, 2, m->message_name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)now_us);
	sqlite3_bind_blob64(stmt, 4, m->descriptor_set.data, m->descriptor_set.size,
			    SQLITE_STATIC);
	status = database_run(s->writer, stmt, err);
	if (status == STATUS_OK)
		status = run_on_row(s, "UPDATE meta SET value = ? WHERE key = 'schema_version'",
				    m->schema_version, err);
	/* Vectors that are made anew are made of the new version, documents too. */
	return status == STATUS_OK && !m->sets_vector ? add_build(s, BUILD_DOCS, "", err)
						      : status;
}

static enum status set_number(struct store *s, const char *key, int64_t value,
			      struct error *err)
{
	AUTO_FREE char *sql = xasprintf("UPDATE meta SET value = ? WHERE key = '%s'", key);

	return run_on_row(s, sql, value, err);
}

/*
 * Vectors of before go at once: what is written from now on has others. Until all are
 * made anew nothing is found by them.
 */
static enum status change_vectors(struct store *s, const struct store_modify *m,
				  struct error *err)
{
	enum status status = vectors_clear(s, err);

	if (status == STATUS_OK)
		status =
			set_number(s, "vector_dimensions", (int64_t)m->vectors.dimensions, err);
	if (status == STATUS_OK)
		status = set_number(s, "vector_metric", (int64_t)m->vectors.metric, err);
	if (status == STATUS_OK)
		status = set_number(s, "vector_generation", s->vector_generation + 1, err);
	return status == STATUS_OK ? add_build(s, BUILD_VECTORS, "", err) : status;
}

static enum status change_quota(struct store *s, const struct store_quota *q, struct error *err)
{
	enum status status = set_number(s, "quota_records", q->records, err);

	if (status == STATUS_OK)
		status = set_number(s, "quota_record_bytes", q->record_bytes, err);
	if (status == STATUS_OK)
		status = set_number(s, "quota_files", q->files, err);
	if (status == STATUS_OK)
		status = set_number(s, "quota_file_bytes", q->file_bytes, err);
	return status;
}

static enum status set_definition(struct store *s, struct bytes definition, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "UPDATE meta SET value = ? WHERE key = 'definition'", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_blob64(stmt, 1, definition.data, definition.size, SQLITE_STATIC);
	return database_run(s->writer, stmt, err);
}

static enum status count_builds(struct store *s, int64_t *ret, struct error *err)
{
	return read_number(s->writer,
			   "SELECT (SELECT count(*) FROM builds) +"
			   " (SELECT count(*) FROM stale_docs)",
			   ret, err);
}

enum status store_modify(struct store *s, struct store_write *w, struct error *err)
{
	struct store_modify *m = w->operands;
	int64_t builds = 0;
	enum status status = count_builds(s, &builds, err);

	if (status == STATUS_OK && builds)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the last change is still being built");
	s->shape_changed = true;
	if (status == STATUS_OK && m->message_name)
		status = add_version(s, m, w->now_us, err);
	if (status == STATUS_OK && m->sets_vector)
		status = change_vectors(s, m, err);
	if (status == STATUS_OK && m->sets_quota)
		status = change_quota(s, &m->quota, err);
	if (status == STATUS_OK && (m->sets_vector || m->sets_quota))
		status = read_settings(s, err);
	if (status == STATUS_OK && m->sets_indexed)
		status = plan_indexes(s, m, err);
	if (status == STATUS_OK && m->sets_text)
		status = plan_text(s, m, err);
	if (status == STATUS_OK)
		status = count_builds(s, &builds, err);
	m->is_building = builds != 0;
	if (status == STATUS_OK)
		status = read_shape(s, err);
	return status == STATUS_OK
		       ? set_definition(s, builds ? m->building_definition : m->definition, err)
		       : status;
}

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

/* Rows that @sql finds get new documents. *ret_count: how many there were. */
static enum status make_docs(struct store *s, const struct store_build *o, const char *sql,
			     struct build *b, size_t *ret_count, struct error *err)
{
	struct row rows[ROWS_AT_ONCE];
	AUTO_STRBUF doc = STRBUF_INIT;
	AUTO_STRBUF vector = STRBUF_INIT;
	enum status status = read_rows(s, sql, b, rows, ret_count, err);

	for (size_t i = 0; status == STATUS_OK && i < *ret_count; i++) {
		const struct bytes proto = bytes_of(rows[i].proto.buf, rows[i].proto.len);

		strbuf_reset(&doc);
		strbuf_reset(&vector);
		/* One that cannot be read as the new version stays found as it was. */
		if (o->render(o->arg, rows[i].type_url, proto, &doc, &vector)) {
			status = set_doc(s, rows[i].rid, bytes_of(doc.buf, doc.len), err);
			if (status == STATUS_OK)
				status = vectors_set(s, rows[i].rid,
						     bytes_of(vector.buf, vector.len), err);
		}
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
	enum status status = make_docs(s, o,
				       "SELECT rid, type_url, proto FROM records WHERE rid > ?"
				       " AND rid <= ? ORDER BY rid",
				       b, &count, err);

	*ret_done = status == STATUS_OK && !count;
	return status;
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
	case BUILD_VECTORS:
		status = build_docs(s, o, b, &done, err);
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

/* Documents that were made with an older version by a write that was under way. */
static enum status do_stale(struct store *s, struct store_build *o, struct error *err)
{
	struct build b = {.position = 0, .last = INT64_MAX};
	size_t count;
	enum status status = make_docs(
		s, o,
		"SELECT rid, type_url, proto FROM records WHERE rid IN (SELECT rid FROM"
		" stale_docs) AND rid > ? AND rid <= ? ORDER BY rid",
		&b, &count, err);

	if (status != STATUS_OK || count)
		return status;
	/* What is left of it was deleted since. */
	status = database_exec(s->writer, "DELETE FROM stale_docs", err);
	o->is_done = true;
	return status == STATUS_OK && o->definition.size ? set_definition(s, o->definition, err)
							 : status;
}

enum status store_build(struct store *s, struct store_write *w, struct error *err)
{
	struct store_build *o = w->operands;
	struct build b = {0};
	bool found;
	enum status status = next_build(s->writer, &b, &found, err);

	s->shape_changed = true;
	o->is_done = false;
	if (status == STATUS_OK)
		status = found ? do_part(s, o, &b, err) : do_stale(s, o, err);
	free(b.detail);
	/* What is written next in this group must know of it. */
	return status == STATUS_OK ? read_shape(s, err) : status;
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
	};
	struct build b = {0};
	int64_t vectors = 0;
	enum status status = next_build(r->db, &b, &ret->is_building, err);

	if (status == STATUS_OK && ret->is_building) {
		status = read_number(r->db, "SELECT count(*) FROM builds WHERE kind = 6",
				     &vectors, err);
		ret->makes_vectors = vectors != 0;
		ret->step = names[b.kind];
		ret->done = b.position;
		ret->total = b.last;
	}
	free(b.detail);
	return status;
}

enum status store_versions(struct store_reader *r, struct arena *arena,
			   struct store_version **ret, size_t *ret_count, struct error *err)
{
	struct store_version *all = NULL;
	size_t count = 0, capacity = 0;
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		r->db,
		"SELECT version, message_name, created_at_us FROM schema_versions"
		" ORDER BY version",
		&stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (count == capacity) {
			struct store_version *more =
				arena_alloc(arena, (2 * capacity + 4) * sizeof(*more));

			if (count)
				memcpy(more, all, count * sizeof(*more));
			all = more;
			capacity = 2 * capacity + 4;
		}
		all[count++] = (struct store_version){sqlite3_column_int64(stmt, 0),
						      arena_strdup(arena, column_text(stmt, 1)),
						      (uint64_t)sqlite3_column_int64(stmt, 2)};
	}
	if (code != SQLITE_DONE)
		status = database_error(r->db, code, err);
	database_reset(stmt);
	*ret = all;
	*ret_count = count;
	return status;
}
