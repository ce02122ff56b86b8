/*
 * Vectors, apart from their records: 1,024 to a blob, so that a search reads few
 * large pieces. They are kept without gaps: when one goes, the last takes its place.
 *
 * A chunk is the row numbers of its vectors, then their numbers. Its version grows
 * with every change of it, and is in a table of its own: to change a column of the
 * chunk's row would write all of it.
 *
 * There are two sets of tables. While Modify collects vectors anew they are in the set
 * that is free, and searches go by the other one; then `meta` says that it is the other
 * way round, and the old ones are removed, some with each part of the build.
 */
#include "services/repo/vector_store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"

enum { DROP_BYTES_AT_ONCE = 4 << 20, DROP_CHUNKS_AT_ONCE = 16 };

/* By a set's number. The second ones are made when they are first needed. */
static const struct {
	const char *chunks, *create;
	const char *find, *add_row, *move_row, *remove_row;
	const char *add_chunk, *remove_chunk;
	const char *add_version, *set_version, *remove_version, *version;
	const char *chunk_bytes, *chunk_count, *drop_chunks, *drop_versions, *drop_rows,
		*is_empty;
} tables[2] = {
#define TABLES(suffix)                                                                         \
	{                                                                                      \
		.chunks = "vector_chunks" suffix,                                              \
		.create = "CREATE TABLE IF NOT EXISTS vector_chunks" suffix                    \
			  " (chunk INTEGER PRIMARY KEY, data BLOB NOT NULL);"                  \
			  "CREATE TABLE IF NOT EXISTS vector_versions" suffix                  \
			  " (chunk INTEGER PRIMARY KEY, version INTEGER NOT NULL);"            \
			  "CREATE TABLE IF NOT EXISTS vector_rows" suffix                      \
			  " (rid INTEGER PRIMARY KEY, slot INTEGER NOT NULL)",                 \
		.find = "SELECT slot FROM vector_rows" suffix " WHERE rid = ?",                \
		.add_row = "INSERT INTO vector_rows" suffix " VALUES (?1, ?2)",                \
		.move_row = "UPDATE vector_rows" suffix " SET slot = ?2 WHERE rid = ?1",       \
		.remove_row = "DELETE FROM vector_rows" suffix " WHERE rid = ?",               \
		.add_chunk = "INSERT INTO vector_chunks" suffix " VALUES (?1, zeroblob(?2))",  \
		.remove_chunk = "DELETE FROM vector_chunks" suffix " WHERE chunk = ?",         \
		.add_version = "INSERT INTO vector_versions" suffix " VALUES (?1, ?2)",        \
		.set_version =                                                                 \
			"UPDATE vector_versions" suffix " SET version = ?2 WHERE chunk = ?1",  \
		.remove_version = "DELETE FROM vector_versions" suffix " WHERE chunk = ?",     \
		.version = "SELECT version FROM vector_versions" suffix " WHERE chunk = ?",    \
		.chunk_bytes =                                                                 \
			"SELECT coalesce((SELECT length(data) FROM vector_chunks" suffix       \
			" LIMIT 1), 1)",                                                       \
		.chunk_count = "SELECT count(*) FROM vector_versions" suffix,                  \
		.drop_chunks =                                                                 \
			"DELETE FROM vector_chunks" suffix                                     \
			" WHERE chunk IN (SELECT chunk FROM vector_chunks" suffix " LIMIT ?)", \
		.drop_versions = "DELETE FROM vector_versions" suffix                          \
				 " WHERE chunk NOT IN (SELECT chunk FROM vector_chunks" suffix \
				 ") AND ?",                                                    \
		.drop_rows = "DELETE FROM vector_rows" suffix                                  \
			     " WHERE rid IN (SELECT rid FROM vector_rows" suffix " LIMIT ?)",  \
		.is_empty = "SELECT NOT EXISTS (SELECT 1 FROM vector_rows" suffix              \
			    ") AND NOT EXISTS (SELECT 1 FROM vector_chunks" suffix ")",        \
	}
	TABLES(""),
	TABLES("_b"),
#undef TABLES
};

static size_t vector_bytes(const struct vector_set *set)
{
	return set->dimensions * sizeof(float);
}

static size_t vector_chunk_bytes(const struct vector_set *set)
{
	return VECTORS_A_CHUNK * (sizeof(int64_t) + vector_bytes(set));
}

const struct vector_set *vectors_last(const struct store *s)
{
	return s->next_vectors.generation ? &s->next_vectors : &s->vectors;
}

static int64_t *count_of(struct store *s, const struct vector_set *set)
{
	return set == &s->vectors ? &s->counters.vectors : &s->counters.next_vectors;
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

/* The only number that @sql answers for @number; -1: there is none. */
static enum status find_number(struct database *db, const char *sql, int64_t number,
			       int64_t *ret, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(db, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, number);
	int code = sqlite3_step(stmt);
	*ret = code == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		status = database_error(db, code, err);
	database_reset(stmt);
	return status;
}

/* Closed before the write ends: SQLite releases no savepoint while it is open. */
static enum status open_chunk(struct store *s, const struct vector_set *set, int64_t slot,
			      sqlite3_blob **ret, struct error *err)
{
	int code = sqlite3_blob_open(database_sqlite(s->writer), "main",
				     tables[set->number].chunks, "data", slot / VECTORS_A_CHUNK,
				     1, ret);

	return code == SQLITE_OK ? STATUS_OK : database_error(s->writer, code, err);
}

static enum status close_chunk(struct store *s, sqlite3_blob *blob, int code, struct error *err)
{
	int closed = sqlite3_blob_close(blob);

	code = code == SQLITE_OK ? closed : code;
	return code == SQLITE_OK ? STATUS_OK : database_error(s->writer, code, err);
}

static enum status add_chunk(struct store *s, const struct vector_set *set, int64_t chunk,
			     struct error *err)
{
	enum status status = run_on_two(s, tables[set->number].add_chunk, chunk,
					(int64_t)vector_chunk_bytes(set), err);

	return status == STATUS_OK ? run_on_two(s, tables[set->number].add_version, chunk,
						++s->counters.vector_version, err)
				   : status;
}

static enum status drop_chunk(struct store *s, const struct vector_set *set, int64_t chunk,
			      struct error *err)
{
	enum status status = run_on_row(s, tables[set->number].remove_chunk, chunk, err);

	return status == STATUS_OK
		       ? run_on_row(s, tables[set->number].remove_version, chunk, err)
		       : status;
}

/* Where in its chunk a slot's numbers are. */
static int offset_of(const struct vector_set *set, int64_t slot)
{
	return (int)(VECTORS_A_CHUNK * sizeof(int64_t) +
		     (size_t)(slot % VECTORS_A_CHUNK) * vector_bytes(set));
}

static int row_offset_of(int64_t slot)
{
	return (int)(slot % VECTORS_A_CHUNK) * (int)sizeof(int64_t);
}

static enum status write_slot(struct store *s, const struct vector_set *set, int64_t slot,
			      int64_t rid, const void *vector, struct error *err)
{
	sqlite3_blob *blob;
	enum status status = open_chunk(s, set, slot, &blob, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_blob_write(blob, &rid, sizeof(rid), row_offset_of(slot));
	if (code == SQLITE_OK)
		code = sqlite3_blob_write(blob, vector, (int)vector_bytes(set),
					  offset_of(set, slot));
	status = close_chunk(s, blob, code, err);
	return status == STATUS_OK
		       ? run_on_two(s, tables[set->number].set_version, slot / VECTORS_A_CHUNK,
				    ++s->counters.vector_version, err)
		       : status;
}

static enum status read_slot(struct store *s, const struct vector_set *set, int64_t slot,
			     int64_t *ret_rid, void *vector, struct error *err)
{
	sqlite3_blob *blob;
	enum status status = open_chunk(s, set, slot, &blob, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_blob_read(blob, ret_rid, sizeof(*ret_rid), row_offset_of(slot));
	if (code == SQLITE_OK)
		code = sqlite3_blob_read(blob, vector, (int)vector_bytes(set),
					 offset_of(set, slot));
	return close_chunk(s, blob, code, err);
}

/* ------------------------------------------------------------ changes */

static enum status append(struct store *s, const struct vector_set *set, int64_t rid,
			  const void *vector, struct error *err)
{
	int64_t *count = count_of(s, set);
	const int64_t slot = *count;
	enum status status = STATUS_OK;

	if (slot % VECTORS_A_CHUNK == 0)
		status = add_chunk(s, set, slot / VECTORS_A_CHUNK, err);
	if (status == STATUS_OK)
		status = run_on_two(s, tables[set->number].add_row, rid, slot, err);
	if (status != STATUS_OK)
		return status;
	++*count;
	return write_slot(s, set, slot, rid, vector, err);
}

/* The last one takes the place at @slot. */
static enum status fill_gap(struct store *s, const struct vector_set *set, int64_t slot,
			    int64_t last, struct error *err)
{
	float vector[VECTOR_MAX_DIMENSIONS];
	int64_t rid;
	enum status status = read_slot(s, set, last, &rid, vector, err);

	if (status == STATUS_OK)
		status = write_slot(s, set, slot, rid, vector, err);
	return status == STATUS_OK ? run_on_two(s, tables[set->number].move_row, rid, slot, err)
				   : status;
}

static enum status remove_one(struct store *s, const struct vector_set *set, int64_t rid,
			      struct error *err)
{
	int64_t *count = count_of(s, set);
	const int64_t last = *count - 1;
	int64_t slot;
	enum status status;

	if (!set->dimensions)
		return STATUS_OK;
	status = find_number(s->writer, tables[set->number].find, rid, &slot, err);
	if (status != STATUS_OK || slot < 0)
		return status;
	if (slot != last)
		status = fill_gap(s, set, slot, last, err);
	if (status == STATUS_OK)
		status = run_on_row(s, tables[set->number].remove_row, rid, err);
	if (status == STATUS_OK && last % VECTORS_A_CHUNK == 0)
		status = drop_chunk(s, set, last / VECTORS_A_CHUNK, err);
	--*count;
	return status;
}

static enum status set_one(struct store *s, const struct vector_set *set, int64_t rid,
			   struct bytes vector, struct error *err)
{
	int64_t slot;
	enum status status;

	if (!set->dimensions)
		return STATUS_OK;
	if (!vector.size)
		return remove_one(s, set, rid, err);
	if (vector.size != vector_bytes(set))
		return error_set(err, STATUS_INTERNAL, "a vector of %zu bytes, not %zu",
				 vector.size, vector_bytes(set));
	status = find_number(s->writer, tables[set->number].find, rid, &slot, err);
	if (status != STATUS_OK)
		return status;
	return slot < 0 ? append(s, set, rid, vector.data, err)
			: write_slot(s, set, slot, rid, vector.data, err);
}

/* What @w has for vectors of the set's generation. */
static struct bytes numbers_for(const struct vector_set *set, const struct store_write *w)
{
	if (!w->schema_version || w->vector.generation == set->generation)
		return w->vector.numbers;
	return w->old_vector.generation == set->generation ? w->old_vector.numbers
							   : (struct bytes){NULL, 0};
}

enum status vectors_write(struct store *s, int64_t rid, const struct store_write *w,
			  struct error *err)
{
	enum status status = set_one(s, &s->vectors, rid, numbers_for(&s->vectors, w), err);

	if (status == STATUS_OK && s->next_vectors.generation)
		status = set_one(s, &s->next_vectors, rid, numbers_for(&s->next_vectors, w),
				 err);
	return status;
}

enum status vectors_write_last(struct store *s, int64_t rid, const struct store_vector *vector,
			       struct error *err)
{
	return set_one(s, vectors_last(s), rid, vector->numbers, err);
}

enum status vectors_remove(struct store *s, int64_t rid, struct error *err)
{
	enum status status = remove_one(s, &s->vectors, rid, err);

	if (status == STATUS_OK && s->next_vectors.generation)
		status = remove_one(s, &s->next_vectors, rid, err);
	return status;
}

/* ------------------------------------------------------------ from one set to another */

/* What `meta` says of the next set; read_settings() after it. */
static enum status describe_next(struct store *s, const struct vector_set *next,
				 struct error *err)
{
	enum status status =
		set_number(s, "next_vector_dimensions", (int64_t)next->dimensions, err);

	if (status == STATUS_OK)
		status = set_number(s, "next_vector_metric", (int64_t)next->metric, err);
	if (status == STATUS_OK)
		status = set_number(s, "next_vector_generation", next->generation, err);
	return status;
}

enum status vectors_begin(struct store *s, const struct store_vectors *next, struct error *err)
{
	const struct vector_set set = {!s->vectors.number, next->dimensions, next->metric,
				       s->vectors.generation + 1};
	enum status status = database_exec(s->writer, tables[set.number].create, err);

	s->counters.next_vectors = 0;
	if (status == STATUS_OK)
		status = describe_next(s, &set, err);
	return status == STATUS_OK ? read_settings(s, err) : status;
}

enum status vectors_switch(struct store *s, char *ret_detail, int64_t *ret_chunks,
			   struct error *err)
{
	const struct vector_set next = s->next_vectors, none = {0};
	const struct vector_set old = s->vectors;
	enum status status = set_number(s, "vector_set", next.number, err);

	*ret_chunks = 0;
	if (status == STATUS_OK)
		status = set_number(s, "vector_dimensions", (int64_t)next.dimensions, err);
	if (status == STATUS_OK)
		status = set_number(s, "vector_metric", (int64_t)next.metric, err);
	if (status == STATUS_OK)
		status = set_number(s, "vector_generation", next.generation, err);
	if (status == STATUS_OK)
		status = describe_next(s, &none, err);
	if (status == STATUS_OK)
		status = read_settings(s, err);
	/* Without vectors there may be no tables either. */
	if (status == STATUS_OK && old.dimensions)
		status =
			read_number(s->writer, tables[old.number].chunk_count, ret_chunks, err);
	s->counters.vectors = s->counters.next_vectors;
	s->counters.next_vectors = 0;
	(void)snprintf(ret_detail, 8, "%d", old.number);
	return status;
}

enum status vectors_drop_part(struct store *s, const char *detail, int64_t *position,
			      bool *ret_done, struct error *err)
{
	const int old = *detail == '1';
	int64_t bytes = 1, chunks, is_empty = 0;
	enum status status = read_number(s->writer, tables[old].chunk_bytes, &bytes, err);

	chunks = bytes > DROP_BYTES_AT_ONCE ? 1 : DROP_BYTES_AT_ONCE / bytes;
	if (chunks > DROP_CHUNKS_AT_ONCE)
		chunks = DROP_CHUNKS_AT_ONCE;
	if (status == STATUS_OK)
		status = run_on_row(s, tables[old].drop_chunks, chunks, err);
	if (status == STATUS_OK)
		status = run_on_row(s, tables[old].drop_versions, 1, err);
	if (status == STATUS_OK)
		status = run_on_row(s, tables[old].drop_rows, chunks * VECTORS_A_CHUNK, err);
	if (status == STATUS_OK)
		status = read_number(s->writer, tables[old].is_empty, &is_empty, err);
	*position += chunks;
	*ret_done = is_empty != 0;
	return status;
}

/* ------------------------------------------------------------ reading */

enum status vectors_now(struct store_reader *reader, struct vector_set *ret, int64_t *ret_count,
			struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status =
		database_prepare(reader->db,
				 "SELECT (SELECT value FROM meta WHERE key = 'vector_set'),"
				 " (SELECT value FROM meta WHERE key = 'vector_dimensions'),"
				 " (SELECT value FROM meta WHERE key = 'vector_metric'),"
				 " (SELECT value FROM meta WHERE key = 'vector_generation'),"
				 " (SELECT value FROM meta WHERE key = 'vector_count')",
				 &stmt, err);

	if (status != STATUS_OK)
		return status;
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		ret->number = sqlite3_column_int(stmt, 0) != 0;
		ret->dimensions = (size_t)sqlite3_column_int64(stmt, 1);
		ret->metric = (enum vector_metric)sqlite3_column_int(stmt, 2);
		ret->generation = sqlite3_column_int64(stmt, 3);
		*ret_count = sqlite3_column_int64(stmt, 4);
	} else {
		status = database_error(reader->db, code, err);
	}
	database_reset(stmt);
	return status;
}

enum status vectors_find(struct store_reader *reader, const struct vector_set *set, int64_t rid,
			 int64_t *ret_slot, struct error *err)
{
	return find_number(reader->db, tables[set->number].find, rid, ret_slot, err);
}

/* How the cache knows a chunk: those of both sets are one store's. */
static int64_t cached_number(const struct vector_set *set, int64_t number)
{
	return 2 * number + set->number;
}

/* Its size is what the reader sees: the store's may have changed since. */
static enum status read_chunk(struct store_reader *reader, const struct vector_set *set,
			      int64_t number, int64_t version, struct vector_chunk **ret,
			      struct error *err)
{
	struct vector_chunk *chunk = NULL;
	sqlite3_blob *blob = NULL;
	int code = sqlite3_blob_open(database_sqlite(reader->db), "main",
				     tables[set->number].chunks, "data", number, 0, &blob);

	if (code == SQLITE_OK) {
		chunk = vector_chunk_new(reader->store->vector_owner,
					 cached_number(set, number), version,
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

enum status vectors_chunk(struct store_reader *reader, const struct vector_set *set,
			  int64_t number, struct vector_chunk **ret, struct error *err)
{
	const struct store *s = reader->store;
	struct vector_chunk *chunk = NULL;
	int64_t version;
	enum status status =
		find_number(reader->db, tables[set->number].version, number, &version, err);

	/* Between statements SQLite forgets an interrupt. */
	if (atomic_load(&reader->is_interrupted))
		return error_set(err, STATUS_CANCELLED, "interrupted");
	if (status != STATUS_OK)
		return status;
	if (s->vector_cache)
		chunk = vector_cache_get(s->vector_cache, s->vector_owner,
					 cached_number(set, number), version);
	if (!chunk) {
		status = read_chunk(reader, set, number, version, &chunk, err);
		if (status == STATUS_OK && s->vector_cache)
			vector_cache_put(s->vector_cache, chunk);
	}
	if (status == STATUS_OK)
		*ret = chunk;
	return status;
}
