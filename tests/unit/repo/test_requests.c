/* A request that comes again is answered as it was, and done once. */
#include "services/repo/fingerprint.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

static void setup(void)
{
	static const char *const indexed[] = {NULL};

	fixture_open("collector.Execution", indexed, true);
}

static struct store_write *record(const char *id, const char *text)
{
	AUTO_STRBUF proto = STRBUF_INIT;

	wire_add_string(&proto, 2, text);
	return fixture_write(id, &proto);
}

static enum status run(struct store_batch *b)
{
	struct error err;

	ck_assert_int_eq(store_begin(f.store, &err), STATUS_OK);
	store_apply(f.store, b);
	ck_assert_int_eq(store_commit(f.store, &err), STATUS_OK);
	return b->status;
}

static void reopen(void)
{
	struct error err;

	store_close(f.store);
	ck_assert_int_eq(store_open(f.directory, &f.store, &err), STATUS_OK);
}

static int64_t count(void)
{
	struct store_sizes sizes;
	struct error err;

	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	return sizes.record_count;
}

START_TEST(the_outcome_is_remembered_across_a_restart)
{
	char made[STORE_ID_BYTES] = "made-1", again[STORE_ID_BYTES] = "made-2";
	struct store_write *first = record(made, "1"), *retry = record(again, "1");
	struct store_batch a = {.writes = first, .request_id = "r", .fingerprint = 7};
	struct store_batch b = {.writes = retry, .request_id = "r", .fingerprint = 7};

	first->made_id = made;
	retry->made_id = again;
	ck_assert_int_eq(run(&a), STATUS_OK);
	reopen();
	ck_assert_int_eq(run(&b), STATUS_OK);
	ck_assert_int_eq(retry->status, STATUS_OK);
	ck_assert_str_eq(again, "made-1");
	ck_assert_str_eq(retry->new_etag, first->new_etag);
	ck_assert_int_eq(count(), 1);
	b.fingerprint = 8;
	ck_assert_int_eq(run(&b), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(b.error.field, "request_id");
	b.request_id = "s";
	ck_assert_int_eq(run(&b), STATUS_OK);
}
END_TEST

START_TEST(a_failure_is_remembered_too)
{
	struct store_write *w = record("a", "1");
	struct store_batch b = {.writes = w, .request_id = "r"};
	struct store_batch plain = {.writes = record("a", "0")};

	w->expectation = STORE_MUST_EXIST;
	ck_assert_int_eq(run(&b), STATUS_OK);
	ck_assert_int_eq(w->status, STATUS_NOT_FOUND);
	ck_assert_int_eq(run(&plain), STATUS_OK);
	w->status = STATUS_OK;
	w->error = (struct error){.status = STATUS_OK};
	ck_assert_int_eq(run(&b), STATUS_OK);
	ck_assert_int_eq(w->status, STATUS_NOT_FOUND);
	ck_assert_str_eq(w->error.message, "there is no record \"a\"");
}
END_TEST

START_TEST(what_was_rolled_back_is_not_remembered)
{
	struct store_write *w = record("a", "1");
	struct store_batch b = {.writes = w, .request_id = "r"};
	struct error err;

	ck_assert_int_eq(store_begin(f.store, &err), STATUS_OK);
	store_apply(f.store, &b);
	store_rollback(f.store);
	ck_assert_int_eq(count(), 0);
	ck_assert_int_eq(run(&b), STATUS_OK);
	ck_assert_int_eq(count(), 1);
}
END_TEST

START_TEST(an_atomic_batch_is_done_whole_or_not_at_all)
{
	struct store_write *first = record("a", "1"), *second = record("b", "1"),
			   *third = record("a", "2");
	struct store_batch b = {.writes = first, .atomic = true, .request_id = "r"};
	struct store_batch other = {.writes = record("c", "1")};

	first->next = second;
	second->next = third;
	third->expectation = STORE_MUST_NOT_EXIST;
	ck_assert_int_eq(run(&b), STATUS_ALREADY_EXISTS);
	ck_assert_str_eq(b.error.field, "operations[2]");
	ck_assert_int_eq(count(), 0);
	/* The same again, also from memory. */
	ck_assert_int_eq(run(&b), STATUS_ALREADY_EXISTS);
	ck_assert_str_eq(b.error.field, "operations[2]");
	ck_assert_int_eq(run(&other), STATUS_OK);
	third->expectation = STORE_MUST_EXIST;
	b.request_id = NULL;
	ck_assert_int_eq(run(&b), STATUS_OK);
	ck_assert_int_eq(count(), 3);
}
END_TEST

START_TEST(the_oldest_are_forgotten)
{
	enum { N = 1000 };
	struct store_retention r = {.max_changes = 10, .max_requests = 100};
	struct store_write *w;
	struct store_batch b;
	char id[16];

	r.change_age_us = r.request_age_us = UINT64_C(1000000);
	store_retain(f.store, &r);
	for (int i = 0; i < N; i++) {
		w = record("a", "1");
		w->expectation = i ? STORE_MUST_EXIST : STORE_MUST_NOT_EXIST;
		(void)snprintf(id, sizeof(id), "%d", i);
		b = (struct store_batch){.writes = w, .request_id = id, .fingerprint = 1};
		ck_assert_int_eq(run(&b), STATUS_OK);
	}
	/* The last is remembered: another fingerprint is refused; the first is not. */
	b.fingerprint = 2;
	ck_assert_int_eq(run(&b), STATUS_INVALID_ARGUMENT);
	b.request_id = "0";
	ck_assert_int_eq(run(&b), STATUS_OK);
}
END_TEST

START_TEST(old_ones_are_forgotten)
{
	char id[16];

	for (int i = 0; i < 200; i++) {
		struct store_write *w = record("a", "1");
		struct store_batch b = {.writes = w, .request_id = id, .fingerprint = 1};

		/* Each is an hour after the one before; a day is remembered. */
		w->now_us = (uint64_t)i * 3600 * 1000000;
		(void)snprintf(id, sizeof(id), "%d", i);
		ck_assert_int_eq(run(&b), STATUS_OK);
	}
	struct store_batch young = {
		.writes = record("a", "2"), .request_id = "180", .fingerprint = 2};
	ck_assert_int_eq(run(&young), STATUS_INVALID_ARGUMENT);
	/* Changes are kept for a week; of the older ones some go with each group. */
	struct store_sizes sizes;
	struct error err;
	ck_assert_int_eq(store_measure(f.store, &sizes, &err), STATUS_OK);
	ck_assert_int_eq(sizes.last_sequence, 200);
	ck_assert_int_ge(sizes.forgotten_sequence, 16);
	ck_assert_int_le(sizes.forgotten_sequence, 32);
	struct store_batch old = {
		.writes = record("a", "2"), .request_id = "50", .fingerprint = 2};
	ck_assert_int_eq(run(&old), STATUS_OK);
}
END_TEST

/* collector.CreateRequest: labels are 100, a map; request_id is 110. */
static uint64_t fingerprint(const char *first, const char *second, const char *id)
{
	AUTO_STRBUF r = STRBUF_INIT;
	const struct pool_message *m =
		pool_message(types_builtin(f.types), "collector.CreateRequest", 23);

	wire_add_string(&r, 4, id);
	for (int i = 0; i < 2; i++) {
		size_t mark = wire_open(&r, 100);
		wire_add_string(&r, 1, i ? second : first);
		wire_close(&r, mark);
	}
	return fingerprint_of(m, bytes_of(r.buf, r.len));
}

START_TEST(the_order_of_a_map_is_no_difference)
{
	ck_assert_uint_eq(fingerprint("a", "b", "1"), fingerprint("b", "a", "1"));
	ck_assert_uint_ne(fingerprint("a", "b", "1"), fingerprint("a", "c", "1"));
	ck_assert_uint_ne(fingerprint("a", "b", "1"), fingerprint("a", "b", "2"));
}
END_TEST

int main(void)
{
	return suite_run(
		"repo/requests", setup, fixture_close,
		(const TTest *const[]){
			the_outcome_is_remembered_across_a_restart, a_failure_is_remembered_too,
			what_was_rolled_back_is_not_remembered,
			an_atomic_batch_is_done_whole_or_not_at_all, the_oldest_are_forgotten,
			old_ones_are_forgotten, the_order_of_a_map_is_no_difference, NULL});
}
