/* Reading one record. */
#include <sqlite3.h>

#include "services/repo/store_internal.h"

void read_record(struct sqlite3_stmt *stmt, struct store_record *ret)
{
	*ret = (struct store_record){
		.id = column_text(stmt, 1),
		.created_us = (uint64_t)sqlite3_column_int64(stmt, 3),
		.updated_us = (uint64_t)sqlite3_column_int64(stmt, 4),
		.type_url = (const char *)sqlite3_column_text(stmt, 5),
		.data_uri = column_text(stmt, 6),
		.labels = column_bytes(stmt, 7),
		.proto = column_bytes(stmt, 8),
	};
	format_etag(sqlite3_column_int64(stmt, 2), ret->etag);
}

static void copy_record(const struct store_record *from, struct arena *arena,
			struct store_record *to)
{
	*to = *from;
	to->id = arena_strdup(arena, from->id);
	to->type_url = from->type_url ? arena_strdup(arena, from->type_url) : NULL;
	to->data_uri = arena_strdup(arena, from->data_uri);
	to->labels = bytes_of(arena_memdup(arena, from->labels.data, from->labels.size),
			      from->labels.size);
	to->proto = bytes_of(arena_memdup(arena, from->proto.data, from->proto.size),
			     from->proto.size);
}

enum status store_get(struct store_reader *reader, const char *id, struct arena *arena,
		      struct store_record *ret, struct error *err)
{
	static const char sql[] = "SELECT " RECORD_COLUMNS " FROM records r WHERE r.id = ?";
	struct store_record record;
	sqlite3_stmt *stmt;
	enum status status = database_prepare(reader->db, sql, &stmt, err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		read_record(stmt, &record);
		copy_record(&record, arena, ret);
	} else {
		status = code == SQLITE_DONE ? error_set(err, STATUS_NOT_FOUND,
							 "there is no record \"%s\"", id)
					     : database_error(reader->db, code, err);
	}
	database_reset(stmt);
	return status;
}
