#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "services/registry/disk.h"
#include "services/registry/tree_inside.h"

enum {
	/* A change of up to so many bytes goes into the manifest whole: one sync instead of four. */
	INLINE_BYTES = 64 << 10,
	/* From so many files on one sync of the file system costs less than one for each. */
	SYNC_ALL_FROM = 32,
	/* The manifest is rewritten when it holds so many bytes of versions, */
	MAX_INLINE_BYTES = 8 << 20,
	/* or when so many of its lines, and half of them, say nothing any more. */
	MIN_DEAD_LINES = 1024,
};

/* ------------------------------------------------------ lines of a manifest */

/* Lines that are being put together. */
struct lines {
	struct strbuf text;
	size_t count;
};

static void add(struct lines *out, const struct manifest_line *line)
{
	manifest_add(&out->text, line);
	out->count++;
}

static void add_version(struct lines *out, const char *name, const struct snapshot_version *v)
{
	add(out, &(struct manifest_line){.kind = MANIFEST_FILE,
					 .at = v->at,
					 .version = v->version,
					 .unix_us = v->registered_us,
					 .size = v->size,
					 .checksum = v->checksum,
					 .name = name});
}

static void add_removal(struct lines *out, const struct snapshot_file *f)
{
	add(out, &(struct manifest_line){.kind = MANIFEST_GONE,
					 .at = f->at,
					 .unix_us = f->changed_us,
					 .name = f->name});
}

static void add_policy(struct lines *out, const struct snapshot *s)
{
	add(out, &(struct manifest_line){
			 .kind = MANIFEST_POLICY, .at = s->version, .policy = s->policy});
}

/* The oldest first. */
static void add_history(struct lines *out, const struct snapshot_file *f)
{
	const struct snapshot_version **versions =
		xreallocarray(NULL, f->version_count + 1, sizeof(*versions));
	size_t n = f->version_count;

	for (const struct snapshot_version *v = f->newest; v; v = v->previous)
		versions[--n] = v;
	for (size_t i = 0; i < f->version_count; i++)
		add_version(out, f->name, versions[i]);
	free(versions);
	if (f->state == SNAPSHOT_GONE)
		add_removal(out, f);
}

static void commit(struct lines *out, int64_t at)
{
	manifest_commit(&out->text, at, out->count);
	out->count++;
}

/* Everything that is known, as one commit. */
static void put_whole(struct lines *out, const struct snapshot *s)
{
	manifest_begin(&out->text);
	add_policy(out, s);
	if (s->history_from)
		add(out,
		    &(struct manifest_line){.kind = MANIFEST_FORGOTTEN, .at = s->history_from});
	for (size_t i = 0; i < s->file_count; i++)
		add_history(out, s->files[i]);
	for (size_t i = 0; i < s->other_count; i++)
		add_history(out, s->others[i]);
	commit(out, s->version);
}

/* ------------------------------------------------------------------ rewriting */

struct mending {
	struct tree *tree;
	const struct snapshot *snapshot;
};

static void mend_line(void *arg, const struct manifest_line *line)
{
	struct mending *m = arg;

	if (line->kind == MANIFEST_BYTES)
		tree_mend_version(m->tree, snapshot_find_any(m->snapshot, line->name), line);
}

/* The versions' files hold for good what the manifest does. */
static enum status catch_up(struct tree *t, const char *path, const struct snapshot *s,
			    struct error *err)
{
	struct mending mending = {t, s};
	AUTO_STRBUF text = STRBUF_INIT;
	struct manifest ignored;
	enum status status = STATUS_OK;

	if (!t->inline_bytes)
		return STATUS_OK;
	if (t->is_behind) {
		t->is_behind = false;
		t->inline_bytes = 0;
		status = disk_read(path, TREE_MAX_MANIFEST_BYTES, &text, err);
		if (status == STATUS_OK)
			status = manifest_read(&text, mend_line, &mending, &ignored, err);
	}
	if (status == STATUS_OK && t->is_behind)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "versions of earlier changes cannot be written");
	return status == STATUS_OK ? disk_sync_all(t->copies.dir, err) : status;
}

/* @s is what is committed. */
static enum status rewrite(struct tree *t, const struct snapshot *s, struct error *err)
{
	char *path AUTO_FREE = tree_manifest_path(t);
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	struct lines lines = {.count = 0};
	enum status status = catch_up(t, path, s, err);

	if (status == STATUS_OK)
		status = disk_make_parents(t->copies.dir, path, DISK_SYNC, err);
	if (status != STATUS_OK)
		return status;
	put_whole(&lines, s);
	status = disk_write(path, bytes_of(lines.text.buf, lines.text.len), DISK_SYNC, err);
	strbuf_release(&lines.text);
	if (status != STATUS_OK)
		return status;
	unlink(previous); /* of format 1, and no use any more */
	t->must_rewrite = false;
	t->lines = lines.count;
	t->inline_bytes = 0;
	return STATUS_OK;
}

/* -------------------------------------------------------------- committing */

/* A change, and how it gets to disk. */
struct change {
	const struct snapshot *after;
	const struct tree_write *writes;
	size_t count;
	size_t bytes; /* of all files */
	bool is_inline;
};

static const struct snapshot_file *file_of(const struct change *c, size_t i)
{
	return snapshot_find_any(c->after, c->writes[i].name);
}

static struct change change_of(const struct snapshot *after, const struct tree_write *writes,
			       size_t count)
{
	struct change c = {.after = after, .writes = writes, .count = count};

	for (size_t i = 0; i < count; i++)
		c.bytes += writes[i].bytes.size;
	c.is_inline = c.bytes <= INLINE_BYTES;
	return c;
}

static void put_change(const struct tree *t, struct lines *out, const struct change *c)
{
	if (c->after->policy != t->policy)
		add_policy(out, c->after);
	for (size_t i = 0; i < c->count; i++) {
		const struct snapshot_file *f = file_of(c, i);
		if (!c->writes[i].bytes.data) {
			add_removal(out, f);
			continue;
		}
		add_version(out, f->name, f->newest);
		if (c->is_inline)
			add(out, &(struct manifest_line){.kind = MANIFEST_BYTES,
							 .at = f->newest->at,
							 .version = f->newest->version,
							 .bytes = c->writes[i].bytes,
							 .name = f->name});
	}
	commit(out, c->after->version);
}

static enum status write_versions(const struct tree *t, const struct change *c,
				  enum disk_sync sync, struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; i < c->count && status == STATUS_OK; i++)
		if (c->writes[i].bytes.data)
			status = copies_write_version(&t->copies, c->writes[i].name,
						      file_of(c, i)->newest->version,
						      c->writes[i].bytes, sync, err);
	return status;
}

/* Before the commit: the manifest is not to refer to what may be lost. */
static enum status write_synced_versions(const struct tree *t, const struct change *c,
					 struct error *err)
{
	enum status status;

	if (c->count < SYNC_ALL_FROM)
		return write_versions(t, c, DISK_SYNC, err);
	status = write_versions(t, c, DISK_LATER, err);
	return status == STATUS_OK ? disk_sync_all(t->copies.dir, err) : status;
}

/* What was written for a change that did not happen. */
static void drop_versions(const struct tree *t, const struct change *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->writes[i].bytes.data)
			copies_drop_version(&t->copies, c->writes[i].name,
					    file_of(c, i)->newest->version);
}

/* The moment at which the change happens. */
static enum status append(struct tree *t, const struct change *c, struct error *err)
{
	char *path AUTO_FREE = tree_manifest_path(t);
	struct lines lines = {.count = 0};
	enum status status;
	bool restored;

	put_change(t, &lines, c);
	status = disk_append(path, bytes_of(lines.text.buf, lines.text.len), &restored, err);
	strbuf_release(&lines.text);
	if (status != STATUS_OK) {
		t->must_rewrite = !restored;
		return status;
	}
	t->lines += lines.count;
	t->inline_bytes += c->is_inline ? c->bytes : 0;
	t->policy = c->after->policy;
	return STATUS_OK;
}

static enum status make_happen(struct tree *t, const struct change *c, struct error *err)
{
	enum status status = c->is_inline ? STATUS_OK : write_synced_versions(t, c, err);

	if (status == STATUS_OK)
		status = append(t, c, err);
	/* A manifest that may refer to them is rewritten before they are. */
	if (status != STATUS_OK && !c->is_inline && !t->must_rewrite)
		drop_versions(t, c);
	return status;
}

/* It has happened; what fails now is made up for by the next start. */
static void follow(struct tree *t, const struct change *c)
{
	struct error err;

	if (c->is_inline && write_versions(t, c, DISK_LATER, &err) != STATUS_OK) {
		t->is_behind = true;
		tree_tell(t, t->copies.ns, err.message);
	}
	for (size_t i = 0; i < c->count; i++) {
		const struct tree_write *w = &c->writes[i];
		if (!w->bytes.data)
			copies_drop_current(&t->copies, w->name);
		else if (copies_write_current(&t->copies, w->name, w->bytes, &err) != STATUS_OK)
			tree_tell(t, w->name, err.message);
	}
}

/* If it fails, a longer manifest is no worse. */
static void tidy(struct tree *t, const struct snapshot *s)
{
	const bool is_worth_it =
		t->inline_bytes > MAX_INLINE_BYTES ||
		t->lines > 2 * (s->version_total + s->other_count) + MIN_DEAD_LINES;
	struct error err;

	if (is_worth_it && rewrite(t, s, &err) != STATUS_OK)
		tree_tell(t, t->copies.ns, err.message);
}

enum status tree_commit(struct tree *t, const struct snapshot *before,
			const struct snapshot *after, const struct tree_write *writes,
			size_t count, struct error *err)
{
	const struct change c = change_of(after, writes, count);
	enum status status = t->must_rewrite ? rewrite(t, before, err) : STATUS_OK;

	if (status == STATUS_OK)
		status = make_happen(t, &c, err);
	if (status != STATUS_OK)
		return status;
	follow(t, &c);
	tidy(t, after);
	return STATUS_OK;
}
