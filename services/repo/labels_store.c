/* Labels as a JSONB object of raw texts: nothing in them needs escaping. */
#include <string.h>

#include "services/repo/store_internal.h"

/* Four bytes of size follow. */
enum { SIZE_IN_4_BYTES = 14, HEADER_BYTES = 5 };

const uint8_t *jsonb_next(const uint8_t *at, const uint8_t *end, struct jsonb_element *ret)
{
	unsigned extra, size_code;
	size_t size = 0;

	if (at >= end)
		return NULL;
	ret->type = *at & 0xf;
	size_code = *at++ >> 4;
	if (size_code < 12) {
		size = size_code;
	} else {
		extra = 1U << (size_code - 12);
		if ((size_t)(end - at) < extra)
			return NULL;
		for (; extra; extra--)
			size = size << 8 | *at++;
	}
	if ((size_t)(end - at) < size)
		return NULL;
	ret->payload = at;
	ret->size = size;
	return at + size;
}

static void put_header(uint8_t out[HEADER_BYTES], unsigned type, size_t size)
{
	out[0] = (uint8_t)(SIZE_IN_4_BYTES << 4 | type);
	for (int i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(size >> (24 - 8 * i));
}

static void add_raw_text(struct strbuf *out, const char *text)
{
	uint8_t header[HEADER_BYTES];
	const size_t len = strlen(text);

	put_header(header, JSONB_TEXT_RAW, len);
	strbuf_add(out, header, sizeof(header));
	strbuf_add(out, text, len);
}

void labels_add(struct strbuf *labels, const char *key, const char *value)
{
	/* Room for the object's header, whose size labels_end() knows. */
	if (!labels->len)
		strbuf_add(labels, "\0\0\0\0", HEADER_BYTES);
	add_raw_text(labels, key);
	add_raw_text(labels, value);
}

struct bytes labels_end(struct strbuf *labels)
{
	if (!labels->len)
		strbuf_add(labels, "\0\0\0\0", HEADER_BYTES);
	put_header((uint8_t *)labels->buf, JSONB_OBJECT, labels->len - HEADER_BYTES);
	return bytes_of(labels->buf, labels->len);
}

bool labels_next(struct bytes *labels, struct arena *arena, char **ret_key, char **ret_value)
{
	const uint8_t *at = labels->data, *end = at ? at + labels->size : NULL;
	struct jsonb_element object, key, value;

	if (!at)
		return false;
	/* At first it is the whole object, then what is left of its inside. */
	if ((*at & 0xf) == JSONB_OBJECT) {
		if (!jsonb_next(at, end, &object))
			return false;
		at = object.payload;
		end = at + object.size;
	}
	at = jsonb_next(at, end, &key);
	at = at ? jsonb_next(at, end, &value) : NULL;
	if (!at)
		return false;
	*ret_key = arena_strndup(arena, (const char *)key.payload, key.size);
	*ret_value = arena_strndup(arena, (const char *)value.payload, value.size);
	*labels = bytes_of(at, (size_t)(end - at));
	if (at == end)
		labels->data = NULL;
	return true;
}
