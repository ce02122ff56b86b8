/* What ajv is not asked (tests/schema): texts, limits, descriptors of others. */
#include "common/reflect/schema.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static struct error err;

static const struct pool_message *message_of(const struct pool *pool, const char *name)
{
	const struct pool_message *m = pool_message(pool, name, strlen(name));

	ck_assert_ptr_nonnull(m);
	return m;
}

/* The caller decrefs it. */
static json_t *schema_of(const char *source, const char *name)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct pool *pool = fixture_pool(source);
	json_t *schema;

	ck_assert_msg(schema_json(pool, message_of(pool, name), &text, &err) == STATUS_OK, "%s",
		      err.message);
	schema = json_loadb(text.buf, text.len, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_msg(schema != NULL, "%s", text.buf);
	pool_unref(pool);
	return schema;
}

/* The value at "a/b/c"; a part may be a position. */
static json_t *at(json_t *json, const char *path)
{
	char *copy AUTO_FREE = xstrdup(path);
	char *rest = copy, *part;

	while (json && (part = strsep(&rest, "/")))
		json = json_is_array(json) ? json_array_get(json, (size_t)atoi(part))
					   : json_object_get(json, part);
	ck_assert_msg(json != NULL, "nothing at %s", path);
	return json;
}

static void check_text(json_t *schema, const char *path, const char *expected)
{
	ck_assert_pstr_eq(json_string_value(at(schema, path)), expected);
}

START_TEST(comments_are_descriptions)
{
	json_t *schema = schema_of("syntax = \"proto3\"; package t;\n"
				   "// A \"quoted\" thing,\n"
				   "//   indented.\n"
				   "message M {\n"
				   "  // How much.\n"
				   "  int32 n = 1;\n"
				   "  // What.\n"
				   "  E e = 2;\n"
				   "}\n"
				   "// Which.\n"
				   "enum E {\n"
				   "  // None at all.\n"
				   "  Z = 0;\n"
				   "}\n",
				   "t.M");

	check_text(schema, "$ref", "#/$defs/t.M");
	check_text(schema, "$defs/t.M/description", "A \"quoted\" thing,\n  indented.");
	check_text(schema, "$defs/t.M/properties/n/description", "How much.");
	check_text(schema, "$defs/t.M/properties/e/description", "What.");
	check_text(schema, "$defs/t.M/properties/e/$ref", "#/$defs/t.E");
	check_text(schema, "$defs/t.E/description", "Which.");
	check_text(schema, "$defs/t.E/anyOf/0/const", "Z");
	check_text(schema, "$defs/t.E/anyOf/0/description", "None at all.");
	json_decref(schema);
}
END_TEST

START_TEST(proto2_has_required_fields_extensions_and_closed_enums)
{
	json_t *schema =
		schema_of("syntax = \"proto2\"; package t;\n"
			  "message M {\n"
			  "  required int32 the_name = 1; optional E e = 2;\n"
			  "  extensions 100 to 199;\n"
			  "}\n"
			  "enum E { option allow_alias = true; A = 3; B = 3; C = 1; }\n"
			  "message Scope { extend M {\n"
			  "  // Said elsewhere.\n"
			  "  optional string more = 100; } }\n",
			  "t.M");
	const char *more = "$defs/t.M/properties/[t.Scope.more]";

	check_text(schema, "$defs/t.M/required/0", "theName");
	check_text(at(schema, more), "type", "string");
	check_text(at(schema, more), "description", "Said elsewhere.");
	ck_assert_uint_eq(json_array_size(at(schema, "$defs/t.E/anyOf/3/enum")), 2);
	ck_assert_int_eq(json_integer_value(at(schema, "$defs/t.E/anyOf/3/enum/0")), 1);
	ck_assert_int_eq(json_integer_value(at(schema, "$defs/t.E/anyOf/3/enum/1")), 3);
	json_decref(schema);
}
END_TEST

START_TEST(every_type_is_defined_once)
{
	json_t *schema =
		schema_of("syntax = \"proto3\"; package t;\n"
			  "import \"google/protobuf/timestamp.proto\";\n"
			  "message M { N n = 1; map<string, N> ns = 2; repeated M ms = 3;\n"
			  "  oneof o { google.protobuf.Timestamp a = 4; N b = 5; }\n"
			  "  optional int32 c = 6; oneof alone { int32 d = 7; } }\n"
			  "message N { M m = 1; message Unused {} }\n",
			  "t.M");

	ck_assert_uint_eq(json_object_size(at(schema, "$defs")), 3);
	check_text(schema, "$defs/t.M/properties/ns/additionalProperties/$ref", "#/$defs/t.N");
	check_text(schema, "$defs/t.M/properties/ms/items/$ref", "#/$defs/t.M");
	/* Of those with one member there is nothing to say. */
	ck_assert_uint_eq(json_array_size(at(schema, "$defs/t.M/allOf")), 1);
	ck_assert_uint_eq(json_array_size(at(schema, "$defs/t.M/allOf/0/oneOf")), 3);
	json_decref(schema);
}
END_TEST

/* ------------------------------------------------------------- skeletons */

static void check_skeleton(const char *source, const char *expected)
{
	AUTO_STRBUF text = STRBUF_INIT, wire = STRBUF_INIT;
	struct pool *pool = fixture_pool(source);
	const struct pool_message *m = message_of(pool, "t.M");

	ck_assert_msg(schema_skeleton(m, &text, &err) == STATUS_OK, "%s", err.message);
	ck_assert_str_eq(text.buf, expected);
	ck_assert_msg(json_to_wire(pool, m, text.buf, text.len, 0, &wire, &err) == STATUS_OK,
		      "%s", err.message);
	pool_unref(pool);
}

START_TEST(a_skeleton_has_all_but_itself)
{
	check_skeleton(
		"syntax = \"proto3\"; package t; message M { string s = 1; int64 i = 2;\n"
		"  M self = 3; repeated N list = 4; map<int32, N> map = 5;\n"
		"  oneof o { M again = 8; bool yes = 6; bytes no = 7; } }\n"
		"message N { M back = 1; E e = 2; }\n"
		"enum E { NONE = 0; }\n",
		"{\"s\":\"\",\"i\":\"0\",\"list\":[{\"e\":\"NONE\"}],"
		"\"map\":{\"0\":{\"e\":\"NONE\"}},\"yes\":false}");
}
END_TEST

/* What is required is there, however deep. */
START_TEST(a_skeleton_has_what_is_required)
{
	AUTO_STRBUF source = STRBUF_INIT, text = STRBUF_INIT;
	struct pool *pool;

	strbuf_addstr(&source,
		      "syntax = \"proto2\"; package t; message M { required M1 m = 1; }");
	for (int i = 1; i < 20; i++)
		strbuf_addf(&source, "message M%d { required M%d m = 1; }", i, i + 1);
	strbuf_addstr(&source, "message M20 { required int32 n = 1; }");
	pool = fixture_pool(source.buf);
	ck_assert_int_eq(schema_skeleton(message_of(pool, "t.M"), &text, &err), STATUS_OK);
	ck_assert_ptr_nonnull(strstr(text.buf, "{\"m\":{\"n\":0}}"));
	pool_unref(pool);
}
END_TEST

START_TEST(what_requires_itself_has_no_skeleton)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct pool *pool =
		fixture_pool("syntax = \"proto2\"; package t; message M { required M m = 1; }");

	strbuf_addstr(&text, "before");
	ck_assert_int_eq(schema_skeleton(message_of(pool, "t.M"), &text, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_str_eq(text.buf, "before");
	pool_unref(pool);
}
END_TEST

/* 40 fields of 40 fields of 40 fields ...: a small file, and more than fits anywhere. */
START_TEST(skeletons_are_bounded)
{
	AUTO_STRBUF source = STRBUF_INIT, text = STRBUF_INIT;
	struct pool *pool;

	strbuf_addstr(&source, "syntax = \"proto2\"; package t;");
	for (int i = 0; i < 10; i++) {
		strbuf_addf(&source, "message M%d {", i);
		for (int k = 1; k <= 40; k++)
			strbuf_addf(&source, "optional M%d m%d = %d; required M%d r%d = %d;",
				    i + 1, k, k, i + 1, k, k + 100);
		strbuf_addstr(&source, "}");
	}
	strbuf_addstr(&source, "message M10 {}");
	pool = fixture_pool(source.buf);
	ck_assert_int_eq(schema_skeleton(message_of(pool, "t.M0"), &text, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(text.len, 0);
	pool_unref(pool);
}
END_TEST

/* Long comments, of which one file cannot have enough. */
START_TEST(schemas_are_bounded)
{
	AUTO_STRBUF source = STRBUF_INIT, text = STRBUF_INIT;
	struct pool *pool;

	strbuf_addstr(&source, "syntax = \"proto3\"; package t; message M { N n = 1; }\n//");
	for (int i = 0; i < 900000; i++)
		strbuf_addstr(&source, "\\\"\x01");
	strbuf_addstr(&source, "\nmessage N {}");
	pool = fixture_pool(source.buf);
	ck_assert_int_eq(schema_json(pool, message_of(pool, "t.M"), &text, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(text.len, 0);
	pool_unref(pool);
}
END_TEST

int main(void)
{
	return suite_run("schema", NULL, NULL,
			 (const TTest *const[]){
				 comments_are_descriptions,
				 proto2_has_required_fields_extensions_and_closed_enums,
				 every_type_is_defined_once,
				 a_skeleton_has_all_but_itself,
				 a_skeleton_has_what_is_required,
				 what_requires_itself_has_no_skeleton,
				 skeletons_are_bounded,
				 schemas_are_bounded,
				 NULL,
			 });
}
