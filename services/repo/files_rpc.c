/* ListFiles and DeleteFile; and what all methods of files share. */
#include "services/repo/files_rpc.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/daemon/daemon.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/repo/file_uri.h"

/* ------------------------------------------------------------ places */

enum status file_place_find(struct repo *repo, void *call, const struct file_names *names,
			    enum access access, struct file_place *ret, struct error *err)
{
	enum status status = STATUS_OK;

	if (*names->record_id)
		status = names_check_id(names->record_id, "record_id", err);
	if (status == STATUS_OK && (*names->path || !names->may_be_root))
		status = file_path_check(names->path, "path", err);
	if (status == STATUS_OK)
		status = repo_acquire(repo, call, names->ns, names->collection, access,
				      &ret->collection, err);
	ret->record_id = names->record_id;
	ret->path = names->path;
	return status;
}

enum status file_place_find_uri(struct repo *repo, void *call, const char *data_uri,
				const struct file_names *names, struct file_place *ret,
				struct error *err)
{
	struct file_names of_uri = {.may_be_root = names->may_be_root};
	struct file_uri uri;
	enum status status;

	if (!*data_uri)
		return file_place_find(repo, call, names, ACCESS_READ, ret, err);
	if (*names->ns || *names->collection || *names->record_id || *names->path)
		return error_field(err, "data_uri", "not together with other names");
	status = file_uri_read(data_uri, "data_uri", rpc_arena(call), &uri, err);
	if (status != STATUS_OK)
		return status;
	of_uri.ns = uri.ns;
	of_uri.collection = uri.collection;
	of_uri.record_id = uri.record_id;
	of_uri.path = uri.path;
	return file_place_find(repo, call, &of_uri, ACCESS_READ, ret, err);
}

Collector__FileInfo *file_info_of(struct arena *arena, const struct collection *c,
				  const struct store_file *file)
{
	Collector__FileInfo *info = arena_alloc(arena, sizeof(*info));
	AUTO_STRBUF uri = STRBUF_INIT;

	collector__file_info__init(info);
	file_uri_write(c->ns, c->name, file->record_id, file->path, &uri);
	info->record_id = arena_strdup(arena, file->record_id);
	info->path = arena_strdup(arena, file->path);
	info->size_bytes = file->size_bytes;
	info->data_uri = arena_strdup(arena, strbuf_str(&uri));
	info->uri = arena_strdup(arena, file->uri ? file->uri : "");
	if (file->blob) {
		info->sha256.data = arena_memdup(arena, file->sha256, sizeof(file->sha256));
		info->sha256.len = sizeof(file->sha256);
	}
	info->metadata = arena_alloc(arena, sizeof(*info->metadata));
	collector__metadata__init(info->metadata);
	info->metadata->created_at = timestamp_of(arena, file->created_us);
	info->metadata->updated_at = timestamp_of(arena, file->updated_us);
	return info;
}

/* ------------------------------------------------------------ changes */

void file_changes_clean(struct collection *c, struct store_file_changes *changes)
{
	struct strbuf *dropped = &changes->dropped;

	for (size_t at = 0; at < dropped->len; at += strlen(dropped->buf + at) + 1)
		files_remove(c->files, dropped->buf + at);
	strbuf_release(dropped);
}

struct cleaning {
	struct repo *repo;
	struct collection *collection;
	struct store_file_changes changes;
};

static void clean(void *arg)
{
	struct cleaning *cleaning = arg;

	file_changes_clean(cleaning->collection, &cleaning->changes);
	catalog_release(cleaning->repo->catalog, cleaning->collection);
	free(cleaning);
}

void file_changes_clean_later(struct repo *repo, struct collection *c,
			      struct store_file_changes *changes)
{
	struct cleaning *cleaning;

	if (!changes->dropped.len)
		return;
	cleaning = xmalloc(sizeof(*cleaning));
	catalog_hold(repo->catalog, c);
	*cleaning = (struct cleaning){repo, c, *changes};
	changes->dropped = STRBUF_INIT;
	if (!rpc_pool_submit(rpc_server_pool(daemon_server(repo->daemon)), clean, cleaning))
		clean(cleaning);
}

bool file_changes_refused(enum status status)
{
	return status == STATUS_NOT_FOUND || status == STATUS_ALREADY_EXISTS ||
	       status == STATUS_FAILED_PRECONDITION || status == STATUS_RESOURCE_EXHAUSTED;
}

enum status file_changes_run(struct repo *repo, struct collection *c, const char *record_id,
			     struct store_file_changes *changes, struct store_write *record,
			     struct error *err)
{
	struct store_write w = {
		.operation = store_change_files,
		.operands = changes,
		.id = record_id,
		.now_us = clock_unix_us(),
	};
	struct store_batch batch = {.writes = record ? record : &w, .atomic = true};
	enum status status;

	if (record)
		record->next = &w;
	status = writer_run_batch(catalog_writer(repo->catalog), c->queue, &batch, err);
	if (status == STATUS_OK)
		file_changes_clean(c, changes);
	return status;
}

/* ------------------------------------------------------------ ListFiles */

struct file_page {
	const struct collection *collection;
	struct arena *arena;
	size_t limit, count;
	bool has_more;
	Collector__FileInfo **files;
	struct store_file last;
};

static bool add_file(void *arg, const struct store_file *file)
{
	struct file_page *page = arg;

	/* A directory that holds nothing is no file. */
	if (!file->blob && !file->uri)
		return true;
	page->has_more = page->count == page->limit;
	if (page->has_more)
		return false;
	page->files[page->count++] = file_info_of(page->arena, page->collection, file);
	page->last = store_file_copy(file, page->arena);
	return true;
}

static void list_scope(const struct collection *c, const Collector__ListFilesRequest *r,
		       struct strbuf *out)
{
	strbuf_addf(out, "files %s/%s/%s %d ", c->ns, c->name, c->incarnation, r->all_records);
	strbuf_addf(out, "%zu:%s %s", strlen(r->record_id), r->record_id, r->prefix);
}

static struct query_value text_key(const char *text)
{
	return (struct query_value){.type = VALUE_TEXT, .text = text, .len = strlen(text)};
}

static const char *key_text(const struct query_value *key, struct arena *arena)
{
	return arena_strndup(arena, key->text, key->len);
}

static enum status read_page(struct repo *repo, const Collector__ListFilesRequest *r,
			     struct bytes scope, struct arena *arena,
			     struct store_file_query *q, struct error *err)
{
	struct page page;
	enum status status;

	*q = (struct store_file_query){.record_id = r->record_id,
				       .all_records = r->all_records,
				       .prefix = r->prefix,
				       .after_record = "",
				       .after_path = ""};
	if (!*r->page_token)
		return STATUS_OK;
	status = page_token_read(&repo->token_key, scope, r->page_token, arena, &page, err);
	if (status == STATUS_OK && page.key_count == 2) {
		q->after_record = key_text(&page.position.keys[0], arena);
		q->after_path = key_text(&page.position.keys[1], arena);
	}
	return status;
}

static const char *token_after(const struct repo *repo, struct bytes scope,
			       const struct store_file *last, struct arena *arena)
{
	AUTO_STRBUF token = STRBUF_INIT;
	struct page page = {.key_count = 2};

	page.position.keys[0] = text_key(last->record_id);
	page.position.keys[1] = text_key(last->path);
	page_token_write(&repo->token_key, scope, &page, &token);
	return arena_strdup(arena, strbuf_str(&token));
}

static enum status list_files(struct repo *repo, struct collection *c,
			      const Collector__ListFilesRequest *r, struct arena *arena,
			      Collector__ListFilesResponse *response, struct error *err)
{
	struct file_page page = {.collection = c, .arena = arena};
	AUTO_STRBUF scope_text = STRBUF_INIT;
	struct store_reader *reader;
	struct store_file_query q;
	enum status status = repo_page_size(r->page_size, "page_size", &page.limit, err);

	list_scope(c, r, &scope_text);
	const struct bytes scope = bytes_of(scope_text.buf, scope_text.len);
	if (status == STATUS_OK)
		status = read_page(repo, r, scope, arena, &q, err);
	if (status == STATUS_OK)
		status = store_take_reader(c->store, &reader, err);
	if (status != STATUS_OK)
		return status;
	page.files = arena_alloc(arena, page.limit * sizeof(*page.files));
	status = store_list_files(reader, &q, add_file, &page, err);
	store_give_reader(c->store, reader);
	response->status = status_ok(arena);
	response->n_files = page.count;
	response->files = page.files;
	if (page.has_more)
		response->next_page_token = (char *)token_after(repo, scope, &page.last, arena);
	return status;
}

void repo_list_files(Collector__CollectionService_Service *service,
		     const Collector__ListFilesRequest *request,
		     Collector__ListFilesResponse_Closure reply, void *call)
{
	Collector__ListFilesResponse response = COLLECTOR__LIST_FILES_RESPONSE__INIT;
	struct repo *repo = repo_of_records(service);
	struct collection *c;
	struct error err = {0};
	enum status status = STATUS_OK;

	if (*request->record_id && request->all_records)
		status = error_field(&err, "record_id", "not together with all_records");
	if (status == STATUS_OK && strlen(request->prefix) > NAMES_ID_MAX_BYTES)
		status = error_field(&err, "prefix", "longer than any path");
	if (status == STATUS_OK)
		status = repo_acquire(repo, call, request->namespace_, request->collection_name,
				      ACCESS_READ, &c, &err);
	if (status == STATUS_OK) {
		status = list_files(repo, c, request, rpc_arena(call), &response, &err);
		if (status == STATUS_OK)
			reply(&response, call);
		catalog_release(repo->catalog, c);
	}
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
}

/* ------------------------------------------------------------ DeleteFile */

static enum status delete_file(struct repo *repo, const struct file_place *place,
			       const Collector__DeleteFileRequest *r, int64_t *ret_removed,
			       struct error *err)
{
	struct store_file_change change = {
		.action = r->recursive ? STORE_FILE_REMOVE_BELOW : STORE_FILE_REMOVE,
		.file = {.record_id = place->record_id, .path = place->path},
	};
	struct store_file_changes changes = {.changes = &change, .count = 1};
	enum status status = file_changes_run(repo, place->collection, "", &changes, NULL, err);

	*ret_removed = changes.removed;
	strbuf_release(&changes.dropped);
	if (status == STATUS_OK && !changes.removed && r->must_exist)
		return error_set(err, STATUS_NOT_FOUND, "there is no %s \"%s\"",
				 r->recursive ? "file in" : "file", r->path);
	return status;
}

void repo_delete_file(Collector__CollectionService_Service *service,
		      const Collector__DeleteFileRequest *request,
		      Collector__DeleteFileResponse_Closure reply, void *call)
{
	Collector__DeleteFileResponse response = COLLECTOR__DELETE_FILE_RESPONSE__INIT;
	struct repo *repo = repo_of_records(service);
	const struct file_names names = {request->namespace_, request->collection_name,
					 request->record_id, request->path, request->recursive};
	struct file_place place;
	struct error err = {0};
	enum status status = file_place_find(repo, call, &names, ACCESS_WRITE, &place, &err);

	if (status == STATUS_OK) {
		status = delete_file(repo, &place, request, &response.files_deleted, &err);
		response.status = status_ok(rpc_arena(call));
		if (status == STATUS_OK)
			reply(&response, call);
		catalog_release(repo->catalog, place.collection);
	}
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
}
