/* Writing in groups, expectations, etags, labels, full text; and coming back. */
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

/* collector.Execution */
enum { ID = 1, WORKFLOW = 2, METHOD = 6 };

static void setup(void)
{
	static const char *const indexed[] = {"workflow_id", NULL};

	fixture_open("collector.Execution", indexed, true);
}

static struct store_write *record(const char *id, const char *text)
{
	AUTO_STRBUF proto = STRBUF_INIT;

	wire_add_string(&proto, WORKFLOW, text);
	return fixture_write(id, &proto);
}

static void commit_one(struct store_write *w)
{
	struct store_write *const all[] = {w, NULL};

	fixture_commit(all);
}

static enum status get(const char *id, struct store_record *ret)
{
	struct store_reader *reader;
	struct error err;

	ck_assert_int_eq(store_take_reader(f.store, &reader, &err), STATUS_OK);
	enum status status = store_get(reader, id, &f.arena, ret, &err);
	store_give_reader(f.store, reader);
	return status;
}

static int64_t count(void)
{
	struct store_sizes sizes;
	struct error err;

	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	return sizes.record_count;
}

static const char *text_finds(const char *words)
{
	struct query *q = fixture_query();

	query_set_text(q, words, false);
	return fixture_find(q);
}

/* What SQLite itself says about the file and the text index. */
static void check_integrity(void)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", f.directory);
	sqlite3 *db;
	sqlite3_stmt *stmt;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA quick_check", -1, &stmt, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(stmt, 0), "ok");
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

START_TEST(what_was_written_is_read_after_a_restart)
{
	struct store_record r;
	struct error err;
	struct store_write *w = record("a", "alpha");
	struct bytes proto = w->proto;

	w->type_url = "example.com/collector.Execution";
	w->data_uri = "x://y";
	commit_one(w);
	store_close(f.store);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
	ck_assert_int_eq(get("a", &r), STATUS_OK);
	ck_assert(bytes_equal(r.proto, proto));
	ck_assert_str_eq(r.type_url, "example.com/collector.Execution");
	ck_assert_str_eq(r.data_uri, "x://y");
	ck_assert_str_eq(r.etag, w->new_etag);
	ck_assert_uint_eq(r.created_us, 1000000);
	ck_assert_int_eq(get("b", &r), STATUS_NOT_FOUND);
	ck_assert_int_eq(count(), 1);
}
END_TEST

START_TEST(one_of_a_group_fails_alone)
{
	struct store_write *first = record("a", "1"), *again = record("a", "2"),
			   *last = record("b", "3");
	struct store_write *const all[] = {first, again, last, NULL};
	struct store_record r;

	again->expectation = STORE_MUST_NOT_EXIST;
	fixture_commit(all);
	ck_assert_int_eq(first->status, STATUS_OK);
	ck_assert_int_eq(again->status, STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(last->status, STATUS_OK);
	ck_assert_int_eq(count(), 2);
	ck_assert_int_eq(get("a", &r), STATUS_OK);
	ck_assert_str_eq(text_finds("2"), "");
	check_integrity();
}
END_TEST

/* The second is written before it is too much: nothing of it stays, all of the others does. */
START_TEST(one_that_fails_late_fails_alone)
{
	struct store_write *first = record("a", "one"), *large = record("b", "large"),
			   *again = record("a", "two"), *last = record("c", "three");
	struct store_write *const all[] = {first, large, again, last, NULL};
	struct store_sizes sizes;
	struct store_record r;
	struct error err;

	large->proto = bytes_of(arena_zalloc(&f.arena, 5000), 5000);
	again->expectation = STORE_MUST_NOT_EXIST;
	f.store->quota.record_bytes = 1000;
	fixture_commit(all);
	ck_assert_int_eq(first->status, STATUS_OK);
	ck_assert_int_eq(large->status, STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(again->status, STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(last->status, STATUS_OK);
	ck_assert_str_eq(first->new_etag, "r1");
	ck_assert_str_eq(last->new_etag, "r2");
	ck_assert_int_eq(get("b", &r), STATUS_NOT_FOUND);
	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	ck_assert_int_eq(sizes.record_count, 2);
	ck_assert_int_eq(sizes.record_bytes, (int64_t)(first->proto.size + last->proto.size));
	ck_assert_int_eq(sizes.last_sequence, 2);
	ck_assert_str_eq(text_finds("large"), "");
	ck_assert_str_eq(text_finds("three"), "c");
	check_integrity();
}
END_TEST

START_TEST(a_rolled_back_group_never_was)
{
	struct store_write *w = record("a", "gone");
	struct store_record r;
	struct error err;

	ck_assert_int_eq(store_begin(f.store, &err), STATUS_OK);
	fixture_apply(w);
	ck_assert_int_eq(w->status, STATUS_OK);
	store_rollback(f.store);
	ck_assert_int_eq(get("a", &r), STATUS_NOT_FOUND);
	ck_assert_int_eq(count(), 0);
	commit_one(record("a", "there"));
	ck_assert_int_eq(count(), 1);
	ck_assert_str_eq(text_finds("gone"), "");
	ck_assert_str_eq(text_finds("there"), "a");
}
END_TEST

START_TEST(expectations_and_etags)
{
	struct store_write *w = record("a", "1");

	w->expectation = STORE_MUST_EXIST;
	commit_one(w);
	ck_assert_int_eq(w->status, STATUS_NOT_FOUND);
	w->expectation = STORE_MUST_NOT_EXIST;
	commit_one(w);
	ck_assert_int_eq(w->status, STATUS_OK);

	struct store_write *second = record("a", "2");
	second->expectation = STORE_MUST_EXIST;
	second->etag = w->new_etag;
	commit_one(second);
	ck_assert_int_eq(second->status, STATUS_OK);
	ck_assert_str_ne(second->new_etag, w->new_etag);
	struct store_write *late = record("a", "3");
	late->etag = w->new_etag;
	commit_one(late);
	ck_assert_int_eq(late->status, STATUS_ABORTED);

	/* A record that is made anew has an etag that was never there before. */
	struct store_write remove = {
		.is_delete = true, .id = "a", .expectation = STORE_MAY_EXIST};
	commit_one(&remove);
	ck_assert_int_eq(remove.status, STATUS_OK);
	commit_one(&remove);
	ck_assert_int_eq(remove.status, STATUS_OK);
	remove.expectation = STORE_MUST_EXIST;
	commit_one(&remove);
	ck_assert_int_eq(remove.status, STATUS_NOT_FOUND);
	struct store_write *anew = record("a", "4");
	anew->etag = second->new_etag;
	commit_one(anew);
	ck_assert_int_eq(anew->status, STATUS_NOT_FOUND);
	ck_assert_int_eq(count(), 0);
}
END_TEST

static const char *labels_of(const char *id)
{
	AUTO_STRBUF all = STRBUF_INIT;
	struct store_record r;
	char *key, *value;

	ck_assert_int_eq(get(id, &r), STATUS_OK);
	while (labels_next(&r.labels, &f.arena, &key, &value))
		strbuf_addf(&all, "%s=%s;", key, value);
	return arena_strdup(&f.arena, strbuf_str(&all));
}

static void label(const char *key, const char *value, enum store_labels mode)
{
	AUTO_STRBUF labels = STRBUF_INIT;
	struct store_write *w = record("a", "x");

	if (key)
		labels_add(&labels, key, value);
	w->labels = labels_end(&labels);
	w->labels_mode = mode;
	commit_one(w);
	ck_assert_int_eq(w->status, STATUS_OK);
}

START_TEST(labels_are_merged_or_replaced)
{
	commit_one(record("a", "x"));
	ck_assert_str_eq(labels_of("a"), "");
	label("k", "1", STORE_LABELS_MERGE);
	label("\"quo\\ted\"", "\n\t\"\\", STORE_LABELS_MERGE);
	ck_assert_str_eq(labels_of("a"), "k=1;\"quo\\ted\"=\n\t\"\\;");
	label("k", "2", STORE_LABELS_MERGE);
	commit_one(record("a", "y"));
	ck_assert_str_eq(labels_of("a"), "k=2;\"quo\\ted\"=\n\t\"\\;");
	struct query *q = fixture_query();
	struct error err;
	ck_assert_int_eq(query_add_label(q, "\"quo\\ted\"", "\n\t\"\\", &err), STATUS_OK);
	ck_assert_str_eq(fixture_find(q), "a");
	label("only", "3", STORE_LABELS_REPLACE);
	ck_assert_str_eq(labels_of("a"), "only=3;");
	label(NULL, NULL, STORE_LABELS_REPLACE);
	ck_assert_str_eq(labels_of("a"), "");
}
END_TEST

START_TEST(full_text_follows_every_change)
{
	struct store_write remove = {
		.is_delete = true, .id = "a", .expectation = STORE_MAY_EXIST};

	commit_one(record("a", "quick foxes"));
	commit_one(record("b", "a slow fox"));
	ck_assert_str_eq(text_finds("quick"), "a");
	ck_assert_uint_eq(strlen(text_finds("FOX")), 3);
	commit_one(record("a", "now a hare"));
	ck_assert_str_eq(text_finds("quick"), "");
	ck_assert_str_eq(text_finds("hare"), "a");
	/* Names of fields are not text. */
	ck_assert_str_eq(text_finds("workflowId"), "");
	commit_one(&remove);
	ck_assert_str_eq(text_finds("hare"), "");
	check_integrity();
}
END_TEST

static enum status refuse(struct store_write *w, const char *type_url, struct bytes current,
			  struct error *err)
{
	ck_assert_ptr_null(type_url);
	ck_assert_ptr_nonnull(w->arg);
	ck_assert_uint_gt(current.size, 0);
	return error_set(err, STATUS_INVALID_ARGUMENT, "refused");
}

START_TEST(a_merge_that_fails_changes_nothing)
{
	struct store_write *w = record("a", "2");
	struct store_record before, after;

	commit_one(record("a", "1"));
	ck_assert_int_eq(get("a", &before), STATUS_OK);
	w->merge = refuse;
	w->arg = w;
	commit_one(w);
	ck_assert_int_eq(w->status, STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(get("a", &after), STATUS_OK);
	ck_assert(bytes_equal(before.proto, after.proto));
	ck_assert_str_eq(before.etag, after.etag);
}
END_TEST

START_TEST(another_program_s_file_is_refused)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", f.directory);
	struct store *store;
	struct error err;
	sqlite3 *db;

	store_close(f.store);
	f.store = NULL;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(store_open(f.directory, &store, &err), STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA application_id = 1", NULL, NULL, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(store_open(f.directory, &store, &err), STATUS_DATA_LOSS);
	sqlite3_close(db);
}
END_TEST

int main(void)
{
	return suite_run("repo/store", setup, fixture_close,
			 (const TTest *const[]){
				 what_was_written_is_read_after_a_restart,
				 one_of_a_group_fails_alone, one_that_fails_late_fails_alone,
				 a_rolled_back_group_never_was, expectations_and_etags,
				 labels_are_merged_or_replaced, full_text_follows_every_change,
				 a_merge_that_fails_changes_nothing,
				 another_program_s_file_is_refused, NULL});
}
