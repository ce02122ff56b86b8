#include "services/dispatcher/hearsay.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

static struct hearsay *h;
static struct arena arena;
static const char *const users[] = {"users", NULL}, *const orders[] = {"orders", NULL};

static void setup(void)
{
	h = hearsay_new();
	arena_init(&arena, 0);
}

static void teardown(void)
{
	hearsay_free(h);
	arena_release(&arena);
}

static struct heard heard(const char *id, const char *const *namespaces, int distance)
{
	return (struct heard){id, "127.0.0.1:1", "", namespaces, distance};
}

START_TEST(the_nearest_of_each_is_listed)
{
	const struct heard by_a[] = {heard("x", users, 3), heard("y", users, 2)};
	const struct heard by_b[] = {heard("x", orders, 2)};
	const struct heard *list;
	size_t count;

	ck_assert(hearsay_replace(h, "a", by_a, 2));
	ck_assert(hearsay_replace(h, "b", by_b, 1));
	list = hearsay_list(h, &arena, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(list[0].id, "x");
	ck_assert_str_eq(list[0].through, "b");
	ck_assert_int_eq(list[0].distance, 2);
	ck_assert_str_eq(list[0].namespaces[0], "orders");
	ck_assert_str_eq(list[1].id, "y");
	/* Without b, a's word counts again. */
	ck_assert(hearsay_forget(h, "b"));
	list = hearsay_list(h, &arena, &count);
	ck_assert_str_eq(list[0].through, "a");
	ck_assert(!hearsay_forget(h, "b"));
}
END_TEST

START_TEST(only_news_is_news)
{
	struct heard told[] = {heard("x", users, 2), heard("y", users, 2)};
	size_t count;

	ck_assert(!hearsay_replace(h, "a", told, 0));
	ck_assert(hearsay_replace(h, "a", told, 2));
	ck_assert(!hearsay_replace(h, "a", told, 2));
	told[1].namespaces = orders;
	ck_assert(hearsay_replace(h, "a", told, 2));
	told[1].address = "127.0.0.1:2";
	ck_assert(hearsay_replace(h, "a", told, 2));
	ck_assert(hearsay_replace(h, "a", told, 1));
	(void)hearsay_list(h, &arena, &count);
	ck_assert_uint_eq(count, 1);
	ck_assert(hearsay_replace(h, "a", told, 0));
	(void)hearsay_list(h, &arena, &count);
	ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(a_flood_of_words_is_bounded)
{
	static struct heard told[HEARSAY_MAX_OF_PEER + 100];
	static char names[HEARSAY_MAX_OF_PEER + 100][16];
	size_t count;

	for (int peer = 0; peer < 6; peer++) {
		char through[16];
		snprintf(through, sizeof(through), "peer-%d", peer);
		for (int i = 0; i < HEARSAY_MAX_OF_PEER + 100; i++) {
			snprintf(names[i], sizeof(names[i]), "c-%d-%d", peer, i);
			told[i] = heard(names[i], users, 2);
		}
		(void)hearsay_replace(h, through, told, HEARSAY_MAX_OF_PEER + 100);
	}
	(void)hearsay_list(h, &arena, &count);
	ck_assert_uint_eq(count, HEARSAY_MAX);
}
END_TEST

int main(void)
{
	return suite_run("hearsay", setup, teardown,
			 (const TTest *const[]){
				 the_nearest_of_each_is_listed,
				 only_news_is_news,
				 a_flood_of_words_is_bounded,
				 NULL,
			 });
}
