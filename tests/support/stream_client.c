#include "tests/support/stream_client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/support/metadata.h"

struct stream {
	grpc_completion_queue *queue;
	grpc_channel *channel;
	grpc_call *call;
	grpc_metadata sent[16];
	size_t sent_count;
	grpc_metadata_array headers, trailers;
	grpc_status_code code;
	grpc_slice message;
	bool headers_read, ended;
	char text[512]; /* the last header asked for */
	char on_start, on_headers, on_send, on_close, on_read, on_status; /* tags */
};

static bool wait(struct stream *s, void *tag)
{
	return grpc_completion_queue_pluck(s->queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					   NULL)
		.success;
}

static void start(struct stream *s, const grpc_op *op, void *tag)
{
	if (grpc_call_start_batch(s->call, op, 1, tag, NULL) != GRPC_CALL_OK)
		abort();
}

static grpc_arg int_arg(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_channel *open_channel(int port, const struct stream_options *options)
{
	grpc_channel_credentials *plain = grpc_insecure_credentials_create();
	grpc_arg args[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),
		int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		int_arg(GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
			options->gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE),
		int_arg(GRPC_ARG_ENABLE_RETRIES, options->service_config != NULL),
		{.type = GRPC_ARG_STRING,
		 .key = (char *)GRPC_ARG_SERVICE_CONFIG,
		 .value.string =
			 (char *)(options->service_config ? options->service_config : "{}")},
	};
	const grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};
	grpc_channel *channel;
	char target[64];

	snprintf(target, sizeof(target), "127.0.0.1:%d", port);
	channel = grpc_channel_create(target, plain, &all);
	grpc_channel_credentials_release(plain);
	return channel;
}

static void send_headers(struct stream *s, const struct stream_pair *metadata)
{
	grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};

	for (; metadata && metadata->key; metadata++) {
		if (s->sent_count == sizeof(s->sent) / sizeof(s->sent[0]))
			abort();
		s->sent[s->sent_count++] = metadata_pair(metadata->key, metadata->value);
	}
	op.data.send_initial_metadata.metadata = s->sent;
	op.data.send_initial_metadata.count = s->sent_count;
	start(s, &op, &s->on_start);
}

struct stream *stream_open(int port, const char *path, int timeout_ms,
			   const struct stream_pair *metadata)
{
	const struct stream_options options = {.timeout_ms = timeout_ms, .metadata = metadata};

	return stream_open_with(port, path, &options);
}

static gpr_timespec deadline_of(const struct stream_options *options)
{
	if (!options->timeout_ms)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis(options->timeout_ms, GPR_TIMESPAN));
}

struct stream *stream_open_with(int port, const char *path,
				const struct stream_options *options)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	grpc_slice method = grpc_slice_from_copied_string(path);
	grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	grpc_init();
	s->queue = grpc_completion_queue_create_for_pluck(NULL);
	s->channel = open_channel(port, options);
	s->message = grpc_empty_slice();
	grpc_metadata_array_init(&s->headers);
	grpc_metadata_array_init(&s->trailers);
	s->call = grpc_channel_create_call(s->channel, NULL, 0, s->queue, method, NULL,
					   deadline_of(options), NULL);
	grpc_slice_unref(method);
	send_headers(s, options->metadata);
	headers.data.recv_initial_metadata.recv_initial_metadata = &s->headers;
	start(s, &headers, &s->on_headers);
	status.data.recv_status_on_client.trailing_metadata = &s->trailers;
	status.data.recv_status_on_client.status = &s->code;
	status.data.recv_status_on_client.status_details = &s->message;
	start(s, &status, &s->on_status);
	(void)wait(s, &s->on_start);
	return s;
}

bool stream_send(struct stream *s, struct bytes message)
{
	grpc_slice slice =
		grpc_slice_from_copied_buffer((const char *)message.data, message.size);
	grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	bool sent;

	op.data.send_message.send_message = payload;
	start(s, &op, &s->on_send);
	sent = wait(s, &s->on_send);
	grpc_byte_buffer_destroy(payload);
	grpc_slice_unref(slice);
	return sent;
}

void stream_half_close(struct stream *s)
{
	grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

	start(s, &op, &s->on_close);
	(void)wait(s, &s->on_close);
}

static void read_headers(struct stream *s)
{
	if (!s->headers_read)
		(void)wait(s, &s->on_headers);
	s->headers_read = true;
}

bool stream_read(struct stream *s, struct strbuf *out)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
	grpc_byte_buffer *payload = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	read_headers(s);
	op.data.recv_message.recv_message = &payload;
	start(s, &op, &s->on_read);
	(void)wait(s, &s->on_read);
	if (!payload)
		return false;
	if (!grpc_byte_buffer_reader_init(&reader, payload))
		abort();
	slice = grpc_byte_buffer_reader_readall(&reader);
	strbuf_reset(out);
	strbuf_add(out, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
	grpc_slice_unref(slice);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(payload);
	return true;
}

void stream_cancel(struct stream *s)
{
	grpc_call_cancel(s->call, NULL);
}

enum status stream_status(struct stream *s, struct strbuf *message)
{
	read_headers(s);
	if (!s->ended)
		(void)wait(s, &s->on_status);
	s->ended = true;
	if (message) {
		strbuf_reset(message);
		strbuf_add(message, GRPC_SLICE_START_PTR(s->message),
			   GRPC_SLICE_LENGTH(s->message));
	}
	return (enum status)s->code;
}

static const char *find(struct stream *s, const grpc_metadata_array *array, const char *key)
{
	for (size_t i = 0; i < array->count; i++) {
		const grpc_metadata *m = &array->metadata[i];
		if (grpc_slice_str_cmp(m->key, key))
			continue;
		snprintf(s->text, sizeof(s->text), "%.*s", (int)GRPC_SLICE_LENGTH(m->value),
			 (const char *)GRPC_SLICE_START_PTR(m->value));
		return s->text;
	}
	return NULL;
}

const char *stream_header(struct stream *s, const char *key)
{
	read_headers(s);
	return find(s, &s->headers, key);
}

const char *stream_trailer(struct stream *s, const char *key)
{
	return find(s, &s->trailers, key);
}

void stream_describe(struct stream *s, struct strbuf *out)
{
	AUTO_STRBUF message = STRBUF_INIT;

	strbuf_addf(out, "status %d \"", (int)stream_status(s, &message));
	strbuf_add_json_escaped(out, strbuf_str(&message), message.len);
	strbuf_addstr(out, "\"\nheaders\n");
	metadata_describe(&s->headers, out);
	strbuf_addstr(out, "trailers\n");
	metadata_describe(&s->trailers, out);
}

size_t stream_trailer_count(struct stream *s)
{
	return s->trailers.count;
}

void stream_free(struct stream *s)
{
	if (!s->ended) {
		stream_cancel(s);
		(void)stream_status(s, NULL);
	}
	for (size_t i = 0; i < s->sent_count; i++) {
		grpc_slice_unref(s->sent[i].key);
		grpc_slice_unref(s->sent[i].value);
	}
	grpc_metadata_array_destroy(&s->headers);
	grpc_metadata_array_destroy(&s->trailers);
	grpc_slice_unref(s->message);
	grpc_call_unref(s->call);
	grpc_channel_destroy(s->channel);
	grpc_completion_queue_shutdown(s->queue);
	(void)grpc_completion_queue_pluck(s->queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					  NULL);
	grpc_completion_queue_destroy(s->queue);
	grpc_shutdown();
	free(s);
}

enum status stream_unary(int port, const char *path, struct bytes request,
			 const struct stream_pair *metadata, struct strbuf *reply,
			 struct strbuf *message)
{
	struct stream *s = stream_open(port, path, STREAM_TEST_TIMEOUT_MS, metadata);
	struct strbuf ignored = STRBUF_INIT;
	enum status status;

	(void)stream_send(s, request);
	stream_half_close(s);
	(void)stream_read(s, reply ? reply : &ignored);
	status = stream_status(s, message);
	stream_free(s);
	strbuf_release(&ignored);
	return status;
}
