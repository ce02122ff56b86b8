/* PutDir and GetDir: a CollectionDir as files, and files as a CollectionDir. */
#include <string.h>
#include <unistd.h>

#include "common/base/names.h"
#include "common/rpc/call.h"
#include "services/repo/file_uri.h"
#include "services/repo/files_rpc.h"

enum {
	MAX_ENTRIES = 1000, /* of PutDir: files, and directories that hold nothing */
	MAX_ROWS = 10000,   /* of GetDir */
	MAX_URI_BYTES = 4096,
	DEFAULT_DIR_BYTES = 3 << 20,
	MAX_DIR_BYTES = 15 << 20,
	/* A file that is replaced between its row and its bytes: all is read again. */
	READ_ATTEMPTS = 8,
};

/* ------------------------------------------------------------ PutDir */

struct dir_put {
	struct repo *repo;
	struct file_place place;
	struct arena *arena;
	void *call;
	struct store_file_change changes[MAX_ENTRIES + 1]; /* and what is removed before */
	size_t count;
};

static struct store_file_change *add_change(struct dir_put *put, enum store_file_action action,
					    const char *path)
{
	struct store_file_change *change = &put->changes[put->count++];

	*change = (struct store_file_change){
		.action = action, .file = {.record_id = put->place.record_id, .path = path}};
	return change;
}

/* One part of a path, as the map's key and the message itself have it. */
static enum status child_path(const struct dir_put *put, const char *parent, const char *key,
			      const char *name, const char **ret, struct error *err)
{
	if (strchr(key, '/'))
		return error_field(err, "dir", "\"%s\" is no single name", key);
	if (*name && strcmp(name, key) != 0)
		return error_field(err, "dir", "\"%s\" is named \"%s\"", key, name);
	*ret = arena_printf(put->arena, "%s%s%s", parent, *parent ? "/" : "", key);
	return file_path_check(*ret, "dir", err);
}

static enum status put_content(struct dir_put *put, struct store_file *file,
			       ProtobufCBinaryData data, struct error *err)
{
	struct file_draft draft = {0};
	enum status status = file_draft_begin(&draft, put->place.collection->files, err);

	if (status != STATUS_OK)
		return status;
	file->size_bytes = (int64_t)data.len;
	status = file_draft_add(&draft, bytes_of(data.data, data.len), err);
	if (status != STATUS_OK) {
		file_draft_drop(&draft);
		return status;
	}
	status = file_draft_end(&draft, file->sha256, err);
	if (status == STATUS_OK)
		file->blob = arena_strdup(put->arena, draft.name);
	return status;
}

static enum status put_file(struct dir_put *put, const char *parent,
			    const Collector__CollectionDir__FilesEntry *entry,
			    struct error *err)
{
	const Collector__CollectionData *data = entry->value;
	const char *path;
	struct store_file *file;
	enum status status =
		child_path(put, parent, entry->key, data ? data->name : "", &path, err);

	if (status != STATUS_OK)
		return status;
	if (!data || data->content_case == COLLECTOR__COLLECTION_DATA__CONTENT__NOT_SET)
		return error_field(err, "dir", "%s has neither data nor uri", path);
	if (rpc_is_cancelled(put->call))
		return error_set(err, STATUS_CANCELLED, "the caller has gone");
	file = &add_change(put, STORE_FILE_PUT, path)->file;
	if (data->content_case == COLLECTOR__COLLECTION_DATA__CONTENT_DATA)
		return put_content(put, file, data->data, err);
	if (!*data->uri || strlen(data->uri) > MAX_URI_BYTES)
		return error_field(err, "dir", "%s: a uri has 1 to %d bytes", path,
				   MAX_URI_BYTES);
	file->uri = data->uri;
	return STATUS_OK;
}

/* Its depth is bounded by that of a path. */
static enum status put_dir(struct dir_put *put, const char *path,
			   const Collector__CollectionDir *dir, struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < dir->n_files; i++)
		status = put_file(put, path, dir->files[i], err);
	for (size_t i = 0; status == STATUS_OK && i < dir->n_subdirs; i++) {
		const Collector__CollectionDir__SubdirsEntry *entry = dir->subdirs[i];
		const char *child;

		if (!entry->value)
			return error_field(err, "dir", "%s has no directory", entry->key);
		status = child_path(put, path, entry->key, entry->value->name, &child, err);
		if (status == STATUS_OK)
			status = put_dir(put, child, entry->value, err);
	}
	if (status == STATUS_OK && !dir->n_files && !dir->n_subdirs && *path)
		add_change(put, STORE_FILE_PUT, arena_printf(put->arena, "%s/", path));
	return status;
}

static void remove_blobs(const struct dir_put *put)
{
	for (size_t i = 0; i < put->count; i++)
		if (put->changes[i].file.blob)
			files_remove(put->place.collection->files, put->changes[i].file.blob);
}

/* Files and empty directories, counted before anything is written. */
static size_t count_entries(const Collector__CollectionDir *dir)
{
	size_t count = dir->n_files + !(dir->n_files + dir->n_subdirs);

	for (size_t i = 0; i < dir->n_subdirs && count <= MAX_ENTRIES; i++)
		count += dir->subdirs[i]->value ? count_entries(dir->subdirs[i]->value) : 1;
	return count;
}

static enum status run_put_dir(struct dir_put *put, const Collector__PutDirRequest *r,
			       Collector__PutDirResponse *response, struct error *err)
{
	struct collection *c = put->place.collection;
	struct store_file_changes changes = {.changes = put->changes};
	enum status status;

	if (count_entries(r->dir) > MAX_ENTRIES)
		return error_field(err, "dir", "more than %d files", MAX_ENTRIES);
	if (!r->merge)
		add_change(put, STORE_FILE_REMOVE_BELOW, put->place.path);
	status = put_dir(put, put->place.path, r->dir, err);
	if (status == STATUS_OK)
		status = files_sync(c->files, err);
	if (status != STATUS_OK) {
		remove_blobs(put);
		return status;
	}
	changes.count = put->count;
	status = file_changes_run(put->repo, c, put->place.record_id, &changes, NULL, err);
	if (file_changes_refused(status))
		remove_blobs(put);
	response->files_stored = changes.stored;
	response->files_removed = changes.removed;
	strbuf_release(&changes.dropped);
	return status;
}

void repo_put_dir(Collector__CollectionService_Service *service,
		  const Collector__PutDirRequest *request,
		  Collector__PutDirResponse_Closure reply, void *call)
{
	Collector__PutDirResponse response = COLLECTOR__PUT_DIR_RESPONSE__INIT;
	struct arena *arena = rpc_arena(call);
	struct dir_put *put = arena_alloc(arena, sizeof(*put));
	const struct file_names names = {request->namespace_, request->collection_name,
					 request->record_id, request->path, true};
	struct error err = {0};
	enum status status = STATUS_OK;

	put->repo = repo_of_records(service);
	put->arena = arena;
	put->call = call;
	put->count = 0;
	if (!request->dir)
		status = error_field(&err, "dir", "a directory is required");
	if (status == STATUS_OK)
		status = file_place_find(put->repo, call, &names, ACCESS_WRITE, &put->place,
					 &err);
	if (status == STATUS_OK) {
		status = run_put_dir(put, request, &response, &err);
		response.status = status_ok(arena);
		if (status == STATUS_OK)
			reply(&response, call);
		catalog_release(put->repo->catalog, put->place.collection);
	}
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
}

/* ------------------------------------------------------------ GetDir: rows */

struct dir_get {
	const struct collection *collection;
	struct arena *arena;
	const struct file_place *place;
	bool uris_only;
	int64_t bytes, max_bytes;
	struct store_file *rows;
	size_t count, capacity;
	enum status status;
	struct error *err;
};

static bool add_row(void *arg, const struct store_file *file)
{
	struct dir_get *get = arg;

	if (!get->uris_only)
		get->bytes += file->size_bytes;
	if (get->bytes > get->max_bytes || get->count == MAX_ROWS) {
		get->status = error_set(get->err, STATUS_RESOURCE_EXHAUSTED,
					"more than %lld bytes or %d files: list them, and get"
					" one by one",
					(long long)get->max_bytes, MAX_ROWS);
		return false;
	}
	if (get->count == get->capacity) {
		struct store_file *old = get->rows;

		get->capacity = get->capacity ? 2 * get->capacity : 64;
		get->rows = arena_alloc(get->arena, get->capacity * sizeof(*get->rows));
		if (old)
			memcpy(get->rows, old, get->count * sizeof(*old));
	}
	get->rows[get->count++] = store_file_copy(file, get->arena);
	return true;
}

static enum status read_rows(struct dir_get *get, struct error *err)
{
	const struct file_place *place = get->place;
	const struct store_file_query q = {
		.record_id = place->record_id,
		.prefix =
			arena_printf(get->arena, "%s%s", place->path, *place->path ? "/" : ""),
		.after_record = "",
		.after_path = "",
	};
	struct store_reader *reader;
	enum status status = store_take_reader(place->collection->store, &reader, err);

	if (status != STATUS_OK)
		return status;
	get->count = 0;
	get->bytes = 0;
	get->status = STATUS_OK;
	get->err = err;
	status = store_list_files(reader, &q, add_row, get, err);
	store_give_reader(place->collection->store, reader);
	if (status == STATUS_OK)
		status = get->status;
	if (status == STATUS_OK && !get->count && *place->path)
		return error_set(err, STATUS_NOT_FOUND, "there is no directory \"%s\"",
				 place->path);
	return status;
}

/* ------------------------------------------------------------ GetDir: the tree */

/* Room for one more of an array in an arena; grown by doubling at powers of two. */
static void *room_for_one(struct arena *arena, void *array, size_t count)
{
	void *grown;

	if (count & (count - 1))
		return array;
	grown = arena_alloc(arena, (count ? 2 * count : 1) * sizeof(void *));
	if (count)
		memcpy(grown, array, count * sizeof(void *));
	return grown;
}

/* The subdirectory: as rows are sorted, the last one or a new one. */
static Collector__CollectionDir *enter(struct arena *arena, Collector__CollectionDir *dir,
				       const char *name, size_t len)
{
	Collector__CollectionDir__SubdirsEntry *entry =
		dir->n_subdirs ? dir->subdirs[dir->n_subdirs - 1] : NULL;

	if (entry && strlen(entry->key) == len && !memcmp(entry->key, name, len))
		return entry->value;
	entry = arena_alloc(arena, sizeof(*entry));
	collector__collection_dir__subdirs_entry__init(entry);
	entry->key = arena_strndup(arena, name, len);
	entry->value = arena_alloc(arena, sizeof(*entry->value));
	collector__collection_dir__init(entry->value);
	entry->value->name = entry->key;
	dir->subdirs = room_for_one(arena, dir->subdirs, dir->n_subdirs);
	dir->subdirs[dir->n_subdirs++] = entry;
	return entry->value;
}

static Collector__CollectionData *add_file(struct arena *arena, Collector__CollectionDir *dir,
					   const char *name)
{
	Collector__CollectionDir__FilesEntry *entry = arena_alloc(arena, sizeof(*entry));

	collector__collection_dir__files_entry__init(entry);
	entry->key = arena_strdup(arena, name);
	entry->value = arena_alloc(arena, sizeof(*entry->value));
	collector__collection_data__init(entry->value);
	entry->value->name = entry->key;
	dir->files = room_for_one(arena, dir->files, dir->n_files);
	dir->files[dir->n_files++] = entry;
	return entry->value;
}

static enum status read_content(const struct dir_get *get, const struct store_file *row,
				Collector__CollectionData *data, struct error *err)
{
	int fd;
	enum status status = files_open(get->collection->files, row->blob, &fd, err);

	if (status != STATUS_OK)
		return status;
	data->content_case = COLLECTOR__COLLECTION_DATA__CONTENT_DATA;
	data->data.len = (size_t)row->size_bytes;
	data->data.data = arena_alloc(get->arena, data->data.len + 1);
	status = files_read(fd, 0, data->data.data, data->data.len, err);
	close(fd);
	return status;
}

static enum status add_to_tree(const struct dir_get *get, const struct store_file *row,
			       Collector__CollectionDir *dir, struct error *err)
{
	const char *path = row->path + strlen(get->place->path) + (*get->place->path != '\0');
	const Collector__FileInfo *info;
	Collector__CollectionData *data;
	size_t len;

	for (len = strcspn(path, "/"); path[len]; len = strcspn(path, "/")) {
		dir = enter(get->arena, dir, path, len);
		path += len + 1;
	}
	/* What is left of a directory's own row, or the file's name. */
	if (!*path)
		return STATUS_OK;
	data = add_file(get->arena, dir, path);
	if (!get->uris_only && row->blob)
		return read_content(get, row, data, err);
	info = file_info_of(get->arena, get->collection, row);
	data->content_case = COLLECTOR__COLLECTION_DATA__CONTENT_URI;
	data->uri = row->uri ? info->uri : info->data_uri;
	return STATUS_OK;
}

static enum status read_tree(struct dir_get *get, Collector__CollectionDir *root,
			     struct error *err)
{
	const char *slash = strrchr(get->place->path, '/');
	enum status status = read_rows(get, err);

	collector__collection_dir__init(root);
	root->name = arena_strdup(get->arena, slash ? slash + 1 : get->place->path);
	for (size_t i = 0; status == STATUS_OK && i < get->count; i++) {
		status = add_to_tree(get, &get->rows[i], root, err);
		if (status == STATUS_NOT_FOUND)
			return error_set(err, STATUS_ABORTED,
					 "the directory changes all the time");
	}
	return status;
}

static enum status get_dir(const struct file_place *place, const Collector__GetDirRequest *r,
			   struct arena *arena, Collector__GetDirResponse *response,
			   struct error *err)
{
	struct dir_get get = {
		.collection = place->collection,
		.arena = arena,
		.place = place,
		.uris_only = r->uris_only,
		.max_bytes = r->max_bytes ? r->max_bytes : DEFAULT_DIR_BYTES,
	};
	enum status status = STATUS_ABORTED;

	if (r->max_bytes < 0 || r->max_bytes > MAX_DIR_BYTES)
		return error_field(err, "max_bytes", "must be 0 to %d", MAX_DIR_BYTES);
	response->status = status_ok(arena);
	response->dir = arena_alloc(arena, sizeof(*response->dir));
	for (int i = 0; status == STATUS_ABORTED && i < READ_ATTEMPTS; i++)
		status = read_tree(&get, response->dir, err);
	return status;
}

void repo_get_dir(Collector__CollectionService_Service *service,
		  const Collector__GetDirRequest *request,
		  Collector__GetDirResponse_Closure reply, void *call)
{
	Collector__GetDirResponse response = COLLECTOR__GET_DIR_RESPONSE__INIT;
	struct repo *repo = repo_of_records(service);
	const struct file_names names = {request->namespace_, request->collection_name,
					 request->record_id, request->path, true};
	struct file_place place;
	struct error err = {0};
	enum status status =
		file_place_find_uri(repo, call, request->data_uri, &names, &place, &err);

	if (status == STATUS_OK) {
		status = get_dir(&place, request, rpc_arena(call), &response, &err);
		if (status == STATUS_OK)
			reply(&response, call);
		catalog_release(repo->catalog, place.collection);
	}
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
}
