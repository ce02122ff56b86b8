#include "common/reflect/search.h"

#include <string.h>

#include "common/base/arena.h"
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

int main(void)
{
	return suite_run("search", setup, teardown,
			 (const TTest *const[]){
				 every_kind_of_path,
				 lists_and_presence_are_told,
				 map_keys_cannot_leave_the_quotes,
				 unknown_parts_are_named,
				 NULL,
			 });
}
