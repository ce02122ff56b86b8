#include "common/reflect/pool.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/reflect/declaration.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static const char source[] =
	"syntax = \"proto3\";\n"
	"package t;\n"
	"import \"google/protobuf/timestamp.proto\";\n"
	"// An order.\n"
	"message Order {\n"
	"  // Its number.\n"
	"  string order_number = 1;\n"
	"  repeated Line lines = 2;\n"
	"  map<string, int64> counts = 3;\n"
	"  oneof how { string card = 4; int32 cash = 5; }\n"
	"  optional int32 maybe = 6;\n"
	"  google.protobuf.Timestamp at = 7;\n"
	"  State state = 2000;\n"
	"  message Line { string sku = 1; }\n"
	"}\n"
	"enum State { NEW = 0; OLD = 7; }\n"
	"service Orders {\n"
	"  // Places it.\n"
	"  rpc Place(Order) returns (stream Order) { option idempotency_level = IDEMPOTENT; }\n"
	"}\n";

static struct error err;

static const struct pool_message *message(const struct pool *p, const char *name)
{
	return pool_message(p, name, strlen(name));
}

START_TEST(lookups)
{
	struct pool *p = fixture_pool(source);
	const struct pool_message *order = message(p, "t.Order");
	const struct pool_service *s = pool_service(p, "t.Orders", 8);
	const struct pool_method *m;

	ck_assert_ptr_nonnull(order);
	ck_assert_ptr_null(message(p, "t.Orde"));
	ck_assert_ptr_null(message(p, "t.State"));
	ck_assert_ptr_nonnull(pool_enum(p, "t.State", 7));
	ck_assert_uint_eq(pool_field_by_name(order, "order_number", 12)->number, 1);
	ck_assert_uint_eq(pool_field_by_name(order, "orderNumber", 11)->number, 1);
	ck_assert_uint_eq(pool_declared_field(order, 2000)->type, POOL_TYPE_ENUM);
	ck_assert_ptr_null(pool_declared_field(order, 1999));
	ck_assert(pool_declared_field(order, 3)->is_map);
	ck_assert(pool_declared_field(order, 6)->has_presence);
	ck_assert(!pool_declared_field(order, 1)->has_presence);
	m = pool_method(s, "Place", 5);
	ck_assert(m->server_streaming && !m->client_streaming);
	ck_assert_int_eq(m->idempotency, POOL_IDEMPOTENT);
	ck_assert_ptr_eq(m->input, order);
	ck_assert_str_eq(pool_file_of_symbol(p, "t.Orders.Place", 14)->name, "t.proto");
	ck_assert_str_eq(pool_file_of_symbol(p, "t.OLD", 5)->name, "t.proto");
	pool_unref(p);
}
END_TEST

START_TEST(comments)
{
	static const char *const cases[][2] = {{"t.Order", " An order.\n"},
					       {"t.Order.order_number", " Its number.\n"},
					       {"t.Orders.Place", " Places it.\n"},
					       {"t.State", ""},
					       {"t.Nobody", ""}};
	struct pool *p = fixture_pool(source);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO_STRBUF out = STRBUF_INIT;
		pool_comment(p, cases[i][0], strlen(cases[i][0]), &out);
		ck_assert_str_eq(strbuf_str(&out), cases[i][1]);
	}
	pool_unref(p);
}
END_TEST

START_TEST(the_same_file_again_changes_nothing)
{
	struct pool *p = fixture_pool(source), *again;
	const struct pool_file *f = pool_file(p, "t.proto", 7);

	ck_assert_int_eq(pool_extend(p, &f->bytes, 1, &again, &err), STATUS_OK);
	ck_assert_ptr_eq(again, p);
	pool_unref(again);
	pool_unref(p);
}
END_TEST

START_TEST(another_file_of_the_name_is_refused_or_replaces)
{
	struct pool *p = fixture_pool(source), *other;
	AUTO_STRBUF file = STRBUF_INIT;
	struct bytes bytes;

	fixture_compile("t.proto", "syntax = \"proto3\"; package t; message Other {}", &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(p, &bytes, 1, &other, &err), STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(pool_replace(p, &bytes, 1, &other, &err), STATUS_OK);
	ck_assert_ptr_null(message(other, "t.Order"));
	ck_assert_ptr_nonnull(message(other, "t.Other"));
	ck_assert_ptr_nonnull(message(p, "t.Order"));
	pool_unref(other);
	pool_unref(p);
}
END_TEST

/* Whichever of its files brought it, a package stays as long as one has it. */
START_TEST(a_package_outlives_the_file_that_brought_it)
{
	static const char *const texts[][2] = {
		{"1.proto", "syntax = \"proto3\"; package a.b; message One {}"},
		{"2.proto", "syntax = \"proto3\"; package a.b; message Two {}"},
		{"1.proto", "syntax = \"proto3\"; package c; message One {}"},
		{"2.proto", "syntax = \"proto3\"; package c; message Two {}"},
		{"a.proto", "syntax = \"proto3\"; message a {}"},
	};
	struct strbuf files[5] = {{0}};
	struct bytes bytes[5];
	struct pool *p = pool_new(), *next;

	for (int i = 0; i < 5; i++) {
		fixture_compile(texts[i][0], texts[i][1], &files[i]);
		bytes[i] = bytes_of(files[i].buf, files[i].len);
	}
	for (int i = 0; i < 4; i++) {
		/* Until the last of them is replaced, "a" is a package. */
		if (i)
			ck_assert_int_eq(pool_extend(p, &bytes[4], 1, &next, &err),
					 STATUS_ALREADY_EXISTS);
		ck_assert_int_eq(pool_replace(p, &bytes[i], 1, &next, &err), STATUS_OK);
		pool_unref(p);
		p = next;
	}
	ck_assert_int_eq(pool_extend(p, &bytes[4], 1, &next, &err), STATUS_OK);
	pool_unref(next);
	pool_unref(p);
	for (int i = 0; i < 5; i++)
		strbuf_release(&files[i]);
}
END_TEST

START_TEST(a_missing_import_and_a_missing_type_are_named)
{
	struct pool *empty = pool_new(), *p;
	AUTO_STRBUF file = STRBUF_INIT;
	struct bytes bytes;

	fixture_compile("t.proto", source, &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(empty, &bytes, 1, &p, &err), STATUS_INVALID_ARGUMENT);
	ck_assert_msg(strstr(err.message, "google/protobuf/timestamp.proto") ||
			      strstr(err.field, "google/protobuf/timestamp.proto"),
		      "%s: %s", err.field, err.message);
	pool_unref(empty);
}
END_TEST

static struct pool *change(struct pool *base, const char *name, const char *text, bool replace)
{
	struct pool *pool = NULL;
	AUTO_STRBUF file = STRBUF_INIT;
	struct bytes bytes;

	fixture_compile(name, text, &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_msg((replace ? pool_replace(base, &bytes, 1, &pool, &err)
			       : pool_extend(base, &bytes, 1, &pool, &err)) == STATUS_OK,
		      "%s: %s", err.field, err.message);
	return pool;
}

START_TEST(what_does_not_change_is_shared)
{
	struct pool *base = fixture_pool(source);
	struct pool *more =
		change(base, "u.proto", "syntax = \"proto3\"; package t; message U {}", false);
	struct pool *other =
		change(more, "u.proto", "syntax = \"proto3\"; package t; message V {}", true);

	ck_assert_ptr_eq(message(more, "t.Order"), message(base, "t.Order"));
	ck_assert_ptr_eq(message(other, "t.Order"), message(base, "t.Order"));
	ck_assert_ptr_null(message(base, "t.U"));
	ck_assert_ptr_null(message(other, "t.U"));
	ck_assert_ptr_nonnull(message(other, "t.V"));
	pool_unref(base);
	pool_unref(more);
	ck_assert_ptr_nonnull(message(other, "t.Order.Line"));
	pool_unref(other);
}
END_TEST

/* The first file of a package, or of an extension's number, goes: the second has it. */
START_TEST(what_files_share_outlives_one_of_them)
{
	static const char first[] = "syntax = \"proto2\"; package p.q; message M {}";
	static const char user[] =
		"syntax = \"proto3\"; package p; message N { string q = 1; }";
	struct pool *base = pool_new();
	struct pool *one = change(base, "a.proto", first, false);
	struct pool *two =
		change(one, "b.proto",
		       "syntax = \"proto2\"; package p.q; message B { extensions 100; }\n"
		       "extend B { optional int32 x = 100; }",
		       false);
	struct pool *moved =
		change(two, "a.proto", "syntax = \"proto2\"; package r; message M {}", true);
	struct pool *out = NULL;
	AUTO_STRBUF file = STRBUF_INIT;
	struct bytes bytes;

	ck_assert_uint_eq(pool_field_by_number(moved, message(moved, "p.q.B"), 100)->number,
			  100);
	ck_assert_ptr_null(message(moved, "p.q.M"));
	/* p.q is a package still: nothing else may be called so. */
	fixture_compile("c.proto", "syntax = \"proto3\"; package p; message q {}", &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(moved, &bytes, 1, &out, &err), STATUS_ALREADY_EXISTS);
	pool_unref(change(moved, "d.proto", user, false));
	pool_unref(moved);
	pool_unref(two);
	pool_unref(one);
	pool_unref(base);
}
END_TEST

START_TEST(custom_options_are_kept)
{
	static const char text[] =
		"syntax = \"proto2\"; package o; import \"google/protobuf/descriptor.proto\";\n"
		"extend google.protobuf.FieldOptions {\n"
		"  optional string note = 50000; optional group G = 50001 { optional int32 n = "
		"1; }\n"
		"}\n"
		"message M { optional int32 f = 1 [(note) = \"kept\", (g).n = 7]; }";
	struct pool *builtins = fixture_pool("syntax = \"proto3\";");
	struct pool *pool = change(builtins, "o.proto", text, false);
	const struct pool_field *f = pool_declared_field(message(pool, "o.M"), 1);
	struct bytes options, note;
	AUTO_STRBUF file = STRBUF_INIT;

	fixture_compile("o.proto", text, &file);
	ck_assert(bytes_equal(pool_file(pool, "o.proto", 7)->bytes,
			      bytes_of(file.buf, file.len)));
	ck_assert(wire_find_bytes(declaration_of_field(f), 8, &options));
	ck_assert(wire_find_bytes(options, 50000, &note));
	ck_assert(bytes_equal(note, bytes_of_string("kept")));
	pool_unref(pool);
	pool_unref(builtins);
}
END_TEST

/* proto2 has defaults that are neither UTF-8 nor the text of C. */
START_TEST(a_default_that_is_no_text_is_taken)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct pool *empty = pool_new(), *pool = NULL;
	struct bytes bytes;
	size_t m, f;

	wire_add_string(&file, 1, "d.proto");
	m = wire_open(&file, 4);
	wire_add_string(&file, 1, "M");
	f = wire_open(&file, 2);
	wire_add_string(&file, 1, "f");
	wire_add_uint(&file, 3, 1);
	wire_add_uint(&file, 4, 1);
	wire_add_uint(&file, 5, POOL_TYPE_STRING);
	wire_add_bytes(&file, 7, bytes_of("a\0\xff", 3));
	wire_close(&file, f);
	wire_close(&file, m);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(empty, &bytes, 1, &pool, &err), STATUS_OK);
	ck_assert_str_eq(pool_declared_field(message(pool, "M"), 1)->default_text,
			 "a\\000\\377");
	ck_assert(bytes_equal(pool_file(pool, "d.proto", 7)->bytes, bytes));
	pool_unref(pool);
	pool_unref(empty);
}
END_TEST

START_TEST(a_file_has_a_name)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct pool *empty = pool_new(), *pool = NULL;
	struct bytes bytes;

	wire_add_string(&file, 2, "p");
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(empty, &bytes, 1, &pool, &err), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "name");
	pool_unref(empty);
}
END_TEST

/* file.message_type[0].nested_type[0]... 10,000 deep: a few bytes a level. */
START_TEST(deep_nesting_is_refused)
{
	struct pool *empty = pool_new(), *p;
	AUTO_STRBUF inner = STRBUF_INIT;
	struct bytes bytes;

	for (int i = 0; i < 10000; i++) {
		AUTO_STRBUF outer = STRBUF_INIT;
		wire_add_bytes(&outer, 3, bytes_of(inner.buf, inner.len));
		strbuf_reset(&inner);
		strbuf_add(&inner, outer.buf, outer.len);
	}
	AUTO_STRBUF file = STRBUF_INIT;
	wire_add_string(&file, 1, "deep.proto");
	wire_add_bytes(&file, 4, bytes_of(inner.buf, inner.len));
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_extend(empty, &bytes, 1, &p, &err), STATUS_INVALID_ARGUMENT);
	pool_unref(empty);
}
END_TEST

START_TEST(truncated_descriptors_never_crash)
{
	struct pool *p = fixture_pool("syntax = \"proto3\"; package other; message M {}"), *q;
	AUTO_STRBUF file = STRBUF_INIT;

	fixture_compile("u.proto", source, &file);
	for (size_t n = 0; n < file.len; n++) {
		struct bytes bytes = bytes_of(file.buf, n);
		if (pool_extend(p, &bytes, 1, &q, &err) == STATUS_OK)
			pool_unref(q);
	}
	pool_unref(p);
}
END_TEST

START_TEST(a_closure_has_dependencies_first)
{
	struct pool *p = fixture_pool(source);
	struct arena arena;
	size_t count;
	const struct pool_file *const *files;

	arena_init(&arena, 0);
	files = pool_closure(pool_file(p, "t.proto", 7), &arena, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(files[0]->name, "google/protobuf/timestamp.proto");
	ck_assert_str_eq(files[1]->name, "t.proto");
	arena_release(&arena);
	pool_unref(p);
}
END_TEST

int main(void)
{
	return suite_run("pool", NULL, NULL,
			 (const TTest *const[]){
				 lookups,
				 comments,
				 the_same_file_again_changes_nothing,
				 another_file_of_the_name_is_refused_or_replaces,
				 a_package_outlives_the_file_that_brought_it,
				 a_missing_import_and_a_missing_type_are_named,
				 what_does_not_change_is_shared,
				 what_files_share_outlives_one_of_them,
				 custom_options_are_kept,
				 a_default_that_is_no_text_is_taken,
				 a_file_has_a_name,
				 deep_nesting_is_refused,
				 truncated_descriptors_never_crash,
				 a_closure_has_dependencies_first,
				 NULL,
			 });
}
