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
	"import \"google/protobuf/any.proto\";\n"
	"import \"google/protobuf/duration.proto\";\n"
	"import \"google/protobuf/empty.proto\";\n"
	"import \"google/protobuf/field_mask.proto\";\n"
	"message M {\n"
	"  string first_name = 1; Inner inner = 2; repeated Inner items = 3;\n"
	"  map<string, string> labels = 4; map<string, Inner> named = 5; repeated string tags "
	"= 6;\n"
	"  google.protobuf.Timestamp at = 7; google.protobuf.Struct free = 8;\n"
	"  google.protobuf.Int64Value maybe = 9; optional int32 count = 10; State state = 11;\n"
	"  oneof how { int32 cash = 12; string card = 13; }\n"
	"  map<int32, Inner> by_int32 = 14; map<int64, string> by_int64 = 15;\n"
	"  map<uint32, string> by_uint32 = 16; map<uint64, string> by_uint64 = 17;\n"
	"  map<sint32, string> by_sint32 = 18; map<sint64, string> by_sint64 = 19;\n"
	"  map<fixed32, string> by_fixed32 = 20; map<fixed64, string> by_fixed64 = 21;\n"
	"  map<sfixed32, string> by_sfixed32 = 22; map<sfixed64, string> by_sfixed64 = 23;\n"
	"  map<bool, State> by_bool = 24; google.protobuf.Any any = 25;\n"
	"  google.protobuf.Duration took = 26; google.protobuf.Value value = 27;\n"
	"  google.protobuf.ListValue list = 28; google.protobuf.FieldMask mask = 29;\n"
	"  google.protobuf.Empty nothing = 30; double real = 31; uint32 small = 32;\n"
	"  bool yes = 33; bytes raw = 34; string odd = 35 [json_name = \"a-b\"];\n"
	"  string swapped_one = 36 [json_name = \"swapped_two\"];\n"
	"  string swapped_two = 37 [json_name = \"swapped_one\"];\n"
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
	{"free.list[3].x", "$.free.list[3].x", SEARCH_DYNAMIC},
	{"any.whatever", "$.any.whatever", SEARCH_DYNAMIC},
	{"value", "$.value", SEARCH_DYNAMIC},
	{"list[1]", "$.list[1]", SEARCH_DYNAMIC},
	{"took", "$.took", SEARCH_DURATION},
	{"mask", "$.mask", SEARCH_STRING},
	{"nothing", "$.nothing", SEARCH_MESSAGE},
	{"real", "$.real", SEARCH_REAL},
	{"small", "$.small", SEARCH_UINT},
	{"yes", "$.yes", SEARCH_BOOL},
	{"raw", "$.raw", SEARCH_BYTES},
	{"cash", "$.cash", SEARCH_INT},
	{"odd", "$.\"a-b\"", SEARCH_STRING},
	{"a-b", "$.\"a-b\"", SEARCH_STRING},
	{"swapped_one", "$.swapped_one", SEARCH_STRING},
	{"labels", "$.labels", SEARCH_STRING},
	{"labels[\"app.kubernetes.io/name\"]", "$.labels.\"app.kubernetes.io/name\"",
	 SEARCH_STRING},
	{"labels['it']", "$.labels.it", SEARCH_STRING},
	{"tags", "$.tags", SEARCH_STRING},
	{"tags[0]", "$.tags[0]", SEARCH_STRING},
	{"items", "$.items", SEARCH_MESSAGE},
	{"items.deeper.note", "$.items.deeper.note", SEARCH_STRING},
	{"by_int32.-2147483648.qty", "$.byInt32.\"-2147483648\".qty", SEARCH_INT},
	{"by_int32.007.note", "$.byInt32.\"7\".note", SEARCH_STRING},
	{"by_int64.9223372036854775807", "$.byInt64.\"9223372036854775807\"", SEARCH_STRING},
	{"by_uint32.4294967295", "$.byUint32.\"4294967295\"", SEARCH_STRING},
	{"by_uint64.18446744073709551615", "$.byUint64.\"18446744073709551615\"",
	 SEARCH_STRING},
	{"by_sint32.-1", "$.bySint32.\"-1\"", SEARCH_STRING},
	{"by_sint64[\"-1\"]", "$.bySint64.\"-1\"", SEARCH_STRING},
	{"by_fixed32.1", "$.byFixed32.\"1\"", SEARCH_STRING},
	{"by_fixed64.1", "$.byFixed64.\"1\"", SEARCH_STRING},
	{"by_sfixed32.-1", "$.bySfixed32.\"-1\"", SEARCH_STRING},
	{"by_sfixed64.-1", "$.bySfixed64.\"-1\"", SEARCH_STRING},
	{"by_bool.true", "$.byBool.true", SEARCH_ENUM},
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

START_TEST(presence_of_every_sort)
{
	static const struct {
		const char *path;
		bool has_presence;
	} cases[] = {
		{"first_name", false},
		{"state", false},
		{"tags", false},
		{"labels", false},
		{"items", false},
		{"items.qty", false},
		{"inner.qty", false},
		{"count", true},
		{"inner", true},
		{"inner.deeper", true},
		{"cash", true},
		{"maybe", true},
		{"at", true},
		{"labels.a", true},
		{"named.a", true},
		{"named.a.qty", false},
		{"tags[0]", true},
		{"items[0]", true},
		{"items[0].qty", false},
		{"free.a", true},
		{"free", true},
		{"by_int32.1", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct search_path path;

		ck_assert_int_eq(search_resolve(pool, type, cases[i].path, &arena, &path, &err),
				 STATUS_OK);
		ck_assert_msg(path.has_presence == cases[i].has_presence, "%s", cases[i].path);
	}
}
END_TEST

START_TEST(a_path_has_one_spelling)
{
	static const char *const cases[][2] = {
		{"first_name", "firstName"},
		{"items[2].qty", "items[2].qty"},
		{"labels['a']", "labels.a"},
		{"labels[\"a.b\"]", "labels[\"a.b\"]"},
		{"by_int32.007.qty", "byInt32[\"7\"].qty"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO_STRBUF out = STRBUF_INIT;
		struct search_path path;

		ck_assert_int_eq(search_resolve(pool, type, cases[i][0], &arena, &path, &err),
				 STATUS_OK);
		search_path_canonical(&path, &out);
		ck_assert_str_eq(out.buf, cases[i][1]);
		/* And that is the same path. */
		ck_assert_int_eq(search_resolve(pool, type, cases[i][1], &arena, &path, &err),
				 STATUS_OK);
	}
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
	static const char *const bad[][2] = {
		{"nope", "nope"},
		{"inner.nope", "nope"},
		{"first_name.x", "x"},
		{"inner..qty", ""},
		{"", ""},
		{".inner", ""},
		{"inner.", ""},
		{"items[x].qty", ""},
		{"labels[\"open", ""},
		{"items[99999999999]", ""},
		{"items.nope", "nope"},
		{"items[0].nope", "nope"},
		{"named.x.nope", "nope"},
		{"named.x.qty.y", "y"},
		{"tags.x", "x"},
		{"labels.a.b", "b"},
		{"at.seconds", "seconds"},
		{"maybe.value", "value"},
		{"inner[0]", "0"},
		{"first_name[0]", "0"},
		{"items[0", "0"},
		{"items[]", ""},
		{"items[0]qty", "qty"},
		{"items[-1]", "-1"},
		{"labels[\"a\\b\"]", "a\\b"},
		{"by_int32.x", "x"},
		{"by_int32.2147483648", "2147483648"},
		{"by_uint32.-1", "-1"},
		{"by_uint32.4294967296", "4294967296"},
		{"by_int64.9223372036854775808", "9223372036854775808"},
		{"by_uint64.18446744073709551616", "18446744073709551616"},
		{"by_bool.yes", "yes"},
		{"by_bool.1", "1"}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct search_path path;
		ck_assert_msg(search_resolve(pool, type, bad[i][0], &arena, &path, &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "'%s' was taken", bad[i][0]);
		ck_assert_msg(strstr(err.message, bad[i][1]) != NULL, "%s: %s", bad[i][0],
			      err.message);
		ck_assert_str_eq(err.field, bad[i][0]);
	}
}
END_TEST

int main(void)
{
	return suite_run("search", setup, teardown,
			 (const TTest *const[]){
				 every_kind_of_path,
				 lists_and_presence_are_told,
				 presence_of_every_sort,
				 a_path_has_one_spelling,
				 map_keys_cannot_leave_the_quotes,
				 unknown_parts_are_named,
				 NULL,
			 });
}
