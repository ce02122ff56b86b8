/*
 * Any text as a message: what is accepted must be a valid message, print, and
 * say the same when it is read again. The first byte is the type, the second the
 * flags.
 */
#include "common/base/status.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/wire.h"
#include "tests/fuzz/fuzz.h"

static struct error err;

static void normalize(const struct pool_message *m, const struct strbuf *wire,
		      struct strbuf *out, const struct strbuf *shown)
{
	FUZZ_CHECK(wire_normalize(fuzz_pool(), m, fuzz_written(wire), out, &err) == STATUS_OK,
		   &err, shown);
}

/* A number that NullValue does not have is printed as null: that is all that may be lost. */
static void check_lost_null(const struct pool_message *m, const struct strbuf *text,
			    const struct strbuf *again)
{
	AUTO_STRBUF same = STRBUF_INIT;

	FUZZ_CHECK(strstr(strbuf_str(text), "null"), NULL, text);
	FUZZ_CHECK(wire_to_json(fuzz_pool(), m, fuzz_written(again), 0, &same, &err) ==
			   STATUS_OK,
		   &err, text);
	FUZZ_CHECK(bytes_equal(fuzz_written(text), fuzz_written(&same)), NULL, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	const struct pool_message *m = fuzz_type(fuzz_take_byte(&in));
	const unsigned flags = fuzz_take_byte(&in) & JSON_IN_IGNORE_UNKNOWN;
	AUTO_STRBUF wire = STRBUF_INIT, text = STRBUF_INIT, again = STRBUF_INIT;
	AUTO_STRBUF first = STRBUF_INIT, second = STRBUF_INIT;

	if (json_to_wire(fuzz_pool(), m, (const char *)in.data, in.size, flags, &wire, &err) !=
	    STATUS_OK) {
		FUZZ_CHECK(wire.len == 0 && err.status == STATUS_INVALID_ARGUMENT, &err, NULL);
		FUZZ_CHECK(!strncmp(err.message, "line ", 5), &err, NULL);
		return 0;
	}
	FUZZ_CHECK(wire_validate(fuzz_pool(), m, fuzz_written(&wire), 0, &err) == STATUS_OK,
		   &err, NULL);
	FUZZ_CHECK(wire_to_json(fuzz_pool(), m, fuzz_written(&wire), 0, &text, &err) ==
			   STATUS_OK,
		   &err, NULL);
	FUZZ_CHECK(json_to_wire(fuzz_pool(), m, text.buf, text.len, 0, &again, &err) ==
			   STATUS_OK,
		   &err, &text);
	normalize(m, &wire, &first, &text);
	normalize(m, &again, &second, &text);
	if (!bytes_equal(fuzz_written(&first), fuzz_written(&second)))
		check_lost_null(m, &text, &again);
	return 0;
}
