#include "services/console/ctl/descriptor_input.h"

#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/arguments.h"
#include "services/console/ctl/protoc.h"
#include "services/console/ctl/session.h"

enum {
	MAX_ROOTS = 64,
	MAX_SOURCES = 20000, /* as many as the registry takes at once */
	SET_FILE = 1,        /* FileDescriptorSet.file */
	FILE_NAME = 1,       /* FileDescriptorProto.name */
};

struct input {
	const char **sources; /* .proto files, to be compiled; in the arena */
	size_t source_count;
	const char *roots[MAX_ROOTS + 1];
	size_t root_count;
	bool has_own_roots; /* the user named them */
	struct arena arena;
	struct map files; /* name -> struct bytes */
	struct strbuf *out;
	struct error *err;
};

/* ------------------------------------------------------------------ sets */

static enum status add_file(struct input *in, const char *word, struct bytes file)
{
	struct bytes name, *known;

	if (!wire_find_bytes(file, FILE_NAME, &name) || !name.size)
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "%s is neither a .proto file nor a FileDescriptorSet", word);
	known = map_get_n(&in->files, (const char *)name.data, name.size);
	if (known && !pool_same_file(*known, file))
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "%s has another %.*s than what was read before", word,
				 (int)name.size, (const char *)name.data);
	if (known)
		return STATUS_OK;
	known = arena_alloc(&in->arena, sizeof(*known));
	*known = file;
	map_put_n(&in->files, (const char *)name.data, name.size, known);
	wire_add_bytes(in->out, SET_FILE, file);
	return STATUS_OK;
}

static enum status add_set(struct input *in, const char *word, struct bytes set)
{
	const struct bytes kept = {arena_memdup(&in->arena, set.data, set.size), set.size};
	struct bytes *files;
	size_t count;
	enum status status = pool_split_set(kept, &in->arena, &files, &count, in->err);

	if (status != STATUS_OK || !count)
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "%s is neither a .proto file nor a FileDescriptorSet",
				 strcmp(word, "-") ? word : "standard input");
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = add_file(in, word, files[i]);
	return status;
}

static enum status read_set(struct input *in, const char *path)
{
	AUTO_STRBUF set = STRBUF_INIT;
	enum status status = session_read_file(path, &set, in->err);

	return status == STATUS_OK ? add_set(in, path, bytes_of(set.buf, set.len)) : status;
}

/* --------------------------------------------------------------- sources */

static bool is_source(const char *path)
{
	const size_t n = strlen(path);

	return n > 6 && !strcmp(path + n - 6, ".proto");
}

static enum status add_source(struct input *in, const char *path)
{
	if (strpbrk(path, "\r\n"))
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "%s: protoc takes no file with a line break in its name",
				 path);
	if (in->source_count == MAX_SOURCES)
		return error_set(in->err, STATUS_RESOURCE_EXHAUSTED,
				 "there are more than %d .proto files", MAX_SOURCES);
	in->sources[in->source_count++] = arena_strdup(&in->arena, path);
	return STATUS_OK;
}

static enum status add_root(struct input *in, const char *path)
{
	if (in->root_count == MAX_ROOTS)
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "there are more than %d directories", MAX_ROOTS);
	in->roots[in->root_count++] = path;
	return STATUS_OK;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static enum status add_sources_below(struct input *in, const char *path)
{
	char *top AUTO_FREE = xstrdup(path);
	FTS *tree = fts_open((char *[]){top, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	const size_t before = in->source_count;
	enum status status = STATUS_OK;
	FTSENT *entry;

	while (status == STATUS_OK && tree && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR)
			status = error_set(in->err, STATUS_INVALID_ARGUMENT,
					   "cannot read %s: %s", entry->fts_path,
					   strerror(entry->fts_errno));
		else if (entry->fts_info == FTS_F && is_source(entry->fts_name))
			status = add_source(in, entry->fts_path);
	if (tree)
		fts_close(tree);
	if (status == STATUS_OK && in->source_count == before)
		return error_set(in->err, STATUS_INVALID_ARGUMENT,
				 "there is no .proto file below %s", path);
	return status;
}

static enum status add_directory(struct input *in, const char *path)
{
	enum status status = add_sources_below(in, path);

	return status == STATUS_OK && !in->has_own_roots ? add_root(in, path) : status;
}

static enum status compile(struct input *in)
{
	AUTO_STRBUF set = STRBUF_INIT;
	enum status status = STATUS_OK;

	if (!in->source_count)
		return STATUS_OK;
	if (!in->has_own_roots)
		status = add_root(in, ".");
	if (status == STATUS_OK)
		status =
			protoc_compile(in->sources, in->source_count, in->roots, &set, in->err);
	return status == STATUS_OK ? add_set(in, in->sources[0], bytes_of(set.buf, set.len))
				   : status;
}

/* ----------------------------------------------------------------- words */

static enum status take_word(struct input *in, const char *word)
{
	struct stat st;

	if (!strcmp(word, "-"))
		return read_set(in, word);
	if (stat(word, &st))
		return error_set(in->err, STATUS_INVALID_ARGUMENT, "%s: %s", word,
				 strerror(errno));
	if (S_ISDIR(st.st_mode))
		return add_directory(in, word);
	return is_source(word) ? add_source(in, word) : read_set(in, word);
}

static enum status take_roots(struct input *in, const struct arguments *args)
{
	enum status status = STATUS_OK;
	const char *root;

	for (size_t i = 0; status == STATUS_OK && (root = arguments_nth(args, "proto-path", i));
	     i++)
		status = add_root(in, root);
	in->has_own_roots = in->root_count > 0;
	return status;
}

enum status descriptor_input_read(const struct arguments *args, const char *const *words,
				  size_t count, struct strbuf *out, struct error *err)
{
	struct input in = {.out = out, .err = err};
	enum status status;

	arena_init(&in.arena, 0);
	in.sources = arena_alloc(&in.arena, MAX_SOURCES * sizeof(*in.sources));
	status = take_roots(&in, args);
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = take_word(&in, words[i]);
	if (status == STATUS_OK)
		status = compile(&in);
	map_release(&in.files, NULL);
	arena_release(&in.arena);
	return status;
}
