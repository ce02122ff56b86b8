/*
 * What is registered, by namespace: an immutable snapshot each (snapshot.h),
 * swapped whole by a change, and behind it the files on disk (tree.h).
 *
 * Thread-safe. Readers take a snapshot and need no lock; the changes of a
 * namespace run one at a time, and hold no lock that readers wait for while they
 * write.
 */
#ifndef SERVICES_REGISTRY_CATALOG_H
#define SERVICES_REGISTRY_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "services/registry/snapshot.h"
#include "services/registry/tree.h"

struct catalog;
struct pool;

enum { CATALOG_MAX_NAMESPACES = 4096, CATALOG_MAX_FILES = 20000, CATALOG_MAX_LISTENERS = 4 };

/*
 * Load everything below @dir. @damage, borrowed for the catalog's life, is told
 * what cannot be served. FAILED_PRECONDITION: a newer program wrote it. INTERNAL:
 * what the system said.
 */
enum status catalog_open(const char *dir, const struct tree_damage *damage,
			 struct catalog **ret_catalog, struct error *err) MUST_CHECK;
void catalog_close(struct catalog *c);

/*
 * @ns as it is now, as a new reference (snapshot_unref). Where nothing ever
 * happened it has the built-ins alone, and version 0.
 */
struct snapshot *catalog_snapshot(struct catalog *c, const char *ns);

/* The files that are in every namespace; borrowed. */
struct pool *catalog_builtins(struct catalog *c);

/* The namespaces in which something is registered, ordered; in @arena. */
const char *const *catalog_namespaces(struct catalog *c, struct arena *arena,
				      size_t *ret_count);

/*
 * The namespaces that changed after @generation, a number that grows with every
 * change of any, ordered; in @arena. 0: all in which anything ever happened.
 */
const char *const *catalog_changed_since(struct catalog *c, uint64_t generation,
					 struct arena *arena, size_t *ret_count,
					 uint64_t *ret_generation);

/*
 * Call @notify(@arg) after every change, on the thread that made it, which holds
 * the namespace's lock. At most CATALOG_MAX_LISTENERS; before there are any changes.
 */
void catalog_on_change(struct catalog *c, void (*notify)(void *arg), void *arg);

/* The bytes of a version of a file of @ns. DATA_LOSS: they are damaged. */
enum status catalog_read(struct catalog *c, const char *ns, const char *name,
			 const struct snapshot_version *v, struct strbuf *out,
			 struct error *err) MUST_CHECK;

/* ----------------------------------------------------------------- changes */

/*
 * Keep others from changing @ns until catalog_unlock(). (Other namespaces may
 * have to wait too.) DEADLINE_EXCEEDED: somebody else does until @deadline_ns, on
 * clock_monotonic_ns().
 */
enum status catalog_lock(struct catalog *c, const char *ns, uint64_t deadline_ns,
			 struct error *err) MUST_CHECK;
void catalog_unlock(struct catalog *c, const char *ns);

/* With the lock: the number for a version of a file that the snapshot does not know. */
int64_t catalog_first_version(struct catalog *c, const char *ns, const char *name);

/*
 * With the lock: make @after (whose reference stays the caller's) what @ns is, on
 * disk when it returns OK; @writes are the files in which it differs.
 * RESOURCE_EXHAUSTED: a limit, or the disk. INTERNAL: what the system said.
 */
enum status catalog_commit(struct catalog *c, const char *ns, struct snapshot *after,
			   const struct tree_write *writes, size_t count,
			   struct error *err) MUST_CHECK;

#endif
