/*
 * Vectors, apart from their records: 1,024 to a blob, so that a search reads few
 * large pieces. They are kept without gaps: when one goes, the last takes its place.
 *
 * A chunk is the row numbers of its vectors, then their numbers. Its version grows
 * with every change of it, and is in a table of its own: to change a column of the
 * chunk's row would write all of it.
 */
#include "services/repo/vector_store.h"

#include <sqlite3.h>
#include <string.h>

#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

static size_t vector_bytes(const struct store *s)
{
	return s->vector_dimensions * sizeof(float);
}

static size_t vector_chunk_bytes(const struct store *s)
{
	return VECTORS_A_CHUNK * (sizeof(int64_t) + vector_bytes(s));
}

/* ------------------------------------------------------------ rows and chunks */

static enum status run_on_two(struct store *s, const char *sql, int64_t first, int64_t second,
			      struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(s->writer, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, first);
	sqlite3_bind_int64(stmt, 2, second);
	return database_run(s->writer, stmt, err);
}

/* -1: the row has no vector. */
static enum status find_slot(struct store *s, int64_t rid, int64_t *ret, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer, "SELECT slot FROM vector_rows WHERE rid = ?", &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	int code = sqlite3_step(stmt);
	*ret = code == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}

/* Closed before the write ends: SQLite releases no savepoint while it is open. */
static enum status open_chunk(struct store *s, int64_t slot, sqlite3_blob **ret,
			      struct error *err)
{
	int code = sqlite3_blob_open(database_sqlite(s->writer), "main", "vector_chunks",
				     "data", slot / VECTORS_A_CHUNK, 1, ret);

	return code == SQLITE_OK ? STATUS_OK : database_error(s->writer, code, err);
}

static enum status close_chunk(struct store *s, sqlite3_blob *blob, int code, struct error *err)
{
	int closed = sqlite3_blob_close(blob);

	code = code == SQLITE_OK ? closed : code;
	return code == SQLITE_OK ? STATUS_OK : database_error(s->writer, code, err);
}

static enum status add_chunk(struct store *s, int64_t chunk, struct error *err)
{
	enum status status =
		run_on_two(s, "INSERT INTO vector_chunks VALUES (?1, zeroblob(?2))", chunk,
			   (int64_t)vector_chunk_bytes(s), err);
	return status == STATUS_OK
		       ? run_on_two(s, "INSERT INTO vector_versions VALUES (?1, ?2)", chunk,
				    ++s->counters.vector_version, err)
		       : status;
}

static enum status drop_chunk(struct store *s, int64_t chunk, struct error *err)
{
	enum status status =
		run_on_row(s, "DELETE FROM vector_chunks WHERE chunk = ?", chunk, err);
	return status == STATUS_OK
		       ? run_on_row(s, "DELETE FROM vector_versions WHERE chunk = ?", chunk,
				    err)
		       : status;
}

/* Where in its chunk a slot's numbers are. */
static int offset_of(const struct store *s, int64_t slot)
{
	return (int)(VECTORS_A_CHUNK * sizeof(int64_t) +
		     (size_t)(slot % VECTORS_A_CHUNK) * vector_bytes(s));
}

static int row_offset_of(int64_t slot)
{
	return (int)(slot % VECTORS_A_CHUNK) * (int)sizeof(int64_t);
}

static enum status write_slot(struct store *s, int64_t slot, int64_t rid, const void *vector,
			      struct error *err)
{
	sqlite3_blob *blob;
	enum status status = open_chunk(s, slot, &blob, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_blob_write(blob, &rid, sizeof(rid), row_offset_of(slot));
	if (code == SQLITE_OK)
		code = sqlite3_blob_write(blob, vector, (int)vector_bytes(s),
					  offset_of(s, slot));
	status = close_chunk(s, blob, code, err);
	return status == STATUS_OK
		       ? run_on_two(s,
				    "UPDATE vector_versions SET version = ?2 WHERE chunk = ?1",
				    slot / VECTORS_A_CHUNK, ++s->counters.vector_version, err)
		       : status;
}

static enum status read_slot(struct store *s, int64_t slot, int64_t *ret_rid, void *vector,
			     struct error *err)
{
	sqlite3_blob *blob;
	enum status status = open_chunk(s, slot, &blob, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_blob_read(blob, ret_rid, sizeof(*ret_rid), row_offset_of(slot));
	if (code == SQLITE_OK)
		code = sqlite3_blob_read(blob, vector, (int)vector_bytes(s),
					 offset_of(s, slot));
	return close_chunk(s, blob, code, err);
}

/* ------------------------------------------------------------ changes */

static enum status append(struct store *s, int64_t rid, const void *vector, struct error *err)
{
	const int64_t slot = s->counters.vectors;
	enum status status = STATUS_OK;

	if (slot % VECTORS_A_CHUNK == 0)
		status = add_chunk(s, slot / VECTORS_A_CHUNK, err);
	if (status == STATUS_OK)
		status = run_on_two(s, "INSERT INTO vector_rows VALUES (?1, ?2)", rid, slot,
				    err);
	if (status != STATUS_OK)
		return status;
	s->counters.vectors++;
	return write_slot(s, slot, rid, vector, err);
}

/* The last one takes the place at @slot. */
static enum status fill_gap(struct store *s, int64_t slot, int64_t last, struct error *err)
{
	float vector[VECTOR_MAX_DIMENSIONS];
	int64_t rid;
	enum status status = read_slot(s, last, &rid, vector, err);

	if (status == STATUS_OK)
		status = write_slot(s, slot, rid, vector, err);
	return status == STATUS_OK
		       ? run_on_two(s, "UPDATE vector_rows SET slot = ?2 WHERE rid = ?1", rid,
				    slot, err)
		       : status;
}

enum status vectors_remove(struct store *s, int64_t rid, struct error *err)
{
	const int64_t last = s->counters.vectors - 1;
	int64_t slot;
	enum status status;

	if (!s->vector_dimensions)
		return STATUS_OK;
	status = find_slot(s, rid, &slot, err);
	if (status != STATUS_OK || slot < 0)
		return status;
	if (slot != last)
		status = fill_gap(s, slot, last, err);
	if (status == STATUS_OK)
		status = run_on_row(s, "DELETE FROM vector_rows WHERE rid = ?", rid, err);
	if (status == STATUS_OK && last % VECTORS_A_CHUNK == 0)
		status = drop_chunk(s, last / VECTORS_A_CHUNK, err);
	s->counters.vectors--;
	return status;
}

enum status vectors_set(struct store *s, int64_t rid, struct bytes vector, struct error *err)
{
	int64_t slot;
	enum status status;

	if (!s->vector_dimensions)
		return STATUS_OK;
	if (!vector.size)
		return vectors_remove(s, rid, err);
	if (vector.size != vector_bytes(s))
		return error_set(err, STATUS_INTERNAL, "a vector of %zu bytes, not %zu",
				 vector.size, vector_bytes(s));
	status = find_slot(s, rid, &slot, err);
	if (status != STATUS_OK)
		return status;
	return slot < 0 ? append(s, rid, vector.data, err)
			: write_slot(s, slot, rid, vector.data, err);
}

enum status vectors_clear(struct store *s, struct error *err)
{
	s->counters.vectors = 0;
	return database_exec(s->writer,
			     "DELETE FROM vector_chunks; DELETE FROM vector_versions;"
			     "DELETE FROM vector_rows",
			     err);
}

/* ------------------------------------------------------------ reading */

/* Its size is what the reader sees: the store's may have changed since. */
static enum status read_chunk(struct store_reader *reader, int64_t number, int64_t version,
			      struct vector_chunk **ret, struct error *err)
{
	struct vector_chunk *chunk = NULL;
	sqlite3_blob *blob = NULL;
	int code = sqlite3_blob_open(database_sqlite(reader->db), "main", "vector_chunks",
				     "data", number, 0, &blob);

	if (code == SQLITE_OK) {
		chunk = vector_chunk_new(reader->store->vector_owner, number, version,
					 (size_t)sqlite3_blob_bytes(blob));
		code = sqlite3_blob_read(blob, chunk->data, (int)chunk->size_bytes, 0);
	}
	enum status status =
		code == SQLITE_OK ? STATUS_OK : database_error(reader->db, code, err);
	(void)sqlite3_blob_close(blob); /* of a reader: nothing can fail */
	if (status == STATUS_OK)
		*ret = chunk;
	else if (chunk)
		vector_chunk_release(chunk);
	return status;
}

enum status vectors_chunk(struct store_reader *reader, int64_t number, int64_t version,
			  struct vector_chunk **ret, struct error *err)
{
	const struct store *s = reader->store;
	struct vector_chunk *chunk = NULL;
	enum status status = STATUS_OK;

	if (s->vector_cache)
		chunk = vector_cache_get(s->vector_cache, s->vector_owner, number, version);
	if (!chunk) {
		status = read_chunk(reader, number, version, &chunk, err);
		if (status == STATUS_OK && s->vector_cache)
			vector_cache_put(s->vector_cache, chunk);
	}
	if (status == STATUS_OK)
		*ret = chunk;
	return status;
}
