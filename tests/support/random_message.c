#include "tests/support/random_message.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/wire.h"

enum { MAX_DEPTH = 5, MAX_ELEMENTS = 4, DAY_SECONDS = 86400 };

struct generator {
	uint64_t *seed;
	struct strbuf *out;
	int depth;
};

/* splitmix64 */
static uint64_t draw(struct generator *g)
{
	uint64_t z = *g->seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(struct generator *g, uint32_t n)
{
	return (uint32_t)(draw(g) % n);
}

static void put_message(struct generator *g, const struct pool_message *m);

static void put_text(struct generator *g)
{
	static const char *const pieces[] = {
		"a",  "Z9", "\"", "\\", "\n", "\x01", " ", "\xc3\xa9", "\xf0\x9f\x98\x80",
		"</", "",   "{}"};

	for (uint32_t i = below(g, 5); i > 0; i--)
		strbuf_addstr(g->out, pieces[below(g, sizeof(pieces) / sizeof(*pieces))]);
}

static uint64_t draw_real(struct generator *g, bool is_float)
{
	static const double some[] = {0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 123456.789, 1e-7, 3e38};
	const uint32_t i = below(g, 12);
	uint64_t bits = draw(g);
	double d;
	float f;

	if (i < sizeof(some) / sizeof(*some)) {
		d = some[i];
		memcpy(&bits, &d, sizeof(bits));
	}
	if (!is_float)
		return bits;
	memcpy(&d, &bits, sizeof(d));
	f = (float)(d > 3e38 || d < -3e38 ? 1.0 : d);
	uint32_t low;
	memcpy(&low, &f, sizeof(low));
	return low;
}

static uint64_t draw_number(struct generator *g, const struct pool_field *f)
{
	const uint64_t small = draw(g) % 300, any = draw(g) >> below(g, 64);

	switch (f->type) {
	case POOL_TYPE_DOUBLE:
	case POOL_TYPE_FLOAT:
		return draw_real(g, f->type == POOL_TYPE_FLOAT);
	case POOL_TYPE_BOOL:
		return any & 1;
	case POOL_TYPE_ENUM:
		if (f->type_enum->closed || f->type_enum->is_null || small % 4)
			return (uint64_t)(int64_t)f->type_enum
				->values[below(g, f->type_enum->is_null
							  ? 1
							  : f->type_enum->value_count)]
				.number;
		return (uint64_t)(int64_t)(int32_t)any;
	default:
		return small % 3 ? small : any;
	}
}

static void put_number(struct generator *g, const struct pool_field *f)
{
	const uint64_t value = draw_number(g, f);

	if (f->wire_type == WIRE_FIXED64)
		wire_add_fixed64(g->out, value);
	else if (f->wire_type == WIRE_FIXED32)
		wire_add_fixed32(g->out, (uint32_t)value);
	else
		wire_add_varint(g->out, value);
}

/* Tag and value. */
static void put_value(struct generator *g, const struct pool_field *f)
{
	if (f->type == POOL_TYPE_GROUP) {
		wire_add_tag(g->out, f->number, WIRE_GROUP_START);
		put_message(g, f->type_message);
		wire_add_tag(g->out, f->number, WIRE_GROUP_END);
	} else if (f->wire_type == WIRE_BYTES) {
		const size_t mark = wire_open(g->out, f->number);

		if (f->type_message)
			put_message(g, f->type_message);
		else
			put_text(g);
		wire_close(g->out, mark);
	} else {
		wire_add_tag(g->out, f->number, f->wire_type);
		put_number(g, f);
	}
}

static void put_field(struct generator *g, const struct pool_field *f)
{
	uint32_t count = f->repeated ? below(g, MAX_ELEMENTS) : 1;

	for (; count; count--)
		put_value(g, f);
}

static bool is_wanted(struct generator *g, const struct pool_field *f, uint32_t percent)
{
	if (f->required)
		return true;
	return (!f->type_message || g->depth < MAX_DEPTH) && below(g, 100) < percent;
}

static void put_fields(struct generator *g, const struct pool_message *m)
{
	const uint32_t percent = below(g, 100);

	for (uint32_t i = 0; i < m->field_count; i++) {
		const struct pool_field *f = &m->fields[i];

		if (m->is_map_entry || is_wanted(g, f, percent))
			put_field(g, f);
	}
}

/* ------------------------------------- messages with a JSON form of their own */

static void put_time(struct generator *g, bool is_duration)
{
	const int64_t days = (int64_t)below(g, 40000);

	wire_add_uint(g->out, 1, (uint64_t)(days * DAY_SECONDS + below(g, DAY_SECONDS)));
	if (!is_duration || days)
		wire_add_uint(g->out, 2,
			      below(g, 3) ? below(g, 1000) * 1000000 : below(g, 999999999));
}

static void put_any(struct generator *g)
{
	const size_t mark = wire_open(g->out, 1);
	size_t content;

	strbuf_addstr(g->out, "type.googleapis.com/google.protobuf.Duration");
	wire_close(g->out, mark);
	content = wire_open(g->out, 2);
	put_time(g, true);
	wire_close(g->out, content);
}

/* A Value has one kind, and its number is finite. */
static void put_dynamic(struct generator *g, const struct pool_message *m)
{
	const uint32_t kind = below(g, g->depth < MAX_DEPTH ? 6 : 4);
	const double number = (double)below(g, 1000) / 8;
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	if (m->fields[kind].type == POOL_TYPE_DOUBLE) {
		wire_add_tag(g->out, m->fields[kind].number, WIRE_FIXED64);
		wire_add_fixed64(g->out, bits);
	} else {
		put_value(g, &m->fields[kind]);
	}
}

static void put_message(struct generator *g, const struct pool_message *m)
{
	g->depth++;
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_TIMESTAMP:
	case POOL_WELL_KNOWN_DURATION:
		put_time(g, m->well_known == POOL_WELL_KNOWN_DURATION);
		break;
	case POOL_WELL_KNOWN_ANY:
		put_any(g);
		break;
	case POOL_WELL_KNOWN_FIELD_MASK:
		wire_add_string(g->out, 1, "some_path.of_it");
		wire_add_string(g->out, 1, "another");
		break;
	case POOL_WELL_KNOWN_VALUE:
		put_dynamic(g, m);
		break;
	case POOL_WELL_KNOWN_NONE:
	case POOL_WELL_KNOWN_STRUCT:
	case POOL_WELL_KNOWN_LIST_VALUE:
	case POOL_WELL_KNOWN_EMPTY:
	case POOL_WELL_KNOWN_WRAPPER:
		put_fields(g, m);
		break;
	}
	g->depth--;
}

void random_message(const struct pool_message *m, uint64_t *seed, struct strbuf *out)
{
	struct generator g = {seed, out, 0};

	put_message(&g, m);
}
