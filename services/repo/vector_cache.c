#include "services/repo/vector_cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"

enum { SLOTS = 1024 };

struct vector_cache {
	size_t limit_bytes;
	atomic_uint_fast64_t owners;
	pthread_mutex_t mu; /* what follows, and the links of chunks */
	size_t used_bytes;
	struct vector_chunk *slots[SLOTS];
	struct vector_chunk *oldest, *newest;
};

struct vector_cache *vector_cache_new(size_t limit_bytes)
{
	struct vector_cache *cache = xcalloc(1, sizeof(*cache));

	pthread_mutex_init(&cache->mu, NULL);
	cache->limit_bytes = limit_bytes;
	return cache;
}

uint64_t vector_cache_owner(struct vector_cache *cache)
{
	return atomic_fetch_add(&cache->owners, 1) + 1;
}

struct vector_chunk *vector_chunk_new(uint64_t owner, int64_t number, int64_t version,
				      size_t size_bytes)
{
	struct vector_chunk *chunk;
	const size_t size = sizeof(*chunk) + size_bytes;

	/* aligned_alloc() takes whole multiples. */
	chunk = aligned_alloc(_Alignof(struct vector_chunk),
			      (size + _Alignof(struct vector_chunk) - 1) &
				      ~(_Alignof(struct vector_chunk) - 1));
	if (!chunk)
		abort(); /* as xmalloc() does */
	*chunk = (struct vector_chunk){
		.owner = owner, .number = number, .version = version, .size_bytes = size_bytes};
	atomic_init(&chunk->refs, 1);
	return chunk;
}

void vector_chunk_release(struct vector_chunk *chunk)
{
	if (atomic_fetch_sub(&chunk->refs, 1) == 1)
		free(chunk);
}

/* ------------------------------------------------------------ with the mutex held */

static struct vector_chunk **slot_of(struct vector_cache *cache, uint64_t owner, int64_t number)
{
	const uint64_t key[2] = {owner, (uint64_t)number};

	return &cache->slots[hash_bytes(key, sizeof(key)) % SLOTS];
}

static void unlink_age(struct vector_cache *cache, struct vector_chunk *c)
{
	*(c->older ? &c->older->newer : &cache->oldest) = c->newer;
	*(c->newer ? &c->newer->older : &cache->newest) = c->older;
}

static void link_newest(struct vector_cache *cache, struct vector_chunk *c)
{
	c->newer = NULL;
	c->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = c;
	cache->newest = c;
}

static void drop(struct vector_cache *cache, struct vector_chunk *c)
{
	struct vector_chunk **at = slot_of(cache, c->owner, c->number);

	while (*at != c)
		at = &(*at)->next_in_slot;
	*at = c->next_in_slot;
	unlink_age(cache, c);
	cache->used_bytes -= c->size_bytes;
	vector_chunk_release(c);
}

static struct vector_chunk *find(struct vector_cache *cache, uint64_t owner, int64_t number)
{
	struct vector_chunk *c = *slot_of(cache, owner, number);

	while (c && (c->owner != owner || c->number != number))
		c = c->next_in_slot;
	return c;
}

/* ------------------------------------------------------------ for all */

struct vector_chunk *vector_cache_get(struct vector_cache *cache, uint64_t owner,
				      int64_t number, int64_t version)
{
	struct vector_chunk *c;

	pthread_mutex_lock(&cache->mu);
	c = find(cache, owner, number);
	/* A reader whose snapshot is older does not take away what others use. */
	if (c && c->version < version) {
		drop(cache, c);
		c = NULL;
	}
	if (c && c->version == version) {
		atomic_fetch_add(&c->refs, 1);
		unlink_age(cache, c);
		link_newest(cache, c);
	} else {
		c = NULL;
	}
	pthread_mutex_unlock(&cache->mu);
	return c;
}

void vector_cache_put(struct vector_cache *cache, struct vector_chunk *chunk)
{
	struct vector_chunk **slot, *other;

	if (chunk->size_bytes > cache->limit_bytes)
		return;
	pthread_mutex_lock(&cache->mu);
	other = find(cache, chunk->owner, chunk->number);
	if (!other || other->version < chunk->version) {
		if (other)
			drop(cache, other);
		while (cache->used_bytes + chunk->size_bytes > cache->limit_bytes)
			drop(cache, cache->oldest);
		atomic_fetch_add(&chunk->refs, 1);
		slot = slot_of(cache, chunk->owner, chunk->number);
		chunk->next_in_slot = *slot;
		*slot = chunk;
		link_newest(cache, chunk);
		cache->used_bytes += chunk->size_bytes;
	}
	pthread_mutex_unlock(&cache->mu);
}

void vector_cache_forget(struct vector_cache *cache, uint64_t owner)
{
	struct vector_chunk *next;

	pthread_mutex_lock(&cache->mu);
	for (struct vector_chunk *c = cache->oldest; c; c = next) {
		next = c->newer;
		if (c->owner == owner)
			drop(cache, c);
	}
	pthread_mutex_unlock(&cache->mu);
}

void vector_cache_free(struct vector_cache *cache)
{
	struct vector_chunk *next;

	if (!cache)
		return;
	for (struct vector_chunk *c = cache->oldest; c; c = next) {
		next = c->newer;
		drop(cache, c);
	}
	pthread_mutex_destroy(&cache->mu);
	free(cache);
}
