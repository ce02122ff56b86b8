#include "services/registry/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/pool.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static char dir[64];
static struct catalog *catalog;
static struct error err;

static void no_damage(void *arg, const char *path, const char *why)
{
	(void)arg;
	ck_abort_msg("%s: %s", path, why);
}

static void reopen(void)
{
	catalog_close(catalog);
	ck_assert_msg(catalog_open(dir, no_damage, NULL, &catalog, &err) == STATUS_OK, "%s",
		      err.message);
}

static void setup(void)
{
	memcpy(dir, "/tmp/collector-catalog-XXXXXX", 30);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	catalog = NULL;
	reopen();
}

static void teardown(void)
{
	char *command = xasprintf("rm -rf '%s'", dir);

	catalog_close(catalog);
	ck_assert_int_eq(system(command), 0);
	free(command);
}

/* Register @source as "t.proto" in @ns; *ret_version is the namespace's afterwards. */
static enum status put(const char *ns, const char *source, int64_t *ret_version)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct catalog_registered done;
	struct bytes bytes;
	enum status status;

	fixture_compile("t.proto", source, &file);
	bytes = bytes_of(file.buf, file.len);
	status = catalog_register(catalog, ns, &bytes, 1, &done, &err);
	if (status == STATUS_OK) {
		*ret_version = done.version;
		pool_unref(done.pool);
	}
	return status;
}

static bool has(const char *ns, const char *message)
{
	struct pool *pool = catalog_snapshot(catalog, ns, NULL);
	bool found = pool_message(pool, message, strlen(message)) != NULL;

	pool_unref(pool);
	return found;
}

#define P3 "syntax = \"proto3\"; package t; "

START_TEST(registered_is_there_and_survives)
{
	struct catalog_file info;
	int64_t version;

	ck_assert_int_eq(put("shop", P3 "message M { string a = 1; }", &version), STATUS_OK);
	ck_assert_int_eq(version, 1);
	ck_assert_int_eq(put("shop", P3 "message M { string a = 1; }", &version), STATUS_OK);
	ck_assert_int_eq(version, 1);
	ck_assert_int_eq(put("shop", P3 "message M { string a = 1; int32 b = 2; }", &version),
			 STATUS_OK);
	ck_assert_int_eq(version, 2);
	ck_assert(has("shop", "t.M") && !has("other", "t.M"));
	reopen();
	ck_assert(has("shop", "t.M"));
	ck_assert(catalog_file(catalog, "shop", "t.proto", &info));
	ck_assert_int_eq(info.version, 2);
	ck_assert(!catalog_file(catalog, "shop", "google/protobuf/any.proto", &info));
}
END_TEST

START_TEST(what_clients_built_on_must_stay)
{
	static const char before[] =
		P3 "message M { string a = 1; repeated N n = 2; } message N {} "
		   "enum E { X = 0; Y = 1; } service S { rpc Do(M) returns (N); }";
	static const char *const bad[][2] = {
		{P3 "message M { repeated N n = 2; } message N {} enum E { X = 0; Y = 1; } "
		    "service S { rpc Do(M) returns (N); }",
		 "t.M.a"},
		{P3 "message M { int32 a = 1; repeated N n = 2; } message N {} enum E { X = 0; "
		    "Y = "
		    "1; } service S { rpc Do(M) returns (N); }",
		 "t.M.a"},
		{P3 "message M { string b = 1; repeated N n = 2; } message N {} enum E { X = "
		    "0; Y = "
		    "1; } service S { rpc Do(M) returns (N); }",
		 "t.M.a"},
		{P3
		 "message M { string a = 1; N n = 2; } message N {} enum E { X = 0; Y = 1; } "
		 "service S { rpc Do(M) returns (N); }",
		 "t.M.n"},
		{P3
		 "message M { string a = 1; repeated N n = 2; } message N {} enum E { X = 0; } "
		 "service S { rpc Do(M) returns (N); }",
		 "t.E"},
		{P3 "message M { string a = 1; repeated N n = 2; } message N {} enum E { X = "
		    "0; Y = "
		    "1; } service S { }",
		 "t.S.Do"},
		{P3 "message M { string a = 1; repeated N n = 2; } message N {} enum E { X = "
		    "0; Y = "
		    "1; } service S { rpc Do(M) returns (stream N); }",
		 "t.S.Do"},
	};
	int64_t version;

	ck_assert_int_eq(put("shop", before, &version), STATUS_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(put("shop", bad[i][0], &version) == STATUS_FAILED_PRECONDITION,
			      "case %zu was taken", i);
		ck_assert_str_eq(err.field, bad[i][1]);
	}
	ck_assert_int_eq(version, 1);
}
END_TEST

START_TEST(reserved_names_are_refused)
{
	int64_t version;

	ck_assert_int_eq(
		put("shop", "syntax = \"proto3\"; package collector.x; message M {}", &version),
		STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(put("shop",
			     "syntax = \"proto3\"; package google.protobuf; message M {}",
			     &version),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(put("shop", "syntax = \"proto3\"; message collections {}", &version),
			 STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(all_or_nothing)
{
	AUTO_STRBUF good = STRBUF_INIT;
	AUTO_STRBUF lonely = STRBUF_INIT;
	struct catalog_registered done;
	struct bytes files[2];

	fixture_compile("good.proto", P3 "message Good {}", &good);
	fixture_compile("lonely.proto",
			"syntax = \"proto3\"; package u; import \"google/protobuf/any.proto\"; "
			"message Lonely { google.protobuf.Any a = 1; }",
			&lonely);
	/* Cut in its middle it is no descriptor. */
	files[0] = bytes_of(good.buf, good.len);
	files[1] = bytes_of(lonely.buf, lonely.len - 3);
	ck_assert_int_ne(catalog_register(catalog, "shop", files, 2, &done, &err), STATUS_OK);
	ck_assert(!has("shop", "t.Good"));
	files[1].size = lonely.len;
	ck_assert_int_eq(catalog_register(catalog, "shop", files, 2, &done, &err), STATUS_OK);
	pool_unref(done.pool);
	ck_assert(has("shop", "t.Good") && has("shop", "u.Lonely"));
}
END_TEST

int main(void)
{
	return suite_run("catalog", setup, teardown,
			 (const TTest *const[]){registered_is_there_and_survives,
						what_clients_built_on_must_stay,
						reserved_names_are_refused, all_or_nothing,
						NULL});
}
