#include "common/base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { FIRST_BLOCK_BYTES = 4096, LARGEST_STEP_BYTES = 1 << 20 };

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
	*a = (struct arena){.limit_bytes = limit_bytes};
}

static void free_blocks(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;
		free(b);
		b = next;
	}
}

void arena_release(struct arena *a)
{
	free_blocks(a->blocks);
	a->blocks = NULL;
	a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
	if (a->blocks) {
		free_blocks(a->blocks->next);
		a->blocks->next = NULL;
		a->blocks->used = 0;
	}
	a->used_bytes = 0;
}

static struct arena_block *grow(struct arena *a, size_t need)
{
	size_t size = a->blocks ? a->blocks->size * 2 : FIRST_BLOCK_BYTES;
	struct arena_block *b;

	if (size > LARGEST_STEP_BYTES)
		size = LARGEST_STEP_BYTES;
	if (size < need)
		size = need;
	b = xmalloc(sizeof(*b) + size);
	b->next = a->blocks;
	b->used = 0;
	b->size = size;
	a->blocks = b;
	return b;
}

static void *take(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;
	void *p;

	if (!b || b->size - b->used < size)
		b = grow(a, size);
	p = b->data + b->used;
	b->used += size;
	a->used_bytes += size;
	return p;
}

static size_t round_up(size_t size)
{
	const size_t mask = alignof(max_align_t) - 1;

	if (size > SIZE_MAX / 2)
		abort(); /* a bound was forgotten upstream */
	return size ? (size + mask) & ~mask : mask + 1;
}

void *arena_try_alloc(struct arena *a, size_t size)
{
	if (a->limit_bytes && (size > a->limit_bytes || a->used_bytes > a->limit_bytes - size))
		return NULL;
	return take(a, round_up(size));
}

void *arena_alloc(struct arena *a, size_t size)
{
	return take(a, round_up(size));
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (len)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

void *arena_memdup(struct arena *a, const void *p, size_t len)
{
	void *copy = arena_alloc(a, len);

	if (len)
		memcpy(copy, p, len);
	return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	char *out;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		abort();
	out = arena_alloc(a, (size_t)len + 1);
	vsnprintf(out, (size_t)len + 1, fmt, again);
	va_end(again);
	return out;
}
