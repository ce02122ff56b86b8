#include "common/store/database.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/store/log_vfs.h"

enum {
	BUSY_TIMEOUT_MS = 2000,
	/* Texts differ by the shape of a query alone; past this all are forgotten. */
	MAX_STATEMENTS = 128,
	CACHE_KIB = 4096,
	STEPS_BETWEEN_LOOKS = 1000, /* of SQLite's machine: well below a millisecond */
	/*
	 * Twice SQLite's own threshold, 8 MiB: half as many syncs of the database, and pages that
	 * were written again meanwhile are moved once. More saves little, and who writes waits
	 * longer for the move.
	 */
	LONG_LOG_PAGES = 2000,
	/* What one large transaction left is cut off. */
	LOG_KEPT_BYTES = 64 << 20,
};

struct database {
	sqlite3 *sqlite;
	struct map statements; /* text -> sqlite3_stmt *, owned */
	atomic_bool interrupted;
	int log_pages; /* after the last commit; of a writer */
};

static void finalize(void *stmt)
{
	sqlite3_finalize(stmt);
}

/* SQLite tells a full disk apart from others only where it writes. */
static bool is_disk_full(struct database *db, int code)
{
	int system = db && db->sqlite ? sqlite3_system_errno(db->sqlite) : 0;

	if ((code & 0xff) == SQLITE_FULL)
		return true;
	return ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) &&
	       (system == ENOSPC || system == EDQUOT || system == EFBIG ||
		code == SQLITE_IOERR_SHMSIZE);
}

enum status database_error(struct database *db, int code, struct error *err)
{
	const char *text = db && db->sqlite ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(code);

	if (is_disk_full(db, code))
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "the disk is full");

	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_CANTOPEN:
		return error_set(err, STATUS_UNAVAILABLE, "the database is not available: %s",
				 text);
	case SQLITE_NOMEM:
	case SQLITE_TOOBIG:
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "too big: %s", text);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return error_set(err, STATUS_DATA_LOSS, "the database is damaged: %s", text);
	case SQLITE_INTERRUPT:
		return error_set(err, STATUS_CANCELLED, "interrupted");
	case SQLITE_CONSTRAINT:
		return error_set(err, STATUS_ALREADY_EXISTS, "%s", text);
	default:
		return error_set(err, STATUS_INTERNAL, "SQLite: %s (%d)", text, code);
	}
}

/* sqlite3_interrupt() does nothing to what begins a moment later. */
static int is_interrupted(void *arg)
{
	struct database *db = arg;

	return atomic_load_explicit(&db->interrupted, memory_order_relaxed);
}

static int note_log_size(void *arg, sqlite3 *sqlite, const char *name, int pages)
{
	struct database *db = arg;

	(void)sqlite;
	(void)name;
	db->log_pages = pages;
	return SQLITE_OK;
}

static enum status configure(struct database *db, enum database_access access,
			     struct error *err)
{
	static const char writer[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
	static const char reader[] = "PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;";

	sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
	sqlite3_extended_result_codes(db->sqlite, 1);
	sqlite3_progress_handler(db->sqlite, STEPS_BETWEEN_LOOKS, is_interrupted, db);
	sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (access == DATABASE_READ)
		sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (access == DATABASE_WRITE) /* in place of SQLite's own hook, which checkpoints */
		(void)sqlite3_wal_hook(db->sqlite, note_log_size, db);
	char *cache = sqlite3_mprintf("PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d",
				      CACHE_KIB, LOG_KEPT_BYTES);
	enum status status = database_exec(db, cache, err);
	sqlite3_free(cache);
	if (status != STATUS_OK)
		return status;
	return database_exec(db, access == DATABASE_READ ? reader : writer, err);
}

enum status database_open(const char *path, enum database_access access,
			  struct database **ret_db, struct error *err)
{
	struct database *db = xcalloc(1, sizeof(*db));
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE;
	enum status status = STATUS_OK;

	if (access == DATABASE_CREATE)
		flags |= SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE;
	int code = sqlite3_open_v2(path, &db->sqlite, flags, log_vfs());
	if (code != SQLITE_OK)
		status = database_error(db, code, err);
	else
		status = configure(db, access, err);
	if (status != STATUS_OK) {
		database_close(db);
		return status;
	}
	*ret_db = db;
	return STATUS_OK;
}

void database_close(struct database *db)
{
	if (!db)
		return;
	map_release(&db->statements, finalize);
	/* NULL after a failed open, which is fine. */
	sqlite3_close(db->sqlite);
	free(db);
}

struct sqlite3 *database_sqlite(struct database *db)
{
	return db->sqlite;
}

enum status database_exec(struct database *db, const char *sql, struct error *err)
{
	int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? STATUS_OK : database_error(db, code, err);
}

enum status database_prepare(struct database *db, const char *sql, struct sqlite3_stmt **ret,
			     struct error *err)
{
	sqlite3_stmt *stmt = map_get(&db->statements, sql);

	if (!stmt) {
		if (db->statements.count >= MAX_STATEMENTS)
			map_release(&db->statements, finalize);
		int code = sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT,
					      &stmt, NULL);
		if (code != SQLITE_OK)
			return database_error(db, code, err);
		map_put(&db->statements, sql, stmt);
	}
	*ret = stmt;
	return STATUS_OK;
}

void database_reset(struct sqlite3_stmt *stmt)
{
	/* The code is that of the last step, which was looked at. */
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
}

enum status database_run(struct database *db, struct sqlite3_stmt *stmt, struct error *err)
{
	int code = sqlite3_step(stmt);
	enum status status = STATUS_OK;

	if (code != SQLITE_DONE)
		status = database_error(db, code == SQLITE_ROW ? SQLITE_MISUSE : code, err);
	database_reset(stmt);
	return status;
}

bool database_wants_checkpoint(const struct database *db)
{
	return db->log_pages >= LONG_LOG_PAGES;
}

void database_checkpoint(struct database *db)
{
	(void)sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
					NULL);
	/* If pages are left, the next commit says so. */
	db->log_pages = 0;
}

uint64_t database_sync_ns(const struct database *db)
{
	sqlite3_file *log;

	if (sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) !=
	    SQLITE_OK)
		return 0;
	return log_vfs_sync_ns(log);
}

void database_interrupt(struct database *db)
{
	atomic_store(&db->interrupted, true);
	sqlite3_interrupt(db->sqlite);
}

void database_resume(struct database *db)
{
	atomic_store(&db->interrupted, false);
}

void database_limit_memory(int64_t size_bytes)
{
	(void)sqlite3_soft_heap_limit64(size_bytes);
}
