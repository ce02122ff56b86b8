/*
 * Any bytes as a message: validate, normalize, and both forms of JSON, which must
 * agree with each other and with SQLite about every input. The first byte is the
 * type.
 */
#include <sqlite3.h>
#include <stdlib.h>

#include "common/base/status.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/wire.h"
#include "tests/fuzz/fuzz.h"

static struct error err;

/* SQLite's verdict on a document, and whether it is the text's. */
static void check_jsonb(const struct strbuf *jsonb, const struct strbuf *text)
{
	static sqlite3_stmt *statement;
	sqlite3 *db;

	if (!statement) {
		FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK, NULL, NULL);
		FUZZ_CHECK(sqlite3_prepare_v2(db,
					      "SELECT json_valid(?1, 8), json(?1) = json(?2)",
					      -1, &statement, NULL) == SQLITE_OK,
			   NULL, NULL);
	}
	sqlite3_bind_blob(statement, 1, jsonb->buf, (int)jsonb->len, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, text->buf, (int)text->len, SQLITE_STATIC);
	FUZZ_CHECK(sqlite3_step(statement) == SQLITE_ROW, NULL, text);
	FUZZ_CHECK(sqlite3_column_int(statement, 0), NULL, text);
	FUZZ_CHECK(sqlite3_column_int(statement, 1), NULL, text);
	sqlite3_reset(statement);
}

/* The same outcome in both forms; true: there is one. */
static bool both_forms(const struct pool_message *m, struct bytes message, unsigned flags,
		       struct strbuf *text)
{
	AUTO_STRBUF jsonb = STRBUF_INIT;
	const enum status t = wire_to_json(fuzz_pool(), m, message, flags, text, &err);
	const enum status b = wire_to_jsonb(fuzz_pool(), m, message, flags, &jsonb, &err);

	FUZZ_CHECK(t == b, &err, text);
	if (t == STATUS_OK)
		check_jsonb(&jsonb, text);
	return t == STATUS_OK;
}

/* What was printed says, read and printed again, the same. */
static void check_round_trip(const struct pool_message *m, const struct strbuf *text)
{
	AUTO_STRBUF wire = STRBUF_INIT, again = STRBUF_INIT;

	FUZZ_CHECK(json_to_wire(fuzz_pool(), m, text->buf, text->len, 0, &wire, &err) ==
			   STATUS_OK,
		   &err, text);
	FUZZ_CHECK(wire_validate(fuzz_pool(), m, fuzz_written(&wire), 0, &err) == STATUS_OK,
		   &err, text);
	FUZZ_CHECK(wire_to_json(fuzz_pool(), m, fuzz_written(&wire), 0, &again, &err) ==
			   STATUS_OK,
		   &err, text);
	/* A NullValue that is not 0 is null, which says 0, the default. */
	if (strstr(text->buf, ":null"))
		return;
	FUZZ_CHECK(bytes_equal(fuzz_written(&again), fuzz_written(text)), NULL, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned more_flags[] = {
		JSON_OUT_SEARCH, JSON_OUT_DEFAULTS | JSON_OUT_LENIENT,
		JSON_OUT_PROTO_NAMES | JSON_OUT_LENIENT | JSON_OUT_SCALAR_DEFAULTS};
	struct bytes message = bytes_of(data, size);
	const struct pool_message *m = fuzz_type(fuzz_take_byte(&message));
	AUTO_STRBUF normal = STRBUF_INIT, twice = STRBUF_INIT, canonical = STRBUF_INIT;
	const bool valid = wire_validate(fuzz_pool(), m, message, 0, &err) == STATUS_OK;

	FUZZ_CHECK((wire_normalize(fuzz_pool(), m, message, &normal, &err) == STATUS_OK) ==
			   valid,
		   &err, NULL);
	for (size_t i = 0; i < sizeof(more_flags) / sizeof(*more_flags); i++) {
		AUTO_STRBUF text = STRBUF_INIT;
		/* Names in JSONB are json_names, whatever the flags say. */
		if (more_flags[i] & JSON_OUT_PROTO_NAMES)
			FUZZ_CHECK((wire_to_json(fuzz_pool(), m, message, more_flags[i], &text,
						 &err) == STATUS_OK) == valid,
				   &err, &text);
		else
			FUZZ_CHECK(both_forms(m, message, more_flags[i], &text) == valid, &err,
				   &text);
	}
	if (both_forms(m, message, 0, &canonical)) {
		FUZZ_CHECK(valid, NULL, &canonical);
		check_round_trip(m, &canonical);
	}
	if (!valid)
		return 0;
	FUZZ_CHECK(wire_normalize(fuzz_pool(), m, fuzz_written(&normal), &twice, &err) ==
			   STATUS_OK,
		   &err, NULL);
	FUZZ_CHECK(bytes_equal(fuzz_written(&normal), fuzz_written(&twice)), NULL, &canonical);
	return 0;
}
