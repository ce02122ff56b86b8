/* The names of a message's fields: the table to find them by, and what no two may share. */
#include <string.h>

#include "common/base/hash.h"
#include "common/reflect/link.h"
#include "common/reflect/pool.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;

/* Open addressing; what is entered first is met first. */
struct name_table {
	const struct pool_field **slots;
	uint32_t mask;
};

static struct name_table name_table_of(struct arena *a, uint32_t names)
{
	uint32_t size = 4;

	while (size < names * 2)
		size *= 2;
	return (struct name_table){arena_zalloc(a, size * sizeof(struct pool_field *)),
				   size - 1};
}

static bool same_text(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	return a_len == b_len && !memcmp(a, b, a_len);
}

/* -------------------------------------------------------------- JSON names */

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

size_t member_json_name(const char *name, char *out)
{
	bool up = false;
	size_t len = 0;

	for (; *name; name++) {
		if (*name != '_')
			out[len++] = up ? upper(*name) : *name;
		up = *name == '_';
	}
	out[len] = '\0';
	return len;
}

bool member_has_own_json_name(struct linker *l, const FieldProto *p)
{
	char *computed;

	if (!p->json_name)
		return false;
	computed = arena_alloc(l->scratch, strlen(p->name) + 1);
	member_json_name(p->name, computed);
	return strcmp(p->json_name, computed) != 0;
}

/* proto2 tolerates clashes in which at least one name is computed. */
static enum status check_json_names(struct linker *l, const struct pool_field *a,
				    const struct pool_field *b, const MessageProto *p)
{
	if (!l->unit->file.is_proto3 &&
	    !(member_has_own_json_name(l, p->field[a->declaration_index]) &&
	      member_has_own_json_name(l, p->field[b->declaration_index])))
		return STATUS_OK;
	return link_fail(l, b->full_name, "its JSON name \"%s\" is that of \"%s\", too",
			 b->json_name, a->name);
}

/* ----------------------------------------------------------------- tables */

/* Enter @f under its name. */
static enum status enter_name(struct linker *l, struct name_table t, uint64_t hash,
			      const struct pool_field *f)
{
	uint32_t i = (uint32_t)hash & t.mask;

	for (; t.slots[i]; i = (i + 1) & t.mask)
		if (same_text(t.slots[i]->name, t.slots[i]->name_len, f->name, f->name_len))
			return link_already_defined(l, f->full_name, f->file);
	t.slots[i] = f;
	return STATUS_OK;
}

/* Enter @f, which is there under its name, under its JSON name, too. */
static enum status enter_json_name(struct linker *l, struct name_table t, uint64_t hash,
				   const struct pool_field *f, const MessageProto *p)
{
	uint32_t i = (uint32_t)hash & t.mask;

	for (; t.slots[i] && t.slots[i] != f; i = (i + 1) & t.mask) {
		const struct pool_field *g = t.slots[i];
		enum status status;

		if (!same_text(g->json_name, g->json_name_len, f->json_name, f->json_name_len))
			continue;
		status = check_json_names(l, g, f, p);
		if (status != STATUS_OK)
			return status;
	}
	t.slots[i] = f;
	return STATUS_OK;
}

static enum status enter(struct linker *l, struct name_table t, const struct pool_field *f,
			 const MessageProto *p)
{
	const uint64_t hash = hash_bytes(f->name, f->name_len);
	const bool same = same_text(f->name, f->name_len, f->json_name, f->json_name_len);
	const enum status status = enter_name(l, t, hash, f);

	if (status != STATUS_OK)
		return status;
	return enter_json_name(l, t, same ? hash : hash_bytes(f->json_name, f->json_name_len),
			       f, p);
}

enum status members_enter(struct linker *l, struct pool_message *m, const MessageProto *p)
{
	const struct name_table t = name_table_of(&l->unit->arena, m->field_count * 2);

	m->name_table = t.slots;
	m->name_mask = t.mask;
	for (uint32_t i = 0; i < m->field_count; i++) {
		const enum status status = enter(l, t, &m->fields[i], p);

		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

/* ----------------------------------------------------------------- proto3 */

/* Two letters of names, underscores passed over; NUL at the end. */
static char next_letter(const char **at)
{
	while (**at == '_')
		++*at;
	return **at ? lower(*(*at)++) : '\0';
}

static bool same_letters(const char *a, const char *b)
{
	char x, y;

	do {
		x = next_letter(&a);
		y = next_letter(&b);
	} while (x && x == y);
	return x == y;
}

static uint64_t hash_letters(const char *name)
{
	char letters[POOL_NAME_MAX_BYTES];
	size_t len = 0;

	while ((letters[len] = next_letter(&name)))
		len++;
	return hash_bytes(letters, len);
}

enum status members_check_letters(struct linker *l, const struct pool_message *m)
{
	const struct name_table t = name_table_of(l->scratch, m->field_count);

	for (uint32_t k = 0; k < m->field_count; k++) {
		const struct pool_field *f = &m->fields[k];
		uint32_t i = (uint32_t)hash_letters(f->name) & t.mask;

		for (; t.slots[i]; i = (i + 1) & t.mask)
			if (same_letters(t.slots[i]->name, f->name))
				return link_fail(l, m->full_name,
						 "the names \"%s\" and \"%s\" differ in case "
						 "and underscores alone, which proto3 forbids",
						 t.slots[i]->name, f->name);
		t.slots[i] = f;
	}
	return STATUS_OK;
}
