/*
 * GetFile. The next chunk is read when the client has taken the last: between the
 * two a download holds no thread, only a descriptor, a place among the streams
 * and what it has queued, one chunk. One that is evicted is cut off.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/daemon/daemon.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/repo/file_streams.h"
#include "services/repo/files_rpc.h"

enum {
	/* Then others take their turn. */
	CHUNKS_AT_ONCE = 16,
	/* A file that is replaced between its row and its bytes is looked up again. */
	OPEN_ATTEMPTS = 8,
};

enum pump_state { PUMP_IDLE, PUMP_RUNNING, PUMP_AGAIN, PUMP_ENDED };

struct download {
	struct file_stream stream; /* first: what evict() is given */
	struct repo *repo;
	struct collection *collection;
	Collector__GetFileResponse_Closure reply;
	void *call; /* held until the end */
	struct store_file file;
	int fd;
	uint64_t offset, end;
	bool is_whole; /* then its content is checked */
	struct sha256 sha256;
	uint8_t *chunk;

	pthread_mutex_t mu; /* state */
	enum pump_state state;
};

/* ------------------------------------------------------------ the end */

static void drop(void *user)
{
	struct download *d = user;

	pthread_mutex_destroy(&d->mu);
	free(d->chunk);
}

/* By whoever runs the pump, once. */
static void end(struct download *d, const struct error *err)
{
	void *call = d->call;

	file_streams_leave(d->repo->file_streams, &d->stream);
	close(d->fd);
	catalog_release(d->repo->catalog, d->collection);
	if (err)
		rpc_fail_error(call, err);
	else
		rpc_finish(call);
	rpc_release(call);
}

static bool evict(struct file_stream *stream)
{
	rpc_cut(((struct download *)stream)->call, STATUS_RESOURCE_EXHAUSTED,
		"nothing was taken for too long, and others wait");
	return true;
}

/* ------------------------------------------------------------ the pump */

static enum status check_content(struct download *d, struct error *err)
{
	uint8_t sha256[SHA256_BYTES];

	if (!d->is_whole)
		return STATUS_OK;
	sha256_end(&d->sha256, sha256);
	return memcmp(sha256, d->file.sha256, SHA256_BYTES) == 0
		       ? STATUS_OK
		       : error_set(err, STATUS_DATA_LOSS,
				   "the content is not what was stored: another SHA-256");
}

static enum status send_chunk(struct download *d, struct error *err)
{
	Collector__GetFileResponse response = COLLECTOR__GET_FILE_RESPONSE__INIT;
	const uint64_t left = d->end - d->offset;
	const size_t size = left < FILE_CHUNK_MAX_BYTES ? (size_t)left : FILE_CHUNK_MAX_BYTES;
	enum status status = files_read(d->fd, d->offset, d->chunk, size, err);

	if (status != STATUS_OK)
		return status;
	d->offset += size;
	if (d->is_whole)
		sha256_add(&d->sha256, d->chunk, size);
	/* Before the last chunk leaves: a client must not take it for whole. */
	if (d->offset == d->end)
		status = check_content(d, err);
	if (status != STATUS_OK)
		return status;
	response.part_case = COLLECTOR__GET_FILE_RESPONSE__PART_CHUNK;
	response.chunk.data = d->chunk;
	response.chunk.len = size;
	d->reply(&response, d->call);
	file_streams_touch(d->repo->file_streams, &d->stream);
	return STATUS_OK;
}

enum pumped { PUMPED_ALL, PUMPED_SOME, PUMPED_TURN };

/* Send what can be sent in one turn: all, or until the client has to take some. */
static enum pumped pump(struct download *d)
{
	struct error err = {0};

	for (int i = 0; i < CHUNKS_AT_ONCE; i++) {
		enum status status = STATUS_OK;

		if (rpc_is_cancelled(d->call)) {
			status = error_set(&err, STATUS_CANCELLED, "the caller has gone");
		} else if (rpc_backlog(d->call)) {
			return PUMPED_SOME;
		} else if (d->offset == d->end) {
			end(d, NULL);
			return PUMPED_ALL;
		} else {
			status = send_chunk(d, &err);
		}
		if (status != STATUS_OK) {
			end(d, &err);
			return PUMPED_ALL;
		}
	}
	return PUMPED_TURN;
}

/* Is there more to do at once? Else the pump rests until it is woken. */
static bool rest(struct download *d, bool has_ended)
{
	bool again;

	pthread_mutex_lock(&d->mu);
	again = d->state == PUMP_AGAIN && !has_ended;
	d->state = has_ended ? PUMP_ENDED : again ? PUMP_RUNNING : PUMP_IDLE;
	pthread_mutex_unlock(&d->mu);
	return again;
}

static bool submit(struct download *d);

/* On the pool, with a hold of the call. */
static void run_pump(void *arg)
{
	struct download *d = arg;
	void *call = d->call;
	enum pumped pumped;

	do {
		pumped = pump(d);
		if (pumped == PUMPED_TURN && submit(d))
			return;
	} while (pumped == PUMPED_TURN || rest(d, pumped == PUMPED_ALL));
	rpc_release(call);
}

static bool submit(struct download *d)
{
	return rpc_pool_submit(rpc_server_pool(daemon_server(d->repo->daemon)), run_pump, d);
}

/* A chunk was taken, or the caller has gone. On a loop thread: does not block. */
static void wake(void *arg)
{
	static const struct error busy = {STATUS_RESOURCE_EXHAUSTED, "",
					  "too many calls are waiting"};
	struct download *d = arg;
	bool starts;

	pthread_mutex_lock(&d->mu);
	starts = d->state == PUMP_IDLE;
	if (d->state == PUMP_IDLE || d->state == PUMP_RUNNING)
		d->state = starts ? PUMP_RUNNING : PUMP_AGAIN;
	pthread_mutex_unlock(&d->mu);
	if (!starts)
		return;
	rpc_hold(d->call);
	if (submit(d))
		return;
	end(d, &busy);
	(void)rest(d, true);
	rpc_release(d->call);
}

/* ------------------------------------------------------------ the beginning */

static enum status check_range(const Collector__GetFileRequest *r,
			       const struct store_file *file, struct error *err)
{
	if (r->offset < 0)
		return error_field(err, "offset", "must not be negative");
	if (r->length < 0)
		return error_field(err, "length", "must not be negative");
	if (r->offset > file->size_bytes)
		return error_set(err, STATUS_OUT_OF_RANGE,
				 "the file has %lld bytes, none at offset %lld",
				 (long long)file->size_bytes, (long long)r->offset);
	return STATUS_OK;
}

static enum status find_row(struct collection *c, const struct file_place *place,
			    struct arena *arena, struct store_file *ret, struct error *err)
{
	struct store_reader *reader;
	enum status status = store_take_reader(c->store, &reader, err);

	if (status != STATUS_OK)
		return status;
	status = store_get_file(reader, place->record_id, place->path, arena, ret, err);
	store_give_reader(c->store, reader);
	return status;
}

enum status file_place_open(const struct file_place *place, struct arena *arena,
			    struct store_file *ret, int *ret_fd, struct error *err)
{
	struct collection *c = place->collection;
	enum status status = STATUS_OK;

	for (int i = 0; i < OPEN_ATTEMPTS; i++) {
		status = find_row(c, place, arena, ret, err);
		if (status != STATUS_OK)
			return status;
		if (!ret->blob)
			return error_set(err, STATUS_FAILED_PRECONDITION,
					 "the content is elsewhere: %s", ret->uri);
		status = files_open(c->files, ret->blob, ret_fd, err);
		if (status != STATUS_NOT_FOUND)
			return status;
	}
	return error_set(err, STATUS_DATA_LOSS, "the content of \"%s\" is missing",
			 place->path);
}

static void send_header(struct download *d)
{
	Collector__GetFileResponse response = COLLECTOR__GET_FILE_RESPONSE__INIT;
	Collector__GetFileResponse__Header header = COLLECTOR__GET_FILE_RESPONSE__HEADER__INIT;

	header.file = file_info_of(rpc_arena(d->call), d->collection, &d->file);
	header.offset = (int64_t)d->offset;
	header.length = (int64_t)(d->end - d->offset);
	response.part_case = COLLECTOR__GET_FILE_RESPONSE__PART_HEADER;
	response.header = &header;
	d->reply(&response, d->call);
}

/* From here on the download ends itself. */
static void start(struct download *d)
{
	d->chunk = xmalloc(FILE_CHUNK_MAX_BYTES);
	d->state = PUMP_RUNNING;
	sha256_init(&d->sha256);
	pthread_mutex_init(&d->mu, NULL);
	rpc_set_user(d->call, d, drop);
	rpc_on_sent(d->call, wake, d);
	rpc_hold(d->call);
	rpc_hold(d->call);
	send_header(d);
	rpc_on_cancel(d->call, wake, d);
	run_pump(d);
}

static enum status prepare(struct repo *repo, const Collector__GetFileRequest *r,
			   struct download *d, struct error *err)
{
	const struct file_names names = {r->namespace_, r->collection_name, r->record_id,
					 r->path, false};
	struct file_place place;
	enum status status =
		file_place_find_uri(repo, d->call, r->data_uri, &names, &place, err);

	if (status != STATUS_OK)
		return status;
	d->collection = place.collection;
	status = file_place_open(&place, rpc_arena(d->call), &d->file, &d->fd, err);
	if (status == STATUS_OK) {
		status = check_range(r, &d->file, err);
		if (status == STATUS_OK)
			status = file_streams_enter(repo->file_streams, &d->stream, err);
		if (status != STATUS_OK)
			close(d->fd);
	}
	if (status != STATUS_OK)
		catalog_release(repo->catalog, place.collection);
	return status;
}

void repo_get_file(Collector__CollectionService_Service *service,
		   const Collector__GetFileRequest *request,
		   Collector__GetFileResponse_Closure reply, void *call)
{
	struct download *d = arena_zalloc(rpc_arena(call), sizeof(*d));
	struct error err = {0};

	d->stream.evict = evict;
	d->repo = repo_of_records(service);
	d->reply = reply;
	d->call = call;
	if (prepare(d->repo, request, d, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	d->offset = (uint64_t)request->offset;
	d->end = (uint64_t)d->file.size_bytes;
	if (request->length && (uint64_t)request->length < d->end - d->offset)
		d->end = d->offset + (uint64_t)request->length;
	d->is_whole = d->offset == 0 && d->end == (uint64_t)d->file.size_bytes;
	start(d);
}
