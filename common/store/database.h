/*
 * One connection to an SQLite database: opened with the settings that make a
 * commit durable, its statements prepared once, its errors translated.
 *
 * A connection is used by one thread at a time; database_interrupt() alone may
 * come from another.
 */
#ifndef COMMON_STORE_DATABASE_H
#define COMMON_STORE_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

struct database;
struct sqlite3;
struct sqlite3_stmt;

enum database_access {
	DATABASE_CREATE, /* a new file; it must not exist */
	DATABASE_WRITE,  /* the only writing connection; see database_checkpoint() */
	DATABASE_READ,   /* a snapshot reader beside the writer: never checkpoints */
};

/*
 * NOT_FOUND: no such file. DATA_LOSS: it is not a database. UNAVAILABLE: it
 * cannot be opened. RESOURCE_EXHAUSTED: no disk space or memory.
 */
enum status database_open(const char *path, enum database_access access,
			  struct database **ret_db, struct error *err) MUST_CHECK;

/* NULL is fine. Every statement is finalized. */
void database_close(struct database *db);

struct sqlite3 *database_sqlite(struct database *db);

/* Run statements that return no rows. */
enum status database_exec(struct database *db, const char *sql, struct error *err) MUST_CHECK;

/*
 * The statement of this text, prepared at its first use and kept. Borrowed until
 * the next one is asked for; whoever asks for it ends with database_reset().
 */
enum status database_prepare(struct database *db, const char *sql, struct sqlite3_stmt **ret,
			     struct error *err) MUST_CHECK;
void database_reset(struct sqlite3_stmt *stmt);

/*
 * Commits of a DATABASE_WRITE connection go to the log alone, so that they take no longer than
 * their own sync. Is it so long that it should be moved into the database? It is at the close.
 */
bool database_wants_checkpoint(const struct database *db);

/* Move as much as readers allow; what fails is tried again by the next one. Not in a transaction. */
void database_checkpoint(struct database *db);

/* Of a DATABASE_WRITE connection: how long the last commit's sync took, in nanoseconds. */
uint64_t database_sync_ns(const struct database *db);

/* Step a statement that returns no rows to its end, and reset it. */
enum status database_run(struct database *db, struct sqlite3_stmt *stmt,
			 struct error *err) MUST_CHECK;

/*
 * What an SQLite result code means: UNAVAILABLE (busy), RESOURCE_EXHAUSTED (disk or memory
 * full, too big), DATA_LOSS (corrupt), CANCELLED (interrupted), ALREADY_EXISTS
 * (a constraint), else INTERNAL. @code must be an error.
 */
enum status database_error(struct database *db, int code, struct error *err);

/*
 * End what runs on the connection, and what will be run on it until
 * database_resume(), with CANCELLED; what is done within a thousand steps of
 * SQLite may get through. Any thread.
 */
void database_interrupt(struct database *db);
void database_resume(struct database *db);

/*
 * Let all connections of the process together hold about so much memory: beyond it
 * their page caches grow no more, each uses again what it has.
 */
void database_limit_memory(int64_t size_bytes);

#endif
