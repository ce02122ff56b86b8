/* Files in the world: put, removed, and what must be found of them after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/crash/world.h"

enum { NOW_US = 1700000000 };

/* In expectations a file's id has this before its path. */
#define MARK "file "

static void must(enum status status, const struct error *err, const char *what)
{
	if (status == STATUS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, err->message);
	exit(1);
}

bool world_is_file(const struct expected *e)
{
	return !strncmp(e->id, MARK, strlen(MARK));
}

/* As PutFile and DeleteFile do it. */
static void change(struct world *w, struct collection *c, struct store_file_change *change)
{
	struct store_file_changes changes = {.changes = change, .count = 1};
	struct store_write write = {
		.operation = store_change_files, .operands = &changes, .now_us = NOW_US};
	struct error err;

	must(writer_run(catalog_writer(w->catalog), &c->queue, &write, &err), &err, "files");
	for (size_t at = 0; at < changes.dropped.len;
	     at += strlen(changes.dropped.buf + at) + 1)
		files_remove(c->files, changes.dropped.buf + at);
	strbuf_release(&changes.dropped);
}

void world_put_file(struct world *w, const char *collection, const char *path,
		    const char *value)
{
	AUTO_FREE char *id = xasprintf(MARK "%s", path);
	struct store_file_change put = {.action = STORE_FILE_PUT,
					.file = {.record_id = "", .path = path}};
	struct file_draft draft = {0};
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	expectation_begin(collection, id, value);
	must(file_draft_begin(&draft, c->files, &err), &err, "file_draft_begin");
	must(file_draft_add(&draft, bytes_of_string(value), &err), &err, "file_draft_add");
	put.file.size_bytes = draft.size_bytes;
	must(file_draft_end(&draft, put.file.sha256, &err), &err, "file_draft_end");
	must(files_sync(c->files, &err), &err, "files_sync");
	put.file.blob = draft.name;
	change(w, c, &put);
	expectation_done(collection, id, value);
	catalog_release(w->catalog, c);
}

void world_remove_file(struct world *w, const char *collection, const char *path)
{
	AUTO_FREE char *id = xasprintf(MARK "%s", path);
	struct store_file_change removal = {.action = STORE_FILE_REMOVE,
					    .file = {.record_id = "", .path = path}};
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	expectation_begin(collection, id, "");
	change(w, c, &removal);
	expectation_done(collection, id, "");
	catalog_release(w->catalog, c);
}

/* What the file holds, "" if there is none, "lost" if its bytes are not there. */
static void content_of(struct collection *c, const char *path, char out[EXPECTED_TEXT_MAX])
{
	struct store_reader *reader;
	struct store_file file;
	struct arena arena;
	struct error err;
	int fd;

	arena_init(&arena, 0);
	(void)snprintf(out, EXPECTED_TEXT_MAX, "%s", "");
	must(store_take_reader(c->store, &reader, &err), &err, "store_take_reader");
	enum status status = store_get_file(reader, "", path, &arena, &file, &err);
	store_give_reader(c->store, reader);
	if (status == STATUS_OK) {
		(void)snprintf(out, EXPECTED_TEXT_MAX, "%s", "lost");
		if (file.size_bytes < EXPECTED_TEXT_MAX &&
		    files_open(c->files, file.blob, &fd, &err) == STATUS_OK) {
			char text[EXPECTED_TEXT_MAX] = "";

			if (files_read(fd, 0, text, (size_t)file.size_bytes, &err) == STATUS_OK)
				memcpy(out, text, sizeof(text));
			close(fd);
		}
	} else if (status != STATUS_NOT_FOUND) {
		must(status, &err, "store_get_file");
	}
	arena_release(&arena);
}

bool world_files_are_as_expected(struct collection *c, const struct expectations *e)
{
	for (const struct expected *x = e->all; x < e->all + e->count; x++) {
		char content[EXPECTED_TEXT_MAX];

		if (!world_is_file(x) || strcmp(x->collection, c->name) != 0)
			continue;
		content_of(c, x->id + strlen(MARK), content);
		if (!expected_allows(x, content)) {
			fprintf(stderr, "%s/%s holds \"%s\", must hold \"%s\"\n", c->name,
				x->id, content, x->done);
			return false;
		}
	}
	return true;
}
