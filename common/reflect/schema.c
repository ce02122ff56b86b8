#include "common/reflect/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/utf8.h"
#include "common/reflect/comments.h"
#include "common/reflect/pool.h"
#include "common/reflect/schema_types.h"

/* What "$defs" has, or will have. */
struct definition {
	const struct pool_message *message; /* or, NULL: */
	const struct pool_enum *type_enum;
};

struct schema {
	const struct pool *pool;
	struct strbuf *out;
	struct arena arena;
	struct map known; /* full names that definitions has */
	struct definition *definitions;
	size_t count;
	struct map files; /* file name -> struct comments, owned */
};

/* ---------------------------------------------------------- descriptions */

static void free_comments(void *p)
{
	comments_release(p);
	free(p);
}

static const struct comments *comments_of(struct schema *s, const struct pool_file *file)
{
	struct comments *c = map_get(&s->files, file->name);

	if (!c) {
		c = xmalloc(sizeof(*c));
		comments_init(c, file);
		map_put(&s->files, file->name, c);
	}
	return c;
}

/* Lines without the space that follows "//", the last one without its end. */
static void trim(struct strbuf *text)
{
	size_t to = 0;
	bool line_begins = true;

	for (size_t i = 0; i < text->len; i++) {
		if (line_begins && text->buf[i] == ' ') {
			line_begins = false;
			continue;
		}
		line_begins = text->buf[i] == '\n';
		text->buf[to++] = text->buf[i];
	}
	while (to && (text->buf[to - 1] == '\n' || text->buf[to - 1] == ' '))
		to--;
	strbuf_truncate(text, to);
}

/* Where there is a comment: "description":"...", with a comma before it. */
static void put_description(struct schema *s, struct strbuf *comment)
{
	trim(comment);
	if (!comment->len || !utf8_valid(comment->buf, comment->len))
		return;
	strbuf_addstr(s->out, ",\"description\":\"");
	strbuf_add_json_escaped(s->out, comment->buf, comment->len);
	strbuf_addch(s->out, '"');
}

static void describe_field(struct schema *s, const struct pool_field *f)
{
	AUTO_STRBUF comment = STRBUF_INIT;

	comments_add_field(comments_of(s, f->file), f, &comment);
	put_description(s, &comment);
}

/* ---------------------------------------------------------------- types */

static void define(struct schema *s, const char *full_name, struct definition d)
{
	if (map_get(&s->known, full_name))
		return;
	map_put(&s->known, full_name, s);
	s->definitions = xreallocarray(s->definitions, s->count + 1, sizeof(*s->definitions));
	s->definitions[s->count++] = d;
}

static void put_reference(struct schema *s, const char *full_name)
{
	strbuf_addf(s->out, "\"$ref\":\"#/$defs/%s\"", full_name);
}

/* The members of a schema of one value of @f, without braces. */
static void put_value(struct schema *s, const struct pool_field *f)
{
	if (f->type_message) {
		define(s, f->type_message->full_name,
		       (struct definition){f->type_message, NULL});
		put_reference(s, f->type_message->full_name);
	} else if (f->type_enum) {
		define(s, f->type_enum->full_name, (struct definition){NULL, f->type_enum});
		put_reference(s, f->type_enum->full_name);
	} else {
		strbuf_addstr(s->out, schema_of_scalar(f->type));
	}
}

static void put_map(struct schema *s, const struct pool_field *f)
{
	const struct pool_message *entry = f->type_message;

	strbuf_addf(s->out, "\"type\":\"object\",%s\"additionalProperties\":{",
		    schema_of_key(entry->fields[0].type));
	put_value(s, &entry->fields[1]);
	strbuf_addch(s->out, '}');
}

static void put_property(struct schema *s, const struct pool_field *f, bool first)
{
	strbuf_addstr(s->out, first ? "\"" : ",\"");
	strbuf_add_json_escaped(s->out, f->json_name, f->json_name_len);
	strbuf_addstr(s->out, "\":{");
	if (f->is_map) {
		put_map(s, f);
	} else if (f->repeated) {
		strbuf_addstr(s->out, "\"type\":\"array\",\"items\":{");
		put_value(s, f);
		strbuf_addch(s->out, '}');
	} else {
		put_value(s, f);
	}
	describe_field(s, f);
	strbuf_addch(s->out, '}');
}

/* ------------------------------------------------------------- messages */

static void put_properties(struct schema *s, const struct pool_message *m)
{
	size_t extension_count;
	const uint32_t *extensions =
		pool_extension_numbers(s->pool, m, &s->arena, &extension_count);

	strbuf_addstr(s->out, ",\"properties\":{");
	for (uint32_t i = 0; i < m->field_count; i++)
		put_property(s, &m->fields[i], i == 0);
	for (size_t i = 0; i < extension_count; i++)
		put_property(s, pool_field_by_number(s->pool, m, extensions[i]),
			     m->field_count + i == 0);
	strbuf_addstr(s->out, "},\"additionalProperties\":false");
}

static void put_required(struct schema *s, const struct pool_message *m)
{
	const char *separator = ",\"required\":[";

	if (!m->has_required)
		return;
	for (uint32_t i = 0; i < m->field_count; i++) {
		const struct pool_field *f = &m->fields[i];

		if (!f->required)
			continue;
		strbuf_addf(s->out, "%s\"", separator);
		strbuf_add_json_escaped(s->out, f->json_name, f->json_name_len);
		strbuf_addch(s->out, '"');
		separator = ",";
	}
	strbuf_addch(s->out, ']');
}

/* {"required":["a"]},{"required":["b"]}: one of which must hold. */
static void put_members(struct schema *s, const struct pool_oneof *o)
{
	for (uint32_t i = 0; i < o->field_count; i++) {
		strbuf_addf(s->out, "%s{\"required\":[\"", i ? "," : "");
		strbuf_add_json_escaped(s->out, o->fields[i]->json_name,
					o->fields[i]->json_name_len);
		strbuf_addstr(s->out, "\"]}");
	}
}

/* Exactly one member is there, or none. */
static void put_oneofs(struct schema *s, const struct pool_message *m)
{
	const char *separator = ",\"allOf\":[";

	for (uint32_t i = 0; i < m->oneof_count; i++) {
		const struct pool_oneof *o = &m->oneofs[i];

		if (o->synthetic || o->field_count < 2)
			continue;
		strbuf_addf(s->out, "%s{\"oneOf\":[", separator);
		put_members(s, o);
		strbuf_addstr(s->out, ",{\"not\":{\"anyOf\":[");
		put_members(s, o);
		strbuf_addstr(s->out, "]}}]}");
		separator = ",";
	}
	if (*separator == ',' && !separator[1])
		strbuf_addch(s->out, ']');
}

static void put_message(struct schema *s, const struct pool_message *m)
{
	AUTO_STRBUF comment = STRBUF_INIT;
	const char *form = schema_of_known(m);

	strbuf_addf(s->out, "\"title\":\"%s\"", m->full_name);
	comments_add_message(comments_of(s, m->file), m, &comment);
	put_description(s, &comment);
	if (form) {
		strbuf_addf(s->out, "%s%s", *form ? "," : "", form);
		return;
	}
	strbuf_addstr(s->out, ",\"type\":\"object\"");
	put_properties(s, m);
	put_required(s, m);
	put_oneofs(s, m);
}

/* ---------------------------------------------------------------- enums */

static void put_values(struct schema *s, const struct pool_enum *e)
{
	for (uint32_t i = 0; i < e->value_count; i++) {
		AUTO_STRBUF comment = STRBUF_INIT;

		strbuf_addf(s->out, "%s{\"const\":\"%s\"", i ? "," : "", e->values[i].name);
		comments_add_value(comments_of(s, e->file), e, i, &comment);
		put_description(s, &comment);
		strbuf_addch(s->out, '}');
	}
}

static void put_numbers(struct schema *s, const struct pool_enum *e)
{
	if (!e->closed) {
		strbuf_addf(s->out, "{%s}", schema_of_scalar(POOL_TYPE_INT32));
		return;
	}
	strbuf_addstr(s->out, "{\"enum\":[");
	for (uint32_t i = 0; i < e->value_count; i++) {
		const int32_t number = e->values[e->by_number[i]].number;

		/* An item must be unique, an alias is none. */
		if (!i || number != e->values[e->by_number[i - 1]].number)
			strbuf_addf(s->out, "%s%d", i ? "," : "", number);
	}
	strbuf_addstr(s->out, "]}");
}

static void put_enum(struct schema *s, const struct pool_enum *e)
{
	AUTO_STRBUF comment = STRBUF_INIT;

	strbuf_addf(s->out, "\"title\":\"%s\"", e->full_name);
	comments_add_enum(comments_of(s, e->file), e, &comment);
	put_description(s, &comment);
	if (e->is_null) {
		strbuf_addstr(s->out, ",\"type\":\"null\"");
		return;
	}
	strbuf_addstr(s->out, ",\"anyOf\":[");
	put_values(s, e);
	strbuf_addch(s->out, ',');
	put_numbers(s, e);
	strbuf_addch(s->out, ']');
}

/* ---------------------------------------------------------------- whole */

static void put_definition(struct schema *s, struct definition d)
{
	strbuf_addf(s->out, "\"%s\":{",
		    d.message ? d.message->full_name : d.type_enum->full_name);
	if (d.message)
		put_message(s, d.message);
	else
		put_enum(s, d.type_enum);
	strbuf_addch(s->out, '}');
}

static void schema_release(struct schema *s)
{
	map_release(&s->known, NULL);
	map_release(&s->files, free_comments);
	free(s->definitions);
	arena_release(&s->arena);
}

enum status schema_json(const struct pool *pool, const struct pool_message *m,
			struct strbuf *out, struct error *err)
{
	struct schema s = {.pool = pool, .out = out};
	const size_t start = out->len;
	enum status status = STATUS_OK;

	arena_init(&s.arena, 0);
	strbuf_addstr(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",");
	define(&s, m->full_name, (struct definition){m, NULL});
	put_reference(&s, m->full_name);
	strbuf_addstr(out, ",\"$defs\":{");
	/* Writing one may add others at the end. */
	for (size_t i = 0; i < s.count && status == STATUS_OK; i++) {
		if (i)
			strbuf_addch(out, ',');
		put_definition(&s, s.definitions[i]);
		if (out->len - start > SCHEMA_MAX_BYTES)
			status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
					   "the schema of %s has more than %d bytes",
					   m->full_name, SCHEMA_MAX_BYTES);
	}
	strbuf_addstr(out, "}}");
	if (status != STATUS_OK)
		strbuf_truncate(out, start);
	schema_release(&s);
	return status;
}
