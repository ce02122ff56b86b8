#include "common/reflect/pool.h"

#include <string.h>

#include "common/base/arena.h"
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
				 a_missing_import_and_a_missing_type_are_named,
				 deep_nesting_is_refused,
				 truncated_descriptors_never_crash,
				 a_closure_has_dependencies_first,
				 NULL,
			 });
}
