#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "services/registry/disk.h"
#include "services/registry/tree_inside.h"

struct tree *tree_new(const char *dir, const char *ns, const struct tree_damage *damage)
{
	struct tree *t = xcalloc(1, sizeof(*t));

	*t = (struct tree){.copies = {xstrdup(dir), xstrdup(ns)},
			   .damage = damage,
			   .policy = POLICY_DEFAULT,
			   .must_rewrite = true};
	return t;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	strbuf_release(&t->bytes);
	free((char *)t->copies.dir);
	free((char *)t->copies.ns);
	free(t);
}

char *tree_manifest_path(const struct tree *t)
{
	return xasprintf("%s/manifests/%s", t->copies.dir, t->copies.ns);
}

void tree_tell(const struct tree *t, const char *path, const char *why)
{
	t->damage->tell(t->damage->arg, path, why);
}

enum status tree_namespaces(const char *dir, void (*found)(void *arg, const char *ns),
			    void *arg, struct error *err)
{
	char *path AUTO_FREE = xasprintf("%s/manifests", dir);
	DIR *entries = opendir(path);
	struct dirent *entry;

	if (!entries && errno == ENOENT)
		return STATUS_OK;
	if (!entries)
		return error_set(err, STATUS_INTERNAL, "cannot read %s: %s", path,
				 strerror(errno));
	while ((entry = readdir(entries))) {
		/* A namespace has no dot: what has one is a temporary or set aside. */
		char *ns AUTO_FREE = xstrdup(entry->d_name);
		char *suffix = strstr(ns, ".previous");
		struct error ignored;
		if (suffix && !suffix[strlen(".previous")])
			*suffix = '\0';
		if (*ns && names_check_namespace(ns, "", &ignored) == STATUS_OK)
			found(arg, ns);
	}
	closedir(entries);
	return STATUS_OK;
}

enum status tree_read(const struct tree *t, const char *name, const struct snapshot_version *v,
		      struct strbuf *out, struct error *err)
{
	if (copies_read_version(&t->copies, name, v, out))
		return STATUS_OK;
	return error_set(err, STATUS_DATA_LOSS,
			 "version %lld of %s is not what was registered, or not there",
			 (long long)v->version, name);
}

int64_t tree_last_version(const char *dir, const char *ns, const char *name)
{
	return copies_last_version(&(struct copies){dir, ns}, name);
}

/* ----------------------------------------------------------------- loading */

struct loading {
	struct tree *tree;
	struct snapshot_edit *edit;
};

/* Format 1 knew one version of a file; the ones before are on disk. */
static void put_older_versions(struct loading *l, const struct manifest_line *latest)
{
	struct snapshot_version v;

	for (int64_t version = 1; version < latest->version; version++) {
		if (!copies_describe(&l->tree->copies, latest->name, version, &v))
			continue;
		v.at = latest->at;
		if (version == 1)
			v.registered_us = latest->created_us;
		snapshot_edit_put(l->edit, latest->name, &v);
	}
}

static void put_version(struct loading *l, const struct manifest_line *line)
{
	if (line->created_us)
		put_older_versions(l, line);
	snapshot_edit_put(l->edit, line->name,
			  &(struct snapshot_version){.version = line->version,
						     .at = line->at,
						     .registered_us = line->unix_us,
						     .size = line->size,
						     .checksum = line->checksum});
}

void tree_mend_version(struct tree *t, const struct snapshot_file *f,
		       const struct manifest_line *line)
{
	const struct snapshot_version *v = f ? snapshot_find_version(f, line->version) : NULL;
	struct error err;

	t->inline_bytes += line->bytes.size;
	strbuf_reset(&t->bytes);
	if (!v || !copies_are(line->bytes, v) ||
	    copies_read_version(&t->copies, line->name, v, &t->bytes))
		return;
	if (copies_write_version(&t->copies, line->name, line->version, line->bytes, DISK_LATER,
				 &err) == STATUS_OK)
		return;
	t->is_behind = true;
	tree_tell(t, line->name, err.message);
}

static void take_line(void *arg, const struct manifest_line *line)
{
	struct loading *l = arg;

	switch (line->kind) {
	case MANIFEST_FILE:
		put_version(l, line);
		break;
	case MANIFEST_BYTES:
		tree_mend_version(l->tree, map_get(&l->edit->files, line->name), line);
		break;
	case MANIFEST_GONE:
		snapshot_edit_remove(l->edit, line->name, line->at, line->unix_us);
		break;
	case MANIFEST_POLICY:
		l->edit->policy = line->policy;
		break;
	case MANIFEST_FORGOTTEN:
		l->edit->history_from = line->at;
		break;
	}
}

/* A copy of what is about to be replaced, under another name. */
static void set_manifest_aside(struct tree *t, const char *path, const char *why)
{
	char *aside AUTO_FREE = xasprintf("%s.damaged", path);

	unlink(aside);
	/* If that fails it is told again at the next start, from the file itself. */
	(void)link(path, aside);
	tree_tell(t, aside, why);
}

/* NOT_FOUND: there is none. DATA_LOSS: of format 1, and damaged. */
static enum status read_manifest(struct loading *l, const char *path, struct manifest *m,
				 struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status = disk_read(path, TREE_MAX_MANIFEST_BYTES, &text, err);

	return status == STATUS_OK ? manifest_read(&text, take_line, l, m, err) : status;
}

/*
 * Damage hides how many changes there were: each had a line. Whoever knows a
 * version up to there must learn that the namespace is another.
 */
static void note_damaged_lines(struct loading *l, const char *path, const struct manifest *m)
{
	char *why AUTO_FREE =
		xasprintf("%zu of its lines are damaged; what they say is lost", m->bad_lines);

	set_manifest_aside(l->tree, path, why);
	l->edit->version += (int64_t)m->bad_lines + 1;
	l->edit->history_from = l->edit->version;
}

static enum status load_manifest(struct loading *l, struct error *err)
{
	struct tree *t = l->tree;
	char *path AUTO_FREE = tree_manifest_path(t);
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	struct manifest m = {0};
	enum status status = read_manifest(l, path, &m, err);

	if (status == STATUS_DATA_LOSS)
		set_manifest_aside(t, path, "it is damaged; the one before is used");
	if (status == STATUS_DATA_LOSS || status == STATUS_NOT_FOUND)
		status = read_manifest(l, previous, &m, err); /* format 1 kept one */
	if (status != STATUS_OK)
		return status;
	l->edit->version = m.at;
	if (m.bad_lines)
		note_damaged_lines(l, path, &m);
	t->policy = l->edit->policy;
	t->lines = m.lines;
	t->must_rewrite = m.format == 1 || m.bad_lines || m.is_torn;
	return STATUS_OK;
}

static void set_current_aside(struct tree *t, const char *name)
{
	char *path AUTO_FREE = copies_current_path(&t->copies, name);
	char *aside AUTO_FREE = xasprintf("%s.damaged", path);

	/* If it cannot be moved it is told again at the next start. */
	(void)rename(path, aside);
	tree_tell(t, aside, "neither it nor its version's copy is what was registered");
}

/* The current copy, or else the version's, from which the current one is mended. */
static bool read_current(struct tree *t, const struct snapshot_file *f)
{
	struct error err;

	strbuf_reset(&t->bytes);
	if (copies_read_current(&t->copies, f->name, f->newest, &t->bytes))
		return true;
	if (!copies_read_version(&t->copies, f->name, f->newest, &t->bytes)) {
		set_current_aside(t, f->name);
		return false;
	}
	if (copies_write_current(&t->copies, f->name, bytes_of(t->bytes.buf, t->bytes.len),
				 &err) != STATUS_OK)
		tree_tell(t, f->name, err.message);
	return true;
}

enum status tree_load(struct tree *t, struct snapshot_edit *edit,
		      void (*take)(void *arg, const char *name, struct bytes bytes), void *arg,
		      struct error *err)
{
	struct loading l = {t, edit};
	enum status status = load_manifest(&l, err);

	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status == STATUS_DATA_LOSS) {
		/* Nothing is known, then; the versions are still there. */
		tree_tell(t, t->copies.ns, err->message);
		return STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	map_for_each (&edit->files, entry) {
		const struct snapshot_file *f = entry->value;
		if (f->state == SNAPSHOT_GONE) /* perhaps stopped amid its removal */
			copies_drop_current(&t->copies, f->name);
		else if (read_current(t, f))
			take(arg, f->name, bytes_of(t->bytes.buf, t->bytes.len));
	}
	return STATUS_OK;
}
