#include "common/reflect/jsonb.h"

#include <stdbool.h>

static bool needs_escape(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == '"' || c == '\\')
			return true;
	}
	return false;
}

void jsonb_add_text(struct strbuf *out, const char *text, size_t len)
{
	strbuf_grow(out, JSONB_HEADER_MAX_BYTES + len);
	out->len += jsonb_put_header((uint8_t *)out->buf + out->len,
				     needs_escape(text, len) ? JSONB_TEXTRAW : JSONB_TEXT, len);
	strbuf_add(out, text, len);
}
