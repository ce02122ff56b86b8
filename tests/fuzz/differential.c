/*
 * This library against libprotobuf's C++: the same bytes accepted or refused, the
 * same message, the same JSON; and the same from JSON. The first byte is the
 * type, the second tells wire from JSON.
 */
#define _GNU_SOURCE /* memmem */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/status.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/protobuf_cpp.h"

static struct error err;

struct type {
	const char *name;
	bool has_json; /* groups, extensions and message sets are nothing to C++'s JSON */
	const struct pool_message *ours;
	struct cpp_message *theirs;
};

static struct type *choose_type(uint8_t choice)
{
	static struct type types[] = {
		{.name = "types.v3.Tree", .has_json = true},
		{.name = "types.v3.Scalars", .has_json = true},
		{.name = "types.v3.Presence", .has_json = true},
		{.name = "types.v3.Lists", .has_json = true},
		{.name = "types.v3.Maps", .has_json = true},
		{.name = "types.v3.WellKnown", .has_json = true},
		{.name = "types.v3.Order", .has_json = true},
		{.name = "types.v2.Closed", .has_json = true},
		{.name = "types.v2.Required"},
		{.name = "types.v2.Groups"},
		{.name = "types.v2.Extended"},
	};
	struct type *t = &types[choice % (sizeof(types) / sizeof(*types))];

	if (!t->ours) {
		t->ours = pool_message(fuzz_pool(), t->name, strlen(t->name));
		t->theirs = cpp_message_new(t->name);
		FUZZ_CHECK(t->ours && t->theirs, NULL, NULL);
	}
	return t;
}

/* ------------------------------------------------------------- messages */

struct occurrence {
	struct wire_field field;
	size_t order;
	bool is_unknown_value; /* of a closed enum: those of a list are in no certain order */
};

static int compare_occurrences(const void *a, const void *b)
{
	const struct occurrence *x = a, *y = b;

	if (x->field.number != y->field.number)
		return x->field.number < y->field.number ? -1 : 1;
	if (x->is_unknown_value != y->is_unknown_value)
		return x->is_unknown_value ? 1 : -1;
	if (x->is_unknown_value && x->field.value != y->field.value)
		return x->field.value < y->field.value ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void add_sorted(const struct pool_message *m, struct bytes message, struct strbuf *out);

/*
 * Has a map's entry a value that its closed enum lacks? Such an entry is unknown: we
 * keep its bytes, C++ writes it anew, without what was wrong in its key.
 */
static bool is_unknown_entry(const struct pool_field *known, struct bytes entry,
			     uint64_t *ret_value)
{
	const struct pool_enum *type =
		known && known->is_map ? pool_declared_field(known->type_message, 2)->type_enum
				       : NULL;
	struct wire_cursor c = wire_cursor_of(entry);
	struct wire_field f;
	bool is_unknown = false;

	while (type && type->closed && wire_next(&c, &f))
		if (f.number == 2 && f.type == WIRE_VARINT) {
			is_unknown = !pool_enum_value_by_number(type, (int32_t)f.value);
			*ret_value = (uint64_t)(int32_t)f.value; /* as C++ keeps it */
		}
	return is_unknown;
}

/* In its shortest form: C++ does not keep how unknown numbers were written. */
static void add_field(const struct pool_message *m, const struct wire_field *f,
		      struct strbuf *out)
{
	const struct pool_field *known =
		m ? pool_field_by_number(fuzz_pool(), m, f->number) : NULL;
	const bool is_message = known && known->type == POOL_TYPE_MESSAGE;
	uint64_t value;
	size_t mark;

	switch (f->type) {
	case WIRE_VARINT:
		wire_add_uint(out, f->number, f->value);
		break;
	case WIRE_FIXED64:
		wire_add_tag(out, f->number, f->type);
		wire_add_fixed64(out, f->value);
		break;
	case WIRE_FIXED32:
		wire_add_tag(out, f->number, f->type);
		wire_add_fixed32(out, (uint32_t)f->value);
		break;
	case WIRE_GROUP_START:
		wire_add_tag(out, f->number, f->type);
		add_sorted(known ? known->type_message : NULL, f->data, out);
		wire_add_tag(out, f->number, WIRE_GROUP_END);
		break;
	default:
		mark = wire_open(out, f->number);
		if (is_unknown_entry(known, f->data, &value))
			wire_add_uint(out, 2, value);
		else if (is_message)
			add_sorted(known->type_message, f->data, out);
		else
			strbuf_add(out, f->data.data, f->data.size);
		wire_close(out, mark);
		break;
	}
}

static bool is_unknown_value(const struct pool_message *m, const struct wire_field *f)
{
	const struct pool_field *known =
		m ? pool_field_by_number(fuzz_pool(), m, f->number) : NULL;

	return known && known->type_enum && known->type_enum->closed &&
	       f->type == WIRE_VARINT &&
	       !pool_enum_value_by_number(known->type_enum, (int32_t)f->value);
}

/*
 * @message with fields in the order of their numbers, at every level: unknown values
 * of closed enums are unknown fields, which the two libraries have in another order.
 */
static void add_sorted(const struct pool_message *m, struct bytes message, struct strbuf *out)
{
	struct occurrence *found = NULL;
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	size_t count = 0;

	while (wire_next(&c, &f)) {
		found = xreallocarray(found, count + 1, sizeof(*found));
		found[count] = (struct occurrence){f, count, is_unknown_value(m, &f)};
		count++;
	}
	if (count)
		qsort(found, count, sizeof(*found), compare_occurrences);
	for (size_t i = 0; i < count; i++)
		add_field(m, &found[i].field, out);
	free(found);
}

/* What our parser and theirs keep of a message, in a form that can be compared. */
static bool ours_of(const struct type *t, struct bytes message, struct strbuf *out)
{
	AUTO_STRBUF normal = STRBUF_INIT;

	if (wire_normalize(fuzz_pool(), t->ours, message, &normal, &err) != STATUS_OK)
		return false;
	add_sorted(t->ours, fuzz_written(&normal), out);
	return true;
}

static void theirs_of(const struct type *t, struct strbuf *out)
{
	size_t size;
	const char *wire = cpp_wire(t->theirs, &size);

	FUZZ_CHECK(wire, NULL, NULL);
	FUZZ_CHECK(ours_of(t, bytes_of(wire, size), out), &err, NULL);
}

/* ----------------------------------------------------------------- JSON */

static bool is_default(const json_t *value)
{
	return json_is_false(value) || json_is_null(value) || json_is_string(value) ||
	       (json_is_number(value) && json_number_value(value) == 0);
}

static bool same_json(const json_t *ours, const json_t *theirs, bool in_any);

/*
 * C++ prints what an Any holds as it stands on the wire, defaults included, and of a
 * well-known type that is empty no value.
 */
static bool same_object(const json_t *ours, const json_t *theirs, bool in_any)
{
	const char *key;
	json_t *value;

	in_any = in_any || json_object_get(ours, "@type");
	json_object_foreach((json_t *)ours, key, value)
	{
		const json_t *other = json_object_get(theirs, key);
		if (!other && json_object_get(ours, "@type") && !strcmp(key, "value"))
			continue;
		if (!other || !same_json(value, other, in_any))
			return false;
	}
	json_object_foreach((json_t *)theirs, key,
			    value) if (!json_object_get(ours, key) &&
				       !(in_any && is_default(value))) return false;
	return true;
}

/* Values are the same, in whatever order, numbers in whatever form. */
static bool same_json(const json_t *ours, const json_t *theirs, bool in_any)
{
	json_t *value;
	size_t i;

	/* C++ 3.21 prints more digits of a float than it takes. */
	if (json_is_number(ours) && json_is_number(theirs))
		return json_number_value(ours) == json_number_value(theirs) ||
		       (float)json_number_value(ours) == (float)json_number_value(theirs);
	if (json_typeof(ours) != json_typeof(theirs))
		return false;
	if (json_is_array(ours)) {
		if (json_array_size(ours) != json_array_size(theirs))
			return false;
		json_array_foreach(ours, i,
				   value) if (!same_json(value, json_array_get(theirs, i),
							 in_any)) return false;
		return true;
	}
	return json_is_object(ours) ? same_object(ours, theirs, in_any)
				    : json_equal(ours, theirs);
}

static json_t *parsed(const char *text, size_t size)
{
	return json_loadb(text, size,
			  JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
}

/* Both sides of a difference, for a person. */
static void show(const char *what, struct bytes ours, struct bytes theirs)
{
	const struct bytes sides[] = {ours, theirs};

	for (size_t i = 0; i < 2; i++) {
		fprintf(stderr, "%s, %s: ", what, i ? "theirs" : "ours");
		for (size_t k = 0; k < sides[i].size; k++)
			fprintf(stderr,
				sides[i].data[k] >= ' ' && sides[i].data[k] < 127 ? "%c"
										  : "\\x%02x",
				sides[i].data[k]);
		fprintf(stderr, "\n");
	}
}

static void check_same(const char *what, struct bytes ours, struct bytes theirs)
{
	if (!bytes_equal(ours, theirs))
		show(what, ours, theirs);
	FUZZ_CHECK(bytes_equal(ours, theirs), NULL, NULL);
}

/* C++ 3.21's JSON ends where ours does not, at about this depth, by its own count. */
enum { CPP_JSON_DEPTH = 32 };

static bool is_deep(struct bytes text)
{
	int depth = 0, deepest = 0;

	for (size_t i = 0; i < text.size; i++) {
		depth += text.data[i] == '{' || text.data[i] == '[';
		depth -= text.data[i] == '}' || text.data[i] == ']';
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest > CPP_JSON_DEPTH;
}

/* C++ is given one host to find an Any's type at; to us the host is part of a name. */
static bool has_other_host(struct bytes text)
{
	static const char key[] = "\"@type\"", host[] = "\"type.googleapis.com/";
	const char *at = (const char *)text.data, *end = at + text.size;

	while ((at = memmem(at, (size_t)(end - at), key, sizeof(key) - 1))) {
		at += sizeof(key) - 1;
		while (at < end && strchr(" \t\r\n:", *at) && *at)
			at++;
		if ((size_t)(end - at) < sizeof(host) - 1 || memcmp(at, host, sizeof(host) - 1))
			return true;
	}
	return false;
}

/* Is @err what the specification refuses and C++ 3.21 prints? */
static bool is_lax_there(void)
{
	static const char *const reasons[] = {"a Value has no kind",
					      "a Value is not a finite number",
					      "a FieldMask path is empty, or not in",
					      "a Duration is out of range, or of two signs",
					      "an Any holds the unknown type",
					      "the bytes are not a ", /* in an Any */
					      "is not valid UTF-8"};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (strstr(err.message, reasons[i]))
			return true;
	return false;
}

static void check_json(const struct type *t, struct bytes message)
{
	AUTO_STRBUF text = STRBUF_INIT;
	const enum status status = wire_to_json(fuzz_pool(), t->ours, message, 0, &text, &err);
	size_t size;
	const char *theirs = cpp_json(t->theirs, false, &size);
	json_t *a, *b;

	if (!theirs && (is_deep(fuzz_written(&text)) || has_other_host(fuzz_written(&text))))
		return;
	if (status != STATUS_OK && is_lax_there())
		return;
	FUZZ_CHECK((status == STATUS_OK) == (theirs != NULL), &err, &text);
	if (!theirs)
		return;
	a = parsed(text.buf, text.len);
	b = parsed(theirs, size);
	/* Jansson takes NUL in values, not in keys. */
	if (!a && !b && strstr(strbuf_str(&text), "\\u0000"))
		return;
	if (!a || !b || !same_json(a, b, false))
		show("JSON", fuzz_written(&text), bytes_of(theirs, size));
	FUZZ_CHECK(a && b && same_json(a, b, false), NULL, NULL);
	json_decref(a);
	json_decref(b);
}

/* Is there what may be a tag of more than 32 bits? C++ takes it, without the rest. */
static bool has_wide_tag(struct bytes message)
{
	size_t continued = 0;

	for (size_t i = 0; i < message.size; i++) {
		if (continued >= 4 && message.data[i] >= 0x10)
			return true;
		continued = message.data[i] >= 0x80 ? continued + 1 : 0;
	}
	return false;
}

static void compare_wire(const struct type *t, struct bytes message)
{
	AUTO_STRBUF ours = STRBUF_INIT, theirs = STRBUF_INIT;
	const bool accepted = ours_of(t, message, &ours);

	const bool accepted_there = cpp_parse(t->theirs, message.data, message.size);

	if (!accepted && accepted_there && has_wide_tag(message))
		return;
	FUZZ_CHECK(accepted == accepted_there, &err, NULL);
	if (!accepted)
		return;
	theirs_of(t, &theirs);
	check_same("message", fuzz_written(&ours), fuzz_written(&theirs));
	if (t->has_json)
		check_json(t, message);
}

/*
 * C++ 3.21 is no judge of these: it takes text that is no JSON (single quotes,
 * commas at the end, no quotes at all) and members that occur twice.
 */
static bool is_strict_json(struct bytes text)
{
	json_t *json = json_loadb(
		(const char *)text.data, text.size,
		JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);

	json_decref(json);
	return json;
}

/* "1e5" in quotes is an integer to the specification, and not to C++ 3.21. */
static bool has_quoted_exponent(struct bytes text)
{
	const char *at = (const char *)text.data, *end = at + text.size;

	while ((at = memchr(at, '"', (size_t)(end - at)))) {
		const char *start = ++at;
		bool exponent = false;

		for (; at < end && strchr("+-.0123456789eE", *at) && *at; at++)
			exponent |= strchr(".eE", *at) != NULL;
		if (exponent && at > start && at < end && *at == '"')
			return true;
	}
	return false;
}

/* Numbers in quotes that JSON's grammar lacks, which C++ 3.21 takes: "017", "+1", " 1". */
static bool has_loose_number(struct bytes text)
{
	const char *at = (const char *)text.data, *end = at + text.size;

	while ((at = memchr(at, '"', (size_t)(end - at)))) {
		const char *start = ++at;
		start += start < end && *start == '-';
		if (end - start >= 2 && ((*start == '0' && isdigit((unsigned char)start[1])) ||
					 *start == '+' || isspace((unsigned char)*start)))
			return true;
		while (at < end && strchr("-.0123456789", *at) && *at)
			at++;
		if (at > start && at < end && isspace((unsigned char)*at))
			return true;
	}
	return false;
}

static bool contains(struct bytes text, const char *word)
{
	return memmem(text.data, text.size, word, strlen(word)) != NULL;
}

/*
 * C++ 3.21 wants the bits after the last byte of base64 to be 0, which Google's
 * conformance tests do not.
 */
static bool has_base64(struct bytes text)
{
	return contains(text, "ytes") || contains(text, "raw") || contains(text, "sint32Map") ||
	       contains(text, "sint32_map") || contains(text, "signature");
}

/* An empty name is that of no field; what C++ 3.21 makes of it is no message. */
static bool has_empty_name(struct bytes text)
{
	const char *at = (const char *)text.data, *end = at + text.size;

	while ((at = memmem(at, (size_t)(end - at), "\"\"", 2))) {
		at += 2;
		while (at < end && strchr(" \t\r\n", *at) && *at)
			at++;
		if (at < end && *at == ':')
			return true;
	}
	return false;
}

/* What we are right to see differently. */
static bool is_judged_alike(struct bytes text, bool accepted)
{
	if (is_deep(text))
		return false;
	if (accepted)
		return !has_quoted_exponent(text) && !has_base64(text) &&
		       !has_other_host(text) && !has_empty_name(text);
	if (strstr(err.message, "not an integer") || strstr(err.message, "not a number"))
		return !has_loose_number(text);
	/* One field by both of its names; "tRue" as a key. */
	return !strstr(err.message, "is there twice") &&
	       !strstr(err.message, "the key is neither \"true\" nor \"false\"");
}

static void compare_json(const struct type *t, struct bytes text, unsigned flags)
{
	AUTO_STRBUF ours = STRBUF_INIT, a = STRBUF_INIT, b = STRBUF_INIT;
	const bool accepted = json_to_wire(fuzz_pool(), t->ours, (const char *)text.data,
					   text.size, flags, &ours, &err) == STATUS_OK;
	bool accepted_there;
	const char *wire;
	size_t size;

	if (!is_strict_json(text)) {
		FUZZ_CHECK(!accepted, NULL, NULL);
		return;
	}
	accepted_there = cpp_parse_json(t->theirs, (const char *)text.data, text.size, flags);
	FUZZ_CHECK(accepted == accepted_there || !is_judged_alike(text, accepted), &err, NULL);
	if (!accepted || !accepted_there)
		return;
	wire = cpp_wire(t->theirs, &size);
	/* As JSON, since C++ writes defaults into Any. */
	FUZZ_CHECK(wire_to_json(fuzz_pool(), t->ours, fuzz_written(&ours), 0, &a, &err) ==
			   STATUS_OK,
		   &err, NULL);
	FUZZ_CHECK(wire_to_json(fuzz_pool(), t->ours, bytes_of(wire, size), 0, &b, &err) ==
			   STATUS_OK,
		   &err, NULL);
	check_same("from JSON", fuzz_written(&a), fuzz_written(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	const struct type *t = choose_type(fuzz_take_byte(&in));
	const uint8_t way = fuzz_take_byte(&in);

	if (!(way & 1))
		compare_wire(t, in);
	else if (t->has_json)
		compare_json(t, in, way & 2 ? JSON_IN_IGNORE_UNKNOWN : 0);
	return 0;
}
