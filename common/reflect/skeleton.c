/* An instance of a message to start from. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/reflect/descriptor.h"
#include "common/reflect/schema.h"

enum {
	USUAL_DEPTH = 6,        /* messages deeper than this are left out, */
	MAX_DEPTH = 32,         /* required ones than this */
	USUAL_BYTES = 64 << 10, /* so are those after so much */
};

struct skeleton {
	struct strbuf *out;
	size_t start;
	const struct pool_message *open[MAX_DEPTH]; /* the messages around this place */
	int depth;
	bool is_whole;
};

static void put_message(struct skeleton *s, const struct pool_message *m);

static const char *known_value(const struct pool_message *m)
{
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_TIMESTAMP:
		return "\"1970-01-01T00:00:00Z\"";
	case POOL_WELL_KNOWN_DURATION:
		return "\"0s\"";
	case POOL_WELL_KNOWN_FIELD_MASK:
		return "\"\"";
	case POOL_WELL_KNOWN_VALUE:
		return "null";
	case POOL_WELL_KNOWN_LIST_VALUE:
		return "[]";
	case POOL_WELL_KNOWN_ANY:
	case POOL_WELL_KNOWN_STRUCT:
	case POOL_WELL_KNOWN_EMPTY:
		return "{}";
	case POOL_WELL_KNOWN_NONE:
	case POOL_WELL_KNOWN_WRAPPER:
		break;
	}
	return NULL;
}

static const char *scalar_value(uint8_t type)
{
	switch ((enum pool_type)type) {
	case POOL_TYPE_INT64:
	case POOL_TYPE_UINT64:
	case POOL_TYPE_SINT64:
	case POOL_TYPE_FIXED64:
	case POOL_TYPE_SFIXED64:
		return "\"0\"";
	case POOL_TYPE_BOOL:
		return "false";
	case POOL_TYPE_STRING:
	case POOL_TYPE_BYTES:
		return "\"\"";
	case POOL_TYPE_DOUBLE:
	case POOL_TYPE_FLOAT:
	case POOL_TYPE_INT32:
	case POOL_TYPE_UINT32:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_FIXED32:
	case POOL_TYPE_SFIXED32:
	case POOL_TYPE_ENUM:
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		break;
	}
	return "0";
}

static void put_value(struct skeleton *s, const struct pool_field *f)
{
	if (f->type_message)
		put_message(s, f->type_message);
	else if (!f->type_enum)
		strbuf_addstr(s->out, scalar_value(f->type));
	else if (f->type_enum->is_null)
		strbuf_addstr(s->out, "null");
	else
		strbuf_addf(s->out, "\"%s\"", f->type_enum->values[0].name);
}

static const char *key_value(uint8_t type)
{
	return type == POOL_TYPE_BOOL ? "false" : type == POOL_TYPE_STRING ? "key" : "0";
}

static bool is_open(const struct skeleton *s, const struct pool_message *m)
{
	for (int i = 0; i < s->depth; i++)
		if (s->open[i] == m)
			return true;
	return false;
}

static const struct pool_message *message_in(const struct pool_field *f)
{
	return f->is_map ? f->type_message->fields[1].type_message : f->type_message;
}

static bool has_room(const struct skeleton *s, const struct pool_field *f)
{
	const struct pool_message *inner = message_in(f);

	if (f->required || !inner || known_value(inner))
		return true;
	return !is_open(s, inner) && s->depth < USUAL_DEPTH &&
	       s->out->len - s->start < USUAL_BYTES;
}

/* Of a oneof the first member that there is room for. */
static bool is_wanted(const struct skeleton *s, const struct pool_field *f)
{
	const struct pool_oneof *o = f->oneof < 0 ? NULL : &f->message->oneofs[f->oneof];

	for (uint32_t i = 0; o && o->fields[i] != f; i++)
		if (has_room(s, o->fields[i]))
			return false;
	return has_room(s, f);
}

static void put_field(struct skeleton *s, const struct pool_field *f)
{
	strbuf_addch(s->out, '"');
	strbuf_add_json_escaped(s->out, f->json_name, f->json_name_len);
	strbuf_addstr(s->out, "\":");
	if (f->is_map) {
		strbuf_addf(s->out, "{\"%s\":", key_value(f->type_message->fields[0].type));
		put_value(s, &f->type_message->fields[1]);
		strbuf_addch(s->out, '}');
	} else if (f->repeated) {
		strbuf_addch(s->out, '[');
		put_value(s, f);
		strbuf_addch(s->out, ']');
	} else {
		put_value(s, f);
	}
}

static void put_fields(struct skeleton *s, const struct pool_message *m)
{
	const char *separator = "";

	s->open[s->depth++] = m;
	for (uint32_t i = 0; i < m->field_count; i++) {
		if (!is_wanted(s, &m->fields[i]))
			continue;
		strbuf_addstr(s->out, separator);
		put_field(s, &m->fields[i]);
		separator = ",";
	}
	s->depth--;
}

static void put_message(struct skeleton *s, const struct pool_message *m)
{
	const char *known = known_value(m);

	if (known) {
		strbuf_addstr(s->out, known);
		return;
	}
	if (m->well_known == POOL_WELL_KNOWN_WRAPPER) {
		put_value(s, &m->fields[0]);
		return;
	}
	strbuf_addch(s->out, '{');
	if (s->depth < MAX_DEPTH && s->out->len - s->start < SKELETON_MAX_BYTES)
		put_fields(s, m);
	else
		s->is_whole &= !m->has_required;
	strbuf_addch(s->out, '}');
}

enum status schema_skeleton(const struct pool_message *m, struct strbuf *out, struct error *err)
{
	struct skeleton s = {.out = out, .start = out->len, .is_whole = true};

	put_message(&s, m);
	if (s.is_whole && out->len - s.start <= SKELETON_MAX_BYTES)
		return STATUS_OK;
	strbuf_truncate(out, s.start);
	return error_set(err, STATUS_RESOURCE_EXHAUSTED,
			 "%s must have more than %d bytes, or messages %d deep", m->full_name,
			 SKELETON_MAX_BYTES, MAX_DEPTH);
}
