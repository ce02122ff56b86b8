/*
 * Inside common/reflect: the innermost step of every walk over wire bytes, in a
 * header so that it is inlined into the loops.
 */
#ifndef COMMON_REFLECT_DECODE_H
#define COMMON_REFLECT_DECODE_H

#include "common/reflect/descriptor.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/*
 * Read the tag at @at. NULL: cut off, over-long, or field number 0. The wire
 * types 6, 7 and a stray end of group come out here as they are.
 */
static inline const uint8_t *decode_tag(const uint8_t *at, const uint8_t *end,
					uint32_t *ret_number, unsigned *ret_type)
{
	uint64_t tag;

	at = wire_read_varint(at, end, &tag);
	if (!at || tag > UINT32_MAX || tag < 8)
		return NULL;
	*ret_number = (uint32_t)(tag >> 3);
	*ret_type = tag & 7;
	return at;
}

/* pool_field_by_number(), for loops. */
static inline const struct pool_field *decode_field(const struct pool *pool,
						    const struct pool_message *m,
						    uint32_t number)
{
	const struct pool_field *f = number < m->dense_count ? m->dense[number] : NULL;

	return f ? f : pool_field_by_number(pool, m, number);
}

/*
 * Read what follows a tag. *ret_value is the number, or the size of *ret_data,
 * which is NULL for numbers. NULL: malformed.
 */
__attribute__((always_inline)) static inline const uint8_t *decode_value(
	const uint8_t *at, const uint8_t *end, uint32_t number, unsigned type, int depth,
	uint64_t *ret_value, const uint8_t **ret_data)
{
	const uint8_t *content_end;

	*ret_data = NULL;
	switch (type) {
	case WIRE_VARINT:
		return wire_read_varint(at, end, ret_value);
	case WIRE_FIXED64:
		if (end - at < 8)
			return NULL;
		*ret_value = wire_load64(at);
		return at + 8;
	case WIRE_FIXED32:
		if (end - at < 4)
			return NULL;
		*ret_value = wire_load32(at);
		return at + 4;
	case WIRE_BYTES:
		at = wire_read_varint(at, end, ret_value);
		if (!at || *ret_value > (uint64_t)(end - at))
			return NULL;
		*ret_data = at;
		return at + *ret_value;
	case WIRE_GROUP_START:
		*ret_data = at;
		at = wire_skip(at, end, number, WIRE_GROUP_START, depth, &content_end);
		if (at)
			*ret_value = (uint64_t)(content_end - *ret_data);
		return at;
	default:
		return NULL;
	}
}

/* The next element of a packed run of @wire_type. NULL: the run is cut off. */
static inline const uint8_t *decode_packed(unsigned wire_type, const uint8_t *at,
					   const uint8_t *end, uint64_t *ret_value)
{
	const uint8_t *data;

	return decode_value(at, end, 0, wire_type, 0, ret_value, &data);
}

static inline bool decode_is_packable(const struct pool_field *f)
{
	return f->repeated && f->wire_type != WIRE_BYTES && f->wire_type != WIRE_GROUP_START;
}

/*
 * Does an occurrence with @type belong to @f? If not, it is an unknown field.
 * Repeated numbers come packed or not, whatever the schema prefers.
 */
static inline bool decode_type_fits(const struct pool_field *f, unsigned type)
{
	return type == f->wire_type || (type == WIRE_BYTES && decode_is_packable(f));
}

/* Is the enum number one that a parser keeps as a value of @e? */
static inline bool decode_enum_is_known(const struct pool_enum *e, uint64_t value)
{
	return !e->closed || pool_enum_value_by_number(e, (int32_t)value);
}

#endif
