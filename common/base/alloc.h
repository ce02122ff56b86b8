/*
 * Memory that cannot fail: an allocation that the system refuses aborts the
 * process, and the supervisor starts it anew. Every size that a peer controls
 * is therefore bounded before it gets here.
 */
#ifndef COMMON_BASE_ALLOC_H
#define COMMON_BASE_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));

/* Room for @count elements of @size bytes; aborts on overflow. */
void *xreallocarray(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));

/* A NUL-terminated copy of @len bytes. */
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t len) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* For __attribute__((cleanup(free_ptr))) on a local pointer of any type. */
static inline void free_ptr(void *p);
#define AUTO_FREE __attribute__((cleanup(free_ptr)))

#include <stdlib.h>
static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

#endif
