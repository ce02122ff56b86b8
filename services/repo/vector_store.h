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

/*
 * Of the writer's thread, in a transaction, without effect in a store without
 * vectors: the row's vector is @vector, prepared; empty: it has none.
 */
enum status vectors_set(struct store *store, int64_t rid, struct bytes vector,
			struct error *err) MUST_CHECK;
enum status vectors_remove(struct store *store, int64_t rid, struct error *err) MUST_CHECK;

/* All of them. */
enum status vectors_clear(struct store *store, struct error *err) MUST_CHECK;

/* A chunk as the reader sees it, from the cache if it is there; release it. */
enum status vectors_chunk(struct store_reader *reader, int64_t number, int64_t version,
			  struct vector_chunk **ret, struct error *err) MUST_CHECK;

#endif
