/*
 * What a change of registered files breaks for those who use them: stored
 * records, indexes, handlers, workflow definitions. The namespace's policy is
 * another matter (change.h).
 *
 * A collection keeps the descriptors that it was made with, and its clients write
 * with whatever version they were built with. So the new files are held against
 * every version that was current since the collection was made (history.h), not
 * only against the one that they replace.
 */
#ifndef SERVICES_REGISTRY_REALITY_H
#define SERVICES_REGISTRY_REALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"
#include "services/registry/breakage.h"

struct catalog;
struct pool;
struct snapshot;
struct users;

/* What becomes of registered files. New files are not in it. */
struct reality_change {
	struct catalog *catalog;
	const char *ns;
	const struct snapshot *before;
	const struct pool *after;
	const char *const *file_names; /* with other bytes in @after, or not in it */
	size_t file_count;
	uint64_t deadline_ns; /* on clock_monotonic_ns() */
};

/*
 * Could it break anything for somebody? Found out without knowing anybody: false
 * for what only adds, and takes no number that a field once had.
 */
bool reality_may_hit(const struct reality_change *change);

/*
 * Append what it breaks for @users, all of the namespace. DEADLINE_EXCEEDED: it
 * takes too long.
 */
enum status reality_check(const struct reality_change *change, const struct users *users,
			  struct breakages *breakages, struct error *err) MUST_CHECK;

#endif
