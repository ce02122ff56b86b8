#include "services/registry/tree.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "services/registry/disk.h"
#include "services/registry/manifest.h"

enum {
	MAX_MANIFEST_BYTES = 1 << 30,
	MAX_FILE_BYTES = 8 << 20,
	/* From here on one sync of the file system costs less than one for every file. */
	SYNC_ALL_FROM = 32,
	/* A manifest is rewritten when this many of its lines, and half, say nothing any more. */
	MIN_DEAD_LINES = 1024,
};

struct tree {
	char *dir, *ns;
	const struct tree_damage *damage;
	enum policy policy;  /* as committed */
	bool must_rewrite;   /* the manifest: absent, of format 1, damaged, or ending oddly */
	bool in_doubt;       /* whether what is in it includes the change that failed last */
	size_t lines;        /* of the manifest */
	struct strbuf bytes; /* of one file, while loading */
};

struct tree *tree_new(const char *dir, const char *ns, const struct tree_damage *damage)
{
	struct tree *t = xcalloc(1, sizeof(*t));

	*t = (struct tree){.dir = xstrdup(dir),
			   .ns = xstrdup(ns),
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
	free(t->dir);
	free(t->ns);
	free(t);
}

static char *manifest_path(const struct tree *t)
{
	return xasprintf("%s/manifests/%s", t->dir, t->ns);
}

static char *current_path(const struct tree *t, const char *name)
{
	return xasprintf("%s/ns/%s/%s.binpb", t->dir, t->ns, name);
}

static char *version_path(const struct tree *t, const char *name, int64_t version)
{
	return xasprintf("%s/versions/%s/%s/%" PRId64 ".binpb", t->dir, t->ns, name, version);
}

static void tell(const struct tree *t, const char *path, const char *why)
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

/* ------------------------------------------------------- bytes of versions */

static bool is_intact(struct bytes bytes, const struct snapshot_version *v)
{
	return bytes.size == v->size && disk_checksum(bytes) == v->checksum;
}

/* Append @path's content if it is what @v says. */
static bool read_intact(const char *path, const struct snapshot_version *v, struct strbuf *out)
{
	const size_t start = out->len;
	struct error ignored; /* the caller tries the other copy, and tells */

	if (disk_read(path, MAX_FILE_BYTES, out, &ignored) == STATUS_OK &&
	    is_intact(bytes_of(out->buf + start, out->len - start), v))
		return true;
	strbuf_truncate(out, start);
	return false;
}

enum status tree_read(const struct tree *t, const char *name, const struct snapshot_version *v,
		      struct strbuf *out, struct error *err)
{
	char *path AUTO_FREE = version_path(t, name, v->version);

	if (read_intact(path, v, out))
		return STATUS_OK;
	return error_set(err, STATUS_DATA_LOSS, "%s is not what was registered", path);
}

int64_t tree_last_version(const char *dir, const char *ns, const char *name)
{
	char *path AUTO_FREE = xasprintf("%s/versions/%s/%s", dir, ns, name);
	DIR *entries = opendir(path);
	struct dirent *entry;
	int64_t last = 0;

	while (entries && (entry = readdir(entries))) {
		char *end;
		const long long version = strtoll(entry->d_name, &end, 10);
		if (!strcmp(end, ".binpb") && version > last)
			last = version;
	}
	if (entries)
		closedir(entries);
	return last;
}

/* ----------------------------------------------------------------- loading */

struct loading {
	struct tree *tree;
	struct snapshot_edit *edit;
};

static void put_version(struct loading *l, const char *name, const struct manifest_line *line)
{
	snapshot_edit_put(l->edit, name,
			  &(struct snapshot_version){.version = line->version,
						     .at = line->at,
						     .registered_us = line->unix_us,
						     .size = line->size,
						     .checksum = line->checksum});
}

/* Format 1 knew one version of a file; the ones before are on disk. */
static void put_older_versions(struct loading *l, const struct manifest_line *latest)
{
	struct tree *t = l->tree;

	for (int64_t version = 1; version < latest->version; version++) {
		char *path AUTO_FREE = version_path(t, latest->name, version);
		struct manifest_line line = *latest;
		struct error ignored; /* there is none, then */
		struct stat st;
		strbuf_reset(&t->bytes);
		if (stat(path, &st) ||
		    disk_read(path, MAX_FILE_BYTES, &t->bytes, &ignored) != STATUS_OK)
			continue;
		line.version = version;
		line.unix_us = version == 1 ? latest->created_us
					    : (int64_t)st.st_mtim.tv_sec * 1000000 +
						      st.st_mtim.tv_nsec / 1000;
		line.size = t->bytes.len;
		line.checksum = disk_checksum(bytes_of(t->bytes.buf, t->bytes.len));
		put_version(l, latest->name, &line);
	}
}

static void take_line(void *arg, const struct manifest_line *line)
{
	struct loading *l = arg;

	switch (line->kind) {
	case MANIFEST_FILE:
		if (line->created_us)
			put_older_versions(l, line);
		put_version(l, line->name, line);
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
	tell(t, aside, why);
}

/* NOT_FOUND: there is none. DATA_LOSS: of format 1, and damaged. */
static enum status read_manifest(struct loading *l, const char *path, struct manifest *m,
				 struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status = disk_read(path, MAX_MANIFEST_BYTES, &text, err);

	if (status == STATUS_OK)
		status = manifest_read(bytes_of(strbuf_str(&text), text.len), take_line, l, m,
				       err);
	return status;
}

/*
 * Damage hides how many changes there were: each had a line. Whoever knows a
 * version up to there must learn that the namespace is another.
 */
static void note_damaged_lines(struct loading *l, const char *path, const struct manifest *m)
{
	char *why AUTO_FREE = xasprintf(
		"%zu of its lines are damaged; what they say is lost, the rest is served",
		m->bad_lines);

	set_manifest_aside(l->tree, path, why);
	l->edit->version += (int64_t)m->bad_lines + 1;
	l->edit->history_from = l->edit->version;
}

static enum status load_manifest(struct loading *l, struct error *err)
{
	struct tree *t = l->tree;
	char *path AUTO_FREE = manifest_path(t);
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	struct manifest m = {0};
	enum status status = read_manifest(l, path, &m, err);

	if (status == STATUS_DATA_LOSS)
		set_manifest_aside(t, path, "the manifest is damaged; the one before is used");
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

static void set_file_aside(struct tree *t, const char *path, const char *why)
{
	char *aside AUTO_FREE = xasprintf("%s.damaged", path);

	/* If it cannot be moved it is told again at the next start. */
	(void)rename(path, aside);
	tell(t, aside, why);
}

/* The current copy, or else the version's, from which the current one is mended. */
static bool read_current(struct tree *t, const struct snapshot_file *f)
{
	char *current AUTO_FREE = current_path(t, f->name);
	char *version AUTO_FREE = version_path(t, f->name, f->newest->version);
	struct error err;

	strbuf_reset(&t->bytes);
	if (read_intact(current, f->newest, &t->bytes))
		return true;
	if (!read_intact(version, f->newest, &t->bytes)) {
		set_file_aside(t, current,
			       "neither it nor its version's copy is what was registered");
		return false;
	}
	if (disk_make_parents(t->dir, current, DISK_LATER, &err) != STATUS_OK ||
	    disk_write(current, bytes_of(t->bytes.buf, t->bytes.len), DISK_LATER, &err) !=
		    STATUS_OK)
		tell(t, current, err.message);
	return true;
}

/* Of a removed file there may be one if the daemon was stopped amid the removal. */
static void drop_current(const struct tree *t, const char *name)
{
	char *path AUTO_FREE = current_path(t, name);

	unlink(path);
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
		tell(t, t->ns, err->message);
		return STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	map_for_each (&edit->files, entry) {
		const struct snapshot_file *f = entry->value;
		if (f->state == SNAPSHOT_GONE)
			drop_current(t, f->name);
		else if (read_current(t, f))
			take(arg, f->name, bytes_of(t->bytes.buf, t->bytes.len));
	}
	return STATUS_OK;
}

/* -------------------------------------------------------------- committing */

static size_t add_version(struct strbuf *out, const char *name,
			  const struct snapshot_version *v)
{
	manifest_add(out, &(struct manifest_line){.kind = MANIFEST_FILE,
						  .at = v->at,
						  .version = v->version,
						  .unix_us = v->registered_us,
						  .size = v->size,
						  .checksum = v->checksum,
						  .name = name});
	return 1;
}

static size_t add_removal(struct strbuf *out, const struct snapshot_file *f)
{
	manifest_add(out, &(struct manifest_line){.kind = MANIFEST_GONE,
						  .at = f->at,
						  .unix_us = f->changed_us,
						  .name = f->name});
	return 1;
}

static size_t add_policy(struct strbuf *out, const struct snapshot *s)
{
	manifest_add(out, &(struct manifest_line){.kind = MANIFEST_POLICY,
						  .at = s->version,
						  .policy = s->policy});
	return 1;
}

/* The oldest first. */
static size_t add_history(struct strbuf *out, const struct snapshot_file *f)
{
	const struct snapshot_version **versions =
		xreallocarray(NULL, f->version_count + 1, sizeof(*versions));
	size_t n = f->version_count, lines = 0;

	for (const struct snapshot_version *v = f->newest; v; v = v->previous)
		versions[--n] = v;
	for (size_t i = 0; i < f->version_count; i++)
		lines += add_version(out, f->name, versions[i]);
	free(versions);
	return lines + (f->state == SNAPSHOT_GONE ? add_removal(out, f) : 0);
}

/* Everything that is known, as one commit. Returns the lines. */
static size_t put_whole(struct strbuf *out, const struct snapshot *s)
{
	size_t lines = add_policy(out, s);

	if (s->history_from) {
		manifest_add(out, &(struct manifest_line){.kind = MANIFEST_FORGOTTEN,
							  .at = s->history_from});
		lines++;
	}
	for (size_t i = 0; i < s->file_count; i++)
		lines += add_history(out, s->files[i]);
	for (size_t i = 0; i < s->other_count; i++)
		lines += add_history(out, s->others[i]);
	manifest_commit(out, s->version, lines);
	return lines + 1;
}

/* What the change did, as one commit. Returns the lines. */
static size_t put_change(const struct tree *t, struct strbuf *out, const struct snapshot *after,
			 const struct tree_write *writes, size_t count)
{
	size_t lines = after->policy == t->policy ? 0 : add_policy(out, after);

	for (size_t i = 0; i < count; i++) {
		const struct snapshot_file *f = snapshot_find_any(after, writes[i].name);
		lines += writes[i].bytes.data ? add_version(out, f->name, f->newest)
					      : add_removal(out, f);
	}
	manifest_commit(out, after->version, lines);
	return lines + 1;
}

static enum status rewrite(struct tree *t, const char *path, const struct snapshot *after,
			   struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	enum status status = disk_make_parents(t->dir, path, DISK_SYNC, err);
	size_t lines;

	manifest_begin(&text);
	lines = put_whole(&text, after);
	if (status == STATUS_OK)
		status = disk_write(path, bytes_of(text.buf, text.len), DISK_SYNC, err);
	if (status != STATUS_OK) {
		/* Without space it was not even renamed. */
		t->in_doubt |= status != STATUS_RESOURCE_EXHAUSTED;
		return status;
	}
	unlink(previous); /* of format 1, and no use any more */
	t->must_rewrite = t->in_doubt = false;
	t->lines = lines;
	return STATUS_OK;
}

static enum status append(struct tree *t, const char *path, const struct snapshot *after,
			  const struct tree_write *writes, size_t count, struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	const size_t lines = put_change(t, &text, after, writes, count);
	bool restored;
	enum status status = disk_append(path, bytes_of(text.buf, text.len), &restored, err);

	if (status == STATUS_OK)
		t->lines += lines;
	else if (!restored)
		t->must_rewrite = t->in_doubt = true;
	return status;
}

/* The moment at which the change happens. */
static enum status write_manifest(struct tree *t, const struct snapshot *after,
				  const struct tree_write *writes, size_t count,
				  struct error *err)
{
	char *path AUTO_FREE = manifest_path(t);
	const size_t live = after->version_total + after->other_count + count;
	struct error ignored; /* a longer manifest is no worse */

	if (!t->must_rewrite && t->lines > 2 * live + MIN_DEAD_LINES &&
	    rewrite(t, path, after, &ignored) == STATUS_OK)
		return STATUS_OK;
	return t->must_rewrite ? rewrite(t, path, after, err)
			       : append(t, path, after, writes, count, err);
}

static enum status write_versions(struct tree *t, const struct snapshot *after,
				  const struct tree_write *writes, size_t count,
				  struct error *err)
{
	const enum disk_sync sync = count < SYNC_ALL_FROM ? DISK_SYNC : DISK_LATER;
	enum status status = STATUS_OK;

	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		const struct snapshot_file *f = snapshot_find_any(after, writes[i].name);
		char *path AUTO_FREE = version_path(t, f->name, f->newest->version);
		if (!writes[i].bytes.data)
			continue;
		status = disk_make_parents(t->dir, path, sync, err);
		if (status == STATUS_OK)
			status = disk_write(path, writes[i].bytes, sync, err);
	}
	return status == STATUS_OK && sync == DISK_LATER ? disk_sync_all(t->dir, err) : status;
}

/* What was written for a change that did not happen. */
static void drop_versions(struct tree *t, const struct snapshot *after,
			  const struct tree_write *writes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct snapshot_file *f = snapshot_find_any(after, writes[i].name);
		char *path AUTO_FREE = version_path(t, f->name, f->newest->version);
		if (writes[i].bytes.data)
			unlink(path);
	}
}

/* It has happened; a current copy that fails now is mended at the next start. */
static void write_current(struct tree *t, const struct tree_write *write)
{
	char *path AUTO_FREE = current_path(t, write->name);
	struct error err;

	if (!write->bytes.data)
		drop_current(t, write->name);
	else if (disk_make_parents(t->dir, path, DISK_LATER, &err) != STATUS_OK ||
		 disk_write(path, write->bytes, DISK_LATER, &err) != STATUS_OK)
		tell(t, path, err.message);
}

/*
 * A manifest that may hold the change that failed last must not come to refer to
 * versions of this one.
 */
static enum status settle(struct tree *t, const struct snapshot *before, struct error *err)
{
	char *path AUTO_FREE = manifest_path(t);

	return t->in_doubt ? rewrite(t, path, before, err) : STATUS_OK;
}

enum status tree_commit(struct tree *t, const struct snapshot *before,
			const struct snapshot *after, const struct tree_write *writes,
			size_t count, struct error *err)
{
	enum status status = settle(t, before, err);

	if (status != STATUS_OK)
		return status;
	status = write_versions(t, after, writes, count, err);
	if (status == STATUS_OK)
		status = write_manifest(t, after, writes, count, err);
	if (status != STATUS_OK) {
		if (!t->in_doubt)
			drop_versions(t, after, writes, count);
		return status;
	}
	t->policy = after->policy;
	for (size_t i = 0; i < count; i++)
		write_current(t, &writes[i]);
	return STATUS_OK;
}
