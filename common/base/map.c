#include "common/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"

/* Linear probing; deletion moves later entries back, so there are no tombstones. */

static struct map_entry *find(const struct map *m, uint64_t hash, const char *key, size_t len)
{
	size_t mask = m->capacity - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_entry *e = &m->slots[i];
		if (!e->key ||
		    (e->hash == hash && e->key_len == len && !memcmp(e->key, key, len)))
			return e;
	}
}

static void resize(struct map *m, size_t capacity)
{
	struct map old = *m;

	m->slots = xcalloc(capacity, sizeof(*m->slots));
	m->capacity = capacity;
	for (size_t i = 0; i < old.capacity; i++) {
		struct map_entry *e = &old.slots[i];
		if (e->key)
			*find(m, e->hash, e->key, e->key_len) = *e;
	}
	free(old.slots);
}

void map_release(struct map *m, void (*free_value)(void *))
{
	for (size_t i = 0; i < m->capacity; i++) {
		if (!m->slots[i].key)
			continue;
		free(m->slots[i].key);
		if (free_value)
			free_value(m->slots[i].value);
	}
	free(m->slots);
	*m = (struct map){0};
}

void *map_get_n(const struct map *m, const char *key, size_t key_len)
{
	if (!m->count)
		return NULL;
	return find(m, hash_bytes(key, key_len), key, key_len)->value;
}

void *map_get(const struct map *m, const char *key)
{
	return map_get_n(m, key, strlen(key));
}

void *map_put_n(struct map *m, const char *key, size_t key_len, void *value)
{
	uint64_t hash = hash_bytes(key, key_len);
	struct map_entry *e;
	void *old;

	if ((m->count + 1) * 4 > m->capacity * 3)
		resize(m, m->capacity ? m->capacity * 2 : 8);
	e = find(m, hash, key, key_len);
	old = e->value;
	if (!e->key) {
		*e = (struct map_entry){hash, xstrndup(key, key_len), key_len, NULL};
		m->count++;
	}
	e->value = value;
	return old;
}

void *map_put(struct map *m, const char *key, void *value)
{
	return map_put_n(m, key, strlen(key), value);
}

void *map_remove(struct map *m, const char *key)
{
	size_t mask = m->capacity - 1, len = strlen(key), hole;
	struct map_entry *e;
	void *value;

	if (!m->count)
		return NULL;
	e = find(m, hash_bytes(key, len), key, len);
	if (!e->key)
		return NULL;
	value = e->value;
	free(e->key);
	hole = (size_t)(e - m->slots);
	m->slots[hole] = (struct map_entry){0};
	m->count--;
	for (size_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		m->slots[hole] = m->slots[i];
		m->slots[i] = (struct map_entry){0};
		hole = i;
	}
	return value;
}

struct map_entry *map_next(const struct map *m, const struct map_entry *entry)
{
	size_t i = entry ? (size_t)(entry - m->slots) + 1 : 0;

	for (; i < m->capacity; i++)
		if (m->slots[i].key)
			return &m->slots[i];
	return NULL;
}
