/* Opening a collection's database, its readers, and what is told of it. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/reflect/search.h"
#include "services/repo/store_internal.h"
#include "services/repo/vector_cache.h"

enum { MAX_IDLE_READERS = 4 };

#define DAY_US (UINT64_C(24) * 3600 * 1000000)

void render_path(const struct search_path *path, struct strbuf *sql)
{
	strbuf_addstr(sql, "jsonb_extract(doc, '");
	search_path_sql(path, sql);
	strbuf_addstr(sql, "')");
}

struct bytes column_bytes(struct sqlite3_stmt *stmt, int i)
{
	const void *data = sqlite3_column_blob(stmt, i);

	return bytes_of(data, data ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
}

const char *column_text(struct sqlite3_stmt *stmt, int i)
{
	const char *text = (const char *)sqlite3_column_text(stmt, i);

	return text ? text : "";
}

void format_etag(int64_t revision, char out[STORE_ETAG_BYTES])
{
	(void)snprintf(out, STORE_ETAG_BYTES, "r%llx", (unsigned long long)revision);
}

/* ------------------------------------------------------------ open */

enum status read_number(struct database *db, const char *sql, int64_t *ret, struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(db, sql, &stmt, err);
	int code;

	if (status != STATUS_OK)
		return status;
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	else
		status = code == SQLITE_DONE
				 ? error_set(err, STATUS_DATA_LOSS, "nothing answers %s", sql)
				 : database_error(db, code, err);
	database_reset(stmt);
	return status;
}

enum status read_settings(struct store *s, struct error *err)
{
	struct vector_set *const sets[] = {&s->vectors, &s->next_vectors};
	int64_t dimensions[2] = {0}, metric[2] = {0}, set = 0;
	const struct {
		const char *key;
		int64_t *value;
	} all[] = {
		{"vector_set", &set},
		{"vector_dimensions", &dimensions[0]},
		{"vector_metric", &metric[0]},
		{"vector_generation", &s->vectors.generation},
		{"next_vector_dimensions", &dimensions[1]},
		{"next_vector_metric", &metric[1]},
		{"next_vector_generation", &s->next_vectors.generation},
		{"quota_records", &s->quota.records},
		{"quota_record_bytes", &s->quota.record_bytes},
		{"quota_files", &s->quota.files},
		{"quota_file_bytes", &s->quota.file_bytes},
	};
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < sizeof(all) / sizeof(all[0]); i++)
		status = read_counter(s->writer, all[i].key, all[i].value, err);
	for (int i = 0; i < 2; i++) {
		sets[i]->number = (int)set ^ i;
		sets[i]->dimensions = (size_t)dimensions[i];
		sets[i]->metric = (enum vector_metric)metric[i];
	}
	return status;
}

/*
 * What a killed process wrote to the log, it may not have synced; SQLite gives it
 * to readers all the same. What can be read must stay, so that what is built on it
 * does. (The log's name was synced before anything was in it.)
 */
static enum status sync_log(const char *database, struct error *err)
{
	AUTO_FREE char *log = xasprintf("%s-wal", database);
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	bool synced;

	if (fd < 0)
		return errno == ENOENT ? STATUS_OK
				       : error_set(err, STATUS_UNAVAILABLE,
						   "cannot open %s: %s", log, strerror(errno));
	synced = fsync(fd) == 0;
	close(fd);
	return synced ? STATUS_OK : error_set(err, STATUS_UNAVAILABLE, "cannot sync %s", log);
}

enum status store_open(const char *directory, struct store **ret_store, struct error *err)
{
	struct store *s = xcalloc(1, sizeof(*s));
	enum status status;

	pthread_mutex_init(&s->mu, NULL);
	s->retention = (struct store_retention){
		.max_changes = 100000,
		.max_requests = 100000,
		.max_deleted_bytes = 256 << 20,
		.change_age_us = 7 * DAY_US,
		.request_age_us = DAY_US,
	};
	s->path = xasprintf("%s/collection.db", directory);
	status = sync_log(s->path, err);
	if (status == STATUS_OK)
		status = database_open(s->path, DATABASE_WRITE, &s->writer, err);
	if (status == STATUS_OK)
		status = schema_store_check(s->writer, err);
	if (status == STATUS_OK)
		status = text_store_register(s->writer, err);
	if (status == STATUS_OK)
		status = counters_read(s, err);
	if (status == STATUS_OK)
		status = read_settings(s, err);
	if (status == STATUS_OK)
		status = read_shape(s, err);
	if (status == STATUS_OK)
		status = read_indexes(s, err);
	if (status != STATUS_OK) {
		store_close(s);
		return status;
	}
	*ret_store = s;
	return STATUS_OK;
}

void store_limit_memory(int64_t size_bytes)
{
	database_limit_memory(size_bytes);
}

void store_close(struct store *s)
{
	struct store_reader *next;

	if (!s)
		return;
	if (s->vector_cache)
		vector_cache_forget(s->vector_cache, s->vector_owner);
	for (struct store_reader *r = s->idle; r; r = next) {
		next = r->next;
		database_close(r->db);
		free(r);
	}
	/* Last, so that it is the one to move the log into the database. */
	database_close(s->writer);
	pthread_mutex_destroy(&s->mu);
	forget_shape(s);
	free(s->path);
	free(s);
}

/* Columns: dimensions, metric and generation, of those that are served and of the next. */
static void take_vectors(sqlite3_stmt *stmt, int column, struct store_definition *ret)
{
	const bool has_next = sqlite3_column_int64(stmt, column + 5) != 0;
	const int last = has_next ? column + 3 : column;

	ret->vectors =
		(struct store_vectors){(size_t)sqlite3_column_int64(stmt, last),
				       (enum vector_metric)sqlite3_column_int(stmt, last + 1)};
	ret->vector_generation = sqlite3_column_int64(stmt, last + 2);
	ret->old_generation = sqlite3_column_int64(stmt, column + 2);
	if (has_next)
		ret->old_vectors = (struct store_vectors){
			(size_t)sqlite3_column_int64(stmt, column),
			(enum vector_metric)sqlite3_column_int(stmt, column + 1)};
}

static struct bytes copy_column(sqlite3_stmt *stmt, int i, struct arena *arena)
{
	const struct bytes data = column_bytes(stmt, i);

	return bytes_of(arena_memdup(arena, data.data, data.size), data.size);
}

enum status store_load(struct store *s, struct arena *arena, struct store_definition *ret,
		       struct error *err)
{
	static const char sql[] = "SELECT m.value, v.message_name, v.descriptor_set, v.version,"
				  " (SELECT value FROM meta WHERE key = 'has_text'),"
				  " (SELECT value FROM meta WHERE key = 'vector_dimensions'),"
				  " (SELECT value FROM meta WHERE key = 'vector_metric'),"
				  " (SELECT value FROM meta WHERE key = 'vector_generation'),"
				  " (SELECT value FROM meta WHERE key ="
				  " 'next_vector_dimensions'),"
				  " (SELECT value FROM meta WHERE key = 'next_vector_metric'),"
				  " (SELECT value FROM meta WHERE key ="
				  " 'next_vector_generation'),"
				  " (SELECT value FROM meta WHERE key = 'old_vector_numbers')"
				  " FROM meta m, schema_versions v WHERE m.key = 'definition'"
				  " ORDER BY v.version DESC LIMIT 1";
	struct store_reader *r;
	sqlite3_stmt *stmt;
	enum status status = store_take_reader(s, &r, err);

	if (status != STATUS_OK)
		return status;
	status = database_prepare(r->db, sql, &stmt, err);
	if (status == STATUS_OK) {
		int code = sqlite3_step(stmt);

		if (code == SQLITE_ROW) {
			*ret = (struct store_definition){
				.definition = copy_column(stmt, 0, arena),
				.message_name = arena_strdup(arena, column_text(stmt, 1)),
				.descriptor_set = copy_column(stmt, 2, arena),
				.schema_version = sqlite3_column_int64(stmt, 3),
				.has_text = sqlite3_column_int(stmt, 4) != 0,
				.old_vector_numbers =
					arena_strdup(arena, column_text(stmt, 11)),
			};
			take_vectors(stmt, 5, ret);
		} else
			status = code == SQLITE_DONE ? error_set(err, STATUS_DATA_LOSS,
								 "the definition is missing")
						     : database_error(r->db, code, err);
		database_reset(stmt);
	}
	store_give_reader(s, r);
	return status;
}

/* ------------------------------------------------------------ readers */

struct store_reader *store_try_reader(struct store *s)
{
	struct store_reader *r;

	pthread_mutex_lock(&s->mu);
	r = s->idle;
	if (r) {
		s->idle = r->next;
		s->idle_count--;
		atomic_store(&r->is_interrupted, false);
	}
	pthread_mutex_unlock(&s->mu);
	return r;
}

enum status store_take_reader(struct store *s, struct store_reader **ret, struct error *err)
{
	struct store_reader *r = store_try_reader(s);
	enum status status = STATUS_OK;

	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->store = s;
		status = database_open(s->path, DATABASE_READ, &r->db, err);
		if (status == STATUS_OK)
			status = text_store_register(r->db, err);
		if (status != STATUS_OK) {
			database_close(r->db);
			free(r);
			return status;
		}
	}
	*ret = r;
	return STATUS_OK;
}

void store_give_reader(struct store *s, struct store_reader *r)
{
	database_resume(r->db);
	pthread_mutex_lock(&s->mu);
	if (s->idle_count < MAX_IDLE_READERS) {
		r->next = s->idle;
		s->idle = r;
		s->idle_count++;
		r = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	if (r) {
		database_close(r->db);
		free(r);
	}
}

void store_retain(struct store *s, const struct store_retention *retention)
{
	s->retention = *retention;
}

void store_use_vector_cache(struct store *s, struct vector_cache *cache)
{
	s->vector_cache = cache;
	s->vector_owner = vector_cache_owner(cache);
}

void store_interrupt(struct store_reader *reader)
{
	atomic_store(&reader->is_interrupted, true);
	database_interrupt(reader->db);
}

static int64_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static enum status measure_counters(struct database *db, struct store_sizes *ret,
				    struct error *err)
{
	const struct {
		const char *key;
		int64_t *value;
	} all[] = {
		{"record_count", &ret->record_count},    {"next_revision", &ret->last_sequence},
		{"forgotten", &ret->forgotten_sequence}, {"record_bytes", &ret->record_bytes},
		{"file_count", &ret->file_count},        {"file_bytes", &ret->file_bytes},
		{"vector_count", &ret->vector_count},
	};
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < sizeof(all) / sizeof(all[0]); i++)
		status = read_counter(db, all[i].key, all[i].value, err);
	return status;
}

enum status store_measure(struct store *s, struct store_sizes *ret, struct error *err)
{
	AUTO_FREE char *wal = xasprintf("%s-wal", s->path);
	struct store_reader *r;
	enum status status = store_take_reader(s, &r, err);

	if (status != STATUS_OK)
		return status;
	status = measure_counters(r->db, ret, err);
	if (status == STATUS_OK)
		status = read_number(r->db, "SELECT max(version) FROM schema_versions",
				     &ret->schema_versions, err);
	if (status == STATUS_OK)
		status = read_number(r->db, "SELECT count(*) FROM leases", &ret->lease_count,
				     err);
	ret->last_sequence--;
	store_give_reader(s, r);
	ret->database_bytes = file_bytes(s->path);
	ret->wal_bytes = file_bytes(wal);
	return status;
}

void store_limit_pages(struct store *s, unsigned pages)
{
	AUTO_FREE char *sql = xasprintf("PRAGMA max_page_count = %u", pages ? pages : 1U << 30);
	struct error ignored;

	(void)!database_exec(s->writer, sql, &ignored);
}
