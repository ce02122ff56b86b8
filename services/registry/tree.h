/*
 * The files of a namespace on disk, and the one step that changes them.
 *
 *	<dir>/ns/<namespace>/<path>.binpb                  the current bytes, for people and tools
 *	<dir>/versions/<namespace>/<path>/<version>.binpb  every version's bytes
 *	<dir>/manifests/<namespace>                        which version of each file holds, with
 *	                                                   sizes and checksums, and its own
 *	<dir>/manifests/<namespace>.previous               the manifest before
 *
 * A change writes and syncs the new versions first; renaming the new manifest is
 * what makes it happen, all of it or nothing. The current tree follows and is
 * mended at the next start. What turns out damaged is set aside as *.damaged and
 * told; the rest is served. Not thread-safe: the catalog serialises changes.
 */
#ifndef SERVICES_REGISTRY_TREE_H
#define SERVICES_REGISTRY_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"

struct tree;

struct tree_file {
	const char *name; /* "shop/v1/order.proto" */
	int64_t version;  /* from 1 */
	int64_t created_us, updated_us;
	struct bytes bytes; /* valid during a load callback, or given by the caller */
};

/* Told once for everything that was set aside; @path and @why are borrowed. */
typedef void tree_damage(void *arg, const char *path, const char *why);

/* @dir exists. Blocks on disk, as all functions here. */
struct tree *tree_open(const char *dir, tree_damage *damage, void *arg);
void tree_close(struct tree *t);

/* The namespaces that have a manifest: @found is called for each. */
enum status tree_namespaces(struct tree *t, void (*found)(void *arg, const char *ns), void *arg,
			    struct error *err) MUST_CHECK;

/* Call @take for every file of @ns. *ret_version is the namespace's version, 0: none yet. */
enum status tree_load(struct tree *t, const char *ns,
		      void (*take)(void *arg, const struct tree_file *file), void *arg,
		      int64_t *ret_version, struct error *err) MUST_CHECK;

/*
 * Make @all (every file of the namespace after the change) the truth; those in
 * @changed, a part of @all by name, are written. OK: it is on disk for good.
 * INTERNAL, RESOURCE_EXHAUSTED (no space): nothing changed.
 */
enum status tree_commit(struct tree *t, const char *ns, int64_t version,
			const struct tree_file *all, size_t all_count,
			const struct tree_file *const *changed, size_t changed_count,
			struct error *err) MUST_CHECK;

#endif
