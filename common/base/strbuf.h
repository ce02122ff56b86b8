/*
 * A growing byte buffer, always followed by a NUL so that text in it is a C
 * string. STRBUF_INIT or zeroed storage is an empty one; strbuf_release() it.
 */
#ifndef COMMON_BASE_STRBUF_H
#define COMMON_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct strbuf {
	char *buf; /* NULL while nothing was ever added: use strbuf_str() then */
	size_t len;
	size_t cap; /* bytes allocated, the NUL included */
};

#define STRBUF_INIT ((struct strbuf){NULL, 0, 0})
#define AUTO_STRBUF __attribute__((cleanup(strbuf_release))) struct strbuf

void strbuf_release(struct strbuf *sb);

/* Empty it, keep the memory. */
static inline void strbuf_reset(struct strbuf *sb)
{
	sb->len = 0;
	if (sb->buf)
		sb->buf[0] = '\0';
}

/* What strbuf_grow() does when there is no room. */
void strbuf_enlarge(struct strbuf *sb, size_t extra);

/* Make room for @extra more bytes and the NUL. */
static inline void strbuf_grow(struct strbuf *sb, size_t extra)
{
	if (extra >= sb->cap - sb->len)
		strbuf_enlarge(sb, extra);
}

void strbuf_add(struct strbuf *sb, const void *data, size_t len);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

static inline void strbuf_addstr(struct strbuf *sb, const char *s)
{
	strbuf_add(sb, s, strlen(s));
}

static inline void strbuf_addch(struct strbuf *sb, char c)
{
	if (sb->len + 1 >= sb->cap)
		strbuf_grow(sb, 1);
	sb->buf[sb->len++] = c;
	sb->buf[sb->len] = '\0';
}

/* @text as the inside of a JSON string, escaped (RFC 8259, section 7). */
void strbuf_add_json_escaped(struct strbuf *sb, const char *text, size_t len);

/* Shorten to @len bytes; no-op when it is not longer. */
void strbuf_truncate(struct strbuf *sb, size_t len);

/* Never NULL. */
static inline const char *strbuf_str(const struct strbuf *sb)
{
	return sb->buf ? sb->buf : "";
}

/* Hand the string over to the caller, who frees it; the buffer is empty then. */
char *strbuf_detach(struct strbuf *sb, size_t *ret_len);

#endif
