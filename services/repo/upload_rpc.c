/*
 * PutFile. The method runs for each message and returns: between two of them an
 * upload holds no thread, only a place among the streams and a file that is not
 * whole, which goes with the call.
 */
#include <pthread.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/rpc/call.h"
#include "services/repo/file_streams.h"
#include "services/repo/file_uri.h"
#include "services/repo/files_rpc.h"

struct upload {
	struct file_stream stream; /* first: what evict() is given */
	struct repo *repo;
	struct file_place place;
	uint8_t sha256[SHA256_BYTES]; /* that the content must have, */
	bool has_sha256;              /* if the client says so */
	bool must_not_exist, set_data_uri;
	pthread_mutex_t mu; /* what follows: of the method, or of who evicts it */
	struct file_draft draft;
	bool is_evicted;
};

static bool evict(struct file_stream *stream)
{
	struct upload *u = (struct upload *)stream;

	if (pthread_mutex_trylock(&u->mu) != 0)
		return false;
	file_draft_drop(&u->draft);
	u->is_evicted = true;
	pthread_mutex_unlock(&u->mu);
	return true;
}

/* With the mutex held. */
static enum status check_evicted(const struct upload *u, struct error *err)
{
	return u->is_evicted ? error_set(err, STATUS_RESOURCE_EXHAUSTED,
					 "nothing came for too long, and others wait")
			     : STATUS_OK;
}

/* The call is over. */
static void drop(void *user)
{
	struct upload *u = user;

	file_streams_leave(u->repo->file_streams, &u->stream);
	file_draft_drop(&u->draft);
	catalog_release(u->repo->catalog, u->place.collection);
	pthread_mutex_destroy(&u->mu);
	free(u);
}

/* ------------------------------------------------------------ the header */

static enum status find_place(struct repo *repo, const Collector__PutFileRequest__Header *h,
			      void *call, struct file_place *ret, struct error *err)
{
	/* The header's memory goes with its message. */
	struct arena *arena = rpc_arena(call);
	const struct file_names names = {h->namespace_, h->collection_name,
					 arena_strdup(arena, h->record_id),
					 arena_strdup(arena, h->path), false};

	if (h->sha256.len && h->sha256.len != SHA256_BYTES)
		return error_field(err, "header.sha256", "%zu bytes are no SHA-256",
				   h->sha256.len);
	if (h->set_data_uri && !*h->record_id)
		return error_field(err, "header.set_data_uri", "needs a record_id");
	return file_place_find(repo, call, &names, ACCESS_WRITE, ret, err);
}

static enum status begin(struct repo *repo, const Collector__PutFileRequest__Header *h,
			 void *call, struct error *err)
{
	struct file_place place;
	struct upload *u;
	enum status status = find_place(repo, h, call, &place, err);

	if (status != STATUS_OK)
		return status;
	u = xcalloc(1, sizeof(*u));
	*u = (struct upload){
		.stream = {.evict = evict},
		.repo = repo,
		.place = place,
		.has_sha256 = h->sha256.len != 0,
		.must_not_exist = h->must_not_exist,
		.set_data_uri = h->set_data_uri,
	};
	if (u->has_sha256)
		memcpy(u->sha256, h->sha256.data, SHA256_BYTES);
	pthread_mutex_init(&u->mu, NULL);
	rpc_set_user(call, u, drop);
	status = file_streams_enter(repo->file_streams, &u->stream, err);
	if (status != STATUS_OK)
		return status;
	pthread_mutex_lock(&u->mu);
	status = check_evicted(u, err);
	if (status == STATUS_OK)
		status = file_draft_begin(&u->draft, place.collection->files, err);
	pthread_mutex_unlock(&u->mu);
	return status;
}

/* ------------------------------------------------------------ the content */

static enum status check_room(const struct upload *u, size_t more, struct error *err)
{
	const int64_t limit = u->repo->config.max_file_bytes;

	return u->draft.size_bytes + (int64_t)more <= limit
		       ? STATUS_OK
		       : error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "the file has more than the %lld bytes that are allowed",
				   (long long)limit);
}

static enum status add_chunk(struct upload *u, ProtobufCBinaryData chunk, struct error *err)
{
	enum status status;

	if (chunk.len > FILE_CHUNK_MAX_BYTES)
		return error_field(err, "chunk", "more than %d bytes", FILE_CHUNK_MAX_BYTES);
	file_streams_touch(u->repo->file_streams, &u->stream);
	pthread_mutex_lock(&u->mu);
	status = check_evicted(u, err);
	if (status == STATUS_OK)
		status = check_room(u, chunk.len, err);
	if (status == STATUS_OK)
		status = file_draft_add(&u->draft, bytes_of(chunk.data, chunk.len), err);
	pthread_mutex_unlock(&u->mu);
	return status;
}

/* ------------------------------------------------------------ the end */

/* All bytes are on disk, under the name in @file->blob. */
static enum status end_draft(struct upload *u, struct store_file *file, struct error *err)
{
	struct files *files = u->place.collection->files;
	enum status status;

	pthread_mutex_lock(&u->mu);
	status = check_evicted(u, err);
	file->size_bytes = u->draft.size_bytes;
	if (status == STATUS_OK)
		status = file_draft_end(&u->draft, file->sha256, err);
	pthread_mutex_unlock(&u->mu);
	if (status != STATUS_OK)
		return status;
	if (u->has_sha256 && memcmp(u->sha256, file->sha256, SHA256_BYTES) != 0)
		status = error_set(err, STATUS_DATA_LOSS,
				   "the content has another SHA-256 than the header says");
	if (status == STATUS_OK)
		status = files_sync(files, err);
	if (status != STATUS_OK)
		files_remove(files, file->blob);
	return status;
}

static enum status write_row(struct upload *u, struct store_file *file,
			     char ret_etag[STORE_ETAG_BYTES], struct error *err)
{
	struct collection *c = u->place.collection;
	struct store_file_change change = {
		.action = u->must_not_exist ? STORE_FILE_CREATE : STORE_FILE_PUT,
		.file = *file,
	};
	struct store_file_changes changes = {.changes = &change, .count = 1};
	AUTO_STRBUF uri = STRBUF_INIT;
	struct store_write record = {
		.expectation = STORE_MUST_EXIST,
		.id = file->record_id,
		.keeps_message = true,
		.now_us = clock_unix_us(),
	};
	enum status status;

	file_uri_write(c->ns, c->name, file->record_id, file->path, &uri);
	record.data_uri = strbuf_str(&uri);
	status = file_changes_run(u->repo, c, file->record_id, &changes,
				  u->set_data_uri ? &record : NULL, err);
	strbuf_release(&changes.dropped);
	if (file_changes_refused(status))
		files_remove(c->files, file->blob);
	*file = change.file;
	memcpy(ret_etag, record.new_etag, STORE_ETAG_BYTES);
	return status;
}

static enum status end(struct upload *u, Collector__PutFileResponse *response, void *call,
		       struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct store_file file = {
		.record_id = u->place.record_id, .path = u->place.path, .blob = u->draft.name};
	char *etag = arena_alloc(arena, STORE_ETAG_BYTES);
	enum status status = end_draft(u, &file, err);

	if (status == STATUS_OK)
		status = write_row(u, &file, etag, err);
	if (status != STATUS_OK)
		return status;
	response->status = status_ok(arena);
	response->etag = etag;
	response->file = file_info_of(arena, u->place.collection, &file);
	return STATUS_OK;
}

static enum status take(struct repo *repo, struct upload *u, const Collector__PutFileRequest *r,
			void *call, struct error *err)
{
	switch ((int)r->part_case) {
	case COLLECTOR__PUT_FILE_REQUEST__PART_HEADER:
		return u ? error_field(err, "header", "only the first message has one")
			 : begin(repo, r->header, call, err);
	case COLLECTOR__PUT_FILE_REQUEST__PART_CHUNK:
		return u ? add_chunk(u, r->chunk, err)
			 : error_field(err, "header", "must come first");
	default:
		return error_field(err, "part", "a message is empty");
	}
}

void repo_put_file(Collector__CollectionService_Service *service,
		   const Collector__PutFileRequest *request,
		   Collector__PutFileResponse_Closure reply, void *call)
{
	Collector__PutFileResponse response = COLLECTOR__PUT_FILE_RESPONSE__INIT;
	struct upload *u = rpc_user(call);
	struct error err = {0};
	enum status status;

	if (request)
		status = take(repo_of_records(service), u, request, call, &err);
	else if (u)
		status = end(u, &response, call, &err);
	else
		status = error_field(&err, "header", "is missing");
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
	else if (!request)
		reply(&response, call);
}
