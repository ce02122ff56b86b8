/*
 * The bytes of a collection's files, one file on disk each, in the directory
 * "files" beside its database. Which there are, and under which path, the store
 * knows: a file counts from the commit of its row, and its bytes never change
 * after that. They are written under a name with a suffix, synced, renamed, and the
 * directory is synced, all before the row is written; what no row names is a
 * left-over.
 *
 * Paths of users never get here: names are made by this program. Thread-safe.
 */
#ifndef SERVICES_REPO_FILES_H
#define SERVICES_REPO_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/random.h"
#include "common/base/sha256.h"
#include "common/base/status.h"

struct files;

/* The files beside the database in @directory, which need not have any yet. */
struct files *files_new(const char *directory);
void files_free(struct files *files);

/* Remove what was begun and not ended, and every name that @is_known does not know. */
void files_remove_left_overs(struct files *files, bool (*is_known)(void *arg, const char *name),
			     void *arg);

/* Best effort: what stays is a left-over. */
void files_remove(struct files *files, const char *name);

/* ------------------------------------------------------------ writing */

/* Bytes that are being written; embedded, zeroed. */
struct file_draft {
	struct files *files;
	char name[UUID_TEXT_BYTES];
	int fd; /* valid while @files is set */
	int64_t size_bytes;
	struct sha256 sha256;
};

/* RESOURCE_EXHAUSTED: no room. UNAVAILABLE: the disk refuses. Here and below. */
enum status file_draft_begin(struct file_draft *draft, struct files *files,
			     struct error *err) MUST_CHECK;
enum status file_draft_add(struct file_draft *draft, struct bytes data,
			   struct error *err) MUST_CHECK;

/*
 * Everything but the directory's entry is on disk then: files_sync() before the
 * row is written. The draft is over, also when it fails.
 */
enum status file_draft_end(struct file_draft *draft, uint8_t ret_sha256[SHA256_BYTES],
			   struct error *err) MUST_CHECK;

/* Give it up, unless it is over. */
void file_draft_drop(struct file_draft *draft);

/* The entries of all that was ended before are on disk. */
enum status files_sync(struct files *files, struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ reading */

/* *ret_fd is the caller's. NOT_FOUND: there is none of this name. */
enum status files_open(struct files *files, const char *name, int *ret_fd,
		       struct error *err) MUST_CHECK;

/* @size bytes at @offset. DATA_LOSS: the file is shorter. */
enum status files_read(int fd, uint64_t offset, void *out, size_t size,
		       struct error *err) MUST_CHECK;

#endif
