/*
 * Vectors of floats, and how near they are. A cosine is the dot product of vectors
 * that were made one long, so that three metrics need two loops.
 */
#ifndef SERVICES_REPO_VECTOR_H
#define SERVICES_REPO_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VECTOR_MAX_DIMENSIONS = 4096 };

/* The numbers of collector.VectorMetric; they are stored. */
enum vector_metric { VECTOR_COSINE = 0, VECTOR_L2 = 1, VECTOR_DOT = 2 };

/* As it is stored and searched for: for the cosine of length one, unless it is zero. */
void vector_prepare(enum vector_metric metric, float *vector, size_t dimensions);

/*
 * How near each of @count vectors is to @query, all prepared: the larger the
 * nearer, for VECTOR_L2 less than or equal to zero (the squared distance's
 * negative). @vectors is one after the other, at any address.
 */
void vector_compare(enum vector_metric metric, const float *query, const float *vectors,
		    size_t count, size_t dimensions, float *ret_nearness);

/* What users see: the score (higher is nearer) and the distance (lower is). */
double vector_score(enum vector_metric metric, float nearness);
double vector_distance(enum vector_metric metric, float nearness);

/* For tests: do without what only this processor has. */
void vector_use_portable(bool portable);

/* ------------------------------------------------------------ the best */

struct vector_hit {
	int64_t row;
	float nearness;
};

/* The nearest so many of all that were offered; embedded. */
struct vector_best {
	struct vector_hit *hits; /* @capacity of room, the caller's */
	size_t capacity, count;
};

static inline bool vector_is_nearer(const struct vector_hit *a, const struct vector_hit *b)
{
	return a->nearness != b->nearness ? a->nearness > b->nearness : a->row < b->row;
}

void vector_best_offer(struct vector_best *best, struct vector_hit hit);

/* Nearest first, then by row; nothing can be offered after that. */
void vector_best_sort(struct vector_best *best);

#endif
