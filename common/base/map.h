/*
 * A hash table from byte strings to pointers. Keys are copied, values are
 * borrowed. Not thread-safe. Zeroed storage is an empty map.
 */
#ifndef COMMON_BASE_MAP_H
#define COMMON_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
	uint64_t hash;
	char *key; /* owned, NUL-terminated; NULL: free slot */
	size_t key_len;
	void *value;
};

struct map {
	struct map_entry *slots;
	size_t capacity; /* a power of two, or 0 */
	size_t count;
};

/* Frees the table and, if @free_value is given, every value with it. */
void map_release(struct map *m, void (*free_value)(void *));

/* NULL: not there (or there with a NULL value). */
void *map_get(const struct map *m, const char *key);
void *map_get_n(const struct map *m, const char *key, size_t key_len);

/* Set @key to @value; returns the value that it replaces, or NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_put_n(struct map *m, const char *key, size_t key_len, void *value);

/* Take @key out; returns its value, or NULL. */
void *map_remove(struct map *m, const char *key);

/* The entry after @entry (NULL: the first) in no order; NULL at the end. */
struct map_entry *map_next(const struct map *m, const struct map_entry *entry);

#define map_for_each(m, entry)                                                                 \
	for (struct map_entry *entry = map_next((m), NULL); entry; entry = map_next((m), entry))

#endif
