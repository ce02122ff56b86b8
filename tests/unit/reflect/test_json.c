#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static const char source[] =
	"syntax = \"proto3\";\n"
	"package t;\n"
	"import \"google/protobuf/timestamp.proto\";\n"
	"import \"google/protobuf/duration.proto\";\n"
	"import \"google/protobuf/any.proto\";\n"
	"import \"google/protobuf/struct.proto\";\n"
	"import \"google/protobuf/wrappers.proto\";\n"
	"import \"google/protobuf/field_mask.proto\";\n"
	"message M {\n"
	"  string name = 1; int64 big = 2; uint64 huge = 3; double real = 4; float small = 5;\n"
	"  bool yes = 6; bytes raw = 7; State state = 8; repeated int32 list = 9;\n"
	"  map<string, M> children = 10; google.protobuf.Timestamp at = 11;\n"
	"  google.protobuf.Duration took = 12; google.protobuf.Any any = 13;\n"
	"  google.protobuf.Struct free = 14; google.protobuf.Int64Value maybe = 15;\n"
	"  repeated M kids = 16; map<bool, string> flags = 17;\n"
	"  google.protobuf.FieldMask mask = 21;\n"
	"}\n"
	"enum State { NEW = 0; OLD = 7; }\n";

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

/* Values of every kind, each in its canonical form. */
static const char *const canonical[] = {
	"{}",
	"{\"name\":\"a\\\"b\\\\c\\n\\u0001\xc3\xa9\"}",
	"{\"big\":\"-9223372036854775808\",\"huge\":\"18446744073709551615\"}",
	"{\"real\":0.1,\"small\":1.5}",
	"{\"real\":\"NaN\",\"small\":\"-Infinity\"}",
	"{\"yes\":true,\"raw\":\"AAEC/w==\",\"state\":\"OLD\"}",
	"{\"state\":5}",
	"{\"list\":[1,-2,2147483647]}",
	"{\"children\":{\"\":{},\"x\":{\"name\":\"y\"}}}",
	"{\"at\":\"1972-01-01T10:00:20.021Z\",\"took\":\"-1.500s\"}",
	"{\"any\":{\"@type\":\"type.googleapis.com/t.M\",\"name\":\"inner\"}}",
	"{\"any\":{\"@type\":\"a\\u0000b/t.M\"}}",
	"{\"free\":{\"a\":null,\"b\":[1,\"x\",true,{}]}}",
	"{\"maybe\":\"0\"}",
	"{\"kids\":[{},{\"kids\":[{\"name\":\"z\"}]}]}",
	"{\"flags\":{\"false\":\"no\",\"true\":\"yes\"}}",
	NULL,
};

static void parse(const char *text, struct strbuf *out)
{
	ck_assert_msg(json_to_wire(pool, type, text, strlen(text), 0, out, &err) == STATUS_OK,
		      "%s: %s", text, err.message);
}

START_TEST(canonical_text_survives_the_round_trip)
{
	for (int i = 0; canonical[i]; i++) {
		AUTO_STRBUF wire = STRBUF_INIT;
		AUTO_STRBUF text = STRBUF_INIT;
		parse(canonical[i], &wire);
		ck_assert_int_eq(
			wire_to_json(pool, type, bytes_of(wire.buf, wire.len), 0, &text, &err),
			STATUS_OK);
		ck_assert_str_eq(strbuf_str(&text), canonical[i]);
	}
}
END_TEST

/* The first column of the only row. */
static const char *ask(sqlite3 *db, const char *sql, struct bytes jsonb, const char *text)
{
	static char answer[256];
	sqlite3_stmt *s;

	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	sqlite3_bind_blob(s, 1, jsonb.data, (int)jsonb.size, SQLITE_STATIC);
	if (text)
		sqlite3_bind_text(s, 2, text, -1, SQLITE_STATIC);
	ck_assert_msg(sqlite3_step(s) == SQLITE_ROW, "%s", sqlite3_errmsg(db));
	snprintf(answer, sizeof(answer), "%s",
		 sqlite3_column_text(s, 0) ? (const char *)sqlite3_column_text(s, 0) : "NULL");
	sqlite3_finalize(s);
	return answer;
}

START_TEST(jsonb_is_what_sqlite_makes_of_the_text)
{
	static const unsigned flags[] = {0, JSON_OUT_SEARCH};
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	for (int i = 0; canonical[i]; i++)
		for (size_t k = 0; k < 2; k++) {
			AUTO_STRBUF wire = STRBUF_INIT;
			AUTO_STRBUF text = STRBUF_INIT;
			AUTO_STRBUF jsonb = STRBUF_INIT;
			struct bytes message, blob;
			parse(canonical[i], &wire);
			message = bytes_of(wire.buf, wire.len);
			ck_assert_int_eq(
				wire_to_json(pool, type, message, flags[k], &text, &err),
				STATUS_OK);
			ck_assert_int_eq(
				wire_to_jsonb(pool, type, message, flags[k], &jsonb, &err),
				STATUS_OK);
			blob = bytes_of(jsonb.buf, jsonb.len);
			ck_assert_str_eq(ask(db, "SELECT json_valid(?1, 8)", blob, NULL), "1");
			ck_assert_msg(
				!strcmp(ask(db, "SELECT json(?1) = json(?2)", blob, text.buf),
					"1"),
				"%s", text.buf);
		}
	sqlite3_close(db);
}
END_TEST

static void check_name(sqlite3 *db, const struct strbuf *raw, const char *expected)
{
	AUTO_STRBUF wire = STRBUF_INIT, text = STRBUF_INIT, jsonb = STRBUF_INIT;
	AUTO_STRBUF back = STRBUF_INIT;
	struct bytes message;

	wire_add_bytes(&wire, 1, bytes_of(raw->buf, raw->len));
	message = bytes_of(wire.buf, wire.len);
	ck_assert_int_eq(wire_to_json(pool, type, message, 0, &text, &err), STATUS_OK);
	ck_assert_str_eq(text.buf, expected);
	parse(text.buf, &back);
	ck_assert(bytes_equal(bytes_of(back.buf, back.len), message));
	ck_assert_int_eq(wire_to_jsonb(pool, type, message, 0, &jsonb, &err), STATUS_OK);
	ck_assert_str_eq(ask(db, "SELECT json_valid(?1, 8) AND json(?1) = ?2",
			     bytes_of(jsonb.buf, jsonb.len), text.buf),
			 "1");
}

/* Texts are looked at in words: each length, each kind of character in each place. */
START_TEST(texts_of_every_length)
{
	static const struct {
		const char *raw, *json;
	} kinds[] = {{"x", "x"},    {"\"", "\\\""},          {"\\", "\\\\"},
		     {"\n", "\\n"}, {"\x1f", "\\u001f"},     {"\x7f", "\x7f"},
		     {" ", " "},    {"\xc3\xa9", "\xc3\xa9"}};
	const size_t kind_count = sizeof(kinds) / sizeof(*kinds);
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	for (size_t len = 1; len < 72; len++)
		for (size_t i = 0; i<len * kind_count; i += len> 20 ? 7 : 1) {
			AUTO_STRBUF raw = STRBUF_INIT, json = STRBUF_INIT;

			strbuf_addstr(&json, "{\"name\":\"");
			for (size_t at = 0; at < len; at++) {
				const bool odd = at == i / kind_count;

				strbuf_addstr(&raw, odd ? kinds[i % kind_count].raw : "a");
				strbuf_addstr(&json, odd ? kinds[i % kind_count].json : "a");
			}
			strbuf_addstr(&json, "\"}");
			check_name(db, &raw, json.buf);
		}
	sqlite3_close(db);
}
END_TEST

START_TEST(what_search_needs_is_there)
{
	AUTO_STRBUF wire = STRBUF_INIT;
	AUTO_STRBUF jsonb = STRBUF_INIT;
	struct bytes blob;
	sqlite3 *db;

	parse("{\"big\": 9, \"took\": \"90s\", \"at\": \"2026-01-02T03:04:05Z\"}", &wire);
	ck_assert_int_eq(wire_to_jsonb(pool, type, bytes_of(wire.buf, wire.len),
				       JSON_OUT_SEARCH, &jsonb, &err),
			 STATUS_OK);
	blob = bytes_of(jsonb.buf, jsonb.len);
	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	ck_assert_str_eq(ask(db, "SELECT typeof(jsonb_extract(?1, '$.big'))", blob, NULL),
			 "integer");
	ck_assert_str_eq(ask(db, "SELECT jsonb_extract(?1, '$.took') = 90", blob, NULL), "1");
	ck_assert_str_eq(ask(db, "SELECT jsonb_extract(?1, '$.at')", blob, NULL),
			 "2026-01-02T03:04:05.000000000Z");
	ck_assert_str_eq(ask(db, "SELECT jsonb_extract(?1, '$.state')", blob, NULL), "NEW");
	ck_assert_str_eq(ask(db, "SELECT jsonb_extract(?1, '$.name') = ''", blob, NULL), "1");
	ck_assert_str_eq(ask(db, "SELECT jsonb_extract(?1, '$.maybe')", blob, NULL), "NULL");
	sqlite3_close(db);
}
END_TEST

static const struct {
	const char *text, *where; /* a part of the message */
} wrong[] = {
	{"", "line 1"},
	{"[]", "object"},
	{"{\"nope\": 1}", "nope"},
	{"{\"name\": 1}", "name"},
	{"{\n\"kids\": [{}, {\n\"big\": \"x\"}]}", "line 3, kids[1].big: not an integer"},
	{"{\"children\": {\"k\": {\"list\": [1, 2.5]}}}", "children[\"k\"].list[1]"},
	{"{\"list\": [2147483648]}", "out of range"},
	{"{\"list\": [null]}", "null"},
	{"{\"name\": \"a\", \"name\": \"b\"}", "twice"},
	{"{\"at\": \"2026-13-01T00:00:00Z\"}", "at"},
	{"{\"raw\": \"a\"}", "base64"},
	{"{\"raw\": \"a=b=\"}", "base64"},
	{"{\"state\": \"NONE\"}", "enum"},
	{"{\"name\": \"\\ud800\"}", "surrogate"},
	{"{\"name\": \"\xff\"}", "UTF-8"},
	{"{\"name\": \"a\tb\"}", "control"},
	{"{\"any\": {\"@type\": \"type.googleapis.com/no.Such\"}}", "no.Such"},
	{"{\"any\": {\"name\": \"x\"}}", "@type"},
	{"{} x", "follows"},
	{"{\"big\": 01}", ""},
	{"{\"yes\": tru}", ""},
	{"{\"real\": 1e999}", "out of range"},
	{"{\"huge\": -1}", "out of range"},
	{NULL, NULL},
};

START_TEST(errors_say_where)
{
	for (int i = 0; wrong[i].text; i++) {
		AUTO_STRBUF out = STRBUF_INIT;
		strbuf_addstr(&out, "before");
		ck_assert_msg(json_to_wire(pool, type, wrong[i].text, strlen(wrong[i].text), 0,
					   &out, &err) == STATUS_INVALID_ARGUMENT,
			      "%s was taken", wrong[i].text);
		ck_assert_msg(strstr(err.message, wrong[i].where) != NULL, "%s: %s",
			      wrong[i].text, err.message);
		ck_assert_str_eq(out.buf, "before");
	}
}
END_TEST

/* Only what comes back the same is printed. */
START_TEST(paths_of_masks)
{
	static const struct {
		const char *wire, *text; /* NULL: it has no JSON form */
	} masks[] = {
		{"\xaa\x01\x00", "{\"mask\":\"\"}"},
		{"\xaa\x01\x08\x0a\x01z\x0a\x03"
		 "a_b",
		 "{\"mask\":\"z,aB\"}"},
		{"\xaa\x01\x05\x0a\x01z\x0a\x00", NULL},
		{"\xaa\x01\x05\x0a\x03"
		 "a,b",
		 NULL},
		{"\xaa\x01\x05\x0a\x03"
		 "a_B",
		 NULL},
	};

	for (size_t i = 0; i < sizeof(masks) / sizeof(*masks); i++) {
		AUTO_STRBUF text = STRBUF_INIT, wire = STRBUF_INIT;
		const size_t size = 3 + (size_t)masks[i].wire[2];

		ck_assert_int_eq(
			wire_to_json(pool, type, bytes_of(masks[i].wire, size), 0, &text, &err),
			masks[i].text ? STATUS_OK : STATUS_INVALID_ARGUMENT);
		if (!masks[i].text)
			continue;
		ck_assert_str_eq(text.buf, masks[i].text);
		parse(text.buf, &wire);
		ck_assert_uint_eq(wire.len, size);
		ck_assert_mem_eq(wire.buf, masks[i].wire, size);
	}
}
END_TEST

START_TEST(commas_of_masks)
{
	AUTO_STRBUF wire = STRBUF_INIT;

	parse("{\"mask\": \",a,,b,\"}", &wire);
	ck_assert_uint_eq(wire.len, 9);
	ck_assert_mem_eq(wire.buf,
			 "\xaa\x01\x06\x0a\x01"
			 "a\x0a\x01"
			 "b",
			 9);
}
END_TEST

START_TEST(integers_are_exact)
{
	static const char *const same[] = {"9007199254740993", "\"9007199254740993\"",
					   "9007199254740993.0", "9.007199254740993e15", NULL};

	for (int i = 0; same[i]; i++) {
		AUTO_STRBUF text = STRBUF_INIT;
		AUTO_STRBUF wire = STRBUF_INIT;
		AUTO_STRBUF back = STRBUF_INIT;
		strbuf_addf(&text, "{\"big\": %s}", same[i]);
		parse(text.buf, &wire);
		ck_assert_int_eq(
			wire_to_json(pool, type, bytes_of(wire.buf, wire.len), 0, &back, &err),
			STATUS_OK);
		ck_assert_str_eq(back.buf, "{\"big\":\"9007199254740993\"}");
	}
}
END_TEST

START_TEST(depth_is_bounded)
{
	AUTO_STRBUF text = STRBUF_INIT;
	AUTO_STRBUF wire = STRBUF_INIT;
	AUTO_STRBUF out = STRBUF_INIT;

	for (int i = 0; i < 100000; i++)
		strbuf_addstr(&text, "{\"kids\":[");
	ck_assert_int_eq(json_to_wire(pool, type, text.buf, text.len, 0, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	for (int i = 0; i < 3000; i++) {
		AUTO_STRBUF outer = STRBUF_INIT;
		wire_add_bytes(&outer, 16, bytes_of(wire.buf, wire.len));
		strbuf_reset(&wire);
		strbuf_add(&wire, outer.buf, outer.len);
	}
	ck_assert_int_eq(wire_validate(pool, type, bytes_of(wire.buf, wire.len), 0, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(wire_to_json(pool, type, bytes_of(wire.buf, wire.len), 0, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(wire_to_jsonb(pool, type, bytes_of(wire.buf, wire.len),
				       JSON_OUT_SEARCH, &out, &err),
			 STATUS_INVALID_ARGUMENT);
}
END_TEST

/* What is stored must be valid, whatever has no JSON form becomes null. */
START_TEST(lenient_is_not_for_what_is_malformed)
{
	static const char *const bad[] = {
		"\x0a\x01\xff",                      /* name */
		"\x52\x03\x0a\x01\xff",              /* children: a key */
		"\x52\x05\x12\x03\x0a\x01\xff",      /* children: a name in a value */
		"\x6a\x03\x0a\x01\xff",              /* any: a type_url */
		"\xaa\x01\x03\x0a\x01\xff",          /* mask: a path */
		"\xaa\x01\x06\x0a\x01_\x0a\x01\xff", /* mask: a path after one without a form */
		NULL,
	};

	for (int i = 0; bad[i]; i++) {
		AUTO_STRBUF out = STRBUF_INIT;
		const struct bytes message = bytes_of_string(bad[i]);

		ck_assert_int_eq(wire_validate(pool, type, message, 0, &err),
				 STATUS_INVALID_ARGUMENT);
		ck_assert_msg(wire_to_jsonb(pool, type, message, JSON_OUT_SEARCH, &out, &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "message %d was taken", i);
		ck_assert_uint_eq(out.len, 0);
	}
}
END_TEST

/* Every prefix and every changed byte of a message: an error or not, never a crash. */
START_TEST(damaged_messages_never_crash)
{
	for (int i = 0; canonical[i]; i++) {
		AUTO_STRBUF wire = STRBUF_INIT;
		parse(canonical[i], &wire);
		for (size_t n = 0; n < wire.len; n++)
			for (int bit = 0; bit < 9; bit++) {
				AUTO_STRBUF out = STRBUF_INIT;
				struct bytes damaged =
					bytes_of(wire.buf, bit == 8 ? n : wire.len);
				if (bit < 8)
					wire.buf[n] ^= (char)(1 << bit);
				if (wire_validate(pool, type, damaged, 0, &err) == STATUS_OK)
					ck_assert_int_eq(wire_to_jsonb(pool, type, damaged,
								       JSON_OUT_SEARCH, &out,
								       &err),
							 STATUS_OK);
				if (bit < 8)
					wire.buf[n] ^= (char)(1 << bit);
			}
	}
}
END_TEST

int main(void)
{
	return suite_run("json", setup, teardown,
			 (const TTest *const[]){
				 canonical_text_survives_the_round_trip,
				 jsonb_is_what_sqlite_makes_of_the_text,
				 texts_of_every_length,
				 what_search_needs_is_there,
				 errors_say_where,
				 paths_of_masks,
				 commas_of_masks,
				 integers_are_exact,
				 depth_is_bounded,
				 lenient_is_not_for_what_is_malformed,
				 damaged_messages_never_crash,
				 NULL,
			 });
}
