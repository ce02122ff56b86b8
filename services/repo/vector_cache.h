/*
 * Chunks of vectors in memory, of all collections together, up to a limit: a
 * search reads from here at the speed of memory what it would copy out of a
 * database page by page. A chunk is known by its collection, number and version;
 * what is asked for in another version is forgotten. The least recently used go
 * first. Thread-safe.
 */
#ifndef SERVICES_REPO_VECTOR_CACHE_H
#define SERVICES_REPO_VECTOR_CACHE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct vector_cache;

struct vector_chunk {
	uint64_t owner;
	int64_t number, version;
	size_t size_bytes;
	atomic_uint refs;
	struct vector_chunk *next_in_slot; /* the cache's, from here */
	struct vector_chunk *older, *newer;
	_Alignas(64) uint8_t data[];
};

struct vector_cache *vector_cache_new(size_t limit_bytes);

/* Nobody may hold a chunk. NULL is fine. */
void vector_cache_free(struct vector_cache *cache);

/* A name for an owner that no other has had. */
uint64_t vector_cache_owner(struct vector_cache *cache);

/* The chunk, until vector_chunk_release(); NULL: it is not here in that version. */
struct vector_chunk *vector_cache_get(struct vector_cache *cache, uint64_t owner,
				      int64_t number, int64_t version);

/* A chunk to be filled, held by the caller; afterwards it may be put. */
struct vector_chunk *vector_chunk_new(uint64_t owner, int64_t number, int64_t version,
				      size_t size_bytes);
void vector_chunk_release(struct vector_chunk *chunk);

/* Keep it for others; it does not change any more. */
void vector_cache_put(struct vector_cache *cache, struct vector_chunk *chunk);

/* Forget all of an owner. */
void vector_cache_forget(struct vector_cache *cache, uint64_t owner);

#endif
