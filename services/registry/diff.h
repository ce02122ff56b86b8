/* Two versions of a file, symbol by symbol. */
#ifndef SERVICES_REGISTRY_DIFF_H
#define SERVICES_REGISTRY_DIFF_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"

struct pool;
struct pool_file;

/* What is beyond is left out. */
enum { DIFF_MAX_CHANGES = 1000, DIFF_MAX_TEXT_BYTES = 2 << 20 };

/* The numbers of collector.SymbolChange.Kind. */
enum diff_kind { DIFF_ADDED = 1, DIFF_REMOVED = 2, DIFF_CHANGED = 3 };

/* Texts are in the arena; declarations are as in a .proto file, without comments. */
struct diff_change {
	enum diff_kind kind;
	const char *path; /* a full name; the file's name for what it says of itself */
	const char *before, *after; /* declarations; "": there is none */
};

struct diff {
	const struct diff_change *changes; /* ordered by path */
	size_t count;
	bool is_cut; /* there are more */
};

/* A version: a file and the pool that it is linked in. */
struct diff_side {
	const struct pool *pool;
	const struct pool_file *file; /* NULL: there is none */
};

/*
 * What is not the same in @before and @after. A message or service that is in one of
 * them alone is one change, with all that it holds; one that is in both changes by
 * itself if its options or reserved numbers do.
 */
struct diff diff_files(const struct diff_side *before, const struct diff_side *after,
		       struct arena *arena);

#endif
