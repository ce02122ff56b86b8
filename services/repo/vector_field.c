#include "services/repo/vector_field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/descriptor.h"
#include "common/reflect/wire.h"

enum { FIELD_NUMBER_MAX = (1 << 29) - 1 };

void vector_field_write(const struct vector_field *field, struct strbuf *out)
{
	for (size_t i = 0; i < field->depth; i++)
		strbuf_addf(out, "%s%u", i ? "." : "", (unsigned)field->numbers[i]);
}

bool vector_field_read(const char *numbers, struct vector_field *ret)
{
	struct vector_field field = {.depth = 0};
	char *end;

	for (const char *at = numbers; field.depth < VECTOR_FIELD_MAX_DEPTH; at = end + 1) {
		const unsigned long number = strtoul(at, &end, 10);

		if (end == at || number < 1 || number > FIELD_NUMBER_MAX)
			return false;
		field.names[field.depth] = "";
		field.numbers[field.depth++] = (uint32_t)number;
		if (!*end) {
			*ret = field;
			return true;
		}
		if (*end != '.')
			return false;
	}
	return false;
}

enum status vector_field_find(const struct pool_message *message, const char *path,
			      struct vector_field *ret, struct error *err)
{
	const struct pool_field *last;

	*ret = (struct vector_field){0};
	for (const char *at = path;; at++) {
		const size_t len = strcspn(at, ".");
		const struct pool_field *f =
			message ? pool_field_by_name(message, at, len) : NULL;

		if (!f)
			return error_set(err, STATUS_INVALID_ARGUMENT,
					 "there is no field \"%.*s\"", (int)len, at);
		if (ret->depth == VECTOR_FIELD_MAX_DEPTH)
			return error_set(err, STATUS_INVALID_ARGUMENT, "more than %d parts",
					 VECTOR_FIELD_MAX_DEPTH);
		ret->names[ret->depth] = f->name;
		ret->numbers[ret->depth++] = (uint32_t)f->number;
		last = f;
		at += len;
		if (!*at)
			break;
		message = f->type == POOL_TYPE_MESSAGE && !f->repeated ? f->type_message : NULL;
	}
	return last->repeated && last->type == POOL_TYPE_FLOAT
		       ? STATUS_OK
		       : error_set(err, STATUS_INVALID_ARGUMENT,
				   "%s is no list of floats (repeated float)", path);
}

static void add_float(struct strbuf *vector, uint32_t bits)
{
	strbuf_add(vector, &bits, sizeof(bits));
}

/* One occurrence of the numbers. False: it is something else, of another wire type. */
static bool take_numbers(const struct wire_field *f, struct strbuf *vector)
{
	if (f->type == WIRE_FIXED32) {
		add_float(vector, (uint32_t)f->value);
		return true;
	}
	if (f->type != WIRE_BYTES)
		return false;
	for (size_t at = 0; at + 4 <= f->data.size; at += 4)
		add_float(vector, wire_load32(f->data.data + at));
	return true;
}

/* As deep as the path: a message in several pieces is one. */
static void take_from(const struct vector_field *field, size_t depth, struct bytes message,
		      struct strbuf *rest, struct strbuf *vector)
{
	const bool is_last = depth + 1 == field->depth;
	struct wire_cursor cursor = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&cursor, &f)) {
		const bool is_it = f.number == field->numbers[depth];

		if (is_it && is_last && take_numbers(&f, vector))
			continue;
		if (is_it && !is_last && f.type == WIRE_BYTES) {
			const size_t mark = wire_open(rest, f.number);

			take_from(field, depth + 1, f.data, rest, vector);
			wire_close(rest, mark);
			continue;
		}
		strbuf_add(rest, f.raw.data, f.raw.size);
	}
}

bool vector_is_finite(const float *vector, size_t dimensions)
{
	for (size_t i = 0; i < dimensions; i++)
		if (!isfinite(vector[i]))
			return false;
	return true;
}

static void write_path(const struct vector_field *field, struct strbuf *out)
{
	for (size_t i = 0; i < field->depth; i++)
		strbuf_addf(out, "%s%s", i ? "." : "", field->names[i]);
}

enum status vector_field_take(const struct vector_field *field, struct bytes proto,
			      struct strbuf *rest, struct strbuf *vector, struct error *err)
{
	AUTO_STRBUF path = STRBUF_INIT;
	const size_t begin = vector->len;
	size_t count;
	float *numbers;

	take_from(field, 0, proto, rest, vector);
	count = (vector->len - begin) / sizeof(float);
	if (!count)
		return STATUS_OK;
	/* The buffer's memory is fit for any type, and only floats are in it. */
	numbers = (float *)(void *)(vector->buf + begin);
	write_path(field, &path);
	if (count != field->dimensions)
		return error_field(err, strbuf_str(&path),
				   "%zu numbers, but vectors of the collection have %zu", count,
				   field->dimensions);
	if (!vector_is_finite(numbers, count))
		return error_field(err, strbuf_str(&path), "a number is infinite or none");
	vector_prepare(field->metric, numbers, count);
	return STATUS_OK;
}
