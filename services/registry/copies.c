#include "services/registry/copies.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"

enum { MAX_FILE_BYTES = 8 << 20 };

char *copies_current_path(const struct copies *c, const char *name)
{
	return xasprintf("%s/ns/%s/%s.binpb", c->dir, c->ns, name);
}

static char *version_path(const struct copies *c, const char *name, int64_t version)
{
	return xasprintf("%s/versions/%s/%s/%" PRId64 ".binpb", c->dir, c->ns, name, version);
}

bool copies_are(struct bytes bytes, const struct snapshot_version *v)
{
	return bytes.size == v->size && disk_checksum(bytes) == v->checksum;
}

/* ----------------------------------------------------------------- reading */

static bool read_intact(const char *path, const struct snapshot_version *v, struct strbuf *out)
{
	const size_t start = out->len;
	struct error ignored; /* the caller tries the other copy, and tells */

	if (disk_read(path, MAX_FILE_BYTES, out, &ignored) == STATUS_OK &&
	    copies_are(bytes_of(out->buf + start, out->len - start), v))
		return true;
	strbuf_truncate(out, start);
	return false;
}

bool copies_read_version(const struct copies *c, const char *name,
			 const struct snapshot_version *v, struct strbuf *out)
{
	char *path AUTO_FREE = version_path(c, name, v->version);

	return read_intact(path, v, out);
}

bool copies_read_current(const struct copies *c, const char *name,
			 const struct snapshot_version *v, struct strbuf *out)
{
	char *path AUTO_FREE = copies_current_path(c, name);

	return read_intact(path, v, out);
}

bool copies_describe(const struct copies *c, const char *name, int64_t version,
		     struct snapshot_version *ret)
{
	char *path AUTO_FREE = version_path(c, name, version);
	AUTO_STRBUF bytes = STRBUF_INIT;
	struct error ignored; /* it is not there, then */
	struct stat st;

	if (stat(path, &st) || disk_read(path, MAX_FILE_BYTES, &bytes, &ignored) != STATUS_OK)
		return false;
	*ret = (struct snapshot_version){
		.version = version,
		.registered_us =
			(int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000,
		.size = bytes.len,
		.checksum = disk_checksum(bytes_of(bytes.buf, bytes.len)),
	};
	return true;
}

int64_t copies_last_version(const struct copies *c, const char *name)
{
	char *path AUTO_FREE = xasprintf("%s/versions/%s/%s", c->dir, c->ns, name);
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

/* ----------------------------------------------------------------- writing */

static enum status write_file(const struct copies *c, const char *path, struct bytes bytes,
			      enum disk_sync sync, struct error *err)
{
	enum status status = disk_make_parents(c->dir, path, sync, err);

	return status == STATUS_OK ? disk_write(path, bytes, sync, err) : status;
}

enum status copies_write_version(const struct copies *c, const char *name, int64_t version,
				 struct bytes bytes, enum disk_sync sync, struct error *err)
{
	char *path AUTO_FREE = version_path(c, name, version);

	return write_file(c, path, bytes, sync, err);
}

enum status copies_write_current(const struct copies *c, const char *name, struct bytes bytes,
				 struct error *err)
{
	char *path AUTO_FREE = copies_current_path(c, name);

	return write_file(c, path, bytes, DISK_LATER, err);
}

void copies_drop_version(const struct copies *c, const char *name, int64_t version)
{
	char *path AUTO_FREE = version_path(c, name, version);

	unlink(path);
}

void copies_drop_current(const struct copies *c, const char *name)
{
	char *path AUTO_FREE = copies_current_path(c, name);

	unlink(path);
}
