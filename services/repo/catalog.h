/*
 * All collections of this repo: which there are, and those that are open.
 *
 * The catalogue is itself a collection, system/collections, with a record for
 * each. A collection exists from the commit of its record to the commit of the
 * record's deletion; directories without a record are left-overs of a crash and
 * removed at the next start.
 *
 * Thread-safe. Collections are opened when they are first used; past a limit the
 * least recently used ones are closed.
 */
#ifndef SERVICES_REPO_CATALOG_H
#define SERVICES_REPO_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/repo/collection.h"
#include "services/repo/store.h"
#include "services/repo/types.h"
#include "services/repo/writer.h"

#define CATALOG_NAMESPACE  "system"
#define CATALOG_COLLECTION "collections"

struct catalog;

struct catalog_options {
	const char *directory; /* borrowed; exists */
	unsigned writer_threads;
	size_t max_open;
	struct types *types;          /* borrowed */
	struct vector_cache *vectors; /* borrowed */
	struct store_retention retention;
	/* Called with an incarnation when it was written to, or is gone. Any thread; may be NULL. */
	void (*notify)(void *arg, const char *incarnation);
	void *notify_arg;
};

/* Reads the catalogue, or makes it, and removes left-overs. */
enum status catalog_open(const struct catalog_options *options, struct catalog **ret_catalog,
			 struct error *err) MUST_CHECK;

/* Writes what is queued and closes everything. Nobody may hold a collection. */
void catalog_close(struct catalog *catalog);

struct writer *catalog_writer(struct catalog *catalog);

/*
 * The collection, until catalog_release(). Opening it may take milliseconds.
 * NOT_FOUND: there is none of that name.
 */
enum status catalog_acquire(struct catalog *catalog, const char *ns, const char *name,
			    struct collection **ret, struct error *err) MUST_CHECK;

/* The same, but only if it is open already; NULL: it is not, or there is none. */
struct collection *catalog_try_acquire(struct catalog *catalog, const char *ns,
				       const char *name);
/* Once more, by who holds it. */
void catalog_hold(struct catalog *catalog, struct collection *collection);
void catalog_release(struct catalog *catalog, struct collection *collection);

/*
 * Make a collection. @definition->definition is its Collection message, with
 * namespace, name and an incarnation that no other has. ALREADY_EXISTS: there is
 * one of that name.
 */
enum status catalog_create(struct catalog *catalog, const struct store_definition *definition,
			   struct error *err) MUST_CHECK;

/* Delete a collection with everything in it. NOT_FOUND: there is none. */
enum status catalog_delete(struct catalog *catalog, const char *ns, const char *name,
			   uint64_t now_us, int64_t *ret_records, struct error *err) MUST_CHECK;

/*
 * Change what a collection is, knowing it @as_it_is. Who has it keeps what it was until
 * catalog_release(); the store is the same. What is to be built is built in the background.
 * NOT_FOUND: there is none. ABORTED: it is another by now, acquire it again.
 * FAILED_PRECONDITION: the last change is still being built.
 */
enum status catalog_modify(struct catalog *catalog, const struct collection *as_it_is,
			   struct store_modify *modify, uint64_t now_us,
			   struct error *err) MUST_CHECK;

/* Why what a change left to build is not built for now, in @arena; "": it goes on. */
const char *catalog_build_problem(struct catalog *catalog, const struct collection *collection,
				  struct arena *arena);

/* Take what the store of a collection has become; nothing when it is gone. */
enum status catalog_refresh(struct catalog *catalog, const char *ns, const char *name,
			    struct error *err) MUST_CHECK;

struct catalog_item {
	const char *ns, *name;
	struct bytes definition;
};

/* Collections of @ns (NULL: of all), by namespace and name; copies in @arena. */
size_t catalog_list(struct catalog *catalog, const char *ns, struct arena *arena,
		    struct catalog_item **ret_items);

#endif
