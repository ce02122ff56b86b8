#include "services/registry/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

#define P3 "syntax = \"proto3\"; package t; "

static struct snapshot *snapshot;
static struct snapshot_edit edit;

static void setup(void)
{
	snapshot = NULL;
}

static void teardown(void)
{
	snapshot_unref(snapshot);
}

/* @base (which may be NULL) with @source as @name in addition. */
static struct pool *pool_with(struct pool *base, const char *name, const char *source)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct pool *from = base ? base : pool_new(), *out;
	struct bytes bytes;
	struct error err;

	fixture_compile(name, source, &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_msg(pool_replace(from, &bytes, 1, &out, &err) == STATUS_OK, "%s",
		      err.message);
	pool_unref(from);
	return out;
}

static void put(const char *name, int64_t version)
{
	snapshot_edit_put(&edit, name,
			  &(struct snapshot_version){.version = version,
						     .at = edit.version,
						     .registered_us = 10 * edit.version});
}

static void begin(void)
{
	snapshot_edit_init(&edit, snapshot);
	edit.version++;
}

static void finish(struct pool *pool)
{
	struct snapshot *next = snapshot_edit_finish(&edit, pool);

	snapshot_unref(snapshot);
	snapshot = next;
}

/* "a.proto@2:3 ..." of the live files, the services, the others in parentheses. */
static const char *shown(void)
{
	static char out[1024];
	FILE *f = fmemopen(out, sizeof(out), "w");

	for (size_t i = 0; i < snapshot->file_count; i++)
		fprintf(f, "%s@%d:%d ", snapshot->files[i]->name,
			(int)snapshot->files[i]->newest->version, (int)snapshot->files[i]->at);
	for (size_t i = 0; i < snapshot->service_count; i++)
		fprintf(f, "%s ", snapshot->services[i].name);
	for (size_t i = 0; i < snapshot->other_count; i++)
		fprintf(f, "(%s %s) ", snapshot->others[i]->name,
			snapshot->others[i]->state == SNAPSHOT_GONE ? "gone" : "lost");
	fclose(f);
	return out;
}

START_TEST(files_and_services_come_by_name_and_go)
{
	struct pool *a =
		pool_with(NULL, "a.proto", P3 "message A {} service Z {} service B {}");
	struct pool *ab = pool_with(pool_ref(a), "b.proto", P3 "message X {} service Y {}");
	struct pool *changed =
		pool_with(pool_ref(ab), "a.proto", P3 "message A {} service C {}");
	struct snapshot *first;

	begin();
	put("b.proto", 1);
	put("a.proto", 1);
	finish(ab);
	ck_assert_str_eq(shown(), "a.proto@1:1 b.proto@1:1 t.B t.Y t.Z ");
	ck_assert_uint_eq(snapshot->version_total, 2);
	first = snapshot_ref(snapshot);

	begin();
	put("a.proto", 2);
	finish(changed);
	ck_assert_str_eq(shown(), "a.proto@2:2 b.proto@1:1 t.C t.Y ");

	begin();
	snapshot_edit_remove(&edit, "b.proto", edit.version, 77);
	snapshot_edit_remove(&edit, "never.proto", edit.version, 77);
	finish(a);
	ck_assert_str_eq(shown(), "a.proto@2:2 t.C (b.proto gone) ");
	ck_assert_ptr_null(snapshot_find(snapshot, "b.proto"));
	ck_assert_int_eq(snapshot_find_any(snapshot, "b.proto")->at, 3);
	ck_assert_int_eq(snapshot_find_any(snapshot, "b.proto")->changed_us, 77);

	begin();
	put("b.proto", 2);
	finish(ab);
	ck_assert_str_eq(shown(), "a.proto@2:2 b.proto@2:4 t.C t.Y ");
	ck_assert_uint_eq(snapshot->version_total, 4);

	/* The first is as it was. */
	snapshot_unref(snapshot);
	snapshot = first;
	ck_assert_str_eq(shown(), "a.proto@1:1 b.proto@1:1 t.B t.Y t.Z ");
	pool_unref(a);
	pool_unref(ab);
	pool_unref(changed);
}
END_TEST

START_TEST(versions_are_all_there)
{
	struct pool *a = pool_with(NULL, "a.proto", P3 "message A {}");
	const struct snapshot_file *f;

	for (int64_t v = 1; v <= 5; v++) {
		begin();
		put("a.proto", v == 5 ? 9 : v);
		finish(a);
	}
	f = snapshot_find(snapshot, "a.proto");
	ck_assert_uint_eq(f->version_count, 5);
	ck_assert_int_eq(f->created_us, 10);
	ck_assert_int_eq(f->changed_us, 50);
	ck_assert_int_eq(snapshot_find_version(f, 9)->at, 5);
	ck_assert_int_eq(snapshot_find_version(f, 2)->at, 2);
	ck_assert_ptr_null(snapshot_find_version(f, 6));
	ck_assert_ptr_null(snapshot_find_version(f, 0));
	ck_assert_ptr_null(snapshot_find_version(f, 10));
	pool_unref(a);
}
END_TEST

START_TEST(a_file_that_is_not_in_the_pool_is_lost)
{
	struct pool *a = pool_with(NULL, "a.proto", P3 "message A {}");

	begin();
	put("a.proto", 1);
	put("lost.proto", 3);
	finish(a);
	ck_assert_str_eq(shown(), "a.proto@1:1 (lost.proto lost) ");
	pool_unref(a);
}
END_TEST

START_TEST(seeking_by_name_and_prefix)
{
	static const char *const names[] = {"a.proto", "b/1.proto", "b/2.proto", "ba.proto"};
	struct pool *pool = NULL;

	begin();
	for (size_t i = 0; i < 4; i++) {
		char *source AUTO_FREE = xasprintf("syntax = \"proto3\"; message M%zu {}", i);
		pool = pool_with(pool, names[i], source);
		put(names[i], 1);
	}
	finish(pool);
	pool_unref(pool);
#define SEEK(what, text) snapshot_seek(snapshot, SNAPSHOT_FILES, SNAPSHOT_##what, text)
	ck_assert_uint_eq(SEEK(LESS, ""), 0);
	ck_assert_uint_eq(SEEK(UP_TO, ""), 0);
	ck_assert_uint_eq(SEEK(WITH_PREFIXED, ""), 4);
	ck_assert_uint_eq(SEEK(LESS, "b/"), 1);
	ck_assert_uint_eq(SEEK(WITH_PREFIXED, "b/"), 3);
	ck_assert_uint_eq(SEEK(LESS, "b/1.proto"), 1);
	ck_assert_uint_eq(SEEK(UP_TO, "b/1.proto"), 2);
	ck_assert_uint_eq(SEEK(UP_TO, "b/1.prot"), 1);
	ck_assert_uint_eq(SEEK(WITH_PREFIXED, "b"), 4);
	ck_assert_uint_eq(SEEK(LESS, "z"), 4);
	ck_assert_uint_eq(SEEK(WITH_PREFIXED, "z"), 4);
	ck_assert_uint_eq(snapshot_seek(snapshot, SNAPSHOT_SERVICES, SNAPSHOT_LESS, "a"), 0);
}
END_TEST

START_TEST(the_oldest_removals_are_forgotten)
{
	struct pool *empty = pool_new();
	char name[32];

	begin();
	for (int i = 0; i <= SNAPSHOT_MAX_GONE; i++) {
		snprintf(name, sizeof(name), "f%05d.proto", i);
		put(name, 1);
		snapshot_edit_remove(&edit, name, i + 1, 0);
	}
	edit.version = SNAPSHOT_MAX_GONE + 1;
	finish(empty);
	ck_assert_uint_eq(snapshot->other_count, SNAPSHOT_MAX_GONE / 4 * 3);
	ck_assert_uint_eq(snapshot->version_total, snapshot->other_count);
	/* From there on every removal is known. */
	ck_assert_int_eq(snapshot->history_from,
			 SNAPSHOT_MAX_GONE + 1 - (int)snapshot->other_count);
	ck_assert_ptr_null(snapshot_find_any(snapshot, "f00000.proto"));
	for (size_t i = 0; i < snapshot->other_count; i++)
		ck_assert_int_gt(snapshot->others[i]->at, snapshot->history_from);
	pool_unref(empty);
}
END_TEST

int main(void)
{
	return suite_run("snapshot", setup, teardown,
			 (const TTest *const[]){
				 files_and_services_come_by_name_and_go,
				 versions_are_all_there,
				 a_file_that_is_not_in_the_pool_is_lost,
				 seeking_by_name_and_prefix,
				 the_oldest_removals_are_forgotten,
				 NULL,
			 });
}
