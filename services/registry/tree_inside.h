/*
 * Inside tree.h: tree.c loads a namespace's files, tree_commit.c changes them.
 */
#ifndef SERVICES_REGISTRY_TREE_INSIDE_H
#define SERVICES_REGISTRY_TREE_INSIDE_H

#include "services/registry/copies.h"
#include "services/registry/manifest.h"
#include "services/registry/tree.h"

enum { TREE_MAX_MANIFEST_BYTES = 1 << 30 };

struct tree {
	struct copies copies; /* its texts are owned here */
	const struct tree_damage *damage;
	enum policy policy;  /* as committed */
	size_t lines;        /* of the manifest */
	size_t inline_bytes; /* in the manifest */
	bool must_rewrite; /* it is absent, of format 1, damaged, or ends with what is not known */
	bool is_behind;    /* a version that is in it could not be written as a file */
	struct strbuf bytes; /* of one file, while loading */
};

char *tree_manifest_path(const struct tree *t);

void tree_tell(const struct tree *t, const char *path, const char *why);

/*
 * A line with bytes, of @f (NULL: it is not known): if its version's file is not
 * there it is written again. It was not synced then, and the machine may have
 * stopped since.
 */
void tree_mend_version(struct tree *t, const struct snapshot_file *f,
		       const struct manifest_line *line);

#endif
