/* Files in the world: put, removed, and what must be found of them after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/crash/world.h"

/* In expectations a file's id has this before its path. */
#define MARK "file "

/* As PutFile, PutDir and DeleteFile do it. */
static void change(struct world *w, struct collection *c, struct store_file_change *change,
		   size_t count)
{
	struct store_file_changes changes = {.changes = change, .count = count};
	struct store_write write = {
		.operation = store_change_files, .operands = &changes, .now_us = WORLD_NOW_US};
	struct error err;

	must(writer_run(catalog_writer(w->catalog), c->queue, &write, &err), &err, "files");
	for (size_t at = 0; at < changes.dropped.len;
	     at += strlen(changes.dropped.buf + at) + 1)
		files_remove(c->files, changes.dropped.buf + at);
	strbuf_release(&changes.dropped);
}

static void write_content(struct collection *c, const char *value, struct store_file *file,
			  char blob[UUID_TEXT_BYTES])
{
	struct file_draft draft = {0};
	struct error err;

	must(file_draft_begin(&draft, c->files, &err), &err, "file_draft_begin");
	must(file_draft_add(&draft, bytes_of_string(value), &err), &err, "file_draft_add");
	file->size_bytes = draft.size_bytes;
	must(file_draft_end(&draft, file->sha256, &err), &err, "file_draft_end");
	memcpy(blob, draft.name, UUID_TEXT_BYTES);
	file->blob = blob;
}

void world_put_file(struct world *w, const char *collection, const char *path,
		    const char *value)
{
	AUTO_FREE char *id = xasprintf(MARK "%s", path);
	struct store_file_change put = {.action = STORE_FILE_PUT,
					.file = {.record_id = "", .path = path}};
	struct collection *c;
	struct error err;
	char blob[UUID_TEXT_BYTES];

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	expectation_begin(collection, id, value);
	write_content(c, value, &put.file, blob);
	must(files_sync(c->files, &err), &err, "files_sync");
	change(w, c, &put, 1);
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
	change(w, c, &removal, 1);
	expectation_done(collection, id, "");
	catalog_release(w->catalog, c);
}

enum { DIR_FILES_MAX = 8 };

void world_put_dir(struct world *w, const char *collection, const char *path, const char *value,
		   size_t count, const char *old)
{
	struct store_file_change changes[DIR_FILES_MAX + 1] = {
		{.action = STORE_FILE_REMOVE_BELOW, .file = {.record_id = "", .path = path}}};
	char paths[DIR_FILES_MAX][EXPECTED_TEXT_MAX], blobs[DIR_FILES_MAX][UUID_TEXT_BYTES];
	AUTO_FREE char *prefix = xasprintf(MARK "%s/n", path);
	AUTO_FREE char *old_id = xasprintf(MARK "%s", old ? old : "");
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	expectation_atomic(collection, prefix, value);
	if (old)
		expectation_begin(collection, old_id, "");
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *id = xasprintf("%s%zu", prefix, i);
		struct store_file_change *put = &changes[i + 1];

		(void)snprintf(paths[i], sizeof(paths[i]), "%s/n%zu", path, i);
		*put = (struct store_file_change){.action = STORE_FILE_PUT,
						  .file = {.record_id = "", .path = paths[i]}};
		expectation_begin(collection, id, value);
		write_content(c, value, &put->file, blobs[i]);
	}
	must(files_sync(c->files, &err), &err, "files_sync");
	change(w, c, changes, count + 1);
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *id = xasprintf("%s%zu", prefix, i);

		expectation_done(collection, id, value);
	}
	if (old)
		expectation_done(collection, old_id, "");
	catalog_release(w->catalog, c);
}

/* What the file holds, "" if there is none, "lost" if its bytes are not there. */
void world_file_value(struct collection *c, const char *path, char out[EXPECTED_TEXT_MAX])
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
