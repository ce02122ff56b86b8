#include "services/registry/registrar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/pool.h"
#include "services/registry/catalog.h"
#include "services/registry/users.h"
#include "tests/support/suite.h"
#include "tests/unit/registry/testdir.h"

#define P3 "syntax = \"proto3\"; package t; "

static struct registrar registrar;
static struct arena arena;
static struct breakages breakages;
static struct registrar_result done;
static struct error err;

static void reopen(void)
{
	catalog_close(registrar.catalog);
	ck_assert_msg(catalog_open(testdir, &testdir_noting, &registrar.catalog, &err) ==
			      STATUS_OK,
		      "%s", err.message);
}

static void setup(void)
{
	testdir_make();
	arena_init(&arena, 0);
	registrar = (struct registrar){0};
	done = (struct registrar_result){0};
	reopen();
}

static void teardown(void)
{
	registrar_result_release(&done);
	catalog_close(registrar.catalog);
	arena_release(&arena);
	testdir_remove();
}

/* A file in source form; lists end with a NULL name. */
struct source {
	const char *name, *text;
};

/* The files as protoc has them, in the order of the list. */
static struct bytes *compile(const struct source *sources, const char *options,
			     size_t *ret_count)
{
	char *dir AUTO_FREE = xasprintf("%s/src", testdir);
	AUTO_STRBUF command = STRBUF_INIT;
	AUTO_STRBUF set = STRBUF_INIT;
	struct bytes *files, *ordered;
	size_t count = 0;

	strbuf_addf(&command, "rm -rf %s && mkdir -p %s/d", dir, dir);
	ck_assert_int_eq(system(command.buf), 0);
	strbuf_reset(&command);
	strbuf_addf(&command, "protoc -I%s -I/usr/include %s --descriptor_set_out=%s/out", dir,
		    options, dir);
	for (; sources[count].name; count++) {
		char *path AUTO_FREE = xasprintf("src/%s", sources[count].name);
		testdir_overwrite(path, sources[count].text);
		strbuf_addf(&command, " %s", sources[count].name);
	}
	ck_assert_int_eq(system(command.buf), 0);
	testdir_read("src/out", &set);
	ck_assert_int_eq(
		pool_split_set(bytes_of(arena_memdup(&arena, set.buf, set.len), set.len),
			       &arena, &files, ret_count, &err),
		STATUS_OK);
	ck_assert_uint_eq(*ret_count, count);
	/* protoc puts them behind what they import. */
	ordered = arena_alloc(&arena, (count + 1) * sizeof(*ordered));
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < count; k++)
			if (!memcmp(files[k].data + 2, sources[i].name,
				    strlen(sources[i].name)))
				ordered[i] = files[k];
	return ordered;
}

static enum status put_files(const struct bytes *files, size_t count, unsigned flags)
{
	const struct registrar_request request = {.ns = "shop",
						  .files = files,
						  .count = count,
						  .flags = flags,
						  .deadline_ns = UINT64_MAX};

	registrar_result_release(&done);
	done = (struct registrar_result){0};
	breakages_init(&breakages, &arena);
	return registrar_register(&registrar, &request, &arena, &breakages, &done, &err);
}

static enum status put(const struct source *sources, unsigned flags)
{
	size_t count;
	const struct bytes *files = compile(sources, "--include_source_info", &count);

	return put_files(files, count, flags);
}

#define SOURCES(...) ((const struct source[]){__VA_ARGS__, {NULL, NULL}})
#define PUT_OK(...)                                                                            \
	ck_assert_msg(put(SOURCES(__VA_ARGS__), 0) == STATUS_OK, "%s: %s", err.field,          \
		      err.message)

static int64_t version(void)
{
	struct snapshot *s = catalog_snapshot(registrar.catalog, "shop");
	const int64_t v = s->version;

	snapshot_unref(s);
	return v;
}

static bool has(const char *message)
{
	struct snapshot *s = catalog_snapshot(registrar.catalog, "shop");
	bool found = pool_message(s->pool, message, strlen(message)) != NULL;

	snapshot_unref(s);
	return found;
}

/* "RULE path user; ..." */
static const char *broken(void)
{
	static char out[2048];
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < breakages.count; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s %s %s; ",
				      breakages.items[i].rule, breakages.items[i].path,
				      breakages.items[i].user);
	return out;
}

START_TEST(registered_is_there_and_survives)
{
	PUT_OK({"a.proto", P3 "message A { string a = 1; }"});
	ck_assert(!done.unchanged);
	ck_assert_int_eq(done.snapshot->version, 1);
	ck_assert_int_eq(done.files[0].version, 1);
	PUT_OK({"a.proto", P3 "message A { string a = 1; }"});
	ck_assert(done.unchanged && done.files[0].unchanged);
	ck_assert_int_eq(done.snapshot->version, 1);
	PUT_OK({"a.proto", P3 "message A { string a = 1; int32 b = 2; }"});
	ck_assert_int_eq(done.snapshot->version, 2);
	ck_assert_int_eq(done.files[0].version, 2);
	reopen();
	ck_assert(has("t.A"));
	ck_assert_int_eq(version(), 2);
}
END_TEST

START_TEST(a_set_comes_in_any_order_all_or_nothing)
{
	struct bytes *files;
	size_t count;
	const struct source set[] = {
		{"c.proto", P3 "import \"b.proto\"; message C { B b = 1; }"},
		{"a.proto", P3 "message A {}"},
		{"b.proto", P3 "import \"a.proto\"; message B { A a = 1; }"},
		{NULL, NULL}};

	files = compile(set, "", &count);
	ck_assert_int_eq(put_files(files, 1, 0), STATUS_INVALID_ARGUMENT);
	files[1].size -= 3; /* cut in its middle it is no descriptor */
	ck_assert_int_ne(put_files(files, count, 0), STATUS_OK);
	ck_assert_int_eq(version(), 0);
	ck_assert(!has("t.A") && !has("t.C"));
	files[1].size += 3;
	ck_assert_int_eq(put_files(files, count, 0), STATUS_OK);
	ck_assert_uint_eq(done.file_count, 3);
	ck_assert_str_eq(done.files[0].name, "c.proto");
	ck_assert(has("t.A") && has("t.C"));
	/* The same file twice is once; two of one name are none. */
	files[2] = files[1];
	ck_assert_int_eq(put_files(files, count, 0), STATUS_OK);
	ck_assert_uint_eq(done.file_count, 2);
	files[2] =
		compile(SOURCES({"a.proto", P3 "message A { int32 i = 1; }"}), "", &count)[0];
	ck_assert_int_eq(put_files(files, 3, 0), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "a.proto");
}
END_TEST

/* Comments are kept when what comes lacks nothing else, and are news when they are new. */
START_TEST(comments_are_a_change_unless_they_are_missing)
{
	static const struct source commented[] = {{"a.proto", P3 "\n\n// One.\nmessage A {}"},
						  {NULL, NULL}};
	static const struct source other[] = {{"a.proto", P3 "\n\n// Two.\nmessage A {}"},
					      {NULL, NULL}};
	size_t count;

	ck_assert_int_eq(put_files(compile(commented, "", &count), 1, 0), STATUS_OK);
	ck_assert_int_eq(put(commented, 0), STATUS_OK);
	ck_assert(!done.unchanged);
	ck_assert_int_eq(version(), 2);
	ck_assert_int_eq(put_files(compile(commented, "", &count), 1, 0), STATUS_OK);
	ck_assert(done.unchanged);
	ck_assert_int_eq(put(other, 0), STATUS_OK);
	ck_assert(!done.unchanged);
	ck_assert_int_eq(version(), 3);
}
END_TEST

/* @file under another name, which is the one that counts as it comes last. */
static struct bytes renamed(struct bytes file, const char *name)
{
	AUTO_STRBUF out = STRBUF_INIT;

	strbuf_add(&out, file.data, file.size);
	strbuf_addf(&out, "\n%c%s", (int)strlen(name), name);
	return bytes_of(arena_memdup(&arena, out.buf, out.len), out.len);
}

START_TEST(built_ins_are_left_out)
{
	size_t count;
	struct bytes *files = compile(
		SOURCES({"a.proto", P3 "message A {}"}, {"b.proto", P3 "message Mine {}"}), "",
		&count);

	files[1] = renamed(files[1], "google/protobuf/any.proto");
	ck_assert_int_eq(put_files(files, 2, 0), STATUS_OK);
	ck_assert_uint_eq(done.file_count, 1);
	ck_assert(has("t.A") && !has("t.Mine"));
	ck_assert_int_eq(put_files(&files[1], 1, 0), STATUS_OK);
	ck_assert(done.unchanged);
}
END_TEST

START_TEST(reserved_names_are_refused)
{
	static const char *const bad[] = {
		"syntax = \"proto3\"; package collector.x; message M {}",
		"syntax = \"proto3\"; message collections {}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(put(SOURCES({"a.proto", bad[i]}), 0), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(version(), 0);
}
END_TEST

START_TEST(names_that_the_tree_needs_are_refused)
{
	static const char *const bad[] = {"a.proto.binpb/b.proto", "x.tmp/b.proto",
					  "x.damaged/b.proto"};
	size_t count;
	const struct bytes file =
		compile(SOURCES({"a.proto", P3 "message A {}"}), "", &count)[0];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct bytes other = renamed(file, bad[i]);
		ck_assert_int_eq(put_files(&other, 1, 0), STATUS_INVALID_ARGUMENT);
		ck_assert_str_eq(err.field, "file_descriptor.name");
	}
}
END_TEST

#define V1 P3 "message A { string a = 1; int32 n = 2; }"
/* The name of what is gone may be used anew: JSON would be misread. */
#define V2 P3 "message A { reserved 1; int32 n = 2; }"

START_TEST(what_breaks_is_refused_unless_forced)
{
	PUT_OK({"a.proto", V1});
	ck_assert_int_eq(put(SOURCES({"a.proto", V2}), 0), STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "FIELD_NO_DELETE_UNLESS_NAME_RESERVED t.A.a ; ");
	ck_assert_ptr_nonnull(strstr(err.message, "t.A.a"));
	ck_assert_int_eq(version(), 1);
	ck_assert_int_eq(put(SOURCES({"a.proto", V2}), REGISTRAR_VALIDATE_ONLY), STATUS_OK);
	ck_assert_str_eq(broken(), "FIELD_NO_DELETE_UNLESS_NAME_RESERVED t.A.a ; ");
	ck_assert_int_eq(done.snapshot->version, 1);
	ck_assert_int_eq(done.files[0].version, 2);
	ck_assert_int_eq(version(), 1);
	ck_assert_int_eq(put(SOURCES({"a.proto", V2}), REGISTRAR_FORCE), STATUS_OK);
	ck_assert_str_eq(broken(), "FIELD_NO_DELETE_UNLESS_NAME_RESERVED t.A.a ; ");
	ck_assert_int_eq(version(), 2);
}
END_TEST

static void set_policy(enum policy policy)
{
	ck_assert_int_eq(registrar_set_policy(&registrar, "shop", policy, UINT64_MAX, &err),
			 STATUS_OK);
}

START_TEST(the_policy_decides_what_breaks)
{
	static const struct {
		enum policy policy;
		const char *broken;
	} cases[] = {
		{POLICY_NONE, ""},
		{POLICY_WIRE, ""},
		{POLICY_WIRE_JSON, "FIELD_NO_DELETE_UNLESS_NAME_RESERVED t.A.a ; "},
		{POLICY_SOURCE, "FIELD_NO_DELETE t.A.a ; "},
	};

	PUT_OK({"a.proto", V1});
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_policy(cases[i].policy);
		ck_assert_int_eq(put(SOURCES({"a.proto", V2}), REGISTRAR_VALIDATE_ONLY),
				 STATUS_OK);
		ck_assert_str_eq(broken(), cases[i].broken);
		if (breakages.count)
			ck_assert_int_eq(breakages.items[0].policy, cases[i].policy);
	}
	set_policy(POLICY_WIRE);
	reopen();
	PUT_OK({"a.proto", V2});
	ck_assert_int_eq(version(), 2);
}
END_TEST

START_TEST(files_that_would_not_link_are_listed_and_no_force_helps)
{
	PUT_OK({"a.proto", P3 "message A {} message Kept {}"},
	       {"b.proto", P3 "import \"a.proto\"; message B { A a = 1; Kept k = 2; }"},
	       {"c.proto", P3 "import \"b.proto\"; message C { B b = 1; }"},
	       {"d.proto", P3 "import \"a.proto\"; message D { Kept k = 1; }"});
	ck_assert_int_eq(put(SOURCES({"a.proto", P3 "message Kept {}"}), REGISTRAR_FORCE),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "IMPORT t.B.a file b.proto; "
				   "IMPORT import \"b.proto\" file c.proto; ");
	ck_assert_str_eq(breakages.items[0].file_name, "a.proto");
	ck_assert_int_eq(
		put(SOURCES({"a.proto", P3 "message Kept {}"}), REGISTRAR_VALIDATE_ONLY),
		STATUS_OK);
	ck_assert_uint_eq(breakages.total, 2);
	ck_assert(has("t.A"));
	/* What itself does not link is another matter. */
	AUTO_STRBUF bad = STRBUF_INIT;
	size_t count;
	struct bytes file = compile(SOURCES({"a.proto", P3 "message Kept {}"}), "", &count)[0];
	strbuf_add(&bad, file.data, file.size);
	strbuf_add(&bad, "\x1a\x07no.prot", 9);
	file = bytes_of(bad.buf, bad.len);
	ck_assert_int_eq(put_files(&file, 1, 0), STATUS_INVALID_ARGUMENT);
	ck_assert_uint_eq(breakages.total, 0);
	/* With what imports it changed too it is fine. */
	ck_assert_int_eq(
		put(SOURCES({"a.proto", P3 "message Kept {}"},
			    {"b.proto", P3 "import \"a.proto\"; message B { Kept k = 2; }"}),
		    REGISTRAR_FORCE),
		STATUS_OK);
	ck_assert(!has("t.A") && has("t.C") && has("t.D"));
}
END_TEST

/* ------------------------------------------------------------------- users */

/* Who there is, as the repo would say; NULL: it is away. */
static const struct users *there;
static int asked;

static enum status say_users(void *arg, const char *ns, uint64_t deadline_ns, struct arena *to,
			     struct users *ret, struct error *error)
{
	(void)arg;
	(void)deadline_ns;
	(void)to;
	ck_assert_str_eq(ns, "shop");
	asked++;
	if (!there)
		return error_set(error, STATUS_UNAVAILABLE, "nobody is there");
	*ret = *there;
	return STATUS_OK;
}

static struct collection_record as = {
	.ns = "shop", .name = "as", .type = "t.A", .vector_field = ""};

START_TEST(users_are_asked_and_believed)
{
	const struct users one = {.collections = &as, .collection_count = 1};

	as.created_us = (int64_t)clock_unix_us();
	registrar.ask_users = say_users;
	there = NULL;
	asked = 0;
	PUT_OK({"a.proto", P3 "message A { string a = 1; }"});
	PUT_OK({"b.proto", P3 "message B {}"});
	PUT_OK({"a.proto", P3 "message A { string a = 1; }"});
	PUT_OK({"a.proto", P3 "message A { string a = 1; string b = 2; } message C {}"});
	PUT_OK({"a.proto",
		P3 "/* Why. */ message A { string a = 1; string b = 2; } message C {}"});
	ck_assert_int_eq(asked, 0); /* nothing is lost for anybody */
	ck_assert_int_eq(put(SOURCES({"a.proto", P3 "message A { int32 a = 1; string b = 2; } "
						    "message C {}"}),
			     REGISTRAR_FORCE),
			 STATUS_UNAVAILABLE);
	ck_assert_int_eq(asked, 1);
	ck_assert_int_eq(version(), 4);
	there = &one;
	ck_assert_int_eq(put(SOURCES({"a.proto", P3 "message A { int32 a = 1; string b = 2; } "
						    "message C {}"}),
			     0),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "FIELD_WIRE_JSON_COMPATIBLE_TYPE t.A.a ; "
				   "COLLECTION_RECORDS t.A.a collection shop/as; ");
	ck_assert_int_eq(
		put(SOURCES({"a.proto", P3 "message A { string a = 1; string b = 2; }"}),
		    REGISTRAR_VALIDATE_ONLY),
		STATUS_OK);
	ck_assert_str_eq(broken(), ""); /* C is gone, and nobody used it */
	ck_assert_int_eq(put(SOURCES({"a.proto", P3 "message C {}"}), REGISTRAR_FORCE),
			 STATUS_OK);
	ck_assert_str_eq(broken(), "COLLECTION_TYPE t.A collection shop/as; ");
	ck_assert_int_eq(version(), 5);
}
END_TEST

/* Another change comes while this one asks. */
static enum status change_meanwhile(void *arg, const char *ns, uint64_t deadline_ns,
				    struct arena *to, struct users *ret, struct error *error)
{
	struct registrar other = {.catalog = registrar.catalog};
	struct registrar_result result;
	struct breakages found;
	size_t count;
	const struct bytes *files =
		compile(SOURCES({"a.proto", P3 "message A { string a = 1; string b = 2; }"}),
			"", &count);

	breakages_init(&found, &arena);
	ck_assert_int_eq(
		registrar_register(&other,
				   &(struct registrar_request){.ns = "shop",
							       .files = files,
							       .count = count,
							       .deadline_ns = UINT64_MAX},
				   &arena, &found, &result, error),
		STATUS_OK);
	registrar_result_release(&result);
	return say_users(arg, ns, deadline_ns, to, ret, error);
}

START_TEST(no_lock_is_held_while_users_are_asked)
{
	const struct users one = {.collections = &as, .collection_count = 1};

	as.created_us = (int64_t)clock_unix_us();
	there = &one;
	asked = 0;
	PUT_OK({"a.proto", P3 "message A { string a = 1; }"});
	registrar.ask_users = change_meanwhile;
	ck_assert_int_eq(put(SOURCES({"a.proto", P3 "message A { int32 a = 1; }"}), 0),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(asked, 1);
	/* What is told is held against what there is by now. */
	ck_assert_int_eq(version(), 2);
	ck_assert_str_eq(broken(), "FIELD_WIRE_JSON_COMPATIBLE_TYPE t.A.a ; "
				   "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED t.A.b ; "
				   "FIELD_NO_DELETE_UNLESS_NAME_RESERVED t.A.b ; "
				   "COLLECTION_RECORDS t.A.a collection shop/as; ");
}
END_TEST

START_TEST(records_may_be_of_any_version_since_their_collection_was_made)
{
	const struct users one = {.collections = &as, .collection_count = 1};
	const int64_t now = (int64_t)clock_unix_us(), hour = 3600000000;
	const struct source d = {"d.proto", P3 "message D {}"};
	const struct source e = {"d.proto", P3 "message D { string e = 1; }"};
	const char *text = P3 "import \"d.proto\"; message A { D d = 2; int32 c = 1; }";

	registrar.ask_users = say_users;
	there = &one;
	as.created_us = now;
	PUT_OK(d, {"a.proto", P3 "import \"d.proto\"; message A { string a = 1; D d = 2; }"});
	PUT_OK(d, {"a.proto", P3 "import \"d.proto\"; message A { D d = 2; reserved 1; "
				 "reserved \"a\"; }"});
	PUT_OK(e);
	ck_assert_int_eq(
		registrar_set_policy(&registrar, "shop", POLICY_NONE, UINT64_MAX, &err),
		STATUS_OK);
	ck_assert_int_eq(put(SOURCES(e, {"a.proto", text}), 0), STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "COLLECTION_RECORDS t.A.c collection shop/as; ");
	reopen();
	ck_assert_int_eq(put(SOURCES(e, {"a.proto", text}), REGISTRAR_VALIDATE_ONLY),
			 STATUS_OK);
	ck_assert_str_eq(broken(), "COLLECTION_RECORDS t.A.c collection shop/as; ");
	/* Nobody has a record of a version that was past when the collection was made. */
	as.created_us = now + hour;
	PUT_OK(e, {"a.proto", text});
}
END_TEST

/* ---------------------------------------------------------------- removal */

static enum status drop(const char *name, unsigned flags, int64_t *ret_version)
{
	breakages_init(&breakages, &arena);
	return registrar_unregister(&registrar,
				    &(struct registrar_removal){.ns = "shop",
								.file_name = name,
								.flags = flags,
								.deadline_ns = UINT64_MAX},
				    &arena, &breakages, ret_version, &err);
}

START_TEST(a_file_goes_when_nobody_needs_it)
{
	const struct users one = {.collections = &as, .collection_count = 1};
	int64_t after = 0;

	PUT_OK({"a.proto", P3 "message A {}"},
	       {"b.proto", P3 "import \"a.proto\"; message B { A a = 1; }"});
	ck_assert_int_eq(drop("a.proto", REGISTRAR_FORCE, &after), STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "IMPORT a.proto file b.proto; ");
	ck_assert_int_eq(drop("a.proto", REGISTRAR_VALIDATE_ONLY, &after), STATUS_OK);
	ck_assert_uint_eq(breakages.total, 1);
	ck_assert_int_eq(after, 1);
	ck_assert_int_eq(drop("no.proto", 0, &after), STATUS_NOT_FOUND);
	ck_assert_int_eq(drop("google/protobuf/any.proto", 0, &after), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(drop("b.proto", 0, &after), STATUS_OK);
	ck_assert_int_eq(after, 2);
	ck_assert(has("t.A") && !has("t.B"));
	ck_assert_int_eq(drop("b.proto", 0, &after), STATUS_NOT_FOUND);

	as.created_us = (int64_t)clock_unix_us();
	registrar.ask_users = say_users;
	there = NULL;
	ck_assert_int_eq(drop("a.proto", REGISTRAR_FORCE, &after), STATUS_UNAVAILABLE);
	there = &one;
	ck_assert_int_eq(drop("a.proto", 0, &after), STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(broken(), "COLLECTION_TYPE t.A collection shop/as; ");
	ck_assert_int_eq(drop("a.proto", REGISTRAR_FORCE, &after), STATUS_OK);
	ck_assert_int_eq(after, 3);
	reopen();
	ck_assert(!has("t.A"));
	ck_assert_int_eq(version(), 3);
	/* It comes back as what it was, one version later. */
	PUT_OK({"a.proto", P3 "message A {}"});
	ck_assert_int_eq(done.files[0].version, 2);
}
END_TEST

int main(void)
{
	return suite_run("registrar", setup, teardown,
			 (const TTest *const[]){
				 registered_is_there_and_survives,
				 a_set_comes_in_any_order_all_or_nothing,
				 comments_are_a_change_unless_they_are_missing,
				 built_ins_are_left_out,
				 reserved_names_are_refused,
				 names_that_the_tree_needs_are_refused,
				 what_breaks_is_refused_unless_forced,
				 the_policy_decides_what_breaks,
				 files_that_would_not_link_are_listed_and_no_force_helps,
				 users_are_asked_and_believed,
				 no_lock_is_held_while_users_are_asked,
				 records_may_be_of_any_version_since_their_collection_was_made,
				 a_file_goes_when_nobody_needs_it,
				 NULL,
			 });
}
