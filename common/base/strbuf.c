#include "common/base/strbuf.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

void strbuf_release(struct strbuf *sb)
{
	free(sb->buf);
	*sb = STRBUF_INIT;
}

void strbuf_enlarge(struct strbuf *sb, size_t extra)
{
	size_t need = sb->len + extra + 1, cap = sb->cap ? sb->cap : 64;

	if (need < extra)
		abort(); /* a bound was forgotten upstream */
	if (need <= sb->cap)
		return;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	sb->buf = xrealloc(sb->buf, cap);
	sb->cap = cap;
	sb->buf[sb->len] = '\0';
}

void strbuf_add(struct strbuf *sb, const void *data, size_t len)
{
	strbuf_grow(sb, len);
	if (len)
		memcpy(sb->buf + sb->len, data, len);
	sb->len += len;
	sb->buf[sb->len] = '\0';
}

void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	if (len < 0)
		abort();
	strbuf_grow(sb, (size_t)len);
	vsnprintf(sb->buf + sb->len, (size_t)len + 1, fmt, again);
	va_end(again);
	sb->len += (size_t)len;
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	strbuf_vaddf(sb, fmt, args);
	va_end(args);
}

void strbuf_add_json_escaped(struct strbuf *sb, const char *text, size_t len)
{
	static const char short_form[32] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\') {
			strbuf_addch(sb, '\\');
			strbuf_addch(sb, (char)c);
		} else if (c >= 0x20) {
			strbuf_addch(sb, (char)c);
		} else if (short_form[c]) {
			strbuf_addch(sb, '\\');
			strbuf_addch(sb, short_form[c]);
		} else {
			strbuf_addf(sb, "\\u%04x", c);
		}
	}
}

void strbuf_truncate(struct strbuf *sb, size_t len)
{
	if (len < sb->len) {
		sb->len = len;
		sb->buf[len] = '\0';
	}
}

char *strbuf_detach(struct strbuf *sb, size_t *ret_len)
{
	char *out;

	strbuf_grow(sb, 0);
	out = sb->buf;
	if (ret_len)
		*ret_len = sb->len;
	*sb = STRBUF_INIT;
	return out;
}
