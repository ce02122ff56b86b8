/*
 * A namespace at one moment: its pool, its policy, and its files by name with
 * every version that they had. Immutable and counted; a change makes another
 * snapshot, which shares what stays. Whoever holds a reference may read it on any
 * thread.
 */
#ifndef SERVICES_REGISTRY_SNAPSHOT_H
#define SERVICES_REGISTRY_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "services/registry/policy.h"

struct pool;

/* Removed files that are remembered, so that watchers can be told; and all versions. */
enum { SNAPSHOT_MAX_GONE = 20000, SNAPSHOT_MAX_VERSIONS = 1000000 };

/* What a file was, once registered. */
struct snapshot_version {
	atomic_uint refs;
	struct snapshot_version *previous; /* NULL: there is none, or it is not known */
	int64_t version;                   /* of the file, from 1 */
	int64_t at;                        /* the namespace's version that it came with */
	int64_t registered_us;
	size_t size; /* and checksum: of its bytes */
	uint64_t checksum;
};

enum snapshot_state {
	SNAPSHOT_LIVE, /* in the pool */
	SNAPSHOT_GONE, /* removed */
	SNAPSHOT_LOST, /* damaged, or importing what is: not in the pool */
};

struct snapshot_file {
	atomic_uint refs;
	const char *name;
	enum snapshot_state state;
	int64_t at; /* the namespace's version that changed it last */
	int64_t created_us, changed_us;
	struct snapshot_version *newest;
	size_t version_count;
	char **services; /* full names, ordered */
	size_t service_count;
};

struct snapshot_service {
	const char *name; /* full */
	const struct snapshot_file *file;
};

struct snapshot {
	atomic_uint refs;
	struct pool *pool;
	enum policy policy;
	int64_t version;      /* of the namespace; 0: nothing ever happened in it */
	int64_t history_from; /* what was removed before this version is not known */
	size_t version_total; /* of all files together */
	/* By name, in the order of strcmp(). */
	struct snapshot_file **files; /* live */
	size_t file_count;
	struct snapshot_file **others; /* gone and lost */
	size_t other_count;
	struct snapshot_service *services;
	size_t service_count;
};

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

/* A live file. NULL: there is none of that name. */
const struct snapshot_file *snapshot_find(const struct snapshot *s, const char *name);

/* A file in any state. NULL: nothing is known of it. */
const struct snapshot_file *snapshot_find_any(const struct snapshot *s, const char *name);

/* NULL: the file has no such version. */
const struct snapshot_version *snapshot_find_version(const struct snapshot_file *f,
						     int64_t version);

/* ------------------------------------------------------------------ ranges */

enum snapshot_list { SNAPSHOT_FILES, SNAPSHOT_SERVICES };

/* The name at @i in files or services. */
const char *snapshot_name(const struct snapshot *s, enum snapshot_list list, size_t i);

enum snapshot_seek {
	SNAPSHOT_LESS,         /* than the text */
	SNAPSHOT_UP_TO,        /* less, or equal */
	SNAPSHOT_WITH_PREFIXED /* less, or beginning with it */
};

/* How many names of the list are such: the position of the first that is not. */
size_t snapshot_seek(const struct snapshot *s, enum snapshot_list list, enum snapshot_seek what,
		     const char *text);

/* ------------------------------------------------------------------- edits
 * A snapshot in the making, by one thread. Set what is public, put and remove,
 * and finish.
 */
struct snapshot_edit {
	const struct snapshot *base; /* NULL: none; borrowed */
	enum policy policy;
	int64_t version, history_from;
	struct map files; /* name -> struct snapshot_file, owned: those that differ */
};

/* Starts as @base is. End it with snapshot_edit_finish() or _release(). */
void snapshot_edit_init(struct snapshot_edit *e, const struct snapshot *base);
void snapshot_edit_release(struct snapshot_edit *e);

/* A new version of a file, or a new file. @v is copied; its refs and previous are not read. */
void snapshot_edit_put(struct snapshot_edit *e, const char *name,
		       const struct snapshot_version *v);

/* What is known of it stays; nothing happens when that is nothing. */
void snapshot_edit_remove(struct snapshot_edit *e, const char *name, int64_t at,
			  int64_t unix_us);

/*
 * The snapshot, as a new reference, with @pool (of which it takes its own). A
 * file that was put and is not in the pool is lost.
 */
struct snapshot *snapshot_edit_finish(struct snapshot_edit *e, struct pool *pool);

#endif
