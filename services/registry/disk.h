/* Files that are whole or not there, also after the machine stops. */
#ifndef SERVICES_REGISTRY_DISK_H
#define SERVICES_REGISTRY_DISK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

enum disk_sync {
	DISK_SYNC,  /* it is on disk for good when the function returns */
	DISK_LATER, /* after disk_sync_all(), or never: what can be made again */
};

/* Make the directories of @path below @root, which exists. Statuses as disk_write(). */
enum status disk_make_parents(const char *root, const char *path, enum disk_sync sync,
			      struct error *err) MUST_CHECK;

/*
 * Write @data to @path by way of a temporary file, so that it has its old
 * content or the new one. RESOURCE_EXHAUSTED: no space. INTERNAL: what the
 * system said.
 */
enum status disk_write(const char *path, struct bytes data, enum disk_sync sync,
		       struct error *err) MUST_CHECK;

/* Sync whatever was written to the file system that holds @path. */
enum status disk_sync_all(const char *path, struct error *err) MUST_CHECK;

/*
 * Append @data to the file, synced. After a failure *ret_restored tells whether
 * the file is certain to end as before. Statuses as disk_write().
 */
enum status disk_append(const char *path, struct bytes data, bool *ret_restored,
			struct error *err) MUST_CHECK;

/*
 * Append the file's content to @out, at most @max_bytes. NOT_FOUND: it is not
 * there. RESOURCE_EXHAUSTED: it is larger. INTERNAL: what the system said.
 */
enum status disk_read(const char *path, size_t max_bytes, struct strbuf *out,
		      struct error *err) MUST_CHECK;

/* A checksum against accidents, the same on every machine. */
uint64_t disk_checksum(struct bytes data);

#endif
