#include "common/reflect/json_in.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/json_lex.h"
#include "common/reflect/json_reader.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

enum { SEEN_WORDS = 4 };

/* ------------------------------------------------------------------- errors */

static void put_path(const struct json_reader *r, struct strbuf *out)
{
	for (size_t i = 0; i < r->frame_count; i++) {
		const struct json_frame *f = &r->frames[i];
		if (f->field)
			strbuf_addf(out, "%s%s", out->len ? "." : "", f->field->json_name);
		else if (f->index >= 0)
			strbuf_addf(out, "[%ld]", f->index);
		else
			strbuf_addf(out, "[%.*s]", (int)f->key_len, f->key);
	}
}

bool json_read_fail(struct json_reader *r, const char *fmt, ...)
{
	AUTO_STRBUF path = STRBUF_INIT;
	AUTO_STRBUF why = STRBUF_INIT;
	va_list args;

	va_start(args, fmt);
	strbuf_vaddf(&why, fmt, args);
	va_end(args);
	put_path(r, &path);
	(void)error_field(r->err, strbuf_str(&path), "line %zu%s%s: %s", json_lex_line(&r->lex),
			  path.len ? ", " : "", strbuf_str(&path), why.buf);
	return false;
}

/* What the reader of tokens found wrong. */
bool json_read_malformed(struct json_reader *r)
{
	return json_read_fail(r, "%s", r->lex.problem ? r->lex.problem : "not JSON");
}

static bool push(struct json_reader *r, struct json_frame f)
{
	if (r->frame_count == JSON_MAX_FRAMES)
		return json_read_fail(r, "nested too deep");
	r->frames[r->frame_count++] = f;
	return true;
}

static void pop(struct json_reader *r)
{
	r->frame_count--;
}

bool json_read_deeper(struct json_reader *r)
{
	if (r->depth > WIRE_MAX_DEPTH)
		return json_read_fail(r, "nested more than %d deep", WIRE_MAX_DEPTH);
	r->depth++;
	return true;
}

bool json_read_skip(struct json_reader *r)
{
	return json_lex_skip(&r->lex, JSON_MAX_FRAMES - 2 * r->depth) || json_read_malformed(r);
}

static enum json_outcome read_text(struct json_reader *r, const struct pool_field *f,
				   bool skip_default)
{
	struct bytes text;

	if (!json_lex_string(&r->lex, &text))
		return json_read_malformed(r), JSON_FAILED;
	if (!text.size && skip_default)
		return JSON_WRITTEN;
	if (f->type == POOL_TYPE_STRING) {
		wire_add_bytes(r->out, f->number, text);
		return JSON_WRITTEN;
	}
	size_t mark = wire_open(r->out, f->number);
	if (!json_put_base64(r, text))
		return JSON_FAILED;
	wire_close(r->out, mark);
	return JSON_WRITTEN;
}

enum json_outcome json_read_submessage(struct json_reader *r, const struct pool_field *f)
{
	size_t mark;

	if (f->type == POOL_TYPE_GROUP) {
		wire_add_tag(r->out, f->number, WIRE_GROUP_START);
		if (!json_read_message(r, f->type_message))
			return JSON_FAILED;
		wire_add_tag(r->out, f->number, WIRE_GROUP_END);
		return JSON_WRITTEN;
	}
	mark = wire_open(r->out, f->number);
	if (!json_read_message(r, f->type_message))
		return JSON_FAILED;
	wire_close(r->out, mark);
	return JSON_WRITTEN;
}

/* One value with its tag; @skip_default: nothing is written for the default. */
enum json_outcome json_read_value(struct json_reader *r, const struct pool_field *f,
				  bool skip_default)
{
	uint64_t value = 0;
	enum json_outcome outcome;

	if (f->type_message)
		return json_read_submessage(r, f);
	if (f->type == POOL_TYPE_STRING || f->type == POOL_TYPE_BYTES)
		return read_text(r, f, skip_default);
	outcome = json_read_numeric(r, f, &value);
	if (outcome != JSON_WRITTEN || (skip_default && !value))
		return outcome;
	wire_add_tag(r->out, f->number, f->wire_type);
	json_put_numeric(r->out, f, value);
	return JSON_WRITTEN;
}

/* --------------------------------------------------------------- lists, maps */

static bool takes_null(const struct pool_field *f)
{
	return (f->type_message && f->type_message->well_known == POOL_WELL_KNOWN_VALUE) ||
	       (f->type_enum && f->type_enum->is_null);
}

static bool refuse_null(struct json_reader *r, const struct pool_field *f)
{
	return json_lex_peek(&r->lex) != 'n' || takes_null(f) ||
	       json_read_fail(r, "null is no value here");
}

static bool read_packed_element(struct json_reader *r, const struct pool_field *f)
{
	uint64_t value = 0;
	enum json_outcome outcome = json_read_numeric(r, f, &value);

	if (outcome == JSON_WRITTEN)
		json_put_numeric(r->out, f, value);
	return outcome != JSON_FAILED;
}

static bool read_elements(struct json_reader *r, const struct pool_field *f)
{
	for (long i = 0;; i++) {
		r->frames[r->frame_count - 1].index = i;
		if (!refuse_null(r, f))
			return false;
		if (f->packed ? !read_packed_element(r, f)
			      : json_read_value(r, f, false) == JSON_FAILED)
			return false;
		if (json_lex_accept(&r->lex, ']'))
			return true;
		if (!json_lex_accept(&r->lex, ','))
			return json_read_fail(r, "',' or ']' is expected");
	}
}

bool json_read_list(struct json_reader *r, const struct pool_field *f)
{
	size_t before = r->out->len, mark = 0, content;
	bool done;

	if (!json_lex_expect(&r->lex, '['))
		return json_read_malformed(r);
	if (json_lex_accept(&r->lex, ']'))
		return true;
	if (!push(r, (struct json_frame){.index = 0}))
		return false;
	if (f->packed)
		mark = wire_open(r->out, f->number);
	content = r->out->len;
	done = read_elements(r, f);
	if (done)
		pop(r);
	if (done && f->packed && r->out->len == content)
		strbuf_truncate(r->out, before); /* every element was dropped */
	else if (done && f->packed)
		wire_close(r->out, mark);
	return done;
}

static bool read_key(struct json_reader *r, const struct pool_field *key, struct bytes text)
{
	uint64_t value;

	if (key->type == POOL_TYPE_STRING) {
		wire_add_bytes(r->out, key->number, text);
		return true;
	}
	if (key->type == POOL_TYPE_BOOL) {
		value = bytes_equal(text, bytes_of_string("true"));
		if (!value && !bytes_equal(text, bytes_of_string("false")))
			return json_read_fail(r, "the key is neither \"true\" nor \"false\"");
	} else if (!json_read_integer_text(r, key, text, &value)) {
		return false;
	}
	wire_add_tag(r->out, key->number, key->wire_type);
	json_put_numeric(r->out, key, value);
	return true;
}

static bool read_entry(struct json_reader *r, const struct pool_field *f)
{
	const struct pool_field *key = pool_declared_field(f->type_message, 1);
	const struct pool_field *value = pool_declared_field(f->type_message, 2);
	struct json_frame *frame = &r->frames[r->frame_count - 1];
	size_t before = r->out->len, mark;
	enum json_outcome outcome;
	struct bytes text;

	(void)json_lex_peek(&r->lex);
	frame->key = r->lex.at;
	if (!json_lex_string(&r->lex, &text))
		return json_read_malformed(r);
	frame->key_len = (size_t)(r->lex.at - frame->key);
	mark = wire_open(r->out, f->number);
	if (!read_key(r, key, text))
		return false;
	if (!json_lex_expect(&r->lex, ':'))
		return json_read_malformed(r);
	if (!refuse_null(r, value))
		return false;
	outcome = json_read_value(r, value, false);
	if (outcome == JSON_DROPPED)
		strbuf_truncate(r->out, before);
	else if (outcome == JSON_WRITTEN)
		wire_close(r->out, mark);
	return outcome != JSON_FAILED;
}

bool json_read_map(struct json_reader *r, const struct pool_field *f)
{
	if (!json_lex_expect(&r->lex, '{'))
		return json_read_malformed(r);
	if (json_lex_accept(&r->lex, '}'))
		return true;
	/* Entries are messages, too. */
	if (!push(r, (struct json_frame){.index = -1}) || !json_read_deeper(r))
		return false;
	do {
		if (!read_entry(r, f))
			return false;
	} while (json_lex_accept(&r->lex, ','));
	r->depth--;
	pop(r);
	return json_lex_accept(&r->lex, '}') || json_read_fail(r, "',' or '}' is expected");
}

/* ------------------------------------------------------------------- fields */

/* Which fields and oneofs of a message were there already. */
struct seen {
	uint64_t small_fields[SEEN_WORDS], small_oneofs[SEEN_WORDS];
	uint64_t *fields, *oneofs;
	const struct pool_field **extensions;
	size_t extension_count;
	void *owned[2];
	uint32_t next; /* the index after that of the latest field */
};

static uint64_t *bits_for(uint64_t small[SEEN_WORDS], uint32_t count, void **ret_owned)
{
	if (count <= SEEN_WORDS * 64)
		return small;
	return *ret_owned = xcalloc(count / 64 + 1, sizeof(uint64_t));
}

static void seen_init(struct seen *s, const struct pool_message *m)
{
	memset(s, 0, sizeof(*s));
	s->fields = bits_for(s->small_fields, m->field_count, &s->owned[0]);
	s->oneofs = bits_for(s->small_oneofs, m->oneof_count, &s->owned[1]);
}

static void seen_release(struct seen *s)
{
	free(s->owned[0]);
	free(s->owned[1]);
	free(s->extensions);
}

static bool test_and_set(uint64_t *bits, uint32_t i)
{
	uint64_t bit = 1ull << (i % 64);
	bool was = bits[i / 64] & bit;

	bits[i / 64] |= bit;
	return was;
}

static bool extension_is_new(struct seen *s, const struct pool_field *f)
{
	for (size_t i = 0; i < s->extension_count; i++)
		if (s->extensions[i] == f)
			return false;
	s->extensions =
		xreallocarray(s->extensions, s->extension_count + 1, sizeof(*s->extensions));
	s->extensions[s->extension_count++] = f;
	return true;
}

/*
 * Most texts have fields in the order of their numbers: @guess is the one after
 * the latest.
 */
static const struct pool_field *find_field(const struct json_reader *r,
					   const struct pool_message *m, struct bytes name,
					   uint32_t guess)
{
	const char *text = (const char *)name.data;
	const struct pool_field *f;

	if (guess < m->field_count) {
		f = &m->fields[guess];
		if (name.size == f->json_name_len && !memcmp(text, f->json_name, name.size))
			return f;
	}
	if (name.size > 2 && text[0] == '[' && text[name.size - 1] == ']') {
		f = pool_extension(r->pool, text + 1, name.size - 2);
		return f && f->message == m ? f : NULL;
	}
	return pool_field_by_name(m, text, name.size);
}

static bool read_field(struct json_reader *r, const struct pool_field *f, struct seen *s)
{
	if (f->is_extension ? !extension_is_new(s, f) : test_and_set(s->fields, f->index))
		return json_read_fail(r, "the field is there twice");
	if (json_lex_peek(&r->lex) == 'n' && (f->repeated || !takes_null(f)))
		return json_lex_literal(&r->lex, "null") || json_read_malformed(r);
	if (f->oneof >= 0 && test_and_set(s->oneofs, (uint32_t)f->oneof))
		return json_read_fail(r, "another field of the oneof %s is there",
				      f->message->oneofs[f->oneof].name);
	if (f->is_map)
		return json_read_map(r, f);
	if (f->repeated)
		return json_read_list(r, f);
	return json_read_value(r, f, !f->has_presence) != JSON_FAILED;
}

static bool read_member(struct json_reader *r, const struct pool_message *m, struct seen *s,
			bool in_any)
{
	const struct pool_field *f;
	struct bytes name;
	bool is_type, done;

	if (!json_lex_string(&r->lex, &name))
		return json_read_malformed(r);
	f = find_field(r, m, name, s->next);
	is_type = in_any && bytes_equal(name, bytes_of_string("@type"));
	if (!f && !is_type && !(r->flags & JSON_IN_IGNORE_UNKNOWN))
		return json_read_fail(r, "%s has no field \"%.*s\"", m->full_name,
				      (int)(name.size < 100 ? name.size : 100),
				      (const char *)name.data);
	if (!json_lex_expect(&r->lex, ':'))
		return json_read_malformed(r);
	if (!f)
		return json_read_skip(r);
	if (!push(r, (struct json_frame){.field = f}))
		return false;
	if (!f->is_extension)
		s->next = f->index + 1;
	done = read_field(r, f, s);
	if (done)
		pop(r);
	return done;
}

/* After the '{'. @in_any: "@type" is not a field. */
bool json_read_fields(struct json_reader *r, const struct pool_message *m, bool in_any)
{
	struct seen s;
	bool done = true;

	if (json_lex_accept(&r->lex, '}'))
		return true;
	seen_init(&s, m);
	do {
		done = read_member(r, m, &s, in_any);
	} while (done && json_lex_accept(&r->lex, ','));
	seen_release(&s);
	if (!done)
		return false;
	return json_lex_accept(&r->lex, '}') || json_read_fail(r, "',' or '}' is expected");
}

/* ------------------------------------------------------------------- messages */

static bool read_object(struct json_reader *r, const struct pool_message *m)
{
	if (!json_lex_accept(&r->lex, '{'))
		return json_read_fail(r, "an object is expected for %s", m->full_name);
	return json_read_fields(r, m, false);
}

static bool read_content(struct json_reader *r, const struct pool_message *m)
{
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_TIMESTAMP:
	case POOL_WELL_KNOWN_DURATION:
		return json_read_time(r, m);
	case POOL_WELL_KNOWN_FIELD_MASK:
		return json_read_field_mask(r);
	case POOL_WELL_KNOWN_WRAPPER:
		return json_read_wrapper(r, m);
	case POOL_WELL_KNOWN_STRUCT:
		return json_read_map(r, pool_declared_field(m, 1));
	case POOL_WELL_KNOWN_LIST_VALUE:
		return json_read_list(r, pool_declared_field(m, 1));
	case POOL_WELL_KNOWN_VALUE:
		return json_read_dynamic(r, m);
	case POOL_WELL_KNOWN_ANY:
		return json_read_any(r);
	case POOL_WELL_KNOWN_NONE:
	case POOL_WELL_KNOWN_EMPTY:
		break;
	}
	return read_object(r, m);
}

bool json_read_message(struct json_reader *r, const struct pool_message *m)
{
	bool done;

	if (!json_read_deeper(r))
		return false;
	done = read_content(r, m);
	r->depth--;
	return done;
}

enum status json_to_wire(const struct pool *pool, const struct pool_message *m,
			 const char *text, size_t len, unsigned flags, struct strbuf *out,
			 struct error *err)
{
	struct json_reader r = {.lex = {.begin = text, .at = text, .end = text + len},
				.pool = pool,
				.out = out,
				.err = err,
				.flags = flags};
	size_t before = out->len;
	bool done;

	if (len > JSON_IN_MAX_BYTES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "JSON text of more than %d bytes", JSON_IN_MAX_BYTES);
	done = json_read_message(&r, m);
	if (done && json_lex_peek(&r.lex) >= 0)
		done = json_read_fail(&r, "something follows the message");
	strbuf_release(&r.lex.unescaped);
	if (done)
		return STATUS_OK;
	strbuf_truncate(out, before);
	return STATUS_INVALID_ARGUMENT;
}
