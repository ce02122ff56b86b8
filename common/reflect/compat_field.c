#include <inttypes.h>
#include <string.h>

#include "common/reflect/compat_rules.h"

static const struct compat_rule same_name = {"FIELD_SAME_NAME", FROM_WIRE_JSON};
static const struct compat_rule same_json_name = {"FIELD_SAME_JSON_NAME", FROM_WIRE_JSON};
static const struct compat_rule same_type = {"FIELD_SAME_TYPE", COMPAT_SOURCE};
static const struct compat_rule wire_json_type = {"FIELD_WIRE_JSON_COMPATIBLE_TYPE",
						  COMPAT_WIRE_JSON};
static const struct compat_rule wire_type = {"FIELD_WIRE_COMPATIBLE_TYPE",
					     COMPAT_WIRE | COMPAT_RECORDS};
static const struct compat_rule same_cardinality = {"FIELD_SAME_CARDINALITY", COMPAT_SOURCE};
static const struct compat_rule wire_json_cardinality = {
	"FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY", COMPAT_WIRE_JSON};
static const struct compat_rule wire_cardinality = {"FIELD_WIRE_COMPATIBLE_CARDINALITY",
						    COMPAT_WIRE};
/* The same where one value becomes many or many one. */
static const struct compat_rule records_cardinality = {"FIELD_WIRE_COMPATIBLE_CARDINALITY",
						       COMPAT_WIRE | COMPAT_RECORDS};
static const struct compat_rule same_oneof = {"FIELD_SAME_ONEOF", FROM_RECORDS};
static const struct compat_rule same_default = {"FIELD_SAME_DEFAULT", FROM_WIRE};
static const struct compat_rule same_utf8 = {"FIELD_SAME_UTF8_VALIDATION", COMPAT_SOURCE};
static const struct compat_rule same_java_utf8 = {"FIELD_SAME_JAVA_UTF8_VALIDATION",
						  COMPAT_SOURCE};
static const struct compat_rule same_cpp_string = {"FIELD_SAME_CPP_STRING_TYPE", COMPAT_SOURCE};
static const struct compat_rule same_jstype = {"FIELD_SAME_JSTYPE", COMPAT_SOURCE};

/* ----------------------------------------------------------------- types */

/*
 * A reader of one type of a group understands what was written as another. The
 * JSON groups are within the binary ones.
 *
 * Strings and bytes are encoded the same, and so are enums and integers, messages
 * and bytes; but not every value of the one is a value of the other.
 */
enum type_group {
	GROUP_INTEGER,
	GROUP_ZIGZAG,
	GROUP_FIXED32,
	GROUP_FIXED64,
	GROUP_DOUBLE,
	GROUP_FLOAT,
	GROUP_STRING,
	GROUP_BYTES,
	GROUP_ENUM,
	GROUP_MESSAGE,
	GROUP_GROUP,
	/* JSON has integers of 64 bits as strings, bools as words. */
	GROUP_INTEGER64,
	GROUP_ZIGZAG64,
	GROUP_BOOL,
};

static const struct {
	uint8_t wire, json; /* enum type_group */
} type_groups[] = {
	[POOL_TYPE_DOUBLE] = {GROUP_DOUBLE, GROUP_DOUBLE},
	[POOL_TYPE_FLOAT] = {GROUP_FLOAT, GROUP_FLOAT},
	[POOL_TYPE_INT64] = {GROUP_INTEGER, GROUP_INTEGER64},
	[POOL_TYPE_UINT64] = {GROUP_INTEGER, GROUP_INTEGER64},
	[POOL_TYPE_INT32] = {GROUP_INTEGER, GROUP_INTEGER},
	[POOL_TYPE_FIXED64] = {GROUP_FIXED64, GROUP_FIXED64},
	[POOL_TYPE_FIXED32] = {GROUP_FIXED32, GROUP_FIXED32},
	[POOL_TYPE_BOOL] = {GROUP_INTEGER, GROUP_BOOL},
	[POOL_TYPE_STRING] = {GROUP_STRING, GROUP_STRING},
	[POOL_TYPE_GROUP] = {GROUP_GROUP, GROUP_GROUP},
	[POOL_TYPE_MESSAGE] = {GROUP_MESSAGE, GROUP_MESSAGE},
	[POOL_TYPE_BYTES] = {GROUP_BYTES, GROUP_BYTES},
	[POOL_TYPE_UINT32] = {GROUP_INTEGER, GROUP_INTEGER},
	[POOL_TYPE_ENUM] = {GROUP_ENUM, GROUP_ENUM},
	[POOL_TYPE_SFIXED32] = {GROUP_FIXED32, GROUP_FIXED32},
	[POOL_TYPE_SFIXED64] = {GROUP_FIXED64, GROUP_FIXED64},
	[POOL_TYPE_SINT32] = {GROUP_ZIGZAG, GROUP_ZIGZAG},
	[POOL_TYPE_SINT64] = {GROUP_ZIGZAG, GROUP_ZIGZAG64},
};

static bool has_all_values(const struct pool_enum *was, const struct pool_enum *is)
{
	for (uint32_t i = 0; i < was->value_count; i++) {
		const struct pool_enum_value *v = &was->values[i];
		const struct pool_enum_value *now =
			pool_enum_value_by_name(is, v->name, v->name_len);

		if (!now || now->number != v->number)
			return false;
	}
	return true;
}

/*
 * An enum may be moved to another scope when it keeps its values. Many fields may
 * have the same two enums, so the answer is remembered.
 */
static bool is_moved_enum(struct compat *c, const struct pool_enum *was,
			  const struct pool_enum *is)
{
	static char yes, no; /* their addresses */
	const void *const pair[] = {was, is};
	void *known;

	if (strcmp(was->name, is->name) != 0)
		return false;
	known = map_get_n(&c->enum_pairs, (const char *)pair, sizeof(pair));
	if (!known) {
		known = has_all_values(was, is) ? &yes : &no;
		map_put_n(&c->enum_pairs, (const char *)pair, sizeof(pair), known);
	}
	return known == &yes;
}

/* "" when the type is not one that files declare. */
static const char *type_name(const struct pool_field *f)
{
	if (f->type_message)
		return f->type_message->full_name;
	return f->type_enum ? f->type_enum->full_name : "";
}

static bool same_type_name(const struct pool_field *was, const struct pool_field *is)
{
	return !strcmp(type_name(was), type_name(is));
}

/* Of types in one group: do they have the same fields or values? */
static bool has_compatible_name(struct compat *c, const struct pool_field *was,
				const struct pool_field *is)
{
	return same_type_name(was, is) || (was->type_enum && is->type_enum &&
					   is_moved_enum(c, was->type_enum, is->type_enum));
}

static bool is_wire_compatible(struct compat *c, const struct pool_field *was,
			       const struct pool_field *is)
{
	if (was->type == POOL_TYPE_STRING && is->type == POOL_TYPE_BYTES)
		return true;
	return type_groups[was->type].wire == type_groups[is->type].wire &&
	       has_compatible_name(c, was, is);
}

static bool is_wire_json_compatible(struct compat *c, const struct pool_field *was,
				    const struct pool_field *is)
{
	return type_groups[was->type].json == type_groups[is->type].json &&
	       has_compatible_name(c, was, is);
}

static void add_type(const struct pool_field *f, struct strbuf *out)
{
	if (f->is_map) {
		strbuf_addstr(out, "map<");
		add_type(&f->type_message->fields[0], out);
		strbuf_addstr(out, ", ");
		add_type(&f->type_message->fields[1], out);
		strbuf_addch(out, '>');
	} else if (f->type_message) {
		strbuf_addf(out, "%s%s", f->type == POOL_TYPE_GROUP ? "group " : "",
			    type_name(f));
	} else {
		strbuf_addstr(out, f->type_enum ? type_name(f) : pool_scalar_name(f->type));
	}
}

static void check_type(struct compat *c, const struct pool_field *was,
		       const struct pool_field *is)
{
	AUTO_STRBUF from = STRBUF_INIT;
	AUTO_STRBUF to = STRBUF_INIT;

	if (was->type == is->type && same_type_name(was, is))
		return;
	add_type(was, &from);
	add_type(is, &to);
	compat_add(c, &same_type, is->file, is->full_name,
		   "the field's type changes from %s to %s", from.buf, to.buf);
	if (!is_wire_json_compatible(c, was, is))
		compat_add(c, &wire_json_type, is->file, is->full_name,
			   "the field's type changes from %s to %s, which readers of binary "
			   "or JSON may not understand",
			   from.buf, to.buf);
	if (!is_wire_compatible(c, was, is))
		compat_add(c, &wire_type, is->file, is->full_name,
			   "the field's type changes from %s to %s, which readers of binary "
			   "may not understand",
			   from.buf, to.buf);
}

/* ----------------------------------------------------------- cardinality */

enum cardinality { EXPLICIT, IMPLICIT, REQUIRED, REPEATED, MAP };

static enum cardinality cardinality_of(const struct pool_field *f)
{
	if (f->is_map)
		return MAP;
	if (f->repeated)
		return REPEATED;
	if (f->required)
		return REQUIRED;
	return f->has_presence ? EXPLICIT : IMPLICIT;
}

static bool are_both_in_map_entries(const struct pool_field *was, const struct pool_field *is)
{
	return was->message->is_map_entry && is->message->is_map_entry;
}

static void check_cardinality(struct compat *c, const struct pool_field *was,
			      const struct pool_field *is)
{
	static const char *const names[] = {
		[EXPLICIT] = "a single value with presence",
		[IMPLICIT] = "a single value without presence",
		[REQUIRED] = "a required value",
		[REPEATED] = "a list",
		[MAP] = "a map",
	};
	/* Presence is not seen in what is written; a map is a list of its entries. */
	static const enum cardinality in_json[] = {EXPLICIT, EXPLICIT, REQUIRED, REPEATED, MAP};
	static const enum cardinality in_binary[] = {EXPLICIT, EXPLICIT, REQUIRED, REPEATED,
						     REPEATED};
	const enum cardinality from = cardinality_of(was), to = cardinality_of(is);

	/* In proto2 the fields of an entry have presence; nobody can tell. */
	if (from == to || are_both_in_map_entries(was, is))
		return;
	compat_add(c, &same_cardinality, is->file, is->full_name,
		   "the field changes from %s to %s", names[from], names[to]);
	if (in_json[from] != in_json[to])
		compat_add(c, &wire_json_cardinality, is->file, is->full_name,
			   "the field changes from %s to %s, which readers of binary or "
			   "JSON may not understand",
			   names[from], names[to]);
	if (in_binary[from] != in_binary[to])
		compat_add(c,
			   was->repeated == is->repeated ? &wire_cardinality
							 : &records_cardinality,
			   is->file, is->full_name,
			   "the field changes from %s to %s, which readers of binary may "
			   "not understand",
			   names[from], names[to]);
}

/* ------------------------------------------------------ names and oneofs */

static void check_names(struct compat *c, const struct pool_field *was,
			const struct pool_field *is)
{
	/* Extensions are known by their full names, in JSON too. */
	const char *from = was->is_extension ? was->full_name : was->name;
	const char *to = is->is_extension ? is->full_name : is->name;

	if (strcmp(from, to) != 0)
		compat_add(c, &same_name, is->file, is->full_name,
			   "the field %" PRIu32 " changes its name from %s to %s", is->number,
			   from, to);
	if (!was->is_extension && strcmp(was->json_name, is->json_name) != 0)
		compat_add(c, &same_json_name, is->file, is->full_name,
			   "the field's JSON name changes from \"%s\" to \"%s\"",
			   was->json_name, is->json_name);
}

static const char *oneof_name(const struct pool_field *f)
{
	return f->oneof < 0 ? NULL : f->message->oneofs[f->oneof].name;
}

static void check_oneof(struct compat *c, const struct pool_field *was,
			const struct pool_field *is)
{
	const char *from = oneof_name(was), *to = oneof_name(is);

	if (from && to && strcmp(from, to) != 0)
		compat_add(c, &same_oneof, is->file, is->full_name,
			   "the field moves from oneof %s to oneof %s", from, to);
	else if (!from != !to)
		compat_add(c, &same_oneof, is->file, is->full_name, "the field moves %s %s",
			   to ? "into oneof" : "out of oneof", to ? to : from);
}

/* --------------------------------------------------------------- strings */

static void check_utf8(struct compat *c, const struct pool_field *was,
		       const struct pool_field *is)
{
	static const char *const how[] = {"anything", "UTF-8"};
	const bool java_was = was->check_utf8 || was->file->java_string_check_utf8;
	const bool java_is = is->check_utf8 || is->file->java_string_check_utf8;

	if (was->type != POOL_TYPE_STRING || is->type != POOL_TYPE_STRING)
		return;
	if (was->check_utf8 != is->check_utf8)
		compat_add(c, &same_utf8, is->file, is->full_name,
			   "the field changes from taking %s to taking %s",
			   how[was->check_utf8], how[is->check_utf8]);
	if (java_was != java_is)
		compat_add(c, &same_java_utf8, is->file, is->full_name,
			   "in Java the field changes from taking %s to taking %s",
			   how[java_was], how[java_is]);
}

/* google.protobuf.FieldOptions.CType */
enum { CTYPE_STRING = 0, CTYPE_CORD = 1, CTYPE_STRING_PIECE = 2 };

static bool is_text(const struct pool_field *f)
{
	return f->type == POOL_TYPE_STRING || f->type == POOL_TYPE_BYTES;
}

static const char *ctype_name(const struct pool_field *f)
{
	return f->ctype == CTYPE_CORD           ? "CORD"
	       : f->ctype == CTYPE_STRING_PIECE ? "STRING_PIECE"
						: "STRING";
}

static void check_cpp_string(struct compat *c, const struct pool_field *was,
			     const struct pool_field *is)
{
	const char *from = ctype_name(was), *to = ctype_name(is);

	if (!is_text(was) || !is_text(is) || !strcmp(from, to))
		return;
	/* C++ never had pieces: it makes strings of them. */
	if (was->ctype == CTYPE_STRING_PIECE && !strcmp(to, "STRING"))
		return;
	compat_add(c, &same_cpp_string, is->file, is->full_name,
		   "the field's option ctype changes from %s to %s", from, to);
}

/* -------------------------------------------------------------- integers */

static bool is_64_bit_integer(const struct pool_field *f)
{
	return f->type == POOL_TYPE_INT64 || f->type == POOL_TYPE_UINT64 ||
	       f->type == POOL_TYPE_SINT64 || f->type == POOL_TYPE_FIXED64 ||
	       f->type == POOL_TYPE_SFIXED64;
}

static const char *jstype_name(const struct pool_field *f)
{
	static const char *const names[] = {"JS_NORMAL", "JS_STRING", "JS_NUMBER"};

	return f->jstype < sizeof(names) / sizeof(names[0]) ? names[f->jstype] : "unknown";
}

static void check_jstype(struct compat *c, const struct pool_field *was,
			 const struct pool_field *is)
{
	if (is_64_bit_integer(was) && is_64_bit_integer(is) && was->jstype != is->jstype)
		compat_add(c, &same_jstype, is->file, is->full_name,
			   "the field's option jstype changes from %s to %s", jstype_name(was),
			   jstype_name(is));
}

static const char *default_of(const struct pool_field *f)
{
	return f->default_text ? f->default_text : "that of its type";
}

void compat_field(struct compat *c, const struct pool_field *was, const struct pool_field *is)
{
	check_names(c, was, is);
	check_type(c, was, is);
	check_cardinality(c, was, is);
	check_oneof(c, was, is);
	if (!compat_same_default(was, is))
		compat_add(c, &same_default, is->file, is->full_name,
			   "the field's default changes from %s to %s", default_of(was),
			   default_of(is));
	check_utf8(c, was, is);
	check_cpp_string(c, was, is);
	check_jstype(c, was, is);
}
