#include "common/base/names.h"

#include <string.h>

#include "tests/support/suite.h"

static char *repeat(char c, size_t n)
{
	static char out[1024];

	memset(out, c, n);
	out[n] = '\0';
	return out;
}

START_TEST(namespaces)
{
	static const char *const good[] = {"", "a", "0", "shop", "a-b_c9", NULL};
	static const char *const bad[] = {"A",  "-a",  "_a",       "a.b",  "a/b",
					  "..", "a b", "\xc3\xa9", "a\nb", NULL};
	struct error err;

	for (int i = 0; good[i]; i++)
		ck_assert_msg(names_check_namespace(good[i], "namespace", &err) == STATUS_OK,
			      "'%s'", good[i]);
	for (int i = 0; bad[i]; i++) {
		ck_assert_msg(names_check_namespace(bad[i], "ns", &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
		ck_assert_str_eq(err.field, "ns");
	}
	ck_assert_int_eq(names_check_namespace(repeat('a', 63), "n", &err), STATUS_OK);
	ck_assert_int_eq(names_check_namespace(repeat('a', 64), "n", &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(names_namespace_or_default(""), "default");
	ck_assert_str_eq(names_namespace_or_default("x"), "x");
}
END_TEST

START_TEST(a_collection_needs_a_name)
{
	struct error err;

	ck_assert_int_eq(names_check_collection("", "collection_name", &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "collection_name");
	ck_assert_int_eq(names_check_collection("orders", "c", &err), STATUS_OK);
}
END_TEST

START_TEST(nested_namespaces)
{
	struct error err;

	ck_assert_int_eq(names_check_nested_namespace("", "shop", "f", &err), STATUS_OK);
	ck_assert_int_eq(names_check_nested_namespace("shop", "shop", "f", &err), STATUS_OK);
	ck_assert_int_eq(names_check_nested_namespace("default", "", "f", &err), STATUS_OK);
	ck_assert_int_eq(names_check_nested_namespace("other", "shop", "f", &err),
			 STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(ids)
{
	static const char *const good[] = {"a", "A B/c:d", "../x", "\xc3\xa9", NULL};
	static const char *const bad[] = {"",     "a\tb",         "a\x7f", "\xc2\x85",
					  "\xff", "\xed\xa0\x80", NULL};
	struct error err;

	for (int i = 0; good[i]; i++)
		ck_assert_msg(names_check_id(good[i], "id", &err) == STATUS_OK, "'%s'",
			      good[i]);
	for (int i = 0; bad[i]; i++)
		ck_assert_msg(names_check_id(bad[i], "id", &err) == STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
	ck_assert_int_eq(names_check_id(repeat('x', 512), "id", &err), STATUS_OK);
	ck_assert_int_eq(names_check_id(repeat('x', 513), "id", &err), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(paths)
{
	static const char *const good[] = {"a", "a/b.proto", "a/..b/c", ".hidden", NULL};
	static const char *const bad[] = {"",     "/a",   "a/",    "a//b", ".",    "..",
					  "a/..", "../a", "a/./b", "a\\b", "a\nb", NULL};
	struct error err;

	for (int i = 0; good[i]; i++)
		ck_assert_msg(names_check_path(good[i], "p", &err) == STATUS_OK, "'%s'",
			      good[i]);
	for (int i = 0; bad[i]; i++)
		ck_assert_msg(names_check_path(bad[i], "p", &err) == STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
}
END_TEST

START_TEST(symbols)
{
	static const char *const good[] = {"A", "shop.v1.Order", "_x.y9", NULL};
	static const char *const bad[] = {"",     ".a",  "a.",  "a..b", "9a",
					  "a.9b", "a-b", "a b", NULL};
	struct error err;

	for (int i = 0; good[i]; i++)
		ck_assert_msg(names_check_symbol(good[i], "s", &err) == STATUS_OK, "%s",
			      good[i]);
	for (int i = 0; bad[i]; i++)
		ck_assert_msg(names_check_symbol(bad[i], "s", &err) == STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
	ck_assert(names_symbol_is_reserved("collector.Status"));
	ck_assert(names_symbol_is_reserved("google.protobuf.Any"));
	ck_assert(names_symbol_is_reserved("collections"));
	ck_assert(names_symbol_is_reserved("grpc.health.v1.Health"));
	ck_assert(names_symbol_is_reserved("grpc.reflection.v1.ServerReflection"));
	ck_assert(!names_symbol_is_reserved("grpc.testing.TestService"));
	ck_assert(!names_symbol_is_reserved("collectors.X"));
	ck_assert(!names_symbol_is_reserved("google.type.Money"));
}
END_TEST

int main(void)
{
	return suite_run("names", NULL, NULL,
			 (const TTest *const[]){namespaces, a_collection_needs_a_name,
						nested_namespaces, ids, paths, symbols, NULL});
}
