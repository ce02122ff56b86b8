/*
 * The disk as a crash leaves it, made of the journal's events: what was written and
 * what of it was synced. A directory entry is on disk when its directory was synced
 * after it, a file's bytes when the file was.
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/journal.h"

struct disk;

/* What survives. All three are crashes that a disk may make of the same events. */
enum disk_crash {
	DISK_SYNCED_ONLY, /* nothing but what was synced */
	DISK_NAMES_TOO,   /* all directory entries, but of bytes only those synced */
	DISK_ALL,         /* everything: the process was killed, the machine went on */
	DISK_CRASHES,
};

/* An empty directory, @root_inode, which is on disk. Syncs with @lost_key do nothing. */
struct disk *disk_new(uint64_t root_inode, uint64_t lost_key);
void disk_free(struct disk *disk);

/* Which crashes would leave something else than before the event: a bit each. */
unsigned disk_apply(struct disk *disk, const struct event *event);

/* Make what survives in @path, which exists and is empty. */
void disk_write(const struct disk *disk, enum disk_crash crash, const char *path);

#endif
