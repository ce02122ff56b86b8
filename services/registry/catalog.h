/*
 * What is registered, by namespace: an immutable pool each, swapped whole when
 * something is registered, and behind it the files on disk (tree.h).
 *
 * Thread-safe. Readers take a snapshot and need no lock; registrations run one
 * at a time, and hold no lock that readers wait for while they write.
 */
#ifndef SERVICES_REGISTRY_CATALOG_H
#define SERVICES_REGISTRY_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/registry/tree.h"

struct catalog;
struct pool;

enum { CATALOG_MAX_NAMESPACES = 4096, CATALOG_MAX_FILES = 20000 };

/*
 * Load everything below @dir. @damage is told what had to be set aside.
 * DATA_LOSS, INTERNAL: a namespace cannot be read at all.
 */
enum status catalog_open(const char *dir, tree_damage *damage, void *arg,
			 struct catalog **ret_catalog, struct error *err) MUST_CHECK;
void catalog_close(struct catalog *c);

/*
 * The pool of @ns with the built-ins, as a new reference (pool_unref), and its
 * version. A namespace in which nothing is registered has the built-ins alone,
 * version 0.
 */
struct pool *catalog_snapshot(struct catalog *c, const char *ns, int64_t *ret_version);

struct catalog_file {
	int64_t version;
	int64_t created_us, updated_us;
};

/* False: the file is not registered in @ns (built-ins never are). */
bool catalog_file(struct catalog *c, const char *ns, const char *name,
		  struct catalog_file *ret);

struct catalog_registered {
	struct pool *pool; /* after it; owned by the caller */
	bool unchanged;    /* everything was there, with the same bytes */
	int64_t version;   /* of the namespace */
};

/*
 * Register serialized FileDescriptorProtos, all or nothing; on disk when it
 * returns OK. Files named like built-ins are taken as imports of those and left out.
 * INVALID_ARGUMENT: they do not link, or declare reserved symbols; err->field
 * tells where. FAILED_PRECONDITION: a registered file would lose something.
 * ALREADY_EXISTS: a symbol is defined elsewhere. RESOURCE_EXHAUSTED: a limit, or the disk.
 */
enum status catalog_register(struct catalog *c, const char *ns, const struct bytes *files,
			     size_t count, struct catalog_registered *ret,
			     struct error *err) MUST_CHECK;

/* The namespaces in which something is registered, ordered; in @arena. */
const char *const *catalog_namespaces(struct catalog *c, struct arena *arena,
				      size_t *ret_count);

#endif
