#include "common/reflect/mask.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
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
	"import \"google/protobuf/struct.proto\";\n"
	"message M {\n"
	"  string first_name = 1; Inner inner = 2; repeated Inner items = 3;\n"
	"  map<string, string> labels = 4; map<string, Inner> named = 5;\n"
	"  repeated string tags = 6; google.protobuf.Timestamp at = 7;\n"
	"  google.protobuf.Struct free = 8;\n"
	"  oneof how { int32 cash = 9; Inner card = 10; string other = 11; }\n"
	"  map<int32, string> by_int = 12; map<sint64, Inner> by_sint = 13;\n"
	"  map<uint64, string> by_uint = 14; map<bool, string> by_bool = 15;\n"
	"  map<fixed32, string> by_fixed = 16; optional int32 count = 17;\n"
	"  message Inner {\n"
	"    int64 qty = 1; Inner deeper = 2; string note = 3; map<string, Inner> more = 4;\n"
	"  }\n"
	"}\n";

enum { MAX_PATHS = 8 };

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

static struct bytes wire_of(const char *json)
{
	AUTO_STRBUF wire = STRBUF_INIT;

	ck_assert_msg(json_to_wire(pool, type, json, strlen(json), 0, &wire, &err) == STATUS_OK,
		      "%s: %s", json, err.message);
	return bytes_of(arena_memdup(&arena, strbuf_str(&wire), wire.len), wire.len);
}

static const char *json_of(const struct strbuf *wire)
{
	AUTO_STRBUF text = STRBUF_INIT;

	ck_assert_int_eq(
		wire_to_json(pool, type, bytes_of(strbuf_str(wire), wire->len), 0, &text, &err),
		STATUS_OK);
	return arena_strdup(&arena, text.buf);
}

/* Paths with spaces between them. */
static size_t split(const char *mask, const char *paths[MAX_PATHS])
{
	char *text = arena_strdup(&arena, mask), *rest = text;
	size_t count = 0;

	while ((paths[count] = strtok_r(rest, " ", &rest)))
		count++;
	return count;
}

/* ------------------------------------------------------------------ reading */

static const struct {
	const char *mask, *message, *expected;
} prunes[] = {
	{"first_name", "{'firstName':'a','count':1}", "{'firstName':'a'}"},
	{"firstName", "{'firstName':'a','count':1}", "{'firstName':'a'}"},
	{"inner", "{'inner':{'qty':'1','note':'n'},'count':1}",
	 "{'inner':{'qty':'1','note':'n'}}"},
	{"inner.note", "{'inner':{'qty':'1','note':'n'}}", "{'inner':{'note':'n'}}"},
	{"inner.note inner.qty", "{'inner':{'qty':'1','note':'n','deeper':{}}}",
	 "{'inner':{'qty':'1','note':'n'}}"},
	{"inner.note inner", "{'inner':{'qty':'1','note':'n'}}",
	 "{'inner':{'qty':'1','note':'n'}}"},
	{"inner inner.note", "{'inner':{'qty':'1','note':'n'}}",
	 "{'inner':{'qty':'1','note':'n'}}"},
	{"inner.deeper.deeper.qty", "{'inner':{'deeper':{'deeper':{'qty':'5','note':'n'}}}}",
	 "{'inner':{'deeper':{'deeper':{'qty':'5'}}}}"},
	{"inner.note", "{'inner':{'qty':'1'}}", "{'inner':{}}"},
	{"inner.note", "{'count':1}", "{}"},
	{"tags", "{'tags':['x','y'],'count':1}", "{'tags':['x','y']}"},
	{"items", "{'items':[{'qty':'1'},{'qty':'2'}]}", "{'items':[{'qty':'1'},{'qty':'2'}]}"},
	{"items.*", "{'items':[{'qty':'1'},{'qty':'2'}]}",
	 "{'items':[{'qty':'1'},{'qty':'2'}]}"},
	{"items.*.note", "{'items':[{'qty':'1','note':'a'},{'qty':'2'}]}",
	 "{'items':[{'note':'a'},{}]}"},
	{"items.*.deeper.note items.*.qty",
	 "{'items':[{'qty':'1','note':'a','deeper':{'qty':'1','note':'b'}}]}",
	 "{'items':[{'qty':'1','deeper':{'note':'b'}}]}"},
	{"labels", "{'labels':{'a':'1','b':'2'}}", "{'labels':{'a':'1','b':'2'}}"},
	{"labels.a", "{'labels':{'a':'1','b':'2'}}", "{'labels':{'a':'1'}}"},
	{"labels.a labels.b", "{'labels':{'a':'1','b':'2','c':'3'}}",
	 "{'labels':{'a':'1','b':'2'}}"},
	{"labels.`a.b`", "{'labels':{'a.b':'1','a':'2'}}", "{'labels':{'a.b':'1'}}"},
	{"labels.```", "{'labels':{'``':'1','`':'2'}}", NULL},
	{"labels.````", "{'labels':{'``':'1','`':'2'}}", "{'labels':{'`':'2'}}"},
	{"labels.``", "{'labels':{'':'1','`':'2'}}", "{'labels':{'':'1'}}"},
	{"labels.`*`", "{'labels':{'*':'1','a':'2'}}", "{'labels':{'*':'1'}}"},
	{"labels.*", "{'labels':{'*':'1','a':'2'}}", "{'labels':{'*':'1','a':'2'}}"},
	{"labels.zero", "{'labels':{'a':'1'}}", "{}"},
	{"named.x", "{'named':{'x':{'qty':'1'},'y':{'qty':'2'}}}",
	 "{'named':{'x':{'qty':'1'}}}"},
	{"named.x.qty", "{'named':{'x':{'qty':'1','note':'n'},'y':{'qty':'2'}}}",
	 "{'named':{'x':{'qty':'1'}}}"},
	{"named.x.qty named.y.note", "{'named':{'x':{'qty':'1'},'y':{'qty':'2','note':'n'}}}",
	 "{'named':{'x':{'qty':'1'},'y':{'note':'n'}}}"},
	{"named.*.qty", "{'named':{'x':{'qty':'1','note':'n'},'y':{'note':'m'}}}",
	 "{'named':{'x':{'qty':'1'},'y':{}}}"},
	{"named.x.more.y.qty",
	 "{'named':{'x':{'more':{'y':{'qty':'1','note':'n'},'z':{}},'note':'n'}}}",
	 "{'named':{'x':{'more':{'y':{'qty':'1'}}}}}"},
	{"by_int.-5", "{'byInt':{'-5':'a','5':'b'}}", "{'byInt':{'-5':'a'}}"},
	{"by_int.0", "{'byInt':{'0':'a','5':'b'}}", "{'byInt':{'0':'a'}}"},
	{"by_int.007", "{'byInt':{'7':'a','5':'b'}}", "{'byInt':{'7':'a'}}"},
	{"by_int.`7`", "{'byInt':{'7':'a','5':'b'}}", "{'byInt':{'7':'a'}}"},
	{"by_sint.-9223372036854775808.qty",
	 "{'bySint':{'-9223372036854775808':{'qty':'1','note':'n'},'5':{}}}",
	 "{'bySint':{'-9223372036854775808':{'qty':'1'}}}"},
	{"by_uint.18446744073709551615", "{'byUint':{'18446744073709551615':'a','5':'b'}}",
	 "{'byUint':{'18446744073709551615':'a'}}"},
	{"by_fixed.4294967295", "{'byFixed':{'4294967295':'a','5':'b'}}",
	 "{'byFixed':{'4294967295':'a'}}"},
	{"by_bool", "{'byBool':{'true':'a'}}", "{'byBool':{'true':'a'}}"},
	{"cash card", "{'card':{'qty':'1'}}", "{'card':{'qty':'1'}}"},
	{"free.fields.a", "{'free':{'a':1,'b':2}}", "{'free':{'a':1}}"},
	{"at.seconds", "{'at':'1970-01-01T00:00:01.5Z'}", "{'at':'1970-01-01T00:00:01Z'}"},
	{"*", "{'firstName':'a','count':1}", "{'firstName':'a','count':1}"},
	{"", "{'firstName':'a','count':1}", "{'firstName':'a','count':1}"},
};

/* JSON with ' for ". */
static const char *json(const char *text)
{
	char *out = text ? arena_strdup(&arena, text) : NULL;

	for (char *p = out; p && *p; p++)
		if (*p == '\'')
			*p = '"';
	return out;
}

START_TEST(a_read_mask_leaves_what_it_names)
{
	for (size_t i = 0; i < sizeof(prunes) / sizeof(prunes[0]); i++) {
		const char *paths[MAX_PATHS + 1];
		const size_t count = split(prunes[i].mask, paths);
		const struct bytes message = wire_of(json(prunes[i].message));
		AUTO_STRBUF out = STRBUF_INIT;
		const enum status status = mask_prune(type, message, paths, count, &out, &err);

		if (!prunes[i].expected) {
			ck_assert_int_eq(status, STATUS_INVALID_ARGUMENT);
			continue;
		}
		ck_assert_msg(status == STATUS_OK, "%s: %s", prunes[i].mask, err.message);
		ck_assert_msg(!strcmp(json_of(&out), json(prunes[i].expected)), "%s: %s",
			      prunes[i].mask, json_of(&out));
	}
}
END_TEST

/* ----------------------------------------------------------------- updating */

static const struct {
	const char *mask, *base, *patch, *expected;
} merges[] = {
	{"first_name", "{'firstName':'a','count':1}", "{'firstName':'b','count':2}",
	 "{'firstName':'b','count':1}"},
	{"first_name", "{'firstName':'a','count':1}", "{'count':2}", "{'count':1}"},
	{"count", "{'firstName':'a'}", "{'count':0}", "{'firstName':'a','count':0}"},
	{"inner", "{'inner':{'qty':'1','note':'n'}}", "{'inner':{'qty':'2'}}",
	 "{'inner':{'qty':'2'}}"},
	{"inner", "{'inner':{'qty':'1'}}", "{}", "{}"},
	{"inner.qty", "{'inner':{'qty':'1','note':'n'}}", "{'inner':{'qty':'2','note':'m'}}",
	 "{'inner':{'qty':'2','note':'n'}}"},
	{"inner.qty", "{'inner':{'qty':'1','note':'n'}}", "{}", "{'inner':{'note':'n'}}"},
	{"inner.qty", "{}", "{'inner':{'qty':'2','note':'m'}}", "{'inner':{'qty':'2'}}"},
	{"inner.qty", "{}", "{}", "{}"},
	{"inner.deeper.qty inner.note", "{'inner':{'deeper':{'note':'d'},'note':'n'}}",
	 "{'inner':{'deeper':{'qty':'3'}}}", "{'inner':{'deeper':{'qty':'3','note':'d'}}}"},
	{"tags", "{'tags':['x','y']}", "{'tags':['z']}", "{'tags':['z']}"},
	{"tags", "{'tags':['x','y']}", "{}", "{}"},
	{"items", "{'items':[{'qty':'1'}]}", "{'items':[{'qty':'2'},{'qty':'3'}]}",
	 "{'items':[{'qty':'2'},{'qty':'3'}]}"},
	{"labels", "{'labels':{'a':'1','b':'2'}}", "{'labels':{'c':'3'}}",
	 "{'labels':{'c':'3'}}"},
	{"labels.a", "{'labels':{'a':'1','b':'2'}}", "{'labels':{'a':'3','b':'4'}}",
	 "{'labels':{'a':'3','b':'2'}}"},
	{"labels.a", "{'labels':{'a':'1','b':'2'}}", "{}", "{'labels':{'b':'2'}}"},
	{"labels.`x.y`", "{'labels':{'a':'1'}}", "{'labels':{'x.y':'3','z':'4'}}",
	 "{'labels':{'a':'1','x.y':'3'}}"},
	{"named.x.qty", "{'named':{'x':{'qty':'1','note':'n'},'y':{'qty':'9'}}}",
	 "{'named':{'x':{'qty':'2','note':'m'},'y':{'qty':'8'}}}",
	 "{'named':{'x':{'qty':'2','note':'n'},'y':{'qty':'9'}}}"},
	{"named.x.qty", "{'named':{'x':{'qty':'1','note':'n'}}}", "{}",
	 "{'named':{'x':{'note':'n'}}}"},
	{"named.x.qty", "{}", "{'named':{'x':{'qty':'2','note':'m'}}}",
	 "{'named':{'x':{'qty':'2'}}}"},
	{"named.x.qty", "{}", "{}", "{}"},
	{"by_int.5 by_int.-6", "{'byInt':{'5':'a','-6':'b','7':'c'}}", "{'byInt':{'5':'z'}}",
	 "{'byInt':{'5':'z','7':'c'}}"},
	{"cash", "{'card':{'qty':'1'}}", "{'cash':5}", "{'cash':5}"},
	{"cash", "{'card':{'qty':'1'}}", "{}", "{'card':{'qty':'1'}}"},
	{"card.qty", "{'cash':5}", "{'card':{'qty':'1','note':'n'}}", "{'card':{'qty':'1'}}"},
	{"card.qty other", "{'card':{'qty':'1','note':'n'}}", "{'other':'o'}", "{'other':'o'}"},
	{"cash card other", "{'other':'o'}", "{'card':{'note':'n'}}", "{'card':{'note':'n'}}"},
	{"first_name", "{'card':{'qty':'1'}}", "{'cash':5,'firstName':'a'}",
	 "{'firstName':'a','card':{'qty':'1'}}"},
	{"free.fields.a", "{'free':{'a':1,'b':2}}", "{'free':{'a':'x'}}",
	 "{'free':{'a':'x','b':2}}"},
	{"*", "{'firstName':'a','count':1}", "{'count':2}", "{'count':2}"},
	{"", "{'firstName':'a','count':1,'inner':{'qty':'1','note':'n'}}",
	 "{'count':2,'inner':{'qty':'2'}}", "{'firstName':'a','inner':{'qty':'2'},'count':2}"},
	{"", "{'firstName':'a','tags':['x']}", "{}", "{'firstName':'a','tags':['x']}"},
};

START_TEST(an_update_mask_takes_what_it_names)
{
	for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++) {
		const char *paths[MAX_PATHS + 1];
		const size_t count = split(merges[i].mask, paths);
		const struct bytes base = wire_of(json(merges[i].base));
		const struct bytes patch = wire_of(json(merges[i].patch));
		AUTO_STRBUF out = STRBUF_INIT;

		ck_assert_msg(mask_merge(pool, type, base, patch, paths, count, &out, &err) ==
				      STATUS_OK,
			      "%s: %s", merges[i].mask, err.message);
		ck_assert_msg(!strcmp(json_of(&out), json(merges[i].expected)), "%s: %s",
			      merges[i].mask, json_of(&out));
	}
}
END_TEST

START_TEST(unknown_fields_stay_where_they_are)
{
	static const char *const paths[] = {"inner.qty"};
	/* inner {qty: 1, 100: 7}, 101: 8; inner {qty: 2, 100: 9}, 101: 10 */
	static const uint8_t base[] = {18, 5, 8, 1, 160, 6, 7, 168, 6, 8};
	static const uint8_t patch[] = {18, 5, 8, 2, 160, 6, 9, 168, 6, 10};
	static const uint8_t merged[] = {168, 6, 8, 18, 5, 160, 6, 7, 8, 2};
	static const uint8_t pruned[] = {18, 2, 8, 1};
	AUTO_STRBUF out = STRBUF_INIT;

	ck_assert_int_eq(mask_merge(pool, type, bytes_of(base, sizeof(base)),
				    bytes_of(patch, sizeof(patch)), paths, 1, &out, &err),
			 STATUS_OK);
	ck_assert_uint_eq(out.len, sizeof(merged));
	ck_assert_mem_eq(out.buf, merged, sizeof(merged));
	strbuf_reset(&out);
	ck_assert_int_eq(mask_prune(type, bytes_of(base, sizeof(base)), paths, 1, &out, &err),
			 STATUS_OK);
	ck_assert_uint_eq(out.len, sizeof(pruned));
	ck_assert_mem_eq(out.buf, pruned, sizeof(pruned));
}
END_TEST

/* ------------------------------------------------------------------- errors */

static const struct {
	enum mask_use use;
	const char *path, *named;
} refusals[] = {
	{MASK_READ, "nope", "t.M has no field \"nope\""},
	{MASK_READ, "inner.nope", "t.M.Inner has no field \"nope\""},
	{MASK_READ, "inner.nope.qty", "\"nope\""},
	{MASK_READ, "first_name.x", "plain value, such as: \"x\""},
	{MASK_READ, "labels.a.b", "plain value, such as: \"b\""},
	{MASK_READ, "named.x.nope", "\"nope\""},
	{MASK_READ, "items.qty", "nothing can follow, such as: \"qty\""},
	{MASK_READ, "items.0", "nothing can follow, such as: \"0\""},
	{MASK_READ, "items[0]", "\"items[0]\""},
	{MASK_READ, "items.*.nope", "\"nope\""},
	{MASK_READ, "tags.*.x", "\"x\""},
	{MASK_READ, "inner.*", "\"*\""},
	{MASK_READ, "inner.`qty`", "\"qty\""},
	{MASK_READ, "", "empty"},
	{MASK_READ, ".inner", "empty"},
	{MASK_READ, "inner.", "empty"},
	{MASK_READ, "inner..qty", "empty"},
	{MASK_READ, "labels.`a", "not closed"},
	{MASK_READ, "named.`a`qty", "a dot belongs"},
	{MASK_READ, "by_int.x", "cannot be a key of the map: \"x\""},
	{MASK_READ, "by_int.2147483648", "cannot be a key"},
	{MASK_READ, "by_int.-", "cannot be a key"},
	{MASK_READ, "by_int.+5", "cannot be a key"},
	{MASK_READ, "by_uint.-1", "cannot be a key"},
	{MASK_READ, "by_uint.18446744073709551616", "cannot be a key"},
	{MASK_READ, "by_fixed.4294967296", "cannot be a key"},
	{MASK_READ, "by_sint.9223372036854775808", "cannot be a key"},
	{MASK_READ, "by_bool.true", "strings and integers alone"},
	{MASK_UPDATE, "items.*.note", "as a whole"},
	{MASK_UPDATE, "named.*.note", "as a whole"},
	{MASK_UPDATE, "nope", "\"nope\""},
};

START_TEST(paths_that_lead_nowhere_are_named)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const char *const paths[] = {"count", refusals[i].path};

		ck_assert_msg(mask_check(type, refusals[i].use, paths, 2, &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "'%s' was taken", refusals[i].path);
		ck_assert_str_eq(err.field, refusals[i].path);
		ck_assert_msg(strstr(err.message, refusals[i].named) != NULL, "%s: %s",
			      refusals[i].path, err.message);
	}
}
END_TEST

START_TEST(a_path_is_looked_at_even_under_a_whole)
{
	static const char *const paths[] = {"inner", "inner.nope"};

	ck_assert_int_eq(mask_check(type, MASK_READ, paths, 2, &err), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "inner.nope");
}
END_TEST

START_TEST(entries_and_all_of_them_exclude_each_other)
{
	static const char *const paths[][2] = {{"named.x.qty", "named.*.note"},
					       {"named.*.note", "named.x.qty"}};

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(mask_check(type, MASK_READ, paths[i], 2, &err),
				 STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(masks_are_bounded)
{
	const char **paths = arena_alloc(&arena, (MASK_MAX_PATHS + 1) * sizeof(char *));
	char *longest = arena_alloc(&arena, 1100);
	AUTO_STRBUF deep = STRBUF_INIT;

	for (int i = 0; i <= MASK_MAX_PATHS; i++)
		paths[i] = "count";
	ck_assert_int_eq(mask_check(type, MASK_READ, paths, MASK_MAX_PATHS, &err), STATUS_OK);
	ck_assert_int_eq(mask_check(type, MASK_READ, paths, MASK_MAX_PATHS + 1, &err),
			 STATUS_INVALID_ARGUMENT);
	memset(longest, 'a', 1099);
	longest[1099] = '\0';
	paths[0] = longest;
	ck_assert_int_eq(mask_check(type, MASK_READ, paths, 1, &err), STATUS_INVALID_ARGUMENT);
	strbuf_addstr(&deep, "inner");
	for (int i = 0; i < 32; i++)
		strbuf_addstr(&deep, ".deeper");
	paths[0] = deep.buf;
	ck_assert_int_eq(mask_check(type, MASK_READ, paths, 1, &err), STATUS_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
	return suite_run("mask", setup, teardown,
			 (const TTest *const[]){
				 a_read_mask_leaves_what_it_names,
				 an_update_mask_takes_what_it_names,
				 unknown_fields_stay_where_they_are,
				 paths_that_lead_nowhere_are_named,
				 a_path_is_looked_at_even_under_a_whole,
				 entries_and_all_of_them_exclude_each_other,
				 masks_are_bounded,
				 NULL,
			 });
}
