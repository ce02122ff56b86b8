#include "services/registry/reflector.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/utf8.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "common/rpc/stream.h"

/* The field numbers of ServerReflectionResponse, and of its ErrorResponse. */
enum {
	ANSWER_FILES = 4,
	ANSWER_EXTENSIONS = 5,
	ANSWER_SERVICES = 6,
	ANSWER_ERROR = 7,
	ERROR_CODE = 1,
	ERROR_MESSAGE = 2,
};

/* In the order in which they are tried. */
static const char *const versions[] = {
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
};
enum { VERSION_COUNT = sizeof(versions) / sizeof(versions[0]) };

struct reflector {
	struct rpc_channel *channel;
	const struct rpc_options *options;
	struct rpc_stream *stream; /* NULL: not open */
	int version;               /* of the stream */
	bool has_answered;         /* so that it has the version */
};

struct reflector *reflector_new(struct rpc_channel *channel, const struct rpc_options *options)
{
	struct reflector *r = xcalloc(1, sizeof(*r));

	r->channel = channel;
	r->options = options;
	return r;
}

void reflector_free(struct reflector *r)
{
	if (!r)
		return;
	rpc_stream_free(r->stream);
	free(r);
}

const char *reflector_show(struct bytes told, char out[REFLECTOR_SHOWN_BYTES])
{
	const size_t most = REFLECTOR_SHOWN_BYTES - 1;
	size_t n = told.size > most ? utf8_cut((const char *)told.data, most) : told.size;
	const bool is_text = !n || utf8_valid((const char *)told.data, n);

	for (size_t i = 0; i < n; i++) {
		const uint8_t c = told.data[i];
		out[i] = c < ' ' || c == 127 || (c > 127 && !is_text) ? '?' : (char)c;
	}
	out[n] = '\0';
	return out;
}

/* The server's own codes are no codes of our call: who calls us is not to blame. */
static enum status fail(const struct reflector *r, enum status status, struct error *err)
{
	const struct error told = *err;
	char shown[REFLECTOR_SHOWN_BYTES];

	switch ((int)status) {
	case STATUS_UNAVAILABLE:
	case STATUS_DEADLINE_EXCEEDED:
	case STATUS_CANCELLED:
	case STATUS_RESOURCE_EXHAUSTED:
		break;
	case STATUS_UNIMPLEMENTED:
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the server at %s has no reflection",
				 rpc_channel_target(r->channel));
	default:
		status = STATUS_FAILED_PRECONDITION;
	}
	return error_set(err, status, "reflection of %s: %s: %s",
			 rpc_channel_target(r->channel), status_name(told.status),
			 reflector_show(bytes_of_string(told.message), shown));
}

static enum status break_off(const struct reflector *r, const char *what, struct error *err)
{
	return error_set(err, STATUS_FAILED_PRECONDITION, "reflection of %s: %s",
			 rpc_channel_target(r->channel), what);
}

/* The code of an ErrorResponse; anything may be in it. */
static enum status code_of(struct bytes refusal)
{
	struct wire_cursor c = wire_cursor_of(refusal);
	enum status code = STATUS_UNKNOWN;
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == ERROR_CODE && f.type == WIRE_VARINT && f.value &&
		    f.value <= STATUS_UNAUTHENTICATED)
			code = (enum status)f.value;
	return code;
}

static enum status tell_refusal(const struct reflector *r, struct bytes refusal,
				struct error *err)
{
	char shown[REFLECTOR_SHOWN_BYTES];
	struct bytes message = {0};

	(void)wire_find_bytes(refusal, ERROR_MESSAGE, &message);
	return error_set(err, STATUS_NOT_FOUND, "reflection of %s: %s: %s",
			 rpc_channel_target(r->channel), status_name(code_of(refusal)),
			 reflector_show(message, shown));
}

/* Which of its answers @message is, and its content. 0: none. */
static uint32_t take_answer(struct bytes message, struct bytes *ret_content)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	uint32_t kind = 0;

	while (wire_next(&c, &f)) {
		if (f.number < ANSWER_FILES || f.number > ANSWER_ERROR || f.type != WIRE_BYTES)
			continue;
		kind = f.number;
		*ret_content = f.data;
	}
	return c.malformed ? 0 : kind;
}

static enum status send_and_receive(struct reflector *r, struct bytes request,
				    struct bytes *ret_message, bool *ret_ended,
				    struct error *err)
{
	if (!r->stream) {
		enum status status = rpc_stream_open(r->channel, versions[r->version],
						     r->options, &r->stream, err);
		if (status != STATUS_OK)
			return status;
	}
	/* Should it not go out, receiving tells why. */
	(void)rpc_stream_send(r->stream, request);
	return rpc_stream_receive(r->stream, ret_message, ret_ended, err);
}

/* The server's next message, whatever is in it. */
static enum status exchange(struct reflector *r, struct bytes request,
			    struct bytes *ret_message, struct error *err)
{
	bool ended = false;
	enum status status = send_and_receive(r, request, ret_message, &ended, err);

	while (status == STATUS_UNIMPLEMENTED && !r->has_answered &&
	       r->version + 1 < VERSION_COUNT) {
		rpc_stream_free(r->stream);
		r->stream = NULL;
		r->version++;
		status = send_and_receive(r, request, ret_message, &ended, err);
	}
	if (status != STATUS_OK)
		return fail(r, status, err);
	if (ended)
		return break_off(r, "the server ended the stream without an answer", err);
	r->has_answered = true;
	return STATUS_OK;
}

static uint32_t answer_to(enum reflector_question question)
{
	switch (question) {
	case REFLECTOR_SERVICES:
		return ANSWER_SERVICES;
	case REFLECTOR_EXTENSIONS:
		return ANSWER_EXTENSIONS;
	case REFLECTOR_FILE:
	case REFLECTOR_SYMBOL:
	case REFLECTOR_EXTENSION:
	default:
		return ANSWER_FILES;
	}
}

enum status reflector_ask(struct reflector *r, enum reflector_question question,
			  struct bytes about, struct bytes *ret_answer, struct error *err)
{
	AUTO_STRBUF request = STRBUF_INIT;
	struct bytes message, content;
	enum status status;
	uint32_t kind;

	wire_add_bytes(&request, question, about);
	status = exchange(r, bytes_of(request.buf, request.len), &message, err);
	if (status != STATUS_OK)
		return status;
	kind = take_answer(message, &content);
	if (kind == ANSWER_ERROR)
		return tell_refusal(r, content, err);
	if (kind != answer_to(question))
		return break_off(r, "the server answered something else than it was asked",
				 err);
	*ret_answer = content;
	return STATUS_OK;
}
