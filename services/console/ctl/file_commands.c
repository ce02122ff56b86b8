/* Files of collections: streams of the repo, to and from files here. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/sha256.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/stream.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/session.h"

enum { CHUNK_BYTES = 1 << 20, DEFAULT_LIMIT = 100 };

/* Field numbers of the messages that are streamed. */
enum { PART_HEADER = 1, PART_CHUNK = 2 };

static const char *record_of(const struct arguments *args)
{
	const char *record = arguments_value(args, "record");

	return record ? record : "";
}

static enum status complain(const char *what, const char *path, struct error *err)
{
	return error_set(err, STATUS_INVALID_ARGUMENT, "cannot %s %s: %s", what, path,
			 strerror(errno));
}

/* ------------------------------------------------------------ put */

static void put_header(struct session *s, const struct arguments *args, struct strbuf *out)
{
	const size_t mark = wire_open(out, PART_HEADER);

	wire_add_string(out, 1, s->ns);
	wire_add_string(out, 2, args->positional[0]);
	wire_add_string(out, 3, record_of(args));
	wire_add_string(out, 4, args->positional[1]);
	if (arguments_has(args, "new"))
		wire_add_uint(out, 6, 1);
	if (arguments_has(args, "data-uri"))
		wire_add_uint(out, 7, 1);
	wire_close(out, mark);
}

/* Send what @fd gives. When the call is over before, receiving tells why. */
static enum status send_content(struct rpc_stream *stream, int fd, const char *path,
				struct sha256 *sha256, struct error *err)
{
	AUTO_FREE uint8_t *chunk = xmalloc(CHUNK_BYTES);
	AUTO_STRBUF message = STRBUF_INIT;
	ssize_t got;

	while ((got = read(fd, chunk, CHUNK_BYTES)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return complain("read", path, err);
		sha256_add(sha256, chunk, (size_t)got);
		strbuf_reset(&message);
		wire_add_bytes(&message, PART_CHUNK, bytes_of(chunk, (size_t)got));
		if (!rpc_stream_send(stream, bytes_of(message.buf, message.len)))
			break;
	}
	return STATUS_OK;
}

/* The stored file, which must be what was read here. */
static enum status check_stored(struct bytes reply, struct sha256 *sha256, struct error *err)
{
	struct bytes file = {0}, stored = {0};
	uint8_t sent[SHA256_BYTES];

	sha256_end(sha256, sent);
	(void)wire_find_bytes(reply, 2, &file);
	(void)wire_find_bytes(file, 4, &stored);
	return bytes_equal(stored, bytes_of(sent, sizeof(sent)))
		       ? STATUS_OK
		       : error_set(err, STATUS_DATA_LOSS, "stored is not what was sent");
}

static enum status put(struct session *s, const struct arguments *args, int fd,
		       struct strbuf *ret_text, struct error *err)
{
	static const char reply_type[] = "collector.PutFileResponse";
	const struct rpc_options options = session_options(s);
	AUTO_STRBUF header = STRBUF_INIT;
	struct rpc_stream *stream;
	struct sha256 sha256;
	struct bytes reply;
	bool ended = false;
	enum status status = rpc_stream_open(
		s->front_door, "/collector.CollectionService/PutFile", &options, &stream, err);

	if (status != STATUS_OK)
		return status;
	sha256_init(&sha256);
	put_header(s, args, &header);
	if (rpc_stream_send(stream, bytes_of(header.buf, header.len)))
		status = send_content(stream, fd, args->positional[2], &sha256, err);
	if (status == STATUS_OK) {
		rpc_stream_half_close(stream);
		status = rpc_stream_receive(stream, &reply, &ended, err);
	}
	if (status == STATUS_OK && ended)
		status = error_set(err, STATUS_INTERNAL, "no answer came");
	if (status == STATUS_OK)
		status = check_stored(reply, &sha256, err);
	if (status == STATUS_OK)
		status = session_render(s,
					pool_message(s->types, reply_type, strlen(reply_type)),
					reply, ret_text, err);
	rpc_stream_free(stream);
	return status;
}

static int run_put(struct session *s, const struct arguments *args)
{
	const char *path = args->positional[2];
	int fd = strcmp(path, "-") != 0 ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	AUTO_STRBUF text = STRBUF_INIT;
	struct error err;
	enum status status =
		fd < 0 ? complain("open", path, &err) : put(s, args, fd, &text, &err);

	if (fd > STDIN_FILENO)
		close(fd);
	if (status != STATUS_OK)
		return session_fail(&err);
	json_t *reply = json_loadb(text.buf, text.len, 0, NULL);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", json_text(json_object_get(reply, "file"), "dataUri"));
	json_decref(reply);
	return 0;
}

/* ------------------------------------------------------------ get */

static enum status number_of(const struct arguments *args, const char *flag, uint64_t *ret,
			     struct error *err)
{
	const char *text = arguments_value(args, flag);
	char *end;

	*ret = 0;
	if (!text)
		return STATUS_OK;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno
		       ? STATUS_OK
		       : error_field(err, flag, "'%s' is no number of bytes", text);
}

static enum status get_request(struct session *s, const struct arguments *args,
			       struct strbuf *out, struct error *err)
{
	const bool is_uri = args->count == 1;
	uint64_t offset, length;
	enum status status = number_of(args, "offset", &offset, err);

	if (status == STATUS_OK)
		status = number_of(args, "length", &length, err);
	if (status != STATUS_OK)
		return status;
	if (is_uri) {
		wire_add_string(out, 5, args->positional[0]);
	} else {
		wire_add_string(out, 1, s->ns);
		wire_add_string(out, 2, args->positional[0]);
		wire_add_string(out, 3, record_of(args));
		wire_add_string(out, 4, args->positional[1]);
	}
	wire_add_uint(out, 6, offset);
	wire_add_uint(out, 7, length);
	return STATUS_OK;
}

static enum status write_all(int fd, struct bytes data, const char *path, struct error *err)
{
	while (data.size) {
		ssize_t written = write(fd, data.data, data.size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return complain("write", path, err);
		data = bytes_of(data.data + written, data.size - (size_t)written);
	}
	return STATUS_OK;
}

static enum status get(struct session *s, struct bytes request, int fd, const char *path,
		       struct error *err)
{
	const struct rpc_options options = session_options(s);
	struct rpc_stream *stream;
	struct bytes message;
	bool ended = false;
	enum status status = rpc_stream_open(
		s->front_door, "/collector.CollectionService/GetFile", &options, &stream, err);

	if (status != STATUS_OK)
		return status;
	if (rpc_stream_send(stream, request))
		rpc_stream_half_close(stream);
	while (status == STATUS_OK && !ended) {
		struct bytes chunk;

		status = rpc_stream_receive(stream, &message, &ended, err);
		if (status == STATUS_OK && !ended &&
		    wire_find_bytes(message, PART_CHUNK, &chunk))
			status = write_all(fd, chunk, path, err);
	}
	rpc_stream_free(stream);
	return status;
}

/* Into a file beside @path, which takes its place when all of it has come. */
static enum status get_to_file(struct session *s, struct bytes request, const char *path,
			       struct error *err)
{
	AUTO_FREE char *part = xasprintf("%s.part", path);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	enum status status;

	if (fd < 0)
		return complain("create", part, err);
	status = get(s, request, fd, part, err);
	if (close(fd) != 0 && status == STATUS_OK)
		status = complain("write", part, err);
	if (status == STATUS_OK && rename(part, path) != 0)
		status = complain("rename to", path, err);
	if (status != STATUS_OK)
		(void)unlink(part); /* the first error counts */
	return status;
}

static int run_get(struct session *s, const struct arguments *args)
{
	const char *output = arguments_value(args, "to");
	AUTO_STRBUF request = STRBUF_INIT;
	struct error err;
	enum status status = get_request(s, args, &request, &err);
	const struct bytes bytes = bytes_of(request.buf, request.len);

	if (status == STATUS_OK)
		status = output ? get_to_file(s, bytes, output, &err)
				: get(s, bytes, STDOUT_FILENO, "standard output", &err);
	return status == STATUS_OK ? 0 : session_fail(&err);
}

/* ------------------------------------------------------------ list and delete */

static void print_files(const json_t *files)
{
	static const char *const columns[] = {"RECORD", "PATH", "BYTES", "UPDATED", NULL};
	struct table *t = table_new(columns);
	json_t *file;
	size_t i;

	json_array_foreach(files, i, file)
	{
		const char *size = json_text(file, "sizeBytes");

		table_add(t, json_text(file, "recordId"));
		table_add(t, json_text(file, "path"));
		table_add(t, *size ? size : "0");
		table_add(t, json_text(json_object_get(file, "metadata"), "updatedAt"));
	}
	table_print(t, "no files");
}

static int run_list(struct session *s, const struct arguments *args)
{
	const char *limit = arguments_value(args, "limit");
	json_t *all;
	struct error err;

	if (paging_collect(s, "/collector.CollectionService/ListFiles",
			   json_pack("{s:s, s:s, s:s, s:b, s:s}", "namespace", s->ns,
				     "collectionName", args->positional[0], "recordId",
				     record_of(args), "allRecords",
				     arguments_has(args, "all-records"), "prefix",
				     args->count > 1 ? args->positional[1] : ""),
			   "files", limit ? strtoul(limit, NULL, 10) : DEFAULT_LIMIT, &all,
			   &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(all);
	else
		print_files(json_object_get(all, "files"));
	json_decref(all);
	return 0;
}

static int run_delete(struct session *s, const struct arguments *args)
{
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectionService/DeleteFile",
			 json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "namespace", s->ns,
				   "collectionName", args->positional[0], "recordId",
				   record_of(args), "path", args->positional[1], "recursive",
				   arguments_has(args, "recursive"), "mustExist", 1),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s deleted\n", json_text(reply, "filesDeleted"));
	json_decref(reply);
	return 0;
}

#define RECORD_FLAG                                                                            \
	{                                                                                      \
		"record", 'r', "ID", "a file of this record, not of the collection"            \
	}

static const struct flag put_flags[] = {
	RECORD_FLAG,
	{"new", 0, NULL, "fail if there is such a file"},
	{"data-uri", 0, NULL, "make it the record's data_uri"},
	{NULL, 0, NULL, NULL},
};
static const struct flag get_flags[] = {
	RECORD_FLAG,
	{"to", 0, "FILE", "where to; standard output without it"},
	{"offset", 0, "BYTES", "where to begin"},
	{"length", 0, "BYTES", "how much; all to the end without it"},
	{NULL, 0, NULL, NULL},
};
static const struct flag list_flags[] = {
	RECORD_FLAG,
	{"all-records", 0, NULL, "files of the collection and of all its records"},
	{"limit", 0, "N", "at most so many (100); 0: all"},
	{NULL, 0, NULL, NULL},
};
static const struct flag delete_flags[] = {
	RECORD_FLAG,
	{"recursive", 0, NULL, "the path is a directory: all in it"},
	{NULL, 0, NULL, NULL},
};

const struct command file_commands[] = {
	{"file", "put", "COLLECTION PATH FILE", "store a file; - is standard input", NULL,
	 put_flags, 3, 3, run_put},
	{"file", "get", "COLLECTION PATH | URI", "fetch a file or a part of it", NULL,
	 get_flags, 1, 2, run_get},
	{"file", "list", "COLLECTION [PREFIX]", "list files by record and path", NULL,
	 list_flags, 1, 2, run_list},
	{"file", "delete", "COLLECTION PATH", "delete a file or a directory", NULL,
	 delete_flags, 2, 2, run_delete},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
