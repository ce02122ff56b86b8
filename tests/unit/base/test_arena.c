#include "common/base/arena.h"

#include <stdint.h>
#include <string.h>

#include "tests/support/suite.h"

START_TEST(allocations_are_aligned_and_apart)
{
	struct arena a;
	char *last = NULL;

	arena_init(&a, 0);
	for (size_t i = 0; i < 2000; i++) {
		char *p = arena_alloc(&a, i % 97);
		ck_assert_uint_eq((uintptr_t)p % 16, 0);
		ck_assert_ptr_ne(p, last);
		memset(p, (int)i, i % 97);
		last = p;
	}
	arena_release(&a);
}
END_TEST

START_TEST(limit_refuses_but_does_not_break)
{
	struct arena a;

	arena_init(&a, 1000);
	ck_assert_ptr_nonnull(arena_try_alloc(&a, 900));
	ck_assert_ptr_null(arena_try_alloc(&a, 200));
	ck_assert_ptr_null(arena_try_alloc(&a, SIZE_MAX));
	ck_assert_ptr_nonnull(arena_try_alloc(&a, 16));
	arena_reset(&a);
	ck_assert_ptr_nonnull(arena_try_alloc(&a, 900));
	arena_release(&a);
}
END_TEST

START_TEST(one_large_block_among_small_ones)
{
	struct arena a;
	char *small, *large;

	arena_init(&a, 0);
	small = arena_strdup(&a, "small");
	large = arena_zalloc(&a, 5 << 20);
	large[(5 << 20) - 1] = 'x';
	ck_assert_str_eq(small, "small");
	ck_assert_str_eq(arena_printf(&a, "%s-%d", small, 7), "small-7");
	arena_release(&a);
	ck_assert_ptr_null(a.blocks);
}
END_TEST

int main(void)
{
	return suite_run("arena", NULL, NULL,
			 (const TTest *const[]){
				 allocations_are_aligned_and_apart,
				 limit_refuses_but_does_not_break,
				 one_large_block_among_small_ones,
				 NULL,
			 });
}
