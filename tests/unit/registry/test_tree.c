#include "services/registry/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "tests/support/suite.h"

static char dir[64];
static struct tree *tree;
static struct strbuf damaged, loaded;
static int64_t version;
static struct error err;

static void note_damage(void *arg, const char *path, const char *why)
{
	(void)arg;
	strbuf_addf(&damaged, "%s: %s\n", path + strlen(dir), why);
}

static void setup(void)
{
	memcpy(dir, "/tmp/collector-tree-XXXXXX", 27);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	damaged = loaded = STRBUF_INIT;
	tree = tree_open(dir, note_damage, NULL);
}

static void teardown(void)
{
	char *command = xasprintf("rm -rf '%s'", dir);

	tree_close(tree);
	ck_assert_int_eq(system(command), 0);
	free(command);
	strbuf_release(&damaged);
	strbuf_release(&loaded);
}

static void take(void *arg, const struct tree_file *f)
{
	(void)arg;
	strbuf_addf(&loaded, "%s@%d=%.*s ", f->name, (int)f->version, (int)f->bytes.size,
		    (const char *)f->bytes.data);
}

/* What is on disk now, as "name@version=bytes ...". */
static const char *load(void)
{
	strbuf_reset(&loaded);
	strbuf_reset(&damaged);
	ck_assert_msg(tree_load(tree, "shop", take, NULL, &version, &err) == STATUS_OK, "%s",
		      err.message);
	return strbuf_str(&loaded);
}

static struct tree_file file(const char *name, int64_t v, const char *text)
{
	return (struct tree_file){name, v, 1, 2, bytes_of(text, strlen(text))};
}

/* Two files, then a new version of the second. */
static void commit_twice(void)
{
	struct tree_file all[] = {file("a/x.proto", 1, "one"), file("y.proto", 1, "two")};
	const struct tree_file *both[] = {&all[0], &all[1]}, *second[] = {&all[1]};

	ck_assert_int_eq(tree_commit(tree, "shop", 1, all, 2, both, 2, &err), STATUS_OK);
	all[1] = file("y.proto", 2, "TWO");
	ck_assert_int_eq(tree_commit(tree, "shop", 2, all, 2, second, 1, &err), STATUS_OK);
}

static void overwrite(const char *below, const char *text)
{
	char *path AUTO_FREE = xasprintf("%s/%s", dir, below);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(nothing_is_version_zero)
{
	ck_assert_str_eq(load(), "");
	ck_assert_int_eq(version, 0);
}
END_TEST

START_TEST(what_was_committed_is_loaded)
{
	commit_twice();
	ck_assert_str_eq(load(), "a/x.proto@1=one y.proto@2=TWO ");
	ck_assert_int_eq(version, 2);
	ck_assert_str_eq(strbuf_str(&damaged), "");
}
END_TEST

/* A crash after the manifest's rename leaves the current copy behind. */
START_TEST(a_current_copy_that_is_behind_is_mended)
{
	char *path AUTO_FREE = xasprintf("%s/ns/shop/y.proto.binpb", dir);

	commit_twice();
	overwrite("ns/shop/y.proto.binpb", "two");
	ck_assert_str_eq(load(), "a/x.proto@1=one y.proto@2=TWO ");
	unlink(path);
	ck_assert_str_eq(load(), "a/x.proto@1=one y.proto@2=TWO ");
	ck_assert_int_eq(access(path, R_OK), 0);
}
END_TEST

/* A crash before the rename: new versions are there, the manifest is the old one. */
START_TEST(versions_without_their_manifest_never_happened)
{
	commit_twice();
	overwrite("versions/shop/y.proto/3.binpb", "half");
	overwrite("manifests/shop.tmp", "collector-mani");
	ck_assert_str_eq(load(), "a/x.proto@1=one y.proto@2=TWO ");
}
END_TEST

START_TEST(a_damaged_file_is_set_aside_and_the_rest_served)
{
	commit_twice();
	overwrite("ns/shop/y.proto.binpb", "xxx");
	overwrite("versions/shop/y.proto/2.binpb", "xxx");
	ck_assert_str_eq(load(), "a/x.proto@1=one ");
	ck_assert_ptr_nonnull(strstr(strbuf_str(&damaged), "y.proto.binpb.damaged"));
}
END_TEST

START_TEST(a_damaged_manifest_gives_way_to_the_one_before)
{
	commit_twice();
	overwrite("manifests/shop", "collector-manifest 1 9\nend 0000000000000000\n");
	ck_assert_str_eq(load(), "a/x.proto@1=one y.proto@1=two ");
	ck_assert_int_eq(version, 1);
	ck_assert_ptr_nonnull(strstr(strbuf_str(&damaged), "/manifests/shop.damaged"));
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
	overwrite("manifests/other.tmp", "");
	ck_assert_int_eq(tree_namespaces(tree, collect, NULL, &err), STATUS_OK);
	/* Once for the manifest and once for the one before; the catalog knows. */
	ck_assert_msg(!strcmp(strbuf_str(&loaded), "shop shop "), "%s", strbuf_str(&loaded));
}
END_TEST

int main(void)
{
	return suite_run("tree", setup, teardown,
			 (const TTest *const[]){
				 nothing_is_version_zero,
				 what_was_committed_is_loaded,
				 a_current_copy_that_is_behind_is_mended,
				 versions_without_their_manifest_never_happened,
				 a_damaged_file_is_set_aside_and_the_rest_served,
				 a_damaged_manifest_gives_way_to_the_one_before,
				 namespaces_are_those_with_a_manifest,
				 NULL,
			 });
}
