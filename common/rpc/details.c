#include "common/rpc/details.h"

#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/wire.h"

#define ERROR_INFO_URL           "type.googleapis.com/google.rpc.ErrorInfo"
#define BAD_REQUEST_URL          "type.googleapis.com/google.rpc.BadRequest"
#define PRECONDITION_FAILURE_URL "type.googleapis.com/google.rpc.PreconditionFailure"

/* Field numbers of google/rpc/status.proto, error_details.proto and any.proto. */
enum {
	STATUS_CODE = 1,
	STATUS_MESSAGE = 2,
	STATUS_DETAILS = 3,
	ANY_TYPE_URL = 1,
	ANY_VALUE = 2,
	ERROR_INFO_REASON = 1,
	ERROR_INFO_DOMAIN = 2,
	ERROR_INFO_METADATA = 3,
	MAP_KEY = 1,
	MAP_VALUE = 2,
	BAD_REQUEST_VIOLATIONS = 1,
	VIOLATION_FIELD = 1,
	VIOLATION_DESCRIPTION = 2,
	PRECONDITION_VIOLATIONS = 1,
	PRECONDITION_TYPE = 1,
	PRECONDITION_SUBJECT = 2,
	PRECONDITION_DESCRIPTION = 3,
};

static void write_error_info(const struct error *err, const char *request_id,
			     struct strbuf *out)
{
	size_t any = wire_open(out, STATUS_DETAILS), value, entry;

	wire_add_string(out, ANY_TYPE_URL, ERROR_INFO_URL);
	value = wire_open(out, ANY_VALUE);
	wire_add_string(out, ERROR_INFO_REASON, status_name(err->status));
	wire_add_string(out, ERROR_INFO_DOMAIN, "collector");
	entry = wire_open(out, ERROR_INFO_METADATA);
	wire_add_string(out, MAP_KEY, "request_id");
	wire_add_string(out, MAP_VALUE, request_id);
	wire_close(out, entry);
	wire_close(out, value);
	wire_close(out, any);
}

static void write_bad_request(const struct error *err, struct strbuf *out)
{
	size_t any = wire_open(out, STATUS_DETAILS), value, violation;

	wire_add_string(out, ANY_TYPE_URL, BAD_REQUEST_URL);
	value = wire_open(out, ANY_VALUE);
	violation = wire_open(out, BAD_REQUEST_VIOLATIONS);
	wire_add_string(out, VIOLATION_FIELD, err->field);
	wire_add_string(out, VIOLATION_DESCRIPTION, err->message);
	wire_close(out, violation);
	wire_close(out, value);
	wire_close(out, any);
}

/* As bytes of UTF-8, which the message's strings must be. */
static void add_text(struct strbuf *out, uint32_t field, const char *text)
{
	wire_add_string(out, field, utf8_valid(text, strlen(text)) ? text : "?");
}

static void write_violations(const struct rpc_violation *violations, size_t count,
			     struct strbuf *out)
{
	size_t any = wire_open(out, STATUS_DETAILS), value;

	wire_add_string(out, ANY_TYPE_URL, PRECONDITION_FAILURE_URL);
	value = wire_open(out, ANY_VALUE);
	for (size_t i = 0; i < count; i++) {
		const size_t before = out->len;
		size_t violation = wire_open(out, PRECONDITION_VIOLATIONS);

		add_text(out, PRECONDITION_TYPE, violations[i].type);
		add_text(out, PRECONDITION_SUBJECT, violations[i].subject);
		add_text(out, PRECONDITION_DESCRIPTION, violations[i].description);
		wire_close(out, violation);
		if (out->len - any > RPC_DETAILS_MAX_VIOLATION_BYTES) {
			strbuf_truncate(out, before);
			break;
		}
	}
	wire_close(out, value);
	wire_close(out, any);
}

void rpc_details_write(const struct error *err, const struct rpc_violation *violations,
		       size_t count, const char *request_id, struct strbuf *out)
{
	wire_add_uint(out, STATUS_CODE, (uint64_t)err->status);
	wire_add_string(out, STATUS_MESSAGE, err->message);
	write_error_info(err, request_id, out);
	if (err->field[0])
		write_bad_request(err, out);
	if (count)
		write_violations(violations, count, out);
}

static bool is_bad_request(struct bytes any, struct bytes *ret_value)
{
	struct bytes url;

	return wire_find_bytes(any, ANY_TYPE_URL, &url) &&
	       bytes_equal(url, bytes_of_string(BAD_REQUEST_URL)) &&
	       wire_find_bytes(any, ANY_VALUE, ret_value);
}

void rpc_details_read(struct bytes details, struct error *err)
{
	struct wire_cursor c = wire_cursor_of(details);
	struct bytes value, violation, field;
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.number != STATUS_DETAILS || f.type != WIRE_BYTES ||
		    !is_bad_request(f.data, &value) ||
		    !wire_find_bytes(value, BAD_REQUEST_VIOLATIONS, &violation) ||
		    !wire_find_bytes(violation, VIOLATION_FIELD, &field) ||
		    !utf8_valid((const char *)field.data, field.size))
			continue;
		if (field.size >= sizeof(err->field))
			field.size = utf8_cut((const char *)field.data, sizeof(err->field) - 1);
		memcpy(err->field, field.data, field.size);
		err->field[field.size] = '\0';
		return;
	}
}
