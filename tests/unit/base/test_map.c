#include "common/base/map.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/support/suite.h"

START_TEST(empty_map_has_nothing)
{
	struct map m = {0};

	ck_assert_ptr_null(map_get(&m, "x"));
	ck_assert_ptr_null(map_remove(&m, "x"));
	ck_assert_ptr_null(map_next(&m, NULL));
	map_release(&m, NULL);
}
END_TEST

START_TEST(put_replaces_and_returns_the_old_value)
{
	struct map m = {0};

	ck_assert_ptr_null(map_put(&m, "k", "1"));
	ck_assert_str_eq(map_put(&m, "k", "2"), "1");
	ck_assert_uint_eq(m.count, 1);
	ck_assert_str_eq(map_get(&m, "k"), "2");
	ck_assert_ptr_null(map_get_n(&m, "kk", 2));
	map_release(&m, NULL);
}
END_TEST

/* Against an array that says what must be there, with thousands of removals. */
START_TEST(agrees_with_a_model)
{
	enum { KEYS = 500 };
	static bool there[KEYS];
	struct map m = {0};
	size_t count = 0, seen = 0;
	unsigned seed = 7;

	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245u + 12345u;
		unsigned k = seed >> 16 & 0x7fff;
		char key[16];
		k %= KEYS;
		snprintf(key, sizeof(key), "key-%u", k);
		if (seed >> 8 & 1) {
			map_put(&m, key, (void *)(uintptr_t)(k + 1));
			count += !there[k];
			there[k] = true;
		} else {
			ck_assert_uint_eq((uintptr_t)map_remove(&m, key), there[k] ? k + 1 : 0);
			count -= there[k];
			there[k] = false;
		}
		ck_assert_uint_eq(m.count, count);
	}
	for (unsigned k = 0; k < KEYS; k++) {
		char key[16];
		snprintf(key, sizeof(key), "key-%u", k);
		ck_assert_uint_eq((uintptr_t)map_get(&m, key), there[k] ? k + 1 : 0);
	}
	map_for_each (&m, e)
		seen++;
	ck_assert_uint_eq(seen, count);
	map_release(&m, NULL);
}
END_TEST

START_TEST(release_frees_the_values)
{
	struct map m = {0};

	map_put(&m, "a", xstrdup("1"));
	map_put(&m, "b", xstrdup("2"));
	map_release(&m, free);
	ck_assert_uint_eq(m.count, 0);
}
END_TEST

int main(void)
{
	return suite_run("map", NULL, NULL,
			 (const TTest *const[]){
				 empty_map_has_nothing,
				 put_replaces_and_returns_the_old_value,
				 agrees_with_a_model,
				 release_frees_the_values,
				 NULL,
			 });
}
