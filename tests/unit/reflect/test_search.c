#include "common/reflect/search.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/mask.h"
#include "common/reflect/pool.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static const char source[] =
	"syntax = \"proto3\";\n"
	"package t;\n"
	"import \"google/protobuf/timestamp.proto\";\n"
	"import \"google/protobuf/struct.proto\";\n"
	"import \"google/protobuf/wrappers.proto\";\n"
	"message M {\n"
	"  string first_name = 1; Inner inner = 2; repeated Inner items = 3;\n"
	"  map<string, string> labels = 4; map<string, Inner> named = 5; repeated string tags "
	"= 6;\n"
	"  google.protobuf.Timestamp at = 7; google.protobuf.Struct free = 8;\n"
	"  google.protobuf.Int64Value maybe = 9; optional int32 count = 10; State state = 11;\n"
	"  message Inner { int64 qty = 1; Inner deeper = 2; string note = 3; }\n"
	"}\n"
	"enum State { NEW = 0; OLD = 7; }\n";

static struct pool *pool;
static const struct pool_message *type;
static struct arena arena;
static struct error err;

static void setup(void)
{
	pool = fixture_pool(source);
	type = pool_message(pool, "t.M", 3);
	arena_init(&arena, 0);
}

static void teardown(void)
{
	pool_unref(pool);
	arena_release(&arena);
}

static const struct {
	const char *path, *sql;
	enum search_kind kind;
} paths[] = {
	{"first_name", "$.firstName", SEARCH_STRING},
	{"firstName", "$.firstName", SEARCH_STRING},
	{"inner.qty", "$.inner.qty", SEARCH_INT},
	{"inner.deeper.deeper.note", "$.inner.deeper.deeper.note", SEARCH_STRING},
	{"labels.env", "$.labels.env", SEARCH_STRING},
	{"named.x.qty", "$.named.x.qty", SEARCH_INT},
	{"items[2].qty", "$.items[2].qty", SEARCH_INT},
	{"at", "$.at", SEARCH_TIMESTAMP},
	{"maybe", "$.maybe", SEARCH_INT},
	{"state", "$.state", SEARCH_ENUM},
	{"inner", "$.inner", SEARCH_MESSAGE},
	{"free.anything.at.all", "$.free.anything.at.all", SEARCH_DYNAMIC},
	{NULL, NULL, SEARCH_INT},
};

START_TEST(every_kind_of_path)
{
	for (int i = 0; paths[i].path; i++) {
		AUTO_STRBUF sql = STRBUF_INIT;
		struct search_path path;
		ck_assert_msg(search_resolve(pool, type, paths[i].path, &arena, &path, &err) ==
				      STATUS_OK,
			      "%s: %s", paths[i].path, err.message);
		search_path_sql(&path, &sql);
		ck_assert_str_eq(sql.buf, paths[i].sql);
		ck_assert_int_eq(path.kind, paths[i].kind);
	}
}
END_TEST

START_TEST(lists_and_presence_are_told)
{
	struct search_path path;

	ck_assert_int_eq(search_resolve(pool, type, "tags", &arena, &path, &err), STATUS_OK);
	ck_assert(path.is_list && !path.crosses_list);
	ck_assert_int_eq(search_resolve(pool, type, "items.qty", &arena, &path, &err),
			 STATUS_OK);
	ck_assert(path.crosses_list);
	ck_assert_int_eq(search_resolve(pool, type, "count", &arena, &path, &err), STATUS_OK);
	ck_assert(path.has_presence);
	ck_assert_int_eq(search_resolve(pool, type, "first_name", &arena, &path, &err),
			 STATUS_OK);
	ck_assert(!path.has_presence);
	ck_assert_int_eq(search_resolve(pool, type, "labels", &arena, &path, &err), STATUS_OK);
	ck_assert(path.is_map);
}
END_TEST

START_TEST(map_keys_cannot_leave_the_quotes)
{
	static const char evil[] = "labels[\"a'||(SELECT 1)||'\"]";
	AUTO_STRBUF sql = STRBUF_INIT;
	struct search_path path;

	ck_assert_int_eq(search_resolve(pool, type, evil, &arena, &path, &err), STATUS_OK);
	search_path_sql(&path, &sql);
	/* Every quote inside is doubled: removing pairs leaves none. */
	size_t quotes = 0;
	for (const char *p = sql.buf; *p; p++)
		if (*p == '\'') {
			ck_assert_int_eq(p[1], '\'');
			quotes++;
			p++;
		}
	ck_assert_uint_eq(quotes, 2);
}
END_TEST

START_TEST(unknown_parts_are_named)
{
	static const char *const bad[][2] = {{"nope", "nope"},
					     {"inner.nope", "nope"},
					     {"first_name.x", "x"},
					     {"inner..qty", ""},
					     {"", ""},
					     {".inner", ""},
					     {"inner.", ""},
					     {"items[x].qty", ""},
					     {"labels[\"open", ""},
					     {"items[99999999999]", ""}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct search_path path;
		ck_assert_msg(search_resolve(pool, type, bad[i][0], &arena, &path, &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "'%s' was taken", bad[i][0]);
		ck_assert_msg(strstr(err.message, bad[i][1]) != NULL, "%s: %s", bad[i][0],
			      err.message);
	}
}
END_TEST

/* ------------------------------------------------------------------- masks */

static struct bytes wire_of(const char *json)
{
	AUTO_STRBUF wire = STRBUF_INIT;

	ck_assert_msg(json_to_wire(pool, type, json, strlen(json), 0, &wire, &err) == STATUS_OK,
		      "%s", err.message);
	return bytes_of(arena_memdup(&arena, wire.buf, wire.len), wire.len);
}

static void check_json(const struct strbuf *wire, const char *expected)
{
	AUTO_STRBUF text = STRBUF_INIT;

	ck_assert_int_eq(
		wire_to_json(pool, type, bytes_of(wire->buf, wire->len), 0, &text, &err),
		STATUS_OK);
	ck_assert_str_eq(text.buf, expected);
}

START_TEST(a_mask_merges_what_it_names)
{
	static const char *const mask[] = {"inner.qty", "tags"};
	AUTO_STRBUF out = STRBUF_INIT;

	ck_assert_int_eq(
		mask_merge(pool, type,
			   wire_of("{\"firstName\":\"a\",\"inner\":{\"qty\":1,\"note\":\"n\"},"
				   "\"tags\":[\"x\"]}"),
			   wire_of("{\"firstName\":\"b\",\"inner\":{\"qty\":2,\"note\":\"m\"},"
				   "\"tags\":[\"y\",\"z\"]}"),
			   mask, 2, &out, &err),
		STATUS_OK);
	check_json(&out, "{\"firstName\":\"a\",\"inner\":{\"qty\":\"2\",\"note\":\"n\"},"
			 "\"tags\":[\"y\",\"z\"]}");
}
END_TEST

START_TEST(a_mask_clears_what_the_patch_lacks)
{
	static const char *const mask[] = {"first_name", "inner"};
	AUTO_STRBUF out = STRBUF_INIT;

	ck_assert_int_eq(mask_merge(pool, type,
				    wire_of("{\"firstName\":\"a\",\"inner\":{\"qty\":1}}"),
				    wire_of("{}"), mask, 2, &out, &err),
			 STATUS_OK);
	check_json(&out, "{}");
}
END_TEST

START_TEST(a_mask_prunes_to_what_it_names)
{
	static const char *const mask[] = {"inner.note", "tags"};
	AUTO_STRBUF out = STRBUF_INIT;

	ck_assert_int_eq(mask_prune(pool, type,
				    wire_of("{\"firstName\":\"a\",\"inner\":{\"qty\":1,"
					    "\"note\":\"n\"},\"tags\":[\"x\"]}"),
				    mask, 2, &out, &err),
			 STATUS_OK);
	check_json(&out, "{\"inner\":{\"note\":\"n\"},\"tags\":[\"x\"]}");
}
END_TEST

START_TEST(an_unknown_mask_path_is_an_error)
{
	static const char *const mask[] = {"inner.nope"};
	AUTO_STRBUF out = STRBUF_INIT;

	ck_assert_int_eq(mask_prune(pool, type, wire_of("{}"), mask, 1, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.message, "nope"));
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

int main(void)
{
	return suite_run("search", setup, teardown,
			 (const TTest *const[]){
				 every_kind_of_path,
				 lists_and_presence_are_told,
				 map_keys_cannot_leave_the_quotes,
				 unknown_parts_are_named,
				 a_mask_merges_what_it_names,
				 a_mask_clears_what_the_patch_lacks,
				 a_mask_prunes_to_what_it_names,
				 an_unknown_mask_path_is_an_error,
				 NULL,
			 });
}
