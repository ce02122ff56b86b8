#include "services/registry/tree.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/base/strbuf.h"
#include "services/registry/disk.h"

enum { MAX_MANIFEST_BYTES = 64 << 20, MAX_FILE_BYTES = 8 << 20 };

struct tree {
	char *dir;
	tree_damage *damage;
	void *arg;
};

struct tree *tree_open(const char *dir, tree_damage *damage, void *arg)
{
	struct tree *t = xcalloc(1, sizeof(*t));

	*t = (struct tree){xstrdup(dir), damage, arg};
	return t;
}

void tree_close(struct tree *t)
{
	if (!t)
		return;
	free(t->dir);
	free(t);
}

static char *manifest_path(const struct tree *t, const char *ns)
{
	return xasprintf("%s/manifests/%s", t->dir, ns);
}

static char *current_path(const struct tree *t, const char *ns, const char *name)
{
	return xasprintf("%s/ns/%s/%s.binpb", t->dir, ns, name);
}

static char *version_path(const struct tree *t, const char *ns, const char *name,
			  int64_t version)
{
	return xasprintf("%s/versions/%s/%s/%" PRId64 ".binpb", t->dir, ns, name, version);
}

static void set_aside(struct tree *t, const char *path, const char *why)
{
	char *aside AUTO_FREE = xasprintf("%s.damaged", path);

	/* If it cannot be moved it is told again at the next start. */
	(void)rename(path, aside);
	t->damage(t->arg, aside, why);
}

/* ---------------------------------------------------------------- manifest
 *
 *	collector-manifest 1 <version of the namespace>
 *	<version> <created us> <updated us> <size> <checksum> <name>
 *	...
 *	end <checksum of all lines above>
 */

static void write_manifest(int64_t version, const struct tree_file *files, size_t count,
			   struct strbuf *out)
{
	strbuf_addf(out, "collector-manifest 1 %" PRId64 "\n", version);
	for (size_t i = 0; i < count; i++)
		strbuf_addf(out, "%" PRId64 " %" PRId64 " %" PRId64 " %zu %016" PRIx64 " %s\n",
			    files[i].version, files[i].created_us, files[i].updated_us,
			    files[i].bytes.size, disk_checksum(files[i].bytes), files[i].name);
	strbuf_addf(out, "end %016" PRIx64 "\n", disk_checksum(bytes_of(out->buf, out->len)));
}

static bool manifest_is_whole(const struct strbuf *text)
{
	const char *end = NULL;
	uint64_t sum;

	for (const char *p = strbuf_str(text); (p = strstr(p, "\nend ")); p++)
		end = p + 1;
	return end && sscanf(end, "end %" SCNx64, &sum) == 1 &&
	       sum == disk_checksum(bytes_of(text->buf, (size_t)(end - text->buf)));
}

/* NOT_FOUND: there is none. DATA_LOSS: damaged, set aside. */
static enum status read_manifest_at(struct tree *t, const char *path, struct strbuf *out,
				    struct error *err)
{
	enum status status = disk_read(path, MAX_MANIFEST_BYTES, out, err);

	if (status != STATUS_OK || manifest_is_whole(out))
		return status;
	set_aside(t, path, "the manifest is damaged; the one before is used");
	return error_set(err, STATUS_DATA_LOSS, "%s is damaged", path);
}

static enum status read_manifest(struct tree *t, const char *ns, struct strbuf *out,
				 struct error *err)
{
	char *path AUTO_FREE = manifest_path(t, ns);
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	enum status status = read_manifest_at(t, path, out, err);

	if (status == STATUS_OK)
		return status;
	strbuf_reset(out);
	return read_manifest_at(t, previous, out, err);
}

/* ----------------------------------------------------------------- loading */

struct expected {
	struct tree_file file;
	size_t size;
	uint64_t checksum;
};

/* Read @path if it holds what the manifest says. */
static bool read_expected(const char *path, const struct expected *e, struct strbuf *out)
{
	struct error ignored; /* the caller tries the other copy, and tells */

	strbuf_reset(out);
	return disk_read(path, MAX_FILE_BYTES, out, &ignored) == STATUS_OK &&
	       out->len == e->size &&
	       disk_checksum(bytes_of(out->buf, out->len)) == e->checksum;
}

/* The current copy, or else the version's, from which the current one is mended. */
static bool read_file(struct tree *t, const char *ns, const struct expected *e,
		      struct strbuf *out)
{
	char *current AUTO_FREE = current_path(t, ns, e->file.name);
	char *version AUTO_FREE = version_path(t, ns, e->file.name, e->file.version);
	struct error err;

	if (read_expected(current, e, out))
		return true;
	if (!read_expected(version, e, out)) {
		set_aside(t, current,
			  "neither it nor its version's copy is what was registered");
		return false;
	}
	if (disk_make_parents(t->dir, current, &err) != STATUS_OK ||
	    disk_write(current, bytes_of(out->buf, out->len), &err) != STATUS_OK)
		t->damage(t->arg, current, err.message);
	return true;
}

static bool parse_line(const char *line, struct expected *e, char *name)
{
	struct error err;

	return sscanf(line, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %zu %" SCNx64 " %512[^\n]",
		      &e->file.version, &e->file.created_us, &e->file.updated_us, &e->size,
		      &e->checksum, name) == 6 &&
	       names_check_path(name, "", &err) == STATUS_OK;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

enum status tree_load(struct tree *t, const char *ns,
		      void (*take)(void *arg, const struct tree_file *file), void *arg,
		      int64_t *ret_version, struct error *err)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	AUTO_STRBUF bytes = STRBUF_INIT;
	enum status status = read_manifest(t, ns, &manifest, err);
	int64_t version;

	if (status == STATUS_NOT_FOUND) {
		*ret_version = 0;
		return STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	if (sscanf(manifest.buf, "collector-manifest 1 %" SCNd64, &version) != 1)
		return error_set(
			err, STATUS_DATA_LOSS,
			"the manifest of %s is of a form that this program does not know", ns);
	for (const char *line = next_line(manifest.buf); strncmp(line, "end ", 4) && *line;
	     line = next_line(line)) {
		struct expected e;
		char name[513];
		if (!parse_line(line, &e, name))
			return error_set(err, STATUS_DATA_LOSS,
					 "a line of %s's manifest is odd", ns);
		e.file.name = name;
		if (!read_file(t, ns, &e, &bytes))
			continue;
		e.file.bytes = bytes_of(bytes.buf, bytes.len);
		take(arg, &e.file);
	}
	*ret_version = version;
	return STATUS_OK;
}

enum status tree_namespaces(struct tree *t, void (*found)(void *arg, const char *ns), void *arg,
			    struct error *err)
{
	char *path AUTO_FREE = xasprintf("%s/manifests", t->dir);
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return STATUS_OK;
	if (!dir)
		return error_set(err, STATUS_INTERNAL, "cannot read %s: %s", path,
				 strerror(errno));
	while ((entry = readdir(dir))) {
		/* A namespace has no dot: what has one is a temporary or set aside. */
		char *ns AUTO_FREE = xstrdup(entry->d_name);
		char *suffix = strstr(ns, ".previous");
		struct error ignored;
		if (suffix && !suffix[strlen(".previous")])
			*suffix = '\0';
		if (*ns && names_check_namespace(ns, "", &ignored) == STATUS_OK)
			found(arg, ns);
	}
	closedir(dir);
	return STATUS_OK;
}

/* -------------------------------------------------------------- committing */

static enum status write_file(struct tree *t, const char *path, struct bytes data,
			      struct error *err)
{
	enum status status = disk_make_parents(t->dir, path, err);

	return status == STATUS_OK ? disk_write(path, data, err) : status;
}

/* Keep the manifest that is about to be replaced. */
static enum status keep_previous(const char *path, struct error *err)
{
	char *previous AUTO_FREE = xasprintf("%s.previous", path);
	char *temporary AUTO_FREE = xasprintf("%s.tmp", previous);

	unlink(temporary);
	if (link(path, temporary))
		return errno == ENOENT ? STATUS_OK
				       : error_set(err, STATUS_INTERNAL, "cannot keep %s: %s",
						   path, strerror(errno));
	if (rename(temporary, previous))
		return error_set(err, STATUS_INTERNAL, "cannot keep %s: %s", path,
				 strerror(errno));
	return STATUS_OK;
}

enum status tree_commit(struct tree *t, const char *ns, int64_t version,
			const struct tree_file *all, size_t all_count,
			const struct tree_file *const *changed, size_t changed_count,
			struct error *err)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	char *path AUTO_FREE = manifest_path(t, ns);
	enum status status = disk_make_parents(t->dir, path, err);

	for (size_t i = 0; i < changed_count && status == STATUS_OK; i++) {
		char *to AUTO_FREE = version_path(t, ns, changed[i]->name, changed[i]->version);
		status = write_file(t, to, changed[i]->bytes, err);
	}
	if (status == STATUS_OK)
		status = keep_previous(path, err);
	write_manifest(version, all, all_count, &manifest);
	if (status == STATUS_OK)
		status = disk_write(path, bytes_of(manifest.buf, manifest.len), err);
	if (status != STATUS_OK)
		return status;
	/* It has happened; a current copy that fails now is mended at the next start. */
	for (size_t i = 0; i < changed_count; i++) {
		char *to AUTO_FREE = current_path(t, ns, changed[i]->name);
		struct error late;
		if (write_file(t, to, changed[i]->bytes, &late) != STATUS_OK)
			t->damage(t->arg, to, late.message);
	}
	return STATUS_OK;
}
