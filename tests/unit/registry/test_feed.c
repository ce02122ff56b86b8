#include "services/registry/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/pool.h"
#include "services/registry/catalog.h"
#include "services/registry/disk.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"
#include "tests/unit/registry/testdir.h"

static struct catalog *catalog;
static struct feed *feed;
static struct arena arena;
static struct error err;

static void setup(void)
{
	testdir_make();
	arena_init(&arena, 0);
	ck_assert_int_eq(catalog_open(testdir, &testdir_noting, &catalog, &err), STATUS_OK);
	feed = feed_new(catalog, false);
}

static void teardown(void)
{
	feed_free(feed);
	catalog_close(catalog);
	arena_release(&arena);
	testdir_remove();
}

static void commit(const char *ns, struct snapshot_edit *edit, struct pool *pool,
		   const struct tree_write *write)
{
	struct snapshot *after = snapshot_edit_finish(edit, pool);

	ck_assert_msg(catalog_commit(catalog, ns, after, write, 1, &err) == STATUS_OK, "%s",
		      err.message);
	snapshot_unref(after);
}

/* A new version of an empty file. */
static void put(const char *ns, const char *name)
{
	struct snapshot *before = catalog_snapshot(catalog, ns);
	const struct snapshot_file *known = snapshot_find_any(before, name);
	char *text AUTO_FREE =
		xasprintf("syntax = \"proto3\"; package p%d;", (int)before->version);
	struct snapshot_edit edit;
	AUTO_STRBUF file = STRBUF_INIT;
	struct bytes bytes;
	struct pool *pool;

	fixture_compile(name, text, &file);
	bytes = bytes_of(file.buf, file.len);
	ck_assert_int_eq(pool_replace(before->pool, &bytes, 1, &pool, &err), STATUS_OK);
	snapshot_edit_init(&edit, before);
	edit.version++;
	snapshot_edit_put(
		&edit, name,
		&(struct snapshot_version){.version = known ? known->newest->version + 1 : 1,
					   .at = edit.version,
					   .size = bytes.size,
					   .checksum = disk_checksum(bytes)});
	commit(ns, &edit, pool, &(struct tree_write){name, bytes});
	snapshot_unref(before);
	pool_unref(pool);
}

/* From the snapshot alone: that the pool still has it is no matter here. */
static void take_away(const char *ns, const char *name)
{
	struct snapshot *before = catalog_snapshot(catalog, ns);
	struct snapshot_edit edit;

	snapshot_edit_init(&edit, before);
	edit.version++;
	snapshot_edit_remove(&edit, name, edit.version, 0);
	commit(ns, &edit, before->pool, &(struct tree_write){name, {NULL, 0}});
	snapshot_unref(before);
}

/* The next event, as "ns@version +changed -removed complete"; "nothing". */
static const char *next(void)
{
	static char out[512];
	const struct feed_event *e;
	size_t n;

	if (!feed_next(feed, &e))
		return "nothing";
	n = (size_t)snprintf(out, sizeof(out), "%s@%d", e->ns, (int)e->version);
	for (size_t i = 0; i < e->changed_count; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, " +%s", e->changed[i]);
	for (size_t i = 0; i < e->removed_count; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, " -%s", e->removed[i]);
	if (e->complete)
		snprintf(out + n, sizeof(out) - n, " complete");
	return out;
}

START_TEST(everything_then_the_marker_then_what_changes)
{
	put("b", "x.proto");
	put("a", "y.proto");
	ck_assert_str_eq(next(), "a@1 +y.proto complete");
	ck_assert_str_eq(next(), "b@1 +x.proto complete");
	ck_assert_str_eq(next(), "@0");
	ck_assert_str_eq(next(), "nothing");
	put("c", "z.proto");
	ck_assert_str_eq(next(), "c@1 +z.proto complete");
	ck_assert_str_eq(next(), "nothing");
}
END_TEST

START_TEST(what_was_not_asked_for_in_time_is_told_together)
{
	put("a", "x.proto");
	put("a", "y.proto");
	next();
	ck_assert_str_eq(next(), "@0");
	put("a", "x.proto");
	put("a", "x.proto");
	put("a", "z.proto");
	take_away("a", "y.proto");
	take_away("a", "z.proto");
	ck_assert_str_eq(next(), "a@7 +x.proto -y.proto -z.proto");
	put("a", "z.proto");
	ck_assert_str_eq(next(), "a@8 +z.proto");
	ck_assert_str_eq(next(), "nothing");
}
END_TEST

START_TEST(only_what_is_wanted_and_not_known)
{
	put("a", "x.proto");
	put("b", "x.proto");
	put("b", "y.proto");
	put("c", "x.proto");
	feed_want(feed, "a");
	feed_want(feed, "b");
	feed_want(feed, "d");
	feed_know(feed, "a", 1);
	feed_know(feed, "b", 1);
	feed_know(feed, "d", 3);
	ck_assert_str_eq(next(), "b@2 +y.proto");
	ck_assert_str_eq(next(), "d@0 complete");
	ck_assert_str_eq(next(), "@0");
	put("c", "y.proto");
	ck_assert_str_eq(next(), "nothing");
	put("d", "x.proto");
	ck_assert_str_eq(next(), "d@1 +x.proto complete");
}
END_TEST

START_TEST(versions_out_of_reach_get_everything)
{
	struct snapshot *before, *after;
	struct snapshot_edit edit;

	put("a", "x.proto");
	put("a", "y.proto");
	/* As if removals up to there had been forgotten. */
	before = catalog_snapshot(catalog, "a");
	snapshot_edit_init(&edit, before);
	edit.history_from = 2;
	after = snapshot_edit_finish(&edit, before->pool);
	ck_assert_int_eq(catalog_commit(catalog, "a", after, NULL, 0, &err), STATUS_OK);
	snapshot_unref(after);
	snapshot_unref(before);
	feed_know(feed, "a", 1);
	ck_assert_str_eq(next(), "a@2 +x.proto +y.proto complete");
	feed_free(feed);
	feed = feed_new(catalog, false);
	feed_know(feed, "a", 2);
	ck_assert_str_eq(next(), "@0");
	feed_free(feed);
	feed = feed_new(catalog, false);
	feed_know(feed, "a", 3);
	ck_assert_str_eq(next(), "a@2 +x.proto +y.proto complete");
	feed_free(feed);
	feed = feed_new(catalog, false);
	feed_know(feed, "a", -1);
	ck_assert_str_eq(next(), "a@2 +x.proto +y.proto complete");
}
END_TEST

int main(void)
{
	return suite_run("feed", setup, teardown,
			 (const TTest *const[]){
				 everything_then_the_marker_then_what_changes,
				 what_was_not_asked_for_in_time_is_told_together,
				 only_what_is_wanted_and_not_known,
				 versions_out_of_reach_get_everything,
				 NULL,
			 });
}
