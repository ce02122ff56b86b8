/*
 * Many small allocations with one end: an arena hands out memory that is freed
 * all at once. Not thread-safe; one call, one arena.
 */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used_bytes;          /* handed out since the last reset */
	size_t limit_bytes;         /* 0: none */
};

/* @limit_bytes caps what may be handed out before arena_reset(); 0: no cap. */
void arena_init(struct arena *a, size_t limit_bytes);
void arena_release(struct arena *a);

/* Forget everything handed out; keeps one block for reuse. */
void arena_reset(struct arena *a);

/* @size bytes aligned for any type, uninitialised. NULL: past the limit. */
void *arena_try_alloc(struct arena *a, size_t size);

/* The same for sizes that are bounded elsewhere: never NULL, ignores the limit. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *a, const char *s, size_t len)
	__attribute__((returns_nonnull));
void *arena_memdup(struct arena *a, const void *p, size_t len) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((returns_nonnull, format(printf, 2, 3)));

#endif
