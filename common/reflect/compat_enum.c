#include <inttypes.h>
#include <string.h>

#include "common/reflect/compat_rules.h"

static const struct compat_rule same_type = {"ENUM_SAME_TYPE", COMPAT_SOURCE};
static const struct compat_rule same_json_format = {"ENUM_SAME_JSON_FORMAT", FROM_WIRE_JSON};
static const struct compat_rule reserved_no_delete = {"RESERVED_ENUM_NO_DELETE", FROM_WIRE};
static const struct compat_rule value_no_delete = {"ENUM_VALUE_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule value_unless_number_reserved = {
	"ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", BELOW_SOURCE};
static const struct compat_rule value_unless_name_reserved = {
	"ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED", COMPAT_WIRE_JSON};
static const struct compat_rule value_same_name = {"ENUM_VALUE_SAME_NAME", FROM_WIRE_JSON};

/* The values of one number: positions [first, end) of by_number, in their declaration's order. */
struct aliases {
	const struct pool_enum *e;
	uint32_t first, end;
};

static const struct pool_enum_value *value_at(const struct pool_enum *e, uint32_t i)
{
	return &e->values[e->by_number[i]];
}

static struct aliases aliases_from(const struct pool_enum *e, uint32_t first)
{
	struct aliases a = {e, first, first};

	while (a.end < e->value_count &&
	       value_at(e, a.end)->number == value_at(e, first)->number)
		a.end++;
	return a;
}

static void add_names(const struct aliases *a, struct strbuf *out)
{
	for (uint32_t i = a->first; i < a->end && out->len < COMPAT_TEXT_MAX_BYTES; i++)
		strbuf_addf(out, "%s%s", out->len ? ", " : "", value_at(a->e, i)->name);
}

/* Values are siblings of their enum. */
static const char *value_path(struct strbuf *out, const struct pool_enum *e,
			      const struct pool_enum_value *v)
{
	strbuf_reset(out);
	strbuf_add(out, e->full_name, strlen(e->full_name) - strlen(e->name));
	strbuf_add(out, v->name, v->name_len);
	return out->buf;
}

static bool all_names_are_reserved(const struct aliases *was, const struct pool_enum *is)
{
	for (uint32_t i = was->first; i < was->end; i++)
		if (!compat_name_is_reserved(&is->reserved, value_at(was->e, i)->name))
			return false;
	return true;
}

static void check_deleted(struct compat *c, const struct aliases *was,
			  const struct pool_enum *is)
{
	const struct pool_enum_value *v = value_at(was->e, was->first);
	AUTO_STRBUF at = STRBUF_INIT;
	const char *path = value_path(&at, was->e, v);

	compat_add(c, &value_no_delete, is->file, path, "the value %" PRId32 " is gone",
		   v->number);
	if (!compat_number_is_reserved(&is->reserved, v->number))
		compat_add(c, &value_unless_number_reserved, is->file, path,
			   "the value %" PRId32 " is gone and its number is not reserved",
			   v->number);
	if (!all_names_are_reserved(was, is))
		compat_add(c, &value_unless_name_reserved, is->file, path,
			   "the value %" PRId32 " is gone and its name is not reserved",
			   v->number);
}

/* A name more is fine: every old one is still read. */
static bool has_all_names(const struct aliases *was, const struct pool_enum *is)
{
	for (uint32_t i = was->first; i < was->end; i++) {
		const struct pool_enum_value *v = value_at(was->e, i);
		const struct pool_enum_value *now =
			pool_enum_value_by_name(is, v->name, v->name_len);

		if (!now || now->number != v->number)
			return false;
	}
	return true;
}

static void check_names(struct compat *c, const struct aliases *was, const struct aliases *is)
{
	AUTO_STRBUF from = STRBUF_INIT;
	AUTO_STRBUF to = STRBUF_INIT;
	AUTO_STRBUF at = STRBUF_INIT;

	if (!(c->levels & value_same_name.levels) || has_all_names(was, is->e))
		return;
	add_names(was, &from);
	add_names(is, &to);
	for (uint32_t i = is->first; i < is->end && !c->truncated; i++)
		compat_add(c, &value_same_name, is->e->file,
			   value_path(&at, is->e, value_at(is->e, i)),
			   "the value %" PRId32 " was named %s and is named %s now",
			   value_at(is->e, i)->number, from.buf, to.buf);
}

static void check_values(struct compat *c, const struct pool_enum *was,
			 const struct pool_enum *is)
{
	uint32_t i = 0, k = 0;

	while (i < was->value_count && !c->truncated) {
		const struct aliases old = aliases_from(was, i);
		const int32_t number = value_at(was, i)->number;

		while (k < is->value_count && value_at(is, k)->number < number)
			k++;
		if (k < is->value_count && value_at(is, k)->number == number) {
			const struct aliases new = aliases_from(is, k);

			check_names(c, &old, &new);
		} else {
			check_deleted(c, &old, is);
		}
		i = old.end;
	}
}

void compat_enum(struct compat *c, const struct pool_enum *was, const struct pool_enum *is)
{
	const struct compat_keeper keeper = {&reserved_no_delete, is->file, is->full_name,
					     "reserved numbers", INT32_MAX};

	if (was->closed != is->closed)
		compat_add(c, &same_type, is->file, is->full_name,
			   "the enum changes from %s to %s", was->closed ? "closed" : "open",
			   is->closed ? "closed" : "open");
	if (was->file->is_proto3 && !is->file->is_proto3)
		compat_add(c, &same_json_format, is->file, is->full_name,
			   "the enum moves to proto2, which does not promise JSON");
	compat_reserved(c, &keeper, &was->reserved, &is->reserved);
	check_values(c, was, is);
}
