#include "services/registry/tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/reflect/pool.h"
#include "services/registry/disk.h"
#include "tests/support/suite.h"
#include "tests/unit/registry/testdir.h"

/* No file here links: what is committed is lost to the snapshot, and on disk all the same. */
static struct pool *pool;
static struct tree *tree;
static struct snapshot *now;
static struct strbuf loaded;
static struct error err;

static void open_tree(void)
{
	struct snapshot_edit nothing;

	tree = tree_new(testdir, "shop", &testdir_noting);
	snapshot_edit_init(&nothing, NULL);
	now = snapshot_edit_finish(&nothing, pool);
}

static void close_tree(void)
{
	tree_free(tree);
	snapshot_unref(now);
}

static void setup(void)
{
	testdir_make();
	loaded = STRBUF_INIT;
	pool = pool_new();
	open_tree();
}

static void teardown(void)
{
	close_tree();
	pool_unref(pool);
	strbuf_release(&loaded);
	testdir_remove();
}

static void take(void *arg, const char *name, struct bytes bytes)
{
	char **parts = arg;
	char *more = xasprintf("%s%s=%.*s ", *parts, name, (int)bytes.size,
			       (const char *)bytes.data);

	free(*parts);
	*parts = more;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Words of @text in order, as loading has none. */
static void add_sorted(char *text)
{
	char *words[64], *save = NULL;
	size_t n = 0;

	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		words[n++] = w;
	qsort(words, n, sizeof(*words), by_text);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&loaded, "%s ", words[i]);
}

/* Close the tree and open it anew: what is there, as "name=bytes ...". */
static const char *reload(void)
{
	struct snapshot_edit edit;
	char *parts = xstrdup("");

	close_tree();
	open_tree();
	strbuf_reset(&loaded);
	strbuf_reset(&testdir_damage);
	snapshot_edit_init(&edit, NULL);
	ck_assert_msg(tree_load(tree, &edit, take, &parts, &err) == STATUS_OK, "%s",
		      err.message);
	snapshot_unref(now);
	now = snapshot_edit_finish(&edit, pool);
	add_sorted(parts);
	free(parts);
	return strbuf_str(&loaded);
}

static const char *damage(void)
{
	return strbuf_str(&testdir_damage);
}

struct step {
	const char *name, *text; /* text NULL: it is removed */
};

/* One commit of @steps, which end with a NULL name. */
static enum status commit(const struct step *steps)
{
	struct tree_write writes[8];
	struct snapshot_edit edit;
	struct snapshot *after;
	enum status status;
	size_t n = 0;

	snapshot_edit_init(&edit, now);
	edit.version++;
	for (; steps->name; steps++) {
		const struct snapshot_file *known = snapshot_find_any(now, steps->name);
		struct bytes bytes =
			steps->text ? bytes_of_string(steps->text) : bytes_of(NULL, 0);
		writes[n++] = (struct tree_write){steps->name, bytes};
		if (!steps->text)
			snapshot_edit_remove(&edit, steps->name, edit.version, 5);
		else
			snapshot_edit_put(
				&edit, steps->name,
				&(struct snapshot_version){
					.version = known ? known->newest->version + 1 : 1,
					.at = edit.version,
					.registered_us = 1000 + edit.version,
					.size = bytes.size,
					.checksum = disk_checksum(bytes)});
	}
	after = snapshot_edit_finish(&edit, pool);
	status = tree_commit(tree, now, after, writes, n, &err);
	if (status == STATUS_OK) {
		snapshot_unref(now);
		now = after;
	} else {
		snapshot_unref(after);
	}
	return status;
}

#define COMMIT(...)                                                                            \
	ck_assert_msg(commit((const struct step[]){__VA_ARGS__, {NULL, NULL}}) == STATUS_OK,   \
		      "%s", err.message)

/* Two files, then a new version of the second. */
static void commit_twice(void)
{
	COMMIT({"a/x.proto", "one"}, {"y.proto", "two"});
	COMMIT({"y.proto", "TWO"});
}

static bool exists(const char *path)
{
	char *full AUTO_FREE = xasprintf("%s/%s", testdir, path);

	return !access(full, F_OK);
}

START_TEST(nothing_is_version_zero)
{
	ck_assert_str_eq(reload(), "");
	ck_assert_int_eq(now->version, 0);
}
END_TEST

START_TEST(what_was_committed_is_loaded)
{
	const struct snapshot_file *y;

	commit_twice();
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert_int_eq(now->version, 2);
	ck_assert_str_eq(damage(), "");
	y = snapshot_find_any(now, "y.proto");
	ck_assert_uint_eq(y->version_count, 2);
	ck_assert_int_eq(y->newest->at, 2);
	ck_assert_int_eq(y->newest->registered_us, 1002);
	ck_assert_int_eq(y->created_us, 1001);
}
END_TEST

START_TEST(every_version_can_be_read)
{
	AUTO_STRBUF out = STRBUF_INIT;
	const struct snapshot_file *y;

	commit_twice();
	reload();
	y = snapshot_find_any(now, "y.proto");
	ck_assert_int_eq(tree_read(tree, "y.proto", y->newest->previous, &out, &err),
			 STATUS_OK);
	ck_assert_str_eq(strbuf_str(&out), "two");
	testdir_overwrite("versions/shop/y.proto/1.binpb", "toe");
	ck_assert_int_eq(tree_read(tree, "y.proto", y->newest->previous, &out, &err),
			 STATUS_DATA_LOSS);
	ck_assert_int_eq(tree_last_version(testdir, "shop", "y.proto"), 2);
	ck_assert_int_eq(tree_last_version(testdir, "shop", "no.proto"), 0);
}
END_TEST

START_TEST(what_was_removed_stays_away_and_comes_back_newer)
{
	commit_twice();
	COMMIT({"y.proto", NULL});
	ck_assert(!exists("ns/shop/y.proto.binpb"));
	ck_assert(exists("versions/shop/y.proto/2.binpb"));
	/* Stopped amid the removal. */
	testdir_overwrite("ns/shop/y.proto.binpb", "TWO");
	ck_assert_str_eq(reload(), "a/x.proto=one ");
	ck_assert_str_eq(damage(), "");
	ck_assert(!exists("ns/shop/y.proto.binpb"));
	ck_assert_int_eq(snapshot_find_any(now, "y.proto")->state, SNAPSHOT_GONE);
	COMMIT({"y.proto", "three"});
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=three ");
	ck_assert_int_eq(snapshot_find_any(now, "y.proto")->newest->version, 3);
}
END_TEST

START_TEST(the_policy_is_kept)
{
	struct snapshot_edit edit;
	struct snapshot *after;

	snapshot_edit_init(&edit, now);
	edit.policy = POLICY_SOURCE;
	after = snapshot_edit_finish(&edit, pool);
	ck_assert_int_eq(tree_commit(tree, now, after, NULL, 0, &err), STATUS_OK);
	snapshot_unref(after);
	reload();
	ck_assert_int_eq(now->policy, POLICY_SOURCE);
	ck_assert_int_eq(now->version, 0);
	COMMIT({"y.proto", "x"});
	reload();
	ck_assert_int_eq(now->policy, POLICY_SOURCE);
}
END_TEST

/* A crash after the commit leaves the current copy behind. */
START_TEST(a_current_copy_that_is_behind_is_mended)
{
	char *path AUTO_FREE = xasprintf("%s/ns/shop/y.proto.binpb", testdir);

	commit_twice();
	testdir_overwrite("ns/shop/y.proto.binpb", "two");
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	unlink(path);
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert(exists("ns/shop/y.proto.binpb"));
	ck_assert_str_eq(damage(), "");
}
END_TEST

/* A crash before the commit: new versions are there, and a part of its lines. */
START_TEST(versions_without_their_commit_never_happened)
{
	AUTO_STRBUF manifest = STRBUF_INIT;

	commit_twice();
	testdir_overwrite("versions/shop/y.proto/3.binpb", "half");
	testdir_read("manifests/shop", &manifest);
	strbuf_addstr(&manifest, "0123456789abcdef file 3 3 10");
	testdir_overwrite("manifests/shop", manifest.buf);
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert_str_eq(damage(), "");
	COMMIT({"y.proto", "3"});
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=3 ");
	ck_assert_int_eq(now->version, 3);
	ck_assert_str_eq(damage(), "");
}
END_TEST

static void drop_file(const char *path)
{
	char *full AUTO_FREE = xasprintf("%s/%s", testdir, path);

	ck_assert_msg(!unlink(full), "%s", full);
}

/* The machine stops: what was not synced is not there, or is empty. */
START_TEST(unsynced_copies_are_made_again)
{
	AUTO_STRBUF out = STRBUF_INIT;

	commit_twice();
	drop_file("versions/shop/a/x.proto/1.binpb");
	testdir_overwrite("versions/shop/y.proto/1.binpb", "");
	drop_file("versions/shop/y.proto/2.binpb");
	drop_file("ns/shop/a/x.proto.binpb");
	testdir_overwrite("ns/shop/y.proto.binpb", "");
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert_str_eq(damage(), "");
	testdir_read("versions/shop/a/x.proto/1.binpb", &out);
	testdir_read("versions/shop/y.proto/1.binpb", &out);
	testdir_read("versions/shop/y.proto/2.binpb", &out);
	ck_assert_str_eq(out.buf, "onetwoTWO");
}
END_TEST

/* A text that is too long for the manifest; the caller frees it. */
static char *long_text(char c)
{
	enum { LENGTH = 100000 };
	char *text = xmalloc(LENGTH + 1);

	memset(text, c, LENGTH);
	text[LENGTH] = '\0';
	return text;
}

START_TEST(a_large_change_is_not_in_the_manifest)
{
	char *text AUTO_FREE = long_text('x');
	AUTO_STRBUF manifest = STRBUF_INIT;

	COMMIT({"y.proto", "two"});
	COMMIT({"large.proto", text}, {"y.proto", "TWO"});
	testdir_read("manifests/shop", &manifest);
	ck_assert_uint_lt(manifest.len, 1000);
	reload();
	ck_assert_str_eq(damage(), "");
	ck_assert_uint_eq(now->other_count, 2);
	ck_assert_uint_eq(snapshot_find_any(now, "large.proto")->newest->size, strlen(text));
}
END_TEST

/* Once synced as files, versions leave the manifest. */
START_TEST(a_manifest_of_many_bytes_is_rewritten)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	AUTO_STRBUF out = STRBUF_INIT;
	char *text AUTO_FREE = long_text('x');
	char *path AUTO_FREE = xasprintf("%s/manifests/shop", testdir);
	enum { COMMITS = 200 };

	text[50000] = '\0';
	for (int i = 0; i < COMMITS; i++) {
		text[0] = (char)('a' + i % 26);
		COMMIT({"y.proto", text});
	}
	ck_assert_int_eq(disk_read(path, 20 << 20, &manifest, &err), STATUS_OK);
	ck_assert_uint_lt(manifest.len, 8 << 20);
	reload();
	ck_assert_str_eq(damage(), "");
	ck_assert_uint_eq(snapshot_find_any(now, "y.proto")->version_count, COMMITS);
	ck_assert_int_eq(tree_read(tree, "y.proto",
				   snapshot_find_version(snapshot_find_any(now, "y.proto"), 3),
				   &out, &err),
			 STATUS_OK);
	ck_assert_int_eq(out.buf[0], 'c');
}
END_TEST

START_TEST(a_version_that_cannot_be_written_follows_later)
{
	char *blocker AUTO_FREE = xasprintf("%s/versions/shop/y.proto/3.binpb.tmp", testdir);
	AUTO_STRBUF out = STRBUF_INIT;

	commit_twice();
	ck_assert_int_eq(mkdir(blocker, 0700), 0);
	COMMIT({"y.proto", "three"});
	ck_assert_str_ne(damage(), "");
	ck_assert_int_eq(rmdir(blocker), 0);
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=three ");
	ck_assert_str_eq(damage(), "");
	testdir_read("versions/shop/y.proto/3.binpb", &out);
	ck_assert_str_eq(out.buf, "three");
}
END_TEST

START_TEST(a_damaged_file_is_set_aside_and_the_rest_served)
{
	char *text AUTO_FREE = long_text('x');

	COMMIT({"a/x.proto", "one"});
	COMMIT({"y.proto", text});
	COMMIT({"y.proto", text});
	testdir_overwrite("ns/shop/y.proto.binpb", "xxx");
	testdir_overwrite("versions/shop/y.proto/2.binpb", "xxx");
	ck_assert_str_eq(reload(), "a/x.proto=one ");
	ck_assert_ptr_nonnull(strstr(damage(), "y.proto.binpb.damaged"));
	/* It is told until it is mended, by registering the file. */
	ck_assert_str_eq(reload(), "a/x.proto=one ");
	ck_assert_ptr_nonnull(strstr(damage(), "y.proto"));
	COMMIT({"y.proto", "3"});
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=3 ");
	ck_assert_str_eq(damage(), "");
}
END_TEST

START_TEST(a_damaged_line_is_told_and_the_rest_served)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	int64_t before;

	commit_twice();
	before = now->version;
	testdir_read("manifests/shop", &manifest);
	*strstr(manifest.buf, "x.proto") = 'z';
	testdir_overwrite("manifests/shop", manifest.buf);
	ck_assert_str_eq(reload(), "y.proto=TWO ");
	ck_assert_ptr_nonnull(strstr(damage(), "/manifests/shop.damaged"));
	ck_assert(exists("manifests/shop.damaged"));
	/* Who knew the version before must ask again, and for everything. */
	ck_assert_int_gt(now->version, before);
	ck_assert_int_eq(now->history_from, now->version);
	COMMIT({"w.proto", "3"});
	ck_assert_str_eq(reload(), "w.proto=3 y.proto=TWO ");
	ck_assert_str_eq(damage(), "");
	ck_assert_int_gt(now->history_from, before);
}
END_TEST

START_TEST(a_newer_manifest_is_refused_and_kept)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	struct snapshot_edit edit;
	char *parts AUTO_FREE = xstrdup("");

	commit_twice();
	testdir_overwrite("manifests/shop", "collector-manifest 3\n");
	snapshot_edit_init(&edit, NULL);
	ck_assert_int_eq(tree_load(tree, &edit, take, &parts, &err),
			 STATUS_FAILED_PRECONDITION);
	snapshot_edit_release(&edit);
	testdir_read("manifests/shop", &manifest);
	ck_assert_str_eq(manifest.buf, "collector-manifest 3\n");
}
END_TEST

/* ------------------------------------------------------------ format 1 */

static void add_line_of_first_format(struct strbuf *out, const char *name, int version,
				     const char *text)
{
	struct bytes bytes = bytes_of_string(text);

	strbuf_addf(out, "%d 1000 2000 %zu %016" PRIx64 " %s\n", version, bytes.size,
		    disk_checksum(bytes), name);
}

/* As commit_twice() was written by the first format. */
static void put_first_format(const char *path, const char *y, int version)
{
	AUTO_STRBUF m = STRBUF_INIT;

	strbuf_addf(&m, "collector-manifest 1 %d\n", version);
	add_line_of_first_format(&m, "a/x.proto", 1, "one");
	add_line_of_first_format(&m, "y.proto", version, y);
	strbuf_addf(&m, "end %016" PRIx64 "\n", disk_checksum(bytes_of(m.buf, m.len)));
	testdir_overwrite(path, m.buf);
}

START_TEST(the_first_format_is_loaded_and_replaced)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	const struct snapshot_file *y;

	commit_twice();
	put_first_format("manifests/shop.previous", "two", 1);
	put_first_format("manifests/shop", "TWO", 2);
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert_str_eq(damage(), "");
	ck_assert_int_eq(now->version, 2);
	y = snapshot_find_any(now, "y.proto");
	ck_assert_uint_eq(y->version_count, 2);
	ck_assert_int_eq(y->created_us, 1000);
	COMMIT({"w.proto", "3"});
	testdir_read("manifests/shop", &manifest);
	ck_assert_int_eq(strncmp(manifest.buf, "collector-manifest 2\n", 21), 0);
	ck_assert(!exists("manifests/shop.previous"));
	ck_assert_str_eq(reload(), "a/x.proto=one w.proto=3 y.proto=TWO ");
	ck_assert_uint_eq(snapshot_find_any(now, "y.proto")->version_count, 2);
}
END_TEST

START_TEST(a_damaged_first_format_gives_way_to_the_one_before)
{
	commit_twice();
	put_first_format("manifests/shop.previous", "two", 1);
	testdir_overwrite("manifests/shop", "collector-manifest 1 9\nend 0000000000000000\n");
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=two ");
	ck_assert_ptr_nonnull(strstr(damage(), "/manifests/shop.damaged"));
}
END_TEST

/* --------------------------------------------------------------- growing */

START_TEST(a_manifest_of_dead_lines_is_rewritten)
{
	AUTO_STRBUF manifest = STRBUF_INIT;
	struct snapshot_edit edit;
	struct snapshot *after;

	commit_twice();
	/* Policies back and forth leave nothing but the last. */
	for (int i = 0; i < 1200; i++) {
		snapshot_edit_init(&edit, now);
		edit.policy = i % 2 ? POLICY_WIRE : POLICY_NONE;
		after = snapshot_edit_finish(&edit, pool);
		ck_assert_int_eq(tree_commit(tree, now, after, NULL, 0, &err), STATUS_OK);
		snapshot_unref(now);
		now = after;
	}
	testdir_read("manifests/shop", &manifest);
	ck_assert_uint_lt(manifest.len, 100 * 1100);
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=TWO ");
	ck_assert_int_eq(now->policy, POLICY_WIRE);
}
END_TEST

/* A commit that fails changes nothing, and the next one is whole. */
START_TEST(a_commit_that_fails_did_not_happen)
{
	char *manifest AUTO_FREE = xasprintf("%s/manifests/shop", testdir);
	char *kept AUTO_FREE = xasprintf("%s.kept", manifest);
	char *blocker AUTO_FREE = xasprintf("%s/versions/shop/y.proto/3.binpb.tmp", testdir);
	char *text AUTO_FREE = long_text('x');

	commit_twice();
	/* A directory where a large version's temporary is to be. */
	ck_assert_int_eq(mkdir(blocker, 0700), 0);
	ck_assert_int_eq(
		commit((const struct step[]){{"w.proto", text}, {"y.proto", "3"}, {0}}),
		STATUS_INTERNAL);
	ck_assert(!exists("versions/shop/w.proto/1.binpb"));
	ck_assert_int_eq(rmdir(blocker), 0);
	/* And where the manifest is, for a small change and a large one. */
	ck_assert_int_eq(rename(manifest, kept), 0);
	ck_assert_int_eq(mkdir(manifest, 0700), 0);
	ck_assert_int_eq(commit((const struct step[]){{"y.proto", "3"}, {0}}), STATUS_INTERNAL);
	ck_assert_int_eq(commit((const struct step[]){{"y.proto", text}, {0}}),
			 STATUS_INTERNAL);
	ck_assert(!exists("versions/shop/y.proto/3.binpb"));
	ck_assert_int_eq(rmdir(manifest), 0);
	ck_assert_int_eq(rename(kept, manifest), 0);
	COMMIT({"y.proto", "three"});
	ck_assert_str_eq(reload(), "a/x.proto=one y.proto=three ");
	ck_assert_int_eq(now->version, 3);
}
END_TEST

static void collect(void *arg, const char *ns)
{
	(void)arg;
	strbuf_addf(&loaded, "%s ", ns);
}

START_TEST(namespaces_are_those_with_a_manifest)
{
	commit_twice();
	testdir_overwrite("manifests/other.tmp", "");
	testdir_overwrite("manifests/shop.damaged", "");
	ck_assert_int_eq(tree_namespaces(testdir, collect, NULL, &err), STATUS_OK);
	ck_assert_str_eq(strbuf_str(&loaded), "shop ");
}
END_TEST

int main(void)
{
	return suite_run("tree", setup, teardown,
			 (const TTest *const[]){
				 nothing_is_version_zero,
				 what_was_committed_is_loaded,
				 every_version_can_be_read,
				 what_was_removed_stays_away_and_comes_back_newer,
				 the_policy_is_kept,
				 a_current_copy_that_is_behind_is_mended,
				 versions_without_their_commit_never_happened,
				 unsynced_copies_are_made_again,
				 a_large_change_is_not_in_the_manifest,
				 a_manifest_of_many_bytes_is_rewritten,
				 a_version_that_cannot_be_written_follows_later,
				 a_damaged_file_is_set_aside_and_the_rest_served,
				 a_damaged_line_is_told_and_the_rest_served,
				 a_newer_manifest_is_refused_and_kept,
				 the_first_format_is_loaded_and_replaced,
				 a_damaged_first_format_gives_way_to_the_one_before,
				 a_manifest_of_dead_lines_is_rewritten,
				 a_commit_that_fails_did_not_happen,
				 namespaces_are_those_with_a_manifest,
				 NULL,
			 });
}
