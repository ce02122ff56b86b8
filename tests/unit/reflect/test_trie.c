#include "common/reflect/trie.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

enum { ITEMS = 600, STEPS = 4000, VERSIONS = 8 };

static struct trie_item items[ITEMS];
static char keys[ITEMS][16];

/*
 * Hashes of few bits in odd places, so that paths are long and every fourth item
 * shares its hash with others.
 */
static void setup(void)
{
	srand(7);
	for (size_t i = 0; i < ITEMS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key %zu", i);
		items[i] = (struct trie_item){.hash = i % 4 ? (uint64_t)i * 0x9e3779b97f4a7c15u
							    : (uint64_t)(i % 8) << 62 |
								      (uint64_t)(i % 16),
					      .key = keys[i],
					      .key_len = (uint32_t)strlen(keys[i])};
	}
}

static void check(const struct trie *t, const bool *expected)
{
	for (size_t i = 0; i < ITEMS; i++) {
		const struct trie_item *found =
			trie_find(t, items[i].hash, items[i].key, items[i].key_len);

		ck_assert_msg(found == (expected[i] ? &items[i] : NULL), "%s", keys[i]);
	}
}

/* A model of flags beside the trie; older versions are looked at again at the end. */
START_TEST(versions_are_as_they_were_when_they_were_forked)
{
	struct trie versions[VERSIONS], t = trie_fork(&(struct trie){0});
	bool expected[VERSIONS][ITEMS], now[ITEMS] = {0};

	for (size_t v = 0; v < VERSIONS; v++) {
		for (size_t step = 0; step < STEPS; step++) {
			const size_t i = (size_t)rand() % ITEMS;

			if (rand() % 5 < 3)
				ck_assert_ptr_eq(trie_insert(&t, &items[i]),
						 now[i] ? &items[i] : NULL);
			else
				ck_assert_int_eq(trie_remove(&t, &items[i]), now[i]);
			now[i] = trie_find(&t, items[i].hash, items[i].key, items[i].key_len) !=
				 NULL;
		}
		check(&t, now);
		memcpy(expected[v], now, sizeof(now));
		versions[v] = t;
		t = trie_fork(&versions[v]);
	}
	for (size_t v = 0; v < VERSIONS; v++) {
		check(&versions[v], expected[v]);
		trie_release(&versions[v]);
	}
	check(&t, now);
	trie_release(&t);
}
END_TEST

START_TEST(what_is_emptied_can_be_filled_again)
{
	struct trie t = {0};
	bool expected[ITEMS] = {0};

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ITEMS; i++)
			ck_assert_ptr_null(trie_insert(&t, &items[i]));
		for (size_t i = 0; i < ITEMS; i++)
			ck_assert(trie_remove(&t, &items[ITEMS - 1 - i]));
		check(&t, expected);
		ck_assert_ptr_null(t.root);
	}
	trie_release(&t);
}
END_TEST

START_TEST(another_item_of_the_key_is_not_removed)
{
	struct trie t = {0};
	struct trie_item twin = items[5];

	ck_assert_ptr_null(trie_insert(&t, &items[5]));
	ck_assert(!trie_remove(&t, &twin));
	ck_assert_ptr_eq(trie_insert(&t, &twin), &items[5]);
	trie_release(&t);
}
END_TEST

int main(void)
{
	return suite_run("trie", setup, NULL,
			 (const TTest *const[]){
				 versions_are_as_they_were_when_they_were_forked,
				 what_is_emptied_can_be_filled_again,
				 another_item_of_the_key_is_not_removed,
				 NULL,
			 });
}
