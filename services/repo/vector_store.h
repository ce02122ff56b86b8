/* Vectors in a store's database; for the *_store.c files alone. */
#ifndef SERVICES_REPO_VECTOR_STORE_H
#define SERVICES_REPO_VECTOR_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/repo/vector.h"
#include "services/repo/vector_cache.h"

struct store;
struct store_reader;
struct store_vector;
struct store_vectors;
struct store_write;
struct vector_set;

enum { VECTORS_A_CHUNK = 1024 };

/* What a chunk holds: its rows' numbers, then their vectors. */
static inline const int64_t *vector_chunk_rows(const struct vector_chunk *chunk)
{
	return (const int64_t *)(const void *)chunk->data;
}

static inline const float *vector_chunk_floats(const struct vector_chunk *chunk)
{
	return (const float *)(const void *)(chunk->data + VECTORS_A_CHUNK * sizeof(int64_t));
}

/* The set that is being collected, if there is one; else the one that there is. */
const struct vector_set *vectors_last(const struct store *store);

/*
 * Of the writer's thread, in a transaction, as all up to vectors_drop_part(), without effect in
 * a store without vectors: each set has the vector of its generation for the row, none of a
 * generation that was not given.
 */
enum status vectors_write(struct store *store, int64_t rid, const struct store_write *w,
			  struct error *err) MUST_CHECK;
enum status vectors_remove(struct store *store, int64_t rid, struct error *err) MUST_CHECK;

/* Only in the last set, which is of the vector's generation. */
enum status vectors_write_last(struct store *store, int64_t rid,
			       const struct store_vector *vector, struct error *err) MUST_CHECK;

/*
 * Begin to collect others, beside those that searches go by until vectors_switch(). What is
 * left over then goes part by part; @detail is of the build, with room for 8 bytes.
 */
enum status vectors_begin(struct store *store, const struct store_vectors *next,
			  struct error *err) MUST_CHECK;
enum status vectors_switch(struct store *store, char *ret_detail, int64_t *ret_chunks,
			   struct error *err) MUST_CHECK;
enum status vectors_drop_part(struct store *store, const char *detail, int64_t *position,
			      bool *ret_done, struct error *err) MUST_CHECK;

/* The set that the reader's searches go by, and how many vectors it has. */
enum status vectors_now(struct store_reader *reader, struct vector_set *ret, int64_t *ret_count,
			struct error *err) MUST_CHECK;

/* Where in the set the row's vector is; -1: it has none. */
enum status vectors_find(struct store_reader *reader, const struct vector_set *set, int64_t rid,
			 int64_t *ret_slot, struct error *err) MUST_CHECK;

/* A chunk as the reader sees it, from the cache if it is there; release it. */
enum status vectors_chunk(struct store_reader *reader, const struct vector_set *set,
			  int64_t number, struct vector_chunk **ret,
			  struct error *err) MUST_CHECK;

#endif
