/* The rules themselves are held against buf's in tests/compat; here is how they are asked. */
#include "common/reflect/compat.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/base/utf8.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

enum { PLENTY = 1000 };

static struct arena arena;
static struct error err;

static void setup(void)
{
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_release(&arena);
}

/* What breaks between two texts of t.proto; the pools are gone when it returns. */
static struct compat_report check(const char *before, const char *after, unsigned levels,
				  size_t max)
{
	struct pool *p = fixture_pool(before), *q = fixture_pool(after);
	struct compat_report report = compat_check(p, q, levels, max, &arena);

	pool_unref(p);
	pool_unref(q);
	return report;
}

/* "RULE path; RULE path; " */
static const char *summary(struct compat_report report)
{
	AUTO_STRBUF out = STRBUF_INIT;

	for (size_t i = 0; i < report.count; i++)
		strbuf_addf(&out, "%s %s; ", report.findings[i].rule, report.findings[i].path);
	return arena_strdup(&arena, strbuf_str(&out));
}

/* ---------------------------------------------------------------- levels */

static const char old_source[] = "syntax = \"proto3\"; package t;\n"
				 "message Order { int32 qty = 1; string note = 2; }\n"
				 "enum State { NEW = 0; OLD = 1; }\n"
				 "service Orders { rpc Place(Order) returns (Order); }\n";

START_TEST(each_level_has_its_rules)
{
	static const char new_source[] =
		"syntax = \"proto3\"; package t;\n"
		"message Order { string qty = 1; string notes = 2; }\n"
		"enum State { NEW = 0; OLD = 1; }\n"
		"service Orders { rpc Place(stream Order) returns (Order); }\n";
	static const struct {
		unsigned levels;
		const char *summary;
	} cases[] = {
		{0, ""},
		{COMPAT_WIRE, "FIELD_WIRE_COMPATIBLE_TYPE t.Order.qty; "
			      "RPC_SAME_CLIENT_STREAMING t.Orders.Place; "},
		{COMPAT_WIRE_JSON, "FIELD_WIRE_JSON_COMPATIBLE_TYPE t.Order.qty; "
				   "FIELD_SAME_NAME t.Order.notes; "
				   "FIELD_SAME_JSON_NAME t.Order.notes; "
				   "RPC_SAME_CLIENT_STREAMING t.Orders.Place; "},
		{COMPAT_SOURCE, "FIELD_SAME_TYPE t.Order.qty; "
				"FIELD_SAME_NAME t.Order.notes; "
				"FIELD_SAME_JSON_NAME t.Order.notes; "
				"RPC_SAME_CLIENT_STREAMING t.Orders.Place; "},
		{COMPAT_ANY_LEVEL, "FIELD_SAME_TYPE t.Order.qty; "
				   "FIELD_WIRE_JSON_COMPATIBLE_TYPE t.Order.qty; "
				   "FIELD_WIRE_COMPATIBLE_TYPE t.Order.qty; "
				   "FIELD_SAME_NAME t.Order.notes; "
				   "FIELD_SAME_JSON_NAME t.Order.notes; "
				   "RPC_SAME_CLIENT_STREAMING t.Orders.Place; "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct compat_report report =
			check(old_source, new_source, cases[i].levels, PLENTY);

		ck_assert_str_eq(summary(report), cases[i].summary);
		ck_assert(!report.truncated);
	}
}
END_TEST

START_TEST(a_finding_says_what_is_wrong_where)
{
	static const char new_source[] = "syntax = \"proto3\"; package t;\n"
					 "message Order { int64 qty = 1; reserved 2; }\n"
					 "enum State { NEW = 0; OLD = 1; }\n";
	static const struct compat_finding expected[] = {
		{"SERVICE_NO_DELETE", COMPAT_SOURCE, "t.Orders", "t.proto",
		 "the service is gone from the file"},
		{"FIELD_SAME_TYPE", COMPAT_SOURCE, "t.Order.qty", "t.proto",
		 "the field's type changes from int32 to int64"},
		{"FIELD_WIRE_JSON_COMPATIBLE_TYPE", COMPAT_WIRE_JSON, "t.Order.qty", "t.proto",
		 "the field's type changes from int32 to int64, which readers of binary or "
		 "JSON may not understand"},
		{"FIELD_NO_DELETE", COMPAT_SOURCE, "t.Order.note", "t.proto",
		 "the field 2 is gone"},
		{"FIELD_NO_DELETE_UNLESS_NAME_RESERVED", COMPAT_WIRE_JSON, "t.Order.note",
		 "t.proto", "the field 2 is gone and its name is not reserved"},
	};
	struct compat_report report = check(old_source, new_source, COMPAT_ANY_LEVEL, PLENTY);

	ck_assert_uint_eq(report.count, sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < report.count; i++) {
		ck_assert_str_eq(report.findings[i].rule, expected[i].rule);
		ck_assert_int_eq(report.findings[i].level, expected[i].level);
		ck_assert_str_eq(report.findings[i].path, expected[i].path);
		ck_assert_str_eq(report.findings[i].file_name, expected[i].file_name);
		ck_assert_str_eq(report.findings[i].text, expected[i].text);
	}
}
END_TEST

START_TEST(the_same_files_break_nothing)
{
	struct pool *p = fixture_pool(old_source);
	struct compat_report report = compat_check(p, p, COMPAT_ANY_LEVEL, 0, &arena);

	ck_assert_uint_eq(report.count, 0);
	ck_assert(!report.truncated);
	pool_unref(p);
	/* Linked apart, built-in files and all. */
	report = check(old_source, old_source, COMPAT_ANY_LEVEL, 0);
	ck_assert_uint_eq(report.count, 0);
	ck_assert(!report.truncated);
}
END_TEST

START_TEST(nothing_is_asked_of_what_is_new)
{
	struct pool *empty = pool_new(), *p = fixture_pool(old_source);
	struct compat_report report = compat_check(empty, p, COMPAT_ANY_LEVEL, PLENTY, &arena);

	ck_assert_uint_eq(report.count, 0);
	report = compat_check(p, empty, COMPAT_WIRE | COMPAT_WIRE_JSON, PLENTY, &arena);
	ck_assert_uint_eq(report.count, 0);
	pool_unref(empty);
	pool_unref(p);
}
END_TEST

/* buf reads no message sets, so it is no oracle for them. */
START_TEST(a_message_set_is_encoded_differently)
{
	static const char set[] = "syntax = \"proto2\"; package t;\n"
				  "message Set { option message_set_wire_format = true;\n"
				  "  extensions 4 to 1000; }\n";
	static const char other[] = "syntax = \"proto2\"; package t;\n"
				    "message Set { extensions 4 to 1000; }\n";
	static const unsigned levels[] = {COMPAT_WIRE, COMPAT_WIRE_JSON, COMPAT_SOURCE};

	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(summary(check(set, other, levels[i], PLENTY)),
				 "MESSAGE_SAME_MESSAGE_SET_WIRE_FORMAT t.Set; ");
		ck_assert_str_eq(summary(check(other, set, levels[i], PLENTY)),
				 "MESSAGE_SAME_MESSAGE_SET_WIRE_FORMAT t.Set; ");
	}
}
END_TEST

/* ------------------------------------------------------- order and limit */

static struct pool *extend(struct pool *base, const struct strbuf *file)
{
	struct bytes bytes = bytes_of(file->buf, file->len);
	struct pool *pool;

	ck_assert_msg(pool_extend(base, &bytes, 1, &pool, &err) == STATUS_OK, "%s: %s",
		      err.field, err.message);
	pool_unref(base);
	return pool;
}

/* "z.proto" and "a.proto", in one order or the other. */
static struct pool *two_files(const char *z, const char *a, bool z_first)
{
	AUTO_STRBUF z_file = STRBUF_INIT;
	AUTO_STRBUF a_file = STRBUF_INIT;

	fixture_compile("z.proto", z, &z_file);
	fixture_compile("a.proto", a, &a_file);
	return extend(extend(pool_new(), z_first ? &z_file : &a_file),
		      z_first ? &a_file : &z_file);
}

START_TEST(the_order_is_that_of_the_files)
{
	static const char old_z[] = "syntax = \"proto3\"; package z;\n"
				    "message M { int32 b = 9; int32 a = 5; }\n"
				    "message A { int32 a = 1; }\n";
	static const char new_z[] = "syntax = \"proto3\"; package z;\n"
				    "message A { string a = 1; }\n"
				    "message M { string b = 9; string a = 5; }\n";
	static const char old_a[] =
		"syntax = \"proto3\"; package a; message N { int32 n = 1; }";
	static const char new_a[] =
		"syntax = \"proto3\"; package a; message N { string n = 1; }";

	for (int i = 0; i < 4; i++) {
		struct pool *p = two_files(old_z, old_a, i & 1);
		struct pool *q = two_files(new_z, new_a, i & 2);

		ck_assert_str_eq(summary(compat_check(p, q, COMPAT_WIRE, PLENTY, &arena)),
				 "FIELD_WIRE_COMPATIBLE_TYPE a.N.n; "
				 "FIELD_WIRE_COMPATIBLE_TYPE z.M.a; "
				 "FIELD_WIRE_COMPATIBLE_TYPE z.M.b; "
				 "FIELD_WIRE_COMPATIBLE_TYPE z.A.a; ");
		pool_unref(p);
		pool_unref(q);
	}
}
END_TEST

START_TEST(one_file_alone)
{
	static const char old_a[] =
		"syntax = \"proto3\"; package a; message N { int32 n = 1; }";
	static const char old_z[] =
		"syntax = \"proto3\"; package z; message M { int32 m = 1; }";
	static const char new_a[] =
		"syntax = \"proto3\"; package a; message N { string n = 1; }";
	static const char new_z[] =
		"syntax = \"proto3\"; package z; message M { string m = 1; }";
	struct pool *p = two_files(old_z, old_a, true), *q = two_files(new_z, new_a, true);
	struct compat_report report =
		compat_check_file(pool_file(p, "z.proto", 7), q, COMPAT_WIRE, PLENTY, &arena);

	ck_assert_str_eq(summary(report), "FIELD_WIRE_COMPATIBLE_TYPE z.M.m; ");
	report = compat_check_file(pool_file(p, "z.proto", 7), p, COMPAT_WIRE, PLENTY, &arena);
	ck_assert_uint_eq(report.count, 0);
	pool_unref(p);
	pool_unref(q);
}
END_TEST

START_TEST(the_first_findings_are_given_and_no_more)
{
	static const char before[] =
		"syntax = \"proto3\"; package t;\n"
		"message M { int32 a = 1; int32 b = 2; map<int32, int32> c = 3; reserved 7, 9; "
		"}\n"
		"enum E { X = 0; Y = 1; Z = 2; reserved \"Q\", \"R\"; }\n"
		"service S { rpc A(M) returns (M); rpc B(M) returns (M); }\n";
	static const char after[] = "syntax = \"proto3\"; package t;\n"
				    "message M { string a = 1; oneof o { int64 b = 2; } }\n"
				    "enum E { X = 0; W = 1; }\n"
				    "service S { rpc B(stream M) returns (stream M); }\n";
	struct compat_report all = check(before, after, COMPAT_ANY_LEVEL, PLENTY);
	const char *everything = summary(all);

	ck_assert_uint_gt(all.count, 20);
	ck_assert(!all.truncated);
	for (size_t max = 0; max <= all.count; max++) {
		struct compat_report some = check(before, after, COMPAT_ANY_LEVEL, max);
		const char *first = summary(some);

		ck_assert_uint_eq(some.count, max);
		ck_assert_int_eq(some.truncated, max < all.count);
		ck_assert_int_eq(strncmp(everything, first, strlen(first)), 0);
	}
}
END_TEST

START_TEST(a_sentence_is_cut_between_characters)
{
	AUTO_STRBUF before = STRBUF_INIT;
	AUTO_STRBUF after = STRBUF_INIT;
	struct compat_report report;
	size_t len;

	strbuf_addstr(&before, "syntax = \"proto3\"; package t; option go_package = \"");
	for (int i = 0; i < COMPAT_TEXT_MAX_BYTES; i++)
		strbuf_addstr(&before, "\xe2\x82\xac");
	strbuf_addstr(&before, "\";");
	strbuf_addstr(&after, "syntax = \"proto3\"; package t;");
	report = check(before.buf, after.buf, COMPAT_SOURCE, PLENTY);
	ck_assert_str_eq(summary(report), "FILE_SAME_GO_PACKAGE t.proto; ");
	len = strlen(report.findings[0].text);
	ck_assert_uint_le(len, COMPAT_TEXT_MAX_BYTES);
	ck_assert_uint_gt(len, COMPAT_TEXT_MAX_BYTES - 3);
	ck_assert(utf8_valid(report.findings[0].text, len));
}
END_TEST

/* ------------------------------------------------------------- by hand */

/* A proto2 file with a message M { optional TYPE f = 1 [default = TEXT]; }. */
static void make_file(struct strbuf *out, uint64_t type, const char *text)
{
	AUTO_STRBUF field = STRBUF_INIT;
	AUTO_STRBUF message = STRBUF_INIT;

	wire_add_string(&field, 1, "f");
	wire_add_uint(&field, 3, 1);
	wire_add_uint(&field, 4, 1);
	wire_add_uint(&field, 5, type);
	wire_add_string(&field, 7, text);
	wire_add_string(&message, 1, "M");
	wire_add_bytes(&message, 2, bytes_of(field.buf, field.len));
	wire_add_string(out, 1, "t.proto");
	wire_add_bytes(out, 4, bytes_of(message.buf, message.len));
}

/* protoc has one way to write a value; other compilers have others. */
START_TEST(defaults_are_compared_by_their_values)
{
	static const struct {
		const char *before, *after;
		enum pool_type type;
		bool same;
	} cases[] = {
		{"\\001\\n\\t\\\"", "\\x01\\012\\x9\"", POOL_TYPE_BYTES, true},
		{"\\a\\b\\f\\n\\r\\t\\v\\?\\'", "\\007\\010\\014\\n\\015\\011\\013?'",
		 POOL_TYPE_BYTES, true},
		{"\\0011", "\\11", POOL_TYPE_BYTES, false},
		{"\\x41g", "Ag", POOL_TYPE_BYTES, true},
		{"\\377", "\\xFF", POOL_TYPE_BYTES, true},
		{"\\377", "\\xFE", POOL_TYPE_BYTES, false},
		{"\\000a", "\\000b", POOL_TYPE_BYTES, false},
		{"a\\", "a\\\\", POOL_TYPE_BYTES, true},
		{"a", "", POOL_TYPE_BYTES, false},
		{"\\n", "\\012", POOL_TYPE_STRING, false},
		{"0.1", "0.10000000149", POOL_TYPE_FLOAT, true},
		{"0.1", "0.10000000149", POOL_TYPE_DOUBLE, false},
		{"1e3", "1000.0", POOL_TYPE_DOUBLE, true},
		{"-inf", "inf", POOL_TYPE_DOUBLE, false},
		{"0x10", "16", POOL_TYPE_UINT64, true},
		{"-0", "0", POOL_TYPE_INT32, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO_STRBUF before = STRBUF_INIT;
		AUTO_STRBUF after = STRBUF_INIT;
		struct pool *p, *q;

		make_file(&before, cases[i].type, cases[i].before);
		make_file(&after, cases[i].type, cases[i].after);
		p = extend(pool_new(), &before);
		q = extend(pool_new(), &after);
		ck_assert_msg(!strcmp(summary(compat_check(p, q, COMPAT_WIRE, PLENTY, &arena)),
				      cases[i].same ? "" : "FIELD_SAME_DEFAULT M.f; "),
			      "%s and %s", cases[i].before, cases[i].after);
		pool_unref(p);
		pool_unref(q);
	}
}
END_TEST

/* Parsers merge the pieces of a message. */
START_TEST(options_may_come_in_pieces)
{
	static const char *const packages[] = {"first", "second"};
	AUTO_STRBUF whole = STRBUF_INIT;
	AUTO_STRBUF pieces = STRBUF_INIT;
	struct pool *p, *q;

	make_file(&whole, POOL_TYPE_INT32, "1");
	make_file(&pieces, POOL_TYPE_INT32, "1");
	for (size_t i = 0; i < 2; i++) {
		size_t mark = wire_open(&pieces, 8);
		wire_add_string(&pieces, 11, packages[i]);
		wire_close(&pieces, mark);
	}
	size_t mark = wire_open(&whole, 8);
	wire_add_string(&whole, 11, "second");
	wire_close(&whole, mark);
	p = extend(pool_new(), &whole);
	q = extend(pool_new(), &pieces);
	ck_assert_str_eq(summary(compat_check(p, q, COMPAT_SOURCE, PLENTY, &arena)), "");
	pool_unref(p);
	pool_unref(q);
}
END_TEST

/* enum E { FIRST = 1; SECOND = 2; }, the values in this order or the other. */
static void make_enum_file(struct strbuf *out, bool second_first)
{
	static const char *const names[] = {"FIRST", "SECOND"};
	AUTO_STRBUF e = STRBUF_INIT;

	wire_add_string(&e, 1, "E");
	for (unsigned i = 0; i < 2; i++) {
		const unsigned which = second_first ? 1 - i : i;
		size_t mark = wire_open(&e, 2);

		wire_add_string(&e, 1, names[which]);
		wire_add_uint(&e, 2, which + 1);
		wire_close(&e, mark);
	}
	wire_add_string(out, 1, "e.proto");
	wire_add_bytes(out, 5, bytes_of(e.buf, e.len));
}

/* A file that is linked anew, its bytes the same, has other defaults. */
START_TEST(what_depends_on_a_replaced_file_is_looked_at)
{
	AUTO_STRBUF user = STRBUF_INIT;
	AUTO_STRBUF before = STRBUF_INIT;
	AUTO_STRBUF after = STRBUF_INIT;
	struct bytes replacement;
	struct pool *p, *q;
	size_t message, field;

	make_enum_file(&before, false);
	make_enum_file(&after, true);
	wire_add_string(&user, 1, "user.proto");
	wire_add_string(&user, 3, "e.proto");
	message = wire_open(&user, 4);
	wire_add_string(&user, 1, "M");
	field = wire_open(&user, 2);
	wire_add_string(&user, 1, "f");
	wire_add_uint(&user, 3, 1);
	wire_add_uint(&user, 4, 1);
	wire_add_uint(&user, 5, POOL_TYPE_ENUM);
	wire_add_string(&user, 6, ".E");
	wire_close(&user, field);
	wire_close(&user, message);
	p = extend(extend(pool_new(), &before), &user);
	replacement = bytes_of(after.buf, after.len);
	ck_assert_int_eq(pool_replace(p, &replacement, 1, &q, &err), STATUS_OK);
	ck_assert_str_eq(summary(compat_check(p, q, COMPAT_WIRE, PLENTY, &arena)),
			 "FIELD_SAME_DEFAULT M.f; ");
	pool_unref(p);
	pool_unref(q);
}
END_TEST

/* ------------------------------------------------------------------ size */

enum { MANY = 20000 };

/* All in one file, as large as one may get: what is quadratic would not end. */
static void write_large(struct strbuf *out, const char *type, bool reversed)
{
	strbuf_addstr(out, "syntax = \"proto3\"; package t;\n");
	strbuf_addf(out, "message In%s { enum E { X = 0; } }\nmessage M {\n", type);
	for (int i = 0; i < MANY; i++) {
		const int n = reversed ? MANY - i : i + 1;

		strbuf_addf(out, "%s f%d = %d;\n", type, n, n < 19000 ? n : n + 1000);
	}
	strbuf_addstr(out, "}\nenum E { option allow_alias = true; ZERO = 0;\n");
	for (int i = 0; i < MANY; i++)
		strbuf_addf(out, "%s%d = %d;\n", reversed ? "B" : "A", i, i % 2);
	strbuf_addstr(out, "}\n");
}

START_TEST(thousands_of_fields_and_values)
{
	AUTO_STRBUF before = STRBUF_INIT;
	AUTO_STRBUF after = STRBUF_INIT;
	struct compat_report report;

	write_large(&before, "int32", false);
	write_large(&after, "string", true);
	report = check(before.buf, after.buf, COMPAT_WIRE_JSON, 10 * MANY);
	/* Each field has another type; each new alias is blamed, and ZERO with them. */
	ck_assert_uint_eq(report.count, 2 * MANY + 1);
	ck_assert_str_eq(report.findings[0].path, "t.M.f1");
	ck_assert_str_eq(report.findings[MANY - 1].path, "t.M.f20000");
	ck_assert_str_eq(report.findings[MANY].path, "t.ZERO");
	report = check(before.buf,
		       "syntax = \"proto3\"; package t; message M {} "
		       "enum E { ZERO = 0; }",
		       COMPAT_WIRE, 10 * MANY);
	ck_assert_uint_eq(report.count, MANY + 1); /* the aliases of 1 are one value */
}
END_TEST

/* What COMPAT_RECORDS says of M, "RULE path; "... */
static const char *lost(const char *before, const char *after)
{
	struct pool *p = fixture_pool(before), *q = fixture_pool(after);
	const char *out = summary(compat_check_message(pool_message(p, "t.M", 3), q,
						       COMPAT_RECORDS, PLENTY, &arena));

	pool_unref(p);
	pool_unref(q);
	return out;
}

#define P3 "syntax = \"proto3\"; package t; "
#define P2 "syntax = \"proto2\"; package t; "

START_TEST(what_was_written_is_read_as_what_it_was)
{
	static const char m[] =
		P3 "message M { int32 a = 1; string s = 2; N n = 3; } message N "
		   "{ int32 x = 1; } enum E { Z = 0; }";
	static const struct {
		const char *before, *after, *summary;
	} cases[] = {
		{m, m, ""},
		/* Gone, renamed, wider, with another default: nothing is misread. */
		{m, P3 "message M {}", ""},
		{m, P3 "message M { int64 b = 1; bytes s = 2; N n = 3; } message N {}", ""},
		{P2 "message M { optional int32 a = 1 [default = 5]; reserved 2; }",
		 P2 "message M { optional int32 a = 1; }", ""},
		{P2 "message M { required int32 a = 1; }",
		 P2 "message M { optional int32 a = 1; }", ""},
		/* It is gone as a whole, or in what it is made of. */
		{m, P3 "message Other {}", ""},
		{m,
		 P3 "message M { int32 a = 1; string s = 2; N n = 3; } message N { string x = "
		    "1; }",
		 ""},
		{m, P3 "message M { string a = 1; repeated string s = 2; }",
		 "FIELD_WIRE_COMPATIBLE_TYPE t.M.a; FIELD_WIRE_COMPATIBLE_CARDINALITY t.M.s; "},
		{m, P3 "message M { oneof o { int32 a = 1; string s = 2; } }",
		 "FIELD_SAME_ONEOF t.M.a; FIELD_SAME_ONEOF t.M.s; "},
		{P2 "message M { optional int32 a = 1; }",
		 P2 "message M { required int32 a = 1; required int32 b = 2; }",
		 "MESSAGE_SAME_REQUIRED_FIELDS t.M.a; MESSAGE_SAME_REQUIRED_FIELDS t.M.b; "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(lost(cases[i].before, cases[i].after), cases[i].summary);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		each_level_has_its_rules,
		a_finding_says_what_is_wrong_where,
		the_same_files_break_nothing,
		nothing_is_asked_of_what_is_new,
		a_message_set_is_encoded_differently,
		the_order_is_that_of_the_files,
		one_file_alone,
		the_first_findings_are_given_and_no_more,
		a_sentence_is_cut_between_characters,
		defaults_are_compared_by_their_values,
		options_may_come_in_pieces,
		what_depends_on_a_replaced_file_is_looked_at,
		thousands_of_fields_and_values,
		what_was_written_is_read_as_what_it_was,
		NULL,
	};

	return suite_run("compat", setup, teardown, tests);
}
