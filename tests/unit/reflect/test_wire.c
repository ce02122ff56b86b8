#include "common/reflect/wire.h"

#include <stdlib.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/scan.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static const char source[] =
	"syntax = \"proto2\";\n"
	"package t;\n"
	"message M {\n"
	"  enum Closed { ZERO = 0; ONE = 1; }\n"
	"  optional Closed single = 1; repeated Closed list = 2;\n"
	"  repeated Closed packed = 3 [packed = true]; map<string, Closed> map = 4;\n"
	"  optional M child = 5; map<string, M> by_name = 6; repeated M children = 7;\n"
	"  optional string text = 8; repeated Long names = 9 [packed = true];\n"
	"  optional group G = 10 { optional M inner = 1; }\n"
	"}\n"
	"enum Long { A_VALUE_WITH_A_NAME_THAT_TAKES_A_LOT_MORE_ROOM_THAN_ITS_NUMBER = 0; }\n";

static struct pool *pool;
static const struct pool_message *type;
static struct error err;

static void setup(void)
{
	pool = fixture_pool(source);
	type = pool_message(pool, "t.M", 3);
}

static void teardown(void)
{
	pool_unref(pool);
}

static struct bytes written(const struct strbuf *sb)
{
	return bytes_of(strbuf_str(sb), sb->len);
}

/* ------------------------------------------------------------- normalize */

static void normalize(struct bytes message, struct strbuf *out)
{
	ck_assert_msg(wire_normalize(pool, type, message, out, &err) == STATUS_OK, "%s",
		      err.message);
}

/* Unknown values of closed enums, of lists and of maps too, come after all that is known. */
START_TEST(unknown_values_come_last_and_stay_there)
{
	static const char message[] = "\x08\x03"                  /* single: 3 */
				      "\x10\x03\x10\x01"          /* list: 3, 1 */
				      "\x1a\x02\x03\x01"          /* packed: 3, 1 */
				      "\x22\x05\x0a\x01k\x10\x07" /* map: k -> 7 */
				      "\x42\x01x";                /* text */
	static const char expected[] = "\x10\x01"
				       "\x1a\x01\x01"
				       "\x42\x01x"
				       "\x08\x03"
				       "\x10\x03"
				       "\x18\x03"
				       "\x22\x05\x0a\x01k\x10\x07";
	AUTO_STRBUF once = STRBUF_INIT, twice = STRBUF_INIT;

	normalize(bytes_of(message, sizeof(message) - 1), &once);
	ck_assert_uint_eq(once.len, sizeof(expected) - 1);
	ck_assert_mem_eq(once.buf, expected, once.len);
	normalize(written(&once), &twice);
	ck_assert(bytes_equal(written(&once), written(&twice)));
}
END_TEST

/* A map of none but unknown values is no map to JSON, as such a list is no list. */
START_TEST(unknown_values_are_nothing_to_json)
{
	static const char message[] = "\x1a\x01\x03"
				      "\x22\x05\x0a\x01k\x10\x07";
	AUTO_STRBUF text = STRBUF_INIT, all = STRBUF_INIT;
	const struct bytes bytes = bytes_of(message, sizeof(message) - 1);

	ck_assert_int_eq(wire_to_json(pool, type, bytes, 0, &text, &err), STATUS_OK);
	ck_assert_str_eq(text.buf, "{}");
	ck_assert_int_eq(wire_to_json(pool, type, bytes, JSON_OUT_EMPTY_LISTS, &all, &err),
			 STATUS_OK);
	ck_assert_ptr_nonnull(strstr(all.buf, "\"map\":{}"));
}
END_TEST

/* Of an entry with several values the last is its own, and decides. */
START_TEST(the_last_value_of_an_entry_counts)
{
	static const char message[] = "\x22\x07\x0a\x01k\x10\x07\x10\x01"
				      "\x22\x07\x0a\x01m\x10\x01\x10\x07";
	static const char expected[] = "\x22\x05\x0a\x01k\x10\x01"
				       "\x22\x07\x0a\x01m\x10\x01\x10\x07";
	AUTO_STRBUF normal = STRBUF_INIT, text = STRBUF_INIT;
	const struct bytes bytes = bytes_of(message, sizeof(message) - 1);

	normalize(bytes, &normal);
	ck_assert(bytes_equal(written(&normal), bytes_of(expected, sizeof(expected) - 1)));
	ck_assert_int_eq(wire_to_json(pool, type, bytes, 0, &text, &err), STATUS_OK);
	ck_assert_str_eq(text.buf, "{\"map\":{\"k\":\"ONE\"}}");
}
END_TEST

/* ----------------------------------------------------------------- depth */

static void wrap(struct strbuf *message, uint32_t field, bool is_map)
{
	AUTO_STRBUF entry = STRBUF_INIT, outer = STRBUF_INIT;

	if (is_map) {
		wire_add_string(&entry, 1, "k");
		wire_add_bytes(&entry, 2, written(message));
	} else {
		strbuf_add(&entry, message->buf, message->len);
	}
	wire_add_bytes(&outer, field, written(&entry));
	strbuf_reset(message);
	strbuf_add(message, outer.buf, outer.len);
}

/* All that walk a message end at the same depth. */
static void check_depth(const struct strbuf *message, bool fits)
{
	const struct bytes bytes = written(message);
	AUTO_STRBUF normal = STRBUF_INIT, text = STRBUF_INIT, jsonb = STRBUF_INIT;
	AUTO_STRBUF wire = STRBUF_INIT;
	const enum status expected = fits ? STATUS_OK : STATUS_INVALID_ARGUMENT;

	ck_assert_int_eq(wire_validate(pool, type, bytes, 0, &err), expected);
	ck_assert_int_eq(wire_normalize(pool, type, bytes, &normal, &err), expected);
	ck_assert_int_eq(wire_to_json(pool, type, bytes, 0, &text, &err), expected);
	ck_assert_int_eq(wire_to_jsonb(pool, type, bytes, JSON_OUT_SEARCH, &jsonb, &err),
			 expected);
	if (!fits)
		return;
	ck_assert_int_eq(json_to_wire(pool, type, text.buf, text.len, 0, &wire, &err),
			 STATUS_OK);
	ck_assert(bytes_equal(written(&normal), written(&wire)));
}

static void check_levels(uint32_t field, bool is_map, int levels_each)
{
	AUTO_STRBUF message = STRBUF_INIT;

	for (int depth = 0; depth < WIRE_MAX_DEPTH; depth += levels_each)
		wrap(&message, field, is_map);
	check_depth(&message, true);
	wrap(&message, field, is_map);
	check_depth(&message, false);
}

START_TEST(depth_is_the_same_everywhere)
{
	check_levels(5, false, 1);
	check_levels(7, false, 1);
	check_levels(6, true, 2); /* entries are messages, too */
}
END_TEST

static void check_text_depth(int levels, enum status expected)
{
	AUTO_STRBUF text = STRBUF_INIT, wire = STRBUF_INIT;

	for (int i = 0; i < levels; i++)
		strbuf_addstr(&text, "{\"children\":[");
	strbuf_addstr(&text, "{}");
	for (int i = 0; i < levels; i++)
		strbuf_addstr(&text, "]}");
	ck_assert_int_eq(json_to_wire(pool, type, text.buf, text.len, 0, &wire, &err),
			 expected);
}

START_TEST(depth_of_text)
{
	check_text_depth(WIRE_MAX_DEPTH, STATUS_OK);
	check_text_depth(WIRE_MAX_DEPTH + 1, STATUS_INVALID_ARGUMENT);
}
END_TEST

/* ----------------------------------------------------------------- sizes */

enum { PARTS = 4096, PART_BYTES = 1024 };

/* The parts of a map's value are put together once, not once for each of them. */
START_TEST(a_value_in_many_parts)
{
	AUTO_STRBUF text = STRBUF_INIT, part = STRBUF_INIT, entry = STRBUF_INIT;
	AUTO_STRBUF message = STRBUF_INIT, json = STRBUF_INIT, last = STRBUF_INIT;

	for (int i = 0; i < PART_BYTES; i++)
		strbuf_addch(&text, 'x');
	wire_add_bytes(&part, 8, written(&text));
	for (int i = 0; i < PARTS; i++)
		wire_add_bytes(&entry, 2, written(&part));
	wire_add_string(&last, 8, "last");
	wire_add_bytes(&entry, 2, written(&last));
	wire_add_bytes(&message, 6, written(&entry));
	ck_assert_msg(wire_to_json(pool, type, written(&message), 0, &json, &err) == STATUS_OK,
		      "%s", err.message);
	ck_assert_str_eq(json.buf, "{\"byName\":{\"\":{\"text\":\"last\"}}}");
}
END_TEST

/* Neither part is a message, what they make up is one. */
START_TEST(parts_must_be_messages)
{
	static const char *const split[] = {
		"\x2a\x03\x42\x02x"
		"\x2a\x01y",                                   /* child */
		"\x32\x0b\x0a\x01k\x12\x03\x42\x02x\x12\x01y", /* by_name */
	};

	for (size_t i = 0; i < sizeof(split) / sizeof(*split); i++) {
		AUTO_STRBUF out = STRBUF_INIT;
		const struct bytes message = bytes_of_string(split[i]);

		ck_assert_int_eq(wire_validate(pool, type, message, 0, &err),
				 STATUS_INVALID_ARGUMENT);
		ck_assert_int_eq(wire_normalize(pool, type, message, &out, &err),
				 STATUS_INVALID_ARGUMENT);
		ck_assert_int_eq(wire_to_json(pool, type, message, 0, &out, &err),
				 STATUS_INVALID_ARGUMENT);
	}
}
END_TEST

/* Each level in two parts: each would have its own copy of all that is inside. */
START_TEST(parts_at_every_level)
{
	AUTO_STRBUF message = STRBUF_INIT, out = STRBUF_INIT;

	strbuf_grow(&message, 2 << 20);
	while (out.len < 1 << 20)
		strbuf_addch(&out, 'x');
	wire_add_bytes(&message, 8, written(&out));
	for (int i = 0; i < WIRE_MAX_DEPTH; i++) {
		wrap(&message, 5, false);
		wire_add_string(&message, 5, "");
	}
	strbuf_reset(&out);
	ck_assert_int_eq(wire_validate(pool, type, written(&message), 0, &err), STATUS_OK);
	ck_assert_int_eq(wire_to_json(pool, type, written(&message), 0, &out, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(wire_normalize(pool, type, written(&message), &out, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

/* A byte each, that stand for 70. */
START_TEST(documents_are_bounded)
{
	const size_t count = JSON_OUT_MAX_BYTES / 64;
	AUTO_STRBUF run = STRBUF_INIT, message = STRBUF_INIT, out = STRBUF_INIT;

	strbuf_grow(&run, count);
	memset(run.buf, 0, count + 1);
	run.len = count;
	wire_add_bytes(&message, 9, written(&run));
	ck_assert_int_eq(wire_to_jsonb(pool, type, written(&message), 0, &out, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(out.len, 0);
	run.len = count / 2;
	strbuf_reset(&message);
	wire_add_bytes(&message, 9, written(&run));
	ck_assert_int_eq(wire_to_jsonb(pool, type, written(&message), 0, &out, &err),
			 STATUS_OK);
}
END_TEST

START_TEST(texts_are_bounded)
{
	AUTO_STRBUF out = STRBUF_INIT;
	char *text = calloc(1, (size_t)JSON_IN_MAX_BYTES + 1);

	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(
		json_to_wire(pool, type, text, (size_t)JSON_IN_MAX_BYTES + 1, 0, &out, &err),
		STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(json_to_wire(pool, type, text, JSON_IN_MAX_BYTES, 0, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	free(text);
}
END_TEST

int main(void)
{
	return suite_run("wire", setup, teardown,
			 (const TTest *const[]){
				 unknown_values_come_last_and_stay_there,
				 unknown_values_are_nothing_to_json,
				 the_last_value_of_an_entry_counts,
				 depth_is_the_same_everywhere,
				 depth_of_text,
				 a_value_in_many_parts,
				 parts_must_be_messages,
				 parts_at_every_level,
				 documents_are_bounded,
				 texts_are_bounded,
				 NULL,
			 });
}
