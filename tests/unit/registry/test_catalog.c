#include "services/registry/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/pool.h"
#include "services/registry/registrar.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"
#include "tests/unit/registry/testdir.h"

#define P3 "syntax = \"proto3\"; package t; "

static struct catalog *catalog;
static struct arena arena;
static struct error err;

static void reopen(void)
{
	catalog_close(catalog);
	strbuf_reset(&testdir_damage);
	ck_assert_msg(catalog_open(testdir, &testdir_noting, &catalog, &err) == STATUS_OK, "%s",
		      err.message);
}

static void setup(void)
{
	testdir_make();
	arena_init(&arena, 0);
	catalog = NULL;
	reopen();
}

static void teardown(void)
{
	catalog_close(catalog);
	arena_release(&arena);
	testdir_remove();
}

static void put(const char *ns, const char *name, const char *source)
{
	struct registrar registrar = {.catalog = catalog};
	AUTO_STRBUF file = STRBUF_INIT;
	struct registrar_result done;
	struct breakages breakages;
	struct bytes bytes;

	fixture_compile(name, source, &file);
	bytes = bytes_of(file.buf, file.len);
	breakages_init(&breakages, &arena);
	ck_assert_msg(registrar_register(&registrar,
					 &(struct registrar_request){.ns = ns,
								     .files = &bytes,
								     .count = 1,
								     .deadline_ns = UINT64_MAX},
					 &arena, &breakages, &done, &err) == STATUS_OK,
		      "%s: %s", err.field, err.message);
	registrar_result_release(&done);
}

/* The live files of @ns. */
static const char *files_of(const char *ns)
{
	static char out[512];
	struct snapshot *s = catalog_snapshot(catalog, ns);
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < s->file_count; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s ", s->files[i]->name);
	snapshot_unref(s);
	return out;
}

START_TEST(namespaces_are_apart_and_survive)
{
	const char *const *names;
	size_t count;

	put("two", "b.proto", P3 "message M { int32 b = 1; }");
	put("one", "a.proto", P3 "message M { string a = 1; }");
	ck_assert_str_eq(files_of("one"), "a.proto ");
	ck_assert_str_eq(files_of("two"), "b.proto ");
	ck_assert_str_eq(files_of("three"), "");
	reopen();
	ck_assert_str_eq(files_of("one"), "a.proto ");
	ck_assert_str_eq(files_of("two"), "b.proto ");
	names = catalog_namespaces(catalog, &arena, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(names[0], "one");
	ck_assert_str_eq(names[1], "two");
}
END_TEST

START_TEST(what_imports_a_lost_file_is_told_and_the_rest_served)
{
	struct snapshot *s;
	/* Too large to be in the manifest too, from which it would be mended. */
	char *source AUTO_FREE = xasprintf(P3 "\n\n// %099999d\nmessage A {}", 0);

	put("shop", "a.proto", source);
	put("shop", "z.proto", P3 "message Z {}");
	/* fixture_compile() knows no other files: this import is made by hand. */
	AUTO_STRBUF file = STRBUF_INIT;
	fixture_compile("b.proto", "syntax = \"proto3\"; package u; message B {}", &file);
	strbuf_add(&file,
		   "\x1a\x07"
		   "a.proto",
		   9);
	struct registrar registrar = {.catalog = catalog};
	struct bytes bytes = bytes_of(file.buf, file.len);
	struct registrar_result done;
	struct breakages breakages;
	breakages_init(&breakages, &arena);
	ck_assert_int_eq(
		registrar_register(&registrar,
				   &(struct registrar_request){.ns = "shop",
							       .files = &bytes,
							       .count = 1,
							       .deadline_ns = UINT64_MAX},
				   &arena, &breakages, &done, &err),
		STATUS_OK);
	registrar_result_release(&done);
	reopen();
	ck_assert_str_eq(files_of("shop"), "a.proto b.proto z.proto ");

	testdir_overwrite("ns/shop/a.proto.binpb", "xxx");
	testdir_overwrite("versions/shop/a.proto/1.binpb", "xxx");
	reopen();
	ck_assert_str_eq(files_of("shop"), "z.proto ");
	ck_assert_ptr_nonnull(strstr(strbuf_str(&testdir_damage), "a.proto.binpb.damaged"));
	ck_assert_ptr_nonnull(strstr(strbuf_str(&testdir_damage), "b.proto"));
	s = catalog_snapshot(catalog, "shop");
	ck_assert_int_eq(snapshot_find_any(s, "b.proto")->state, SNAPSHOT_LOST);
	snapshot_unref(s);

	/* Registering it anew brings both back: b.proto at the next start. */
	put("shop", "a.proto", source);
	ck_assert_str_eq(files_of("shop"), "a.proto z.proto ");
	reopen();
	ck_assert_str_eq(files_of("shop"), "a.proto b.proto z.proto ");
	ck_assert_str_eq(strbuf_str(&testdir_damage), "");
}
END_TEST

START_TEST(who_waits_for_a_change_waits_until_the_deadline)
{
	ck_assert_int_eq(catalog_lock(catalog, "shop", UINT64_MAX, &err), STATUS_OK);
	ck_assert_int_eq(catalog_lock(catalog, "shop", clock_monotonic_ns(), &err),
			 STATUS_DEADLINE_EXCEEDED);
	catalog_unlock(catalog, "shop");
	ck_assert_int_eq(catalog_lock(catalog, "shop", 0, &err), STATUS_OK);
	catalog_unlock(catalog, "shop");
}
END_TEST

START_TEST(a_manifest_that_was_lost_does_not_overwrite_versions)
{
	char *manifest AUTO_FREE = xasprintf("%s/manifests/shop", testdir);
	struct snapshot *s;

	put("shop", "a.proto", P3 "message A {}");
	put("shop", "a.proto", P3 "message A {} message B {}");
	ck_assert_int_eq(remove(manifest), 0);
	reopen();
	ck_assert_str_eq(files_of("shop"), "");
	put("shop", "a.proto", P3 "message C {}");
	s = catalog_snapshot(catalog, "shop");
	ck_assert_int_eq(snapshot_find(s, "a.proto")->newest->version, 3);
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	return suite_run("catalog", setup, teardown,
			 (const TTest *const[]){
				 namespaces_are_apart_and_survive,
				 what_imports_a_lost_file_is_told_and_the_rest_served,
				 who_waits_for_a_change_waits_until_the_deadline,
				 a_manifest_that_was_lost_does_not_overwrite_versions,
				 NULL,
			 });
}
