#include "common/reflect/wire.h"

#include "common/reflect/decode.h"

const uint8_t *wire_read_varint_slow(const uint8_t *at, const uint8_t *end, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 7 * WIRE_VARINT_MAX_BYTES; shift += 7) {
		if (at >= end)
			return NULL;
		/* Shifting by 63 drops the bits that do not fit. */
		value |= (uint64_t)(*at & 0x7f) << shift;
		if (*at++ < 0x80) {
			*ret_value = value;
			return at;
		}
	}
	return NULL;
}

/* Groups are skipped without recursion: @open remembers whose end is awaited. */
static const uint8_t *skip_group(const uint8_t *at, const uint8_t *end, uint32_t number,
				 int depth, const uint8_t **ret_content_end)
{
	uint32_t open[WIRE_MAX_DEPTH + 1];
	int nested = 0;
	const int room = WIRE_MAX_DEPTH - depth;

	if (room < 1)
		return NULL;
	open[0] = number;
	for (;;) {
		const uint8_t *start = at, *data;
		uint32_t n;
		unsigned type;
		uint64_t value;

		at = decode_tag(at, end, &n, &type);
		if (!at)
			return NULL;
		if (type == WIRE_GROUP_START) {
			if (++nested >= room)
				return NULL;
			open[nested] = n;
		} else if (type == WIRE_GROUP_END) {
			if (n != open[nested])
				return NULL;
			if (nested-- == 0) {
				if (ret_content_end)
					*ret_content_end = start;
				return at;
			}
		} else {
			at = decode_value(at, end, n, type, depth, &value, &data);
			if (!at)
				return NULL;
		}
	}
}

const uint8_t *wire_skip(const uint8_t *at, const uint8_t *end, uint32_t number, unsigned type,
			 int depth, const uint8_t **ret_content_end)
{
	uint64_t value;
	const uint8_t *data;

	if (type == WIRE_GROUP_START)
		return skip_group(at, end, number, depth, ret_content_end);
	return decode_value(at, end, number, type, depth, &value, &data);
}

bool wire_next(struct wire_cursor *c, struct wire_field *ret_field)
{
	const uint8_t *at, *data;
	unsigned type;
	uint32_t number;
	uint64_t value = 0;

	if (c->malformed || c->at >= c->end)
		return false;
	at = decode_tag(c->at, c->end, &number, &type);
	if (at)
		at = decode_value(at, c->end, number, type, 0, &value, &data);
	if (!at) {
		c->malformed = true;
		return false;
	}
	ret_field->number = number;
	ret_field->type = (uint8_t)type;
	ret_field->value = data ? 0 : value;
	ret_field->data = data ? bytes_of(data, (size_t)value) : bytes_of(NULL, 0);
	ret_field->raw = bytes_of(c->at, (size_t)(at - c->at));
	c->at = at;
	return true;
}

bool wire_find_bytes(struct bytes message, uint32_t number, struct bytes *ret_data)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	struct bytes last = {NULL, 0};
	bool found = false;

	while (wire_next(&c, &f)) {
		if (f.number == number && f.type == WIRE_BYTES) {
			last = f.data;
			found = true;
		}
	}
	if (!found || c.malformed)
		return false;
	*ret_data = last;
	return true;
}

enum status wire_check(struct bytes message, int max_depth, struct error *err)
{
	struct wire_cursor c = wire_cursor_of(message);
	const int depth = max_depth < WIRE_MAX_DEPTH ? WIRE_MAX_DEPTH - max_depth : 0;

	while (c.at < c.end) {
		uint32_t number;
		unsigned type;
		const uint8_t *at = decode_tag(c.at, c.end, &number, &type);

		if (at)
			at = wire_skip(at, c.end, number, type, depth, NULL);
		if (!at)
			return error_set(err, STATUS_INVALID_ARGUMENT,
					 "not a protobuf message: malformed at byte %zu of %zu",
					 (size_t)(c.at - message.data), message.size);
		c.at = at;
	}
	return STATUS_OK;
}

/* ------------------------------------------------------------- writing */

void wire_add_varint(struct strbuf *out, uint64_t value)
{
	strbuf_grow(out, WIRE_VARINT_MAX_BYTES);
	out->len += wire_put_varint((uint8_t *)out->buf + out->len, value);
	out->buf[out->len] = '\0';
}

void wire_add_tag(struct strbuf *out, uint32_t number, unsigned type)
{
	wire_add_varint(out, (uint64_t)number << 3 | type);
}

void wire_add_fixed32(struct strbuf *out, uint32_t value)
{
	uint8_t b[4];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(value >> (8 * i));
	strbuf_add(out, b, sizeof(b));
}

void wire_add_fixed64(struct strbuf *out, uint64_t value)
{
	uint8_t b[8];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(value >> (8 * i));
	strbuf_add(out, b, sizeof(b));
}

void wire_add_uint(struct strbuf *out, uint32_t number, uint64_t value)
{
	wire_add_tag(out, number, WIRE_VARINT);
	wire_add_varint(out, value);
}

void wire_add_bytes(struct strbuf *out, uint32_t number, struct bytes data)
{
	uint8_t *to;

	strbuf_grow(out, 2 * WIRE_VARINT_MAX_BYTES + data.size);
	to = (uint8_t *)out->buf + out->len;
	to += wire_put_varint(to, (uint64_t)number << 3 | WIRE_BYTES);
	to += wire_put_varint(to, data.size);
	if (data.size)
		memcpy(to, data.data, data.size);
	to += data.size;
	*to = '\0';
	out->len = (size_t)(to - (uint8_t *)out->buf);
}

void wire_add_string(struct strbuf *out, uint32_t number, const char *text)
{
	wire_add_bytes(out, number, bytes_of_string(text));
}

size_t wire_open(struct strbuf *out, uint32_t number)
{
	wire_add_tag(out, number, WIRE_BYTES);
	strbuf_addch(out, 0);
	return out->len;
}

/* One byte was kept for the length; content of 128 bytes and more moves up. */
void wire_close(struct strbuf *out, size_t mark)
{
	const size_t size = out->len - mark;
	uint8_t length[WIRE_VARINT_MAX_BYTES];
	const size_t n = wire_put_varint(length, size);

	if (n > 1) {
		strbuf_grow(out, n - 1);
		memmove(out->buf + mark + n - 1, out->buf + mark, size + 1);
		out->len += n - 1;
	}
	memcpy(out->buf + mark - 1, length, n);
}
