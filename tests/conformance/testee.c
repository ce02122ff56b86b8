/*
 * What Google's conformance runner drives: reads requests from standard input,
 * answers on standard output, both as a 32-bit little-endian length and a
 * message (conformance/conformance.proto). Arguments: the descriptor sets of the
 * test messages.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* ConformanceRequest's and ConformanceResponse's fields and enums. */
enum {
	REQUEST_PROTOBUF = 1,
	REQUEST_JSON = 2,
	REQUEST_FORMAT = 3,
	REQUEST_TYPE = 4,
	REQUEST_CATEGORY = 5,
	REQUEST_JSPB = 7,
	REQUEST_TEXT = 8,
	FORMAT_PROTOBUF = 1,
	FORMAT_JSON = 2,
	CATEGORY_JSON_IGNORE_UNKNOWN = 3,
	RESPONSE_PARSE_ERROR = 1,
	RESPONSE_PROTOBUF = 3,
	RESPONSE_JSON = 4,
	RESPONSE_SKIPPED = 5,
	RESPONSE_SERIALIZE_ERROR = 6,
	MAX_REQUEST_BYTES = 64 << 20,
};

struct request {
	uint32_t payload_field;
	struct bytes payload, type;
	uint64_t format, category;
};

static bool read_all(void *to, size_t size)
{
	char *p = to;

	while (size) {
		ssize_t n = read(STDIN_FILENO, p, size);
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

static void write_all(const void *from, size_t size)
{
	const char *p = from;

	while (size) {
		ssize_t n = write(STDOUT_FILENO, p, size);
		if (n <= 0)
			exit(1);
		p += n;
		size -= (size_t)n;
	}
}

static struct request parse(struct bytes message)
{
	struct request r = {.format = 0};
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.number == REQUEST_TYPE)
			r.type = f.data;
		else if (f.number == REQUEST_FORMAT)
			r.format = f.value;
		else if (f.number == REQUEST_CATEGORY)
			r.category = f.value;
		else if (f.number == REQUEST_PROTOBUF || f.number == REQUEST_JSON ||
			 f.number == REQUEST_JSPB || f.number == REQUEST_TEXT) {
			r.payload_field = f.number;
			r.payload = f.data;
		}
	}
	return r;
}

static void answer(struct strbuf *out, uint32_t field, const char *text)
{
	wire_add_string(out, field, text);
}

/* Into normal wire bytes: what a parser would write back. */
static enum status read_payload(const struct pool *pool, const struct pool_message *type,
				const struct request *r, struct strbuf *out, struct error *err)
{
	unsigned flags =
		r->category == CATEGORY_JSON_IGNORE_UNKNOWN ? JSON_IN_IGNORE_UNKNOWN : 0;

	if (r->payload_field == REQUEST_JSON)
		return json_to_wire(pool, type, (const char *)r->payload.data, r->payload.size,
				    flags, out, err);
	return wire_normalize(pool, type, r->payload, out, err);
}

static void handle(const struct pool *pool, const struct request *r, struct strbuf *out)
{
	const struct pool_message *type =
		pool_message(pool, (const char *)r->type.data, r->type.size);
	AUTO_STRBUF wire = STRBUF_INIT;
	AUTO_STRBUF json = STRBUF_INIT;
	struct error err;

	if (bytes_equal(r->type, bytes_of_string("conformance.FailureSet"))) {
		wire_add_bytes(out, RESPONSE_PROTOBUF, bytes_of("", 0));
		return;
	}
	if (!type || (r->format != FORMAT_PROTOBUF && r->format != FORMAT_JSON) ||
	    (r->payload_field != REQUEST_PROTOBUF && r->payload_field != REQUEST_JSON)) {
		answer(out, RESPONSE_SKIPPED, "neither binary nor JSON");
		return;
	}
	if (read_payload(pool, type, r, &wire, &err) != STATUS_OK) {
		answer(out, RESPONSE_PARSE_ERROR, err.message);
	} else if (r->format == FORMAT_PROTOBUF) {
		wire_add_bytes(out, RESPONSE_PROTOBUF, bytes_of(wire.buf, wire.len));
	} else if (wire_to_json(pool, type, bytes_of(wire.buf, wire.len), 0, &json, &err) !=
		   STATUS_OK) {
		answer(out, RESPONSE_SERIALIZE_ERROR, err.message);
	} else {
		wire_add_bytes(out, RESPONSE_JSON, bytes_of(json.buf, json.len));
	}
}

static struct pool *load(struct pool *pool, const char *path)
{
	AUTO_STRBUF set = STRBUF_INIT;
	FILE *f = fopen(path, "rb");
	struct pool *more;
	struct error err;
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	do {
		strbuf_grow(&set, 1 << 16);
		n = fread(set.buf + set.len, 1, 1 << 16, f);
		set.len += n;
	} while (n);
	fclose(f);
	if (pool_extend_set(pool, bytes_of(set.buf, set.len), &more, &err) != STATUS_OK) {
		fprintf(stderr, "%s: %s: %s\n", path, err.field, err.message);
		exit(2);
	}
	pool_unref(pool);
	return more;
}

int main(int argc, char **argv)
{
	struct pool *pool = pool_new();
	AUTO_STRBUF in = STRBUF_INIT;
	AUTO_STRBUF out = STRBUF_INIT;
	uint32_t size;

	for (int i = 1; i < argc; i++)
		pool = load(pool, argv[i]);
	while (read_all(&size, sizeof(size)) && size <= MAX_REQUEST_BYTES) {
		strbuf_reset(&in);
		strbuf_reset(&out);
		strbuf_grow(&in, size);
		if (!read_all(in.buf, size))
			break;
		struct request r = parse(bytes_of(in.buf, size));
		handle(pool, &r, &out);
		size = (uint32_t)out.len;
		write_all(&size, sizeof(size));
		write_all(strbuf_str(&out), out.len);
	}
	pool_unref(pool);
	return 0;
}
