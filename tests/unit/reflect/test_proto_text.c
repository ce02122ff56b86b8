#include "common/reflect/proto_text.h"

#include <stdlib.h>
#include <string.h>

#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

enum { FILE_SOURCE_INFO = 9 };

static struct error err;

static void without_source_info(const struct strbuf *file, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(bytes_of(file->buf, file->len));
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number != FILE_SOURCE_INFO)
			strbuf_add(out, f.raw.data, f.raw.size);
}

static bool same_but_source_info(const struct strbuf *first, const struct strbuf *second)
{
	AUTO_STRBUF a = STRBUF_INIT, b = STRBUF_INIT;

	without_source_info(first, &a);
	without_source_info(second, &b);
	return a.len && bytes_equal(bytes_of(a.buf, a.len), bytes_of(b.buf, b.len));
}

/* protoc must make the same of what is printed as of what was written. */
static void check_round_trip(const char *source)
{
	AUTO_STRBUF first = STRBUF_INIT, second = STRBUF_INIT, text = STRBUF_INIT;
	struct pool *p = fixture_pool(source);

	fixture_compile("t.proto", source, &first);
	proto_text_file(p, pool_file(p, "t.proto", 7), &text);
	fixture_compile("t.proto", text.buf, &second);
	ck_assert_msg(same_but_source_info(&first, &second), "printed as:\n%s", text.buf);
	pool_unref(p);
}

static void check_symbol(const char *source, const char *name, const char *expected)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct pool *p = fixture_pool(source);

	ck_assert_int_eq(proto_text_symbol(p, name, strlen(name), &text, &err), STATUS_OK);
	ck_assert_str_eq(text.buf, expected);
	pool_unref(p);
}

START_TEST(proto3)
{
	check_round_trip(
		"syntax = \"proto3\";\n"
		"package a.b;\n"
		"import public \"google/protobuf/timestamp.proto\";\n"
		"import \"google/protobuf/descriptor.proto\";\n"
		"option java_package = \"x.\\\"y\\\\\";\n"
		"option deprecated = true;\n"
		"message M {\n"
		"  option deprecated = true;\n"
		"  string plain = 1;\n"
		"  optional int32 maybe = 2;\n"
		"  repeated sint64 many = 3 [packed = false];\n"
		"  map<string, N> by_name = 4;\n"
		"  map<int32, M.E> kinds = 5;\n"
		"  oneof one_of { bytes raw = 6; google.protobuf.Timestamp at = 7; M again = "
		"8; }\n"
		"  string renamed = 9 [json_name = \"other\", deprecated = true];\n"
		"  message N { M up = 1; N me = 2; }\n"
		"  enum E { option allow_alias = true; ZERO = 0; NIL = 0 [deprecated = true]; "
		"MINUS = -1; reserved 5, 7 to 9, 100 to max; reserved \"GONE\"; }\n"
		"  reserved 20, 30 to 40, 1000 to max;\n"
		"  reserved \"old\", \"older\";\n"
		"}\n"
		"service S {\n"
		"  option deprecated = true;\n"
		"  rpc Up(stream M) returns (M.N);\n"
		"  rpc Down(M) returns (stream google.protobuf.Timestamp) { option "
		"idempotency_level = NO_SIDE_EFFECTS; }\n"
		"}\n");
}
END_TEST

START_TEST(proto2)
{
	check_round_trip(
		"syntax = \"proto2\";\n"
		"message M {\n"
		"  required string a = 1 [default = \"q\\\"\\n\\\\\"];\n"
		"  optional bytes b = 2 [default = \"\\001\\377x\\\"\"];\n"
		"  optional double c = 3 [default = -inf];\n"
		"  optional float d = 4 [default = 1.5];\n"
		"  optional E e = 5 [default = TWO];\n"
		"  optional bool f = 6 [default = true];\n"
		"  repeated int32 g = 7 [packed = true];\n"
		"  optional group Inner = 8 { optional int32 x = 1; optional Deep deep = 2; "
		"message Deep {} }\n"
		"  oneof o { int32 p = 9; group Other = 10 { optional M m = 1; } }\n"
		"  extensions 100 to 199, 500;\n"
		"  extensions 1000 to max;\n"
		"  extend M { optional string inside = 100; }\n"
		"}\n"
		"message Set { option message_set_wire_format = true; extensions 4 to max; }\n"
		"enum E { ONE = 1; TWO = 2; }\n"
		"extend M { repeated E outside = 101; optional group Grown = 102 { optional "
		"int32 y = 1; } }\n"
		"extend Set { optional M in_set = 4; }\n");
}
END_TEST

START_TEST(custom_options)
{
	check_round_trip(
		"syntax = \"proto2\";\n"
		"package o;\n"
		"import \"google/protobuf/descriptor.proto\";\n"
		"message Rule { optional string pattern = 1; repeated int32 n = 2; optional "
		"Rule sub = 3; optional double d = 4; map<string, int64> m = 5; extensions 10 "
		"to 20; }\n"
		"extend Rule { optional bool strict = 10; }\n"
		"enum K { K0 = 0; K1 = 1; }\n"
		"extend google.protobuf.FieldOptions { optional Rule rule = 50001; repeated K "
		"ks = 50002; optional sint32 neg = 50003; repeated int32 pk = 50004 [packed = "
		"true]; }\n"
		"extend google.protobuf.FileOptions { optional fixed64 big = 50001; }\n"
		"extend google.protobuf.MessageOptions { optional float f = 50001; }\n"
		"extend google.protobuf.EnumValueOptions { optional bytes raw = 50001; }\n"
		"extend google.protobuf.MethodOptions { optional Rule r = 50001; }\n"
		"extend google.protobuf.OneofOptions { optional bool ob = 50001; }\n"
		"extend google.protobuf.ExtensionRangeOptions { optional string er = 50001; }\n"
		"option (big) = 18446744073709551615;\n"
		"message M {\n"
		"  option (o.f) = 0.1;\n"
		"  optional string s = 1 [(rule) = { pattern: \"a\\nb\" n: 1 n: 2 sub { d: "
		"1e300 } m { key: \"k\" value: -5 } [o.strict]: true }, (ks) = K1, (ks) = K0, "
		"(neg) = -3, (pk) = 1, (pk) = 2];\n"
		"  oneof x { option (ob) = true; int32 i = 2; }\n"
		"  extensions 100 to 200 [(er) = \"z\"];\n"
		"}\n"
		"enum E { A = 1 [(raw) = \"\\000\\377\"]; }\n"
		"service S { rpc R(M) returns (M) { option (r).pattern = \"p\"; } }\n");
}
END_TEST

/* Where the short name would mean something else, the full one is printed. */
START_TEST(names_that_hide)
{
	check_round_trip(
		"syntax = \"proto3\";\n"
		"package a.a;\n"
		"message B { message a { message B {} } a x = 1; .a.a.B y = 2; a.B z = 3; }\n"
		"message C { message C {} C inner = 1; .a.a.C outer = 2; .a.a.B.a far = 3; }\n"
		"message google { int32 x = 1; }\n");
	check_round_trip(
		"syntax = \"proto3\";\n"
		"package p;\n"
		"import \"google/protobuf/any.proto\";\n"
		"message google { message protobuf {} .google.protobuf.Any any = 1; protobuf "
		"own = 2; }\n"
		"service S { rpc google(.google.protobuf.Any) returns (.p.google); }\n");
}
END_TEST

/* Descriptors may have groups that are no declaration of their message, even its own. */
START_TEST(groups_that_the_language_lacks)
{
	static const char source[] = "syntax = \"proto2\"; package t;"
				     "message M { optional M again = 1; optional N n = 2; "
				     "message N { repeated M up = 1; } }";
	static const char message_type[] = "\x28\x0b", group_type = 10;
	AUTO_STRBUF file = STRBUF_INIT, text = STRBUF_INIT;
	char *at;
	struct pool *p;

	fixture_compile("t.proto", source, &file);
	while ((at = memmem(file.buf, file.len, message_type, 2)))
		at[1] = group_type;
	p = fixture_pool_of(bytes_of(file.buf, file.len));
	ck_assert_int_eq(proto_text_symbol(p, "t.M", 3, &text, &err), STATUS_OK);
	ck_assert_str_eq(text.buf, "message M {\n"
				   "  optional M again = 1; // as a group on the wire\n"
				   "  optional group N = 2 {\n"
				   "    repeated M up = 1; // as a group on the wire\n"
				   "  }\n"
				   "}\n");
	pool_unref(p);
}
END_TEST

START_TEST(symbols)
{
	static const char source[] = "syntax = \"proto3\";\n"
				     "package t;\n"
				     "\n"
				     "// Detached.\n"
				     "\n"
				     "// A message.\n"
				     "// In two lines.\n"
				     "message M {\n"
				     "  // A field.\n"
				     "  int32 x = 1; // Behind it.\n"
				     "  enum E { ZERO = 0; }\n"
				     "}\n"
				     "service S {\n"
				     "  // Calls.\n"
				     "  rpc Call(M) returns (stream M);\n"
				     "}\n";

	check_symbol(source, "t.M",
		     "// Detached.\n\n// A message.\n// In two lines.\n"
		     "message M {\n"
		     "  // A field.\n"
		     "  // Behind it.\n"
		     "  int32 x = 1;\n"
		     "  enum E {\n"
		     "    ZERO = 0;\n"
		     "  }\n"
		     "}\n");
	check_symbol(source, "t.M.E", "enum E {\n  ZERO = 0;\n}\n");
	check_symbol(source, "t.M.x", "// A field.\n// Behind it.\nint32 x = 1;\n");
	check_symbol(source, "t.S",
		     "service S {\n  // Calls.\n  rpc Call(M) returns (stream M);\n}\n");
	check_symbol(source, "t.S.Call", "// Calls.\nrpc Call(M) returns (stream M);\n");
}
END_TEST

START_TEST(what_is_not_there)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct pool *p =
		fixture_pool("syntax = \"proto3\"; package t; message M { int32 x = 1; }");
	static const char *const names[] = {"", ".", "t", "t.", "t.N", "t.M.y", "t.M.x.z"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		ck_assert_int_eq(proto_text_symbol(p, names[i], strlen(names[i]), &text, &err),
				 STATUS_NOT_FOUND);
		ck_assert_uint_eq(text.len, 0);
	}
	pool_unref(p);
}
END_TEST

/* Files that others wrote. */
START_TEST(the_built_in_files)
{
	struct pool *p = fixture_pool("syntax = \"proto3\";");
	size_t count, printed = 0;
	const struct pool_file *const *files = pool_files(p, &count);

	for (size_t i = 0; i < count; i++) {
		AUTO_STRBUF text = STRBUF_INIT, again = STRBUF_INIT, original = STRBUF_INIT;
		if (strncmp(files[i]->name, "google/protobuf/", 16))
			continue;
		proto_text_file(p, files[i], &text);
		fixture_compile(files[i]->name, text.buf, &again);
		strbuf_add(&original, files[i]->bytes.data, files[i]->bytes.size);
		ck_assert_msg(same_but_source_info(&original, &again), "%s as:\n%s",
			      files[i]->name, text.buf);
		printed++;
	}
	ck_assert_uint_ge(printed, 8);
	pool_unref(p);
}
END_TEST

int main(void)
{
	return suite_run("proto_text", NULL, NULL,
			 (const TTest *const[]){
				 proto3,
				 proto2,
				 custom_options,
				 names_that_hide,
				 groups_that_the_language_lacks,
				 symbols,
				 what_is_not_there,
				 the_built_in_files,
				 NULL,
			 });
}
