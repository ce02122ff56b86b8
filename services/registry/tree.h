/*
 * The files of one namespace on disk, and the one step that changes them: a
 * commit at the end of its manifest (<dir>/manifests/<namespace>, manifest.h),
 * synced, by which all of a change happens or nothing.
 *
 * A small change has its bytes in the manifest too, and the files of its versions
 * (copies.h) follow unsynced; they are made up for at the next start, and synced
 * before the manifest is rewritten without them. A large one writes and syncs them
 * before its commit. The current copies always follow.
 *
 * What turns out damaged is set aside as *.damaged and told; the rest is served.
 * Not thread-safe: the catalog serialises changes.
 */
#ifndef SERVICES_REGISTRY_TREE_H
#define SERVICES_REGISTRY_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/registry/snapshot.h"

struct tree;

/* Told of everything that was set aside or could not be mended; borrowed. */
struct tree_damage {
	void (*tell)(void *arg, const char *path, const char *why);
	void *arg;
};

/* Call @found with every namespace that has a manifest, perhaps twice. */
enum status tree_namespaces(const char *dir, void (*found)(void *arg, const char *ns),
			    void *arg, struct error *err) MUST_CHECK;

/* @dir exists; @damage is borrowed for the tree's life. Nothing is read yet. */
struct tree *tree_new(const char *dir, const char *ns, const struct tree_damage *damage);
void tree_free(struct tree *t);

/*
 * Read the manifest into @edit, then call @take with the bytes of every file
 * that is not removed, unless they are damaged. The namespace's version is past
 * all that damage may have hidden. Without a manifest it is 0.
 * FAILED_PRECONDITION: a newer program wrote it. INTERNAL: what the system said.
 */
enum status tree_load(struct tree *t, struct snapshot_edit *edit,
		      void (*take)(void *arg, const char *name, struct bytes bytes), void *arg,
		      struct error *err) MUST_CHECK;

/* A file that a change touches, and its new bytes; NULL data: it is removed. */
struct tree_write {
	const char *name;
	struct bytes bytes;
};

/*
 * Make @after the truth, which differs from @before, the truth so far, in @writes
 * and perhaps the policy. OK: it is on disk for good. RESOURCE_EXHAUSTED (no
 * space), INTERNAL: nothing changed.
 */
enum status tree_commit(struct tree *t, const struct snapshot *before,
			const struct snapshot *after, const struct tree_write *writes,
			size_t count, struct error *err) MUST_CHECK;

/* The bytes of a version, appended to @out. DATA_LOSS: they are damaged, or away. Any thread. */
enum status tree_read(const struct tree *t, const char *name, const struct snapshot_version *v,
		      struct strbuf *out, struct error *err) MUST_CHECK;

/* The highest number of a version that is on disk, whether it was committed or not. */
int64_t tree_last_version(const char *dir, const char *ns, const char *name);

#endif
