/* Comparing vectors, keeping the best, taking them out of messages, caching them. */
#include "services/repo/vector.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/repo/vector_cache.h"
#include "tests/support/suite.h"

enum { MAX = 300 };

static float random_float(void)
{
	return (float)(rand() % 20001 - 10000) / 1000;
}

static double expected(enum vector_metric metric, const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		const double x = (double)a[i], y = (double)b[i];
		sum += metric == VECTOR_L2 ? -(x - y) * (x - y) : x * y;
	}
	return sum;
}

static void check_all(enum vector_metric metric)
{
	static float query[MAX], vectors[3 * MAX + 1], out[3];

	for (size_t n = 1; n <= MAX; n++) {
		float *at = vectors + n % 2; /* whatever the alignment */

		for (size_t i = 0; i < n; i++)
			query[i] = random_float();
		for (size_t i = 0; i < 3 * n; i++)
			at[i] = random_float();
		vector_compare(metric, query, at, 3, n, out);
		for (size_t i = 0; i < 3; i++) {
			const double right = expected(metric, query, at + i * n, n);
			ck_assert_double_eq_tol((double)out[i], right,
						1e-3 + fabs(right) * 1e-5);
		}
	}
}

START_TEST(every_length_is_compared_rightly)
{
	for (int portable = 0; portable < 2; portable++) {
		vector_use_portable(portable);
		check_all(VECTOR_DOT);
		check_all(VECTOR_L2);
	}
}
END_TEST

START_TEST(scores_and_distances)
{
	float a[] = {3, 4}, b[] = {6, 8}, c[] = {-4, 3}, zero[] = {0, 0}, out;

	vector_compare(VECTOR_L2, a, b, 1, 2, &out);
	ck_assert_double_eq_tol(vector_distance(VECTOR_L2, out), 5, 1e-6);
	ck_assert_double_eq_tol(vector_score(VECTOR_L2, out), 1.0 / 6, 1e-6);
	vector_compare(VECTOR_DOT, a, b, 1, 2, &out);
	ck_assert_double_eq_tol(vector_score(VECTOR_DOT, out), 50, 1e-6);
	ck_assert_double_eq_tol(vector_distance(VECTOR_DOT, out), -50, 1e-6);
	vector_prepare(VECTOR_COSINE, a, 2);
	vector_prepare(VECTOR_COSINE, b, 2);
	vector_prepare(VECTOR_COSINE, c, 2);
	vector_prepare(VECTOR_COSINE, zero, 2);
	vector_compare(VECTOR_COSINE, a, b, 1, 2, &out);
	ck_assert_double_eq_tol(vector_score(VECTOR_COSINE, out), 1, 1e-6);
	ck_assert_double_eq_tol(vector_distance(VECTOR_COSINE, out), 0, 1e-6);
	vector_compare(VECTOR_COSINE, a, c, 1, 2, &out);
	ck_assert_double_eq_tol(vector_distance(VECTOR_COSINE, out), 1, 1e-6);
	vector_compare(VECTOR_COSINE, a, zero, 1, 2, &out);
	ck_assert_double_eq_tol(vector_score(VECTOR_COSINE, out), 0, 1e-9);
}
END_TEST

static int by_nearness(const void *a, const void *b)
{
	return vector_is_nearer(a, b) ? -1 : vector_is_nearer(b, a);
}

START_TEST(the_best_are_kept)
{
	static struct vector_hit all[500], kept[500];

	for (size_t capacity = 0; capacity <= 500; capacity += 7) {
		struct vector_best best = {.hits = kept, .capacity = capacity};

		for (size_t i = 0; i < 500; i++) {
			all[i] = (struct vector_hit){(int64_t)i, (float)(rand() % 100)};
			vector_best_offer(&best, all[i]);
		}
		qsort(all, 500, sizeof(all[0]), by_nearness);
		vector_best_sort(&best);
		ck_assert_uint_eq(best.count, capacity < 500 ? capacity : 500);
		for (size_t i = 0; i < best.count; i++)
			ck_assert_int_eq(best.hits[i].row, all[i].row);
	}
}
END_TEST

static void put(struct vector_cache *cache, uint64_t owner, int64_t number, int64_t version)
{
	struct vector_chunk *c = vector_chunk_new(owner, number, version, 100);

	memset(c->data, (int)version, 100);
	vector_cache_put(cache, c);
	vector_chunk_release(c);
}

static bool has(struct vector_cache *cache, uint64_t owner, int64_t number, int64_t version)
{
	struct vector_chunk *c = vector_cache_get(cache, owner, number, version);
	bool right = c && c->data[99] == version;

	if (c)
		vector_chunk_release(c);
	return right;
}

START_TEST(the_cache_knows_versions_and_its_limit)
{
	struct vector_cache *cache = vector_cache_new(1000);
	const uint64_t a = vector_cache_owner(cache), b = vector_cache_owner(cache);

	ck_assert_uint_ne(a, b);
	for (int64_t i = 0; i < 10; i++)
		put(cache, a, i, 1);
	for (int64_t i = 0; i < 10; i++)
		ck_assert(has(cache, a, i, 1));
	/* One more: the least recently used one goes. */
	ck_assert(has(cache, a, 0, 1));
	put(cache, b, 0, 1);
	ck_assert(!has(cache, a, 1, 1));
	ck_assert(has(cache, a, 0, 1) && has(cache, b, 0, 1));
	/* An older version neither replaces a newer one nor is given for it. */
	put(cache, a, 0, 3);
	put(cache, a, 0, 2);
	ck_assert(!has(cache, a, 0, 2));
	ck_assert(has(cache, a, 0, 3));
	ck_assert(!has(cache, a, 0, 4));
	ck_assert(!has(cache, a, 0, 3));
	vector_cache_forget(cache, b);
	ck_assert(!has(cache, b, 0, 1));
	ck_assert(has(cache, a, 5, 1));
	vector_cache_free(cache);
}
END_TEST

int main(void)
{
	return suite_run("vector", NULL, NULL,
			 (const TTest *const[]){every_length_is_compared_rightly,
						scores_and_distances, the_best_are_kept,
						the_cache_knows_versions_and_its_limit, NULL});
}
