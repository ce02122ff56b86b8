/*
 * What a program did to the files below a directory, in order: shared memory that
 * outlives the process. intercept.c records the calls of our code, vfs.c those of
 * SQLite. Recording may end the process at an event, as kill -9 would.
 */
#ifndef TESTS_CRASH_JOURNAL_H
#define TESTS_CRASH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_type {
	EVENT_CREATE, /* an empty file */
	EVENT_MKDIR,
	EVENT_WRITE,
	EVENT_TRUNCATE, /* to @offset bytes */
	EVENT_SYNC,     /* of a file or a directory */
	EVENT_RENAME,
	EVENT_REMOVE,
	EVENT_MARK, /* the scenario says something, such as that it was told OK */
};

/* Files and directories are known by their inode's number, names by their directory. */
struct event {
	enum event_type type;
	uint32_t data_size;
	uint64_t file, directory, to_directory;
	int64_t offset;
	uint64_t key; /* of a sync: who asks for it, the same in every run of a binary */
	const char *name, *to; /* NUL-terminated; after the event */
	const uint8_t *data;
};

enum { JOURNAL_EXIT_KILLED = 77 };

/* Before any process that records is forked. */
void journal_init(void);
void journal_clear(void);

/*
 * Record what happens below @root from now on; end at event @kill_at (0: never), where writes
 * of files do not count; before it, if it is a sync.
 */
void journal_record(const char *root, size_t kill_at);
bool journal_is_recording(void);

/* Is @path below the root? */
bool journal_covers(const char *path);

/* Between these no other thread's event comes: around the real call and its event. */
void journal_lock(void);
void journal_unlock(void);

/* Append an event, with the lock; strings and data are copied. */
void journal_add(const struct event *event);
void journal_mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* All events, one after the other: begin with 0; false: no more. */
bool journal_next(size_t *at, struct event *ret);

/* The key of a sync, by the places of the code that lead to it. */
uint64_t journal_caller_key(void);
uint64_t journal_named_key(const char *name);

/* Are both the same call of the code, reached on different ways? */
bool journal_is_same_sync(uint64_t a, uint64_t b);

/* What a key stands for, in @out: a name, or source lines. */
void journal_describe_key(uint64_t key, char *out, size_t size);

#endif
