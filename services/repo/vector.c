#include "services/repo/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Eight floats, which the compiler turns into whatever the processor has. Only
 * ever locals of functions that are inlined: how they are passed differs.
 */
typedef float lanes __attribute__((vector_size(32)));
enum { LANES = 8, ACCUMULATORS = 4, STEP = LANES * ACCUMULATORS };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE float rest_of(const float *a, const float *b, size_t from, size_t n, bool is_l2)
{
	float sum = 0;

	for (size_t i = from; i < n; i++)
		sum += is_l2 ? -(a[i] - b[i]) * (a[i] - b[i]) : a[i] * b[i];
	return sum;
}

/* Several sums at a time: one alone would wait for each addition. */
ALWAYS_INLINE float nearness_of(const float *a, const float *b, size_t n, bool is_l2)
{
	lanes sums[ACCUMULATORS] = {{0}}, x, y;
	float sum;
	size_t i = 0;

	for (; i + STEP <= n; i += STEP) {
		for (size_t k = 0; k < ACCUMULATORS; k++) {
			memcpy(&x, a + i + k * LANES, sizeof(x));
			memcpy(&y, b + i + k * LANES, sizeof(y));
			if (is_l2)
				sums[k] -= (x - y) * (x - y);
			else
				sums[k] += x * y;
		}
	}
	sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
	sum = rest_of(a, b, i, n, is_l2);
	for (size_t k = 0; k < LANES; k++)
		sum += sums[0][k];
	return sum;
}

ALWAYS_INLINE void compare_all(bool is_l2, const float *query, const float *vectors,
			       size_t count, size_t dimensions, float *out)
{
	for (size_t i = 0; i < count; i++)
		out[i] = nearness_of(query, vectors + i * dimensions, dimensions, is_l2);
}

typedef void compare_fn(bool is_l2, const float *query, const float *vectors, size_t count,
			size_t dimensions, float *out);

static void compare_portable(bool is_l2, const float *query, const float *vectors, size_t count,
			     size_t dimensions, float *out)
{
	if (is_l2)
		compare_all(true, query, vectors, count, dimensions, out);
	else
		compare_all(false, query, vectors, count, dimensions, out);
}

static bool portable_only;

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void compare_avx2(bool is_l2, const float *query,
							     const float *vectors, size_t count,
							     size_t dimensions, float *out)
{
	if (is_l2)
		compare_all(true, query, vectors, count, dimensions, out);
	else
		compare_all(false, query, vectors, count, dimensions, out);
}

static compare_fn *compare_of_processor(void)
{
	return !portable_only && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
		       ? compare_avx2
		       : compare_portable;
}
#else
static compare_fn *compare_of_processor(void)
{
	return compare_portable;
}
#endif

void vector_use_portable(bool portable)
{
	portable_only = portable;
}

void vector_compare(enum vector_metric metric, const float *query, const float *vectors,
		    size_t count, size_t dimensions, float *ret_nearness)
{
	compare_of_processor()(metric == VECTOR_L2, query, vectors, count, dimensions,
			       ret_nearness);
}

void vector_prepare(enum vector_metric metric, float *vector, size_t dimensions)
{
	double squares = 0;

	if (metric != VECTOR_COSINE)
		return;
	for (size_t i = 0; i < dimensions; i++)
		squares += (double)vector[i] * (double)vector[i];
	if (squares <= 0)
		return;
	const double length = sqrt(squares);
	for (size_t i = 0; i < dimensions; i++)
		vector[i] = (float)((double)vector[i] / length);
}

double vector_distance(enum vector_metric metric, float nearness)
{
	switch (metric) {
	case VECTOR_COSINE:
		return 1 - (double)nearness;
	case VECTOR_L2:
		return sqrt(-(double)nearness);
	case VECTOR_DOT:
		break;
	}
	return -(double)nearness;
}

double vector_score(enum vector_metric metric, float nearness)
{
	return metric == VECTOR_L2 ? 1 / (1 + vector_distance(metric, nearness))
				   : (double)nearness;
}

/* ------------------------------------------------------------ the best */

static void swap(struct vector_hit *a, struct vector_hit *b)
{
	const struct vector_hit was = *a;

	*a = *b;
	*b = was;
}

/* A heap with the worst on top, which the next better one replaces. */
static void sift_down(struct vector_best *best, size_t at)
{
	for (;;) {
		size_t worst = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
			if (child < best->count &&
			    vector_is_nearer(&best->hits[worst], &best->hits[child]))
				worst = child;
		if (worst == at)
			return;
		swap(&best->hits[at], &best->hits[worst]);
		at = worst;
	}
}

static void sift_up(struct vector_best *best, size_t at)
{
	for (; at; at = (at - 1) / 2) {
		struct vector_hit *parent = &best->hits[(at - 1) / 2];

		if (!vector_is_nearer(parent, &best->hits[at]))
			return;
		swap(parent, &best->hits[at]);
	}
}

void vector_best_offer(struct vector_best *best, struct vector_hit hit)
{
	if (best->count < best->capacity) {
		best->hits[best->count] = hit;
		sift_up(best, best->count++);
	} else if (best->capacity && vector_is_nearer(&hit, &best->hits[0])) {
		best->hits[0] = hit;
		sift_down(best, 0);
	}
}

static int compare_hits(const void *a, const void *b)
{
	return vector_is_nearer(a, b) ? -1 : vector_is_nearer(b, a);
}

void vector_best_sort(struct vector_best *best)
{
	qsort(best->hits, best->count, sizeof(*best->hits), compare_hits);
}
