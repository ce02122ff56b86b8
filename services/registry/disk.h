/* Files that are whole or not there, also after the machine stops. */
#ifndef SERVICES_REGISTRY_DISK_H
#define SERVICES_REGISTRY_DISK_H

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

/* Make the directories of @path below @root (which exists), synced into their parents. */
enum status disk_make_parents(const char *root, const char *path, struct error *err) MUST_CHECK;

/*
 * Write @data to @path: a temporary file, synced, renamed, the directory synced.
 * RESOURCE_EXHAUSTED: no space. INTERNAL: what the system said.
 */
enum status disk_write(const char *path, struct bytes data, struct error *err) MUST_CHECK;

/* Append the file to @out. NOT_FOUND: it is not there. At most @max_bytes. */
enum status disk_read(const char *path, size_t max_bytes, struct strbuf *out,
		      struct error *err) MUST_CHECK;

/* A checksum against accidents, the same on every machine. */
uint64_t disk_checksum(struct bytes data);

#endif
