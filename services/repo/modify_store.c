/* Changing what a collection is, and what there is to build for it: build_store.h. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/build_store.h"
#include "services/repo/store_internal.h"
#include "services/repo/vector_store.h"

/* ------------------------------------------------------------ the plan */

enum status add_build(struct store *s, enum build_kind kind, const char *detail,
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

/* To set @key, which lives until it has run, to the second parameter. */
static enum status prepare_meta(struct store *s, const char *key, sqlite3_stmt **ret,
				struct error *err)
{
	enum status status = database_prepare(
		s->writer, "UPDATE meta SET value = ?2 WHERE key = ?1", ret, err);

	if (status == STATUS_OK)
		sqlite3_bind_text(*ret, 1, key, -1, SQLITE_STATIC);
	return status;
}

enum status set_number(struct store *s, const char *key, int64_t value, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = prepare_meta(s, key, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 2, value);
	return database_run(s->writer, stmt, err);
}

static enum status set_text(struct store *s, const char *key, const char *value,
			    struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = prepare_meta(s, key, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
	return database_run(s->writer, stmt, err);
}

/* What is written from now on is in both sets of vectors. */
static enum status change_vectors(struct store *s, const struct store_modify *m,
				  struct error *err)
{
	enum status status = set_text(s, "old_vector_field", m->old_vector_field, err);

	if (status == STATUS_OK)
		status = set_text(s, "old_vector_numbers", m->old_vector_numbers, err);
	if (status == STATUS_OK)
		status = vectors_begin(s, &m->vectors, err);
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
	if (status == STATUS_OK && m->sets_quota)
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
