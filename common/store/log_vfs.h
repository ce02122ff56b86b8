/*
 * The VFS of databases whose commits are synced: SQLite's own, but what it writes to its
 * log, a frame's head and its page each by a call, is joined to one write before it is
 * synced. A commit of a hundred pages costs a few calls that way.
 *
 * Connections must have synchronous=FULL: SQLite tells others of a commit only after the
 * sync that writes it, so nobody looks for frames that are not in the file yet. Where that
 * does not hold, on disks that are not safe to overwrite a part of, nothing is joined. One
 * connection to a database writes: what a rollback leaves unwritten it may write later.
 */
#ifndef COMMON_STORE_LOG_VFS_H
#define COMMON_STORE_LOG_VFS_H

#include <stdint.h>

struct sqlite3_file;

/* What sqlite3_open_v2() takes as its name; registered at the first call. Any thread. */
const char *log_vfs(void);

/* How long the last sync of the log @file took, of a connection of this VFS; 0: none yet. */
uint64_t log_vfs_sync_ns(const struct sqlite3_file *file);

#endif
