#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strbuf.h"
#include "common/base/utf8.h"
#include "common/reflect/jsonb.h"
#include "common/reflect/link.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__ServiceDescriptorProto ServiceProto;

static struct arena *arena_of(struct linker *l)
{
	return &l->unit->arena;
}

/* Letters, digits and '_'. Like protoc, we leave the first one alone. */
static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const char c = name[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return len > 0;
}

/* Check @name and put @scope, which may be "", in front of it. */
static enum status join(struct linker *l, const char *scope, const char *name,
			const char **ret_full_name)
{
	const size_t scope_len = strlen(scope), name_len = name ? strlen(name) : 0;
	char *out, *p;

	if (!name || !is_name(name, name_len))
		return link_fail(l, scope, "\"%s\" is not a name", name ? name : "");
	if (scope_len + name_len + 1 > POOL_NAME_MAX_BYTES)
		return link_fail(l, scope, "a name is longer than %d bytes",
				 POOL_NAME_MAX_BYTES);
	p = out = arena_alloc(arena_of(l), scope_len + name_len + 2);
	memcpy(p, scope, scope_len);
	p += scope_len;
	if (scope_len)
		*p++ = '.';
	memcpy(p, name, name_len + 1);
	*ret_full_name = out;
	return STATUS_OK;
}

const struct symbol *declare_symbol(struct linker *l, const char *key, struct symbol s)
{
	struct pool_unit *u = l->unit;
	struct symbol_entry *e = arena_alloc(arena_of(l), sizeof(*e));
	const size_t len = strlen(key);
	const struct trie_item *there;

	s.file = &u->file;
	*e = (struct symbol_entry){{hash_bytes(key, len), key, (uint32_t)len}, s};
	u->symbols[u->symbol_count++] = e; /* make_room() counted them */
	there = trie_insert(&l->pool->symbols, &e->item);
	return there ? &((const struct symbol_entry *)there)->symbol : NULL;
}

/* Check @name, make its full name and enter it. @parent is the message around it, if any. */
static enum status declare_name(struct linker *l, const char *scope,
				const struct pool_message *parent, const char *name,
				struct symbol s, const char **ret_full_name)
{
	const struct symbol *there;
	enum status status = join(l, scope, name, ret_full_name);

	if (status != STATUS_OK)
		return status;
	there = declare_symbol(l, *ret_full_name, s);
	if (there)
		return link_already_defined(l, *ret_full_name, there->file);
	if (parent && pool_field_by_proto_name(parent, name, strlen(name)))
		return link_already_defined(l, *ret_full_name, &l->unit->file);
	return STATUS_OK;
}

/* ---------------------------------------------------------------- fields */

/* What the JSON writers emit for this field's key, made once. */
static void prepare_keys(struct linker *l, struct pool_field *f)
{
	AUTO_STRBUF sb = STRBUF_INIT;

	strbuf_addch(&sb, '"');
	strbuf_add_json_escaped(&sb, f->json_name, f->json_name_len);
	strbuf_add(&sb, "\":", 2);
	f->text_key = arena_memdup(arena_of(l), sb.buf, sb.len);
	f->text_key_len = (uint32_t)sb.len;
	strbuf_reset(&sb);
	jsonb_add_text(&sb, f->json_name, f->json_name_len);
	f->jsonb_key = arena_memdup(arena_of(l), sb.buf, sb.len);
	f->jsonb_key_len = (uint32_t)sb.len;
}

static const char *json_name_of(struct linker *l, const struct pool_field *f,
				const FieldProto *p)
{
	char *computed;

	if (f->is_extension)
		return arena_printf(arena_of(l), "[%s]", f->full_name);
	if (p->json_name)
		return arena_strdup(arena_of(l), p->json_name);
	computed = arena_alloc(arena_of(l), f->name_len + 1);
	member_json_name(p->name, computed);
	return computed;
}

/* What a field's own declaration says; its full name is there. */
static enum status declare_field(struct linker *l, struct pool_field *f, const FieldProto *p)
{
	f->file = &l->unit->file;
	f->name_len = (uint32_t)strlen(p->name);
	f->name = f->full_name + strlen(f->full_name) - f->name_len;
	f->number = (uint32_t)p->number;
	f->json_name = json_name_of(l, f, p);
	f->json_name_len = (uint32_t)strlen(f->json_name);
	if (f->json_name_len > POOL_NAME_MAX_BYTES)
		return link_fail(l, f->full_name, "its json_name is longer than %d bytes",
				 POOL_NAME_MAX_BYTES);
	f->oneof = -1;
	prepare_keys(l, f);
	return STATUS_OK;
}

struct numbered {
	const FieldProto *proto;
	uint32_t declaration_index;
};

static int compare_numbered(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	if (x->proto->number != y->proto->number)
		return x->proto->number < y->proto->number ? -1 : 1;
	return (x->declaration_index > y->declaration_index) -
	       (x->declaration_index < y->declaration_index);
}

static enum status declare_fields(struct linker *l, struct pool_message *m,
				  const MessageProto *p)
{
	struct numbered *order = arena_alloc(l->scratch, p->n_field * sizeof(*order));
	struct pool_field *fields = arena_zalloc(arena_of(l), p->n_field * sizeof(*fields));

	for (size_t i = 0; i < p->n_field; i++)
		order[i] = (struct numbered){p->field[i], (uint32_t)i};
	qsort(order, p->n_field, sizeof(*order), compare_numbered);
	m->fields = fields;
	m->field_count = (uint32_t)p->n_field;
	for (uint32_t i = 0; i < m->field_count; i++) {
		enum status status;

		fields[i].index = i;
		fields[i].declaration_index = order[i].declaration_index;
		fields[i].parent = fields[i].message = m;
		status = join(l, m->full_name, order[i].proto->name, &fields[i].full_name);
		if (status == STATUS_OK)
			status = declare_field(l, &fields[i], order[i].proto);
		if (status != STATUS_OK)
			return status;
	}
	return members_enter(l, m, p);
}

/* ----------------------------------------------------------------- enums */

struct sorted_value {
	const struct pool_enum_value *value;
	uint32_t index;
};

static int compare_by_number(const void *a, const void *b)
{
	const struct sorted_value *x = a, *y = b;

	if (x->value->number != y->value->number)
		return x->value->number < y->value->number ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int compare_by_name(const void *a, const void *b)
{
	const struct sorted_value *x = a, *y = b;

	return strcmp(x->value->name, y->value->name);
}

static uint32_t *sort_values(struct linker *l, const struct pool_enum *e,
			     int (*compare)(const void *, const void *))
{
	struct sorted_value *order = arena_alloc(l->scratch, e->value_count * sizeof(*order));
	uint32_t *out = arena_alloc(arena_of(l), e->value_count * sizeof(*out));

	for (uint32_t i = 0; i < e->value_count; i++)
		order[i] = (struct sorted_value){&e->values[i], i};
	qsort(order, e->value_count, sizeof(*order), compare);
	for (uint32_t i = 0; i < e->value_count; i++)
		out[i] = order[i].index;
	return out;
}

static enum status declare_values(struct linker *l, const char *scope, struct pool_enum *e,
				  const EnumProto *p)
{
	struct pool_enum_value *values =
		arena_zalloc(arena_of(l), p->n_value * sizeof(*values));

	e->value_count = (uint32_t)p->n_value;
	e->values = values;
	for (uint32_t i = 0; i < e->value_count; i++) {
		const char *full = "";
		/* Values are siblings of their enum. */
		const enum status status =
			declare_name(l, scope, e->parent, p->value[i]->name,
				     (struct symbol){SYMBOL_ENUM_VALUE, i, NULL, e}, &full);

		if (status != STATUS_OK)
			return status;
		values[i].name_len = (uint32_t)strlen(p->value[i]->name);
		values[i].name = full + strlen(full) - values[i].name_len;
		values[i].number = p->value[i]->number;
		if (e->sequential == i && values[i].number == (int32_t)i)
			e->sequential = i + 1;
	}
	return STATUS_OK;
}

static enum status declare_enum(struct linker *l, const char *scope,
				const struct pool_message *parent, uint32_t index,
				const EnumProto *p)
{
	struct pool_enum *e = &l->enums[l->enum_count];
	enum status status;

	l->enum_protos[l->enum_count++] = p;
	e->file = &l->unit->file;
	e->parent = parent;
	e->index = index;
	status = declare_name(l, scope, parent, p->name,
			      (struct symbol){SYMBOL_ENUM, index, NULL, e}, &e->full_name);
	if (status != STATUS_OK)
		return status;
	e->name = e->full_name + strlen(e->full_name) - strlen(p->name);
	e->closed = !l->unit->file.is_proto3;
	e->is_null = !strcmp(e->full_name, "google.protobuf.NullValue");
	status = declare_values(l, scope, e, p);
	if (status != STATUS_OK)
		return status;
	e->by_number = sort_values(l, e, compare_by_number);
	e->by_name = sort_values(l, e, compare_by_name);
	return STATUS_OK;
}

/* -------------------------------------------------------------- messages */

static const struct {
	const char *name;
	enum pool_well_known kind;
} well_known[] = {
	{"google.protobuf.Any", POOL_WELL_KNOWN_ANY},
	{"google.protobuf.BoolValue", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.BytesValue", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.DoubleValue", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.Duration", POOL_WELL_KNOWN_DURATION},
	{"google.protobuf.Empty", POOL_WELL_KNOWN_EMPTY},
	{"google.protobuf.FieldMask", POOL_WELL_KNOWN_FIELD_MASK},
	{"google.protobuf.FloatValue", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.Int32Value", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.Int64Value", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.ListValue", POOL_WELL_KNOWN_LIST_VALUE},
	{"google.protobuf.StringValue", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.Struct", POOL_WELL_KNOWN_STRUCT},
	{"google.protobuf.Timestamp", POOL_WELL_KNOWN_TIMESTAMP},
	{"google.protobuf.UInt32Value", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.UInt64Value", POOL_WELL_KNOWN_WRAPPER},
	{"google.protobuf.Value", POOL_WELL_KNOWN_VALUE},
};

static enum pool_well_known well_known_kind(const char *full_name)
{
	if (strncmp(full_name, "google.protobuf.", 16) != 0)
		return POOL_WELL_KNOWN_NONE;
	for (size_t i = 0; i < sizeof(well_known) / sizeof(well_known[0]); i++)
		if (!strcmp(well_known[i].name, full_name))
			return well_known[i].kind;
	return POOL_WELL_KNOWN_NONE;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct pool_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static void declare_extension_ranges(struct linker *l, struct pool_message *m,
				     const MessageProto *p)
{
	struct pool_range *ranges;

	m->extension_range_count = (uint32_t)p->n_extension_range;
	m->is_extendable = m->extension_range_count > 0;
	if (!m->is_extendable)
		return;
	ranges = arena_alloc(arena_of(l), m->extension_range_count * sizeof(*ranges));
	for (uint32_t i = 0; i < m->extension_range_count; i++)
		ranges[i] = (struct pool_range){p->extension_range[i]->start,
						(int64_t)p->extension_range[i]->end - 1};
	qsort(ranges, m->extension_range_count, sizeof(*ranges), compare_ranges);
	m->extension_ranges = ranges;
}

static enum status declare_oneofs(struct linker *l, struct pool_message *m,
				  const MessageProto *p)
{
	struct pool_oneof *oneofs =
		arena_zalloc(arena_of(l), p->n_oneof_decl * sizeof(*oneofs));

	m->oneofs = oneofs;
	m->oneof_count = (uint32_t)p->n_oneof_decl;
	for (uint32_t i = 0; i < m->oneof_count; i++) {
		const char *full = "";
		enum status status =
			declare_name(l, m->full_name, m, p->oneof_decl[i]->name,
				     (struct symbol){SYMBOL_ONEOF, i, NULL, m}, &full);

		if (status != STATUS_OK)
			return status;
		oneofs[i].name_len = (uint32_t)strlen(p->oneof_decl[i]->name);
		oneofs[i].name = full + strlen(full) - oneofs[i].name_len;
	}
	return STATUS_OK;
}

static enum status declare_extensions(struct linker *l, const char *scope,
				      const struct pool_message *parent, size_t count,
				      FieldProto *const *protos)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pool_field *f = &l->extensions[l->extension_count];
		enum status status;

		l->extension_protos[l->extension_count++] = protos[i];
		f->index = f->declaration_index = i;
		f->parent = parent;
		f->is_extension = true;
		status = declare_name(l, scope, parent, protos[i]->name,
				      (struct symbol){SYMBOL_EXTENSION, i, NULL, f},
				      &f->full_name);
		if (status == STATUS_OK)
			status = declare_field(l, f, protos[i]);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static int nesting(const struct pool_message *m)
{
	int depth = 0;

	for (; m; m = m->parent)
		depth++;
	return depth;
}

static void set_message_header(struct pool_message *m, const MessageProto *p)
{
	m->name = m->full_name + strlen(m->full_name) - strlen(p->name);
	m->well_known = (uint8_t)well_known_kind(m->full_name);
	m->is_map_entry = p->options && p->options->map_entry;
	m->is_message_set = p->options && p->options->message_set_wire_format;
	m->has_nested = p->n_nested_type || p->n_enum_type || p->n_extension;
}

/* Recursion is as deep as the messages nest: at most LINK_MAX_NESTING. */
static enum status declare_message(struct linker *l, const char *scope,
				   const struct pool_message *parent, uint32_t index,
				   const MessageProto *p)
{
	struct pool_message *m = &l->messages[l->message_count];
	enum status status;

	l->message_protos[l->message_count++] = p;
	m->file = &l->unit->file;
	m->parent = parent;
	m->index = index;
	status = declare_name(l, scope, parent, p->name,
			      (struct symbol){SYMBOL_MESSAGE, index, NULL, m}, &m->full_name);
	if (status == STATUS_OK && nesting(m) > LINK_MAX_NESTING)
		status = link_fail(l, m->full_name, "messages are nested more than %d deep",
				   LINK_MAX_NESTING);
	if (status != STATUS_OK)
		return status;
	set_message_header(m, p);
	declare_extension_ranges(l, m, p);
	status = declare_fields(l, m, p);
	if (status == STATUS_OK)
		status = declare_oneofs(l, m, p);
	for (uint32_t i = 0; status == STATUS_OK && i < p->n_enum_type; i++)
		status = declare_enum(l, m->full_name, m, i, p->enum_type[i]);
	for (uint32_t i = 0; status == STATUS_OK && i < p->n_nested_type; i++)
		status = declare_message(l, m->full_name, m, i, p->nested_type[i]);
	if (status == STATUS_OK)
		status = declare_extensions(l, m->full_name, m, p->n_extension, p->extension);
	return status;
}

/* -------------------------------------------------------------- services */

static int compare_method_names(const void *a, const void *b)
{
	const struct pool_method *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static enum status sort_methods(struct linker *l, struct pool_service *s)
{
	const struct pool_method **order =
		arena_alloc(l->scratch, s->method_count * sizeof(struct pool_method *));
	uint32_t *by_name = arena_alloc(arena_of(l), s->method_count * sizeof(*by_name));

	for (uint32_t i = 0; i < s->method_count; i++)
		order[i] = &s->methods[i];
	qsort(order, s->method_count, sizeof(struct pool_method *), compare_method_names);
	for (uint32_t i = 0; i < s->method_count; i++) {
		if (i && !strcmp(order[i - 1]->name, order[i]->name))
			return link_already_defined(l, order[i]->full_name, s->file);
		by_name[i] = order[i]->index;
	}
	s->by_name = by_name;
	return STATUS_OK;
}

static enum status declare_service(struct linker *l, uint32_t index, const ServiceProto *p)
{
	struct pool_service *s = &l->services[index];
	struct pool_method *methods = arena_zalloc(arena_of(l), p->n_method * sizeof(*methods));
	enum status status;

	s->file = &l->unit->file;
	s->index = index;
	status = declare_name(l, l->unit->file.package, NULL, p->name,
			      (struct symbol){SYMBOL_SERVICE, index, NULL, s}, &s->full_name);
	if (status != STATUS_OK)
		return status;
	s->name = s->full_name + strlen(s->full_name) - strlen(p->name);
	s->methods = methods;
	s->method_count = (uint32_t)p->n_method;
	for (uint32_t i = 0; i < s->method_count; i++) {
		methods[i].service = s;
		methods[i].index = i;
		status = join(l, s->full_name, p->method[i]->name, &methods[i].full_name);
		if (status != STATUS_OK)
			return status;
		methods[i].name = methods[i].full_name + strlen(s->full_name) + 1;
	}
	return sort_methods(l, s);
}

/* ------------------------------------------------------------------ file */

struct counts {
	size_t messages, enums, extensions;
	size_t symbols; /* that enter the pool */
	size_t members; /* that do not */
};

static void count_enums(struct counts *c, size_t count, EnumProto *const *enums)
{
	c->enums += count;
	for (size_t i = 0; i < count; i++)
		c->symbols += 1 + enums[i]->n_value;
}

static void count_messages(struct counts *c, size_t count, MessageProto *const *messages)
{
	for (size_t i = 0; i < count; i++) {
		const MessageProto *p = messages[i];

		c->messages++;
		/* An extension is entered by its name and by its number. */
		c->symbols += 1 + p->n_oneof_decl + 2 * p->n_extension;
		c->members += p->n_field;
		c->extensions += p->n_extension;
		count_enums(c, p->n_enum_type, p->enum_type);
		count_messages(c, p->n_nested_type, p->nested_type);
	}
}

static enum status make_room(struct linker *l)
{
	const Google__Protobuf__FileDescriptorProto *p = l->proto;
	struct counts c = {.extensions = p->n_extension,
			   .symbols = 2 * p->n_extension + p->n_service + 1};
	struct pool_file *file = &l->unit->file;
	struct arena *a = arena_of(l);

	count_messages(&c, p->n_message_type, p->message_type);
	count_enums(&c, p->n_enum_type, p->enum_type);
	for (size_t i = 0; i < p->n_service; i++)
		c.members += p->service[i]->n_method;
	for (const char *dot = file->package; *dot; dot++)
		c.symbols += *dot == '.';
	if (c.symbols + c.members > LINK_MAX_SYMBOLS) {
		link_fail(l, "", "a file may define at most %d names", LINK_MAX_SYMBOLS);
		if (l->err)
			l->err->status = STATUS_RESOURCE_EXHAUSTED;
		return STATUS_RESOURCE_EXHAUSTED;
	}
	file->messages = l->messages = arena_zalloc(a, c.messages * sizeof(*l->messages));
	file->enums = l->enums = arena_zalloc(a, c.enums * sizeof(*l->enums));
	file->extensions = l->extensions =
		arena_zalloc(a, c.extensions * sizeof(*l->extensions));
	file->services = l->services = arena_zalloc(a, p->n_service * sizeof(*l->services));
	file->message_count = (uint32_t)c.messages;
	file->enum_count = (uint32_t)c.enums;
	file->extension_count = (uint32_t)c.extensions;
	file->service_count = (uint32_t)p->n_service;
	l->message_protos = arena_alloc(l->scratch, c.messages * sizeof(*l->message_protos));
	l->enum_protos = arena_alloc(l->scratch, c.enums * sizeof(*l->enum_protos));
	l->extension_protos =
		arena_alloc(l->scratch, c.extensions * sizeof(*l->extension_protos));
	l->unit->symbols = arena_alloc(a, c.symbols * sizeof(*l->unit->symbols));
	return STATUS_OK;
}

static enum status declare_package(struct linker *l)
{
	const char *package = l->unit->file.package;
	int dots = 0;

	if (strlen(package) > LINK_MAX_PACKAGE_BYTES)
		return link_fail(l, "", "the package's name is longer than %d bytes",
				 LINK_MAX_PACKAGE_BYTES);
	for (size_t at = 0; package[at];) {
		const size_t part = strcspn(package + at, ".");
		const struct symbol *there;
		const char *name;

		if (!is_name(package + at, part) ||
		    (package[at + part] && !package[at + part + 1]))
			return link_fail(l, "", "\"%s\" is not a package name", package);
		at += part;
		name = arena_strndup(arena_of(l), package, at);
		there = declare_symbol(l, name, (struct symbol){.kind = SYMBOL_PACKAGE});
		if (there && there->kind != SYMBOL_PACKAGE)
			return link_already_defined(l, name, there->file);
		dots += package[at] == '.';
		at += package[at] == '.';
	}
	if (dots > LINK_MAX_PACKAGE_DOTS)
		return link_fail(l, "", "the package's name has more than %d dots",
				 LINK_MAX_PACKAGE_DOTS);
	return STATUS_OK;
}

enum status declare_file(struct linker *l)
{
	const Google__Protobuf__FileDescriptorProto *p = l->proto;
	const char *package = l->unit->file.package;
	enum status status = make_room(l);

	if (status == STATUS_OK)
		status = declare_package(l);
	for (uint32_t i = 0; status == STATUS_OK && i < p->n_enum_type; i++)
		status = declare_enum(l, package, NULL, i, p->enum_type[i]);
	for (uint32_t i = 0; status == STATUS_OK && i < p->n_message_type; i++)
		status = declare_message(l, package, NULL, i, p->message_type[i]);
	if (status == STATUS_OK)
		status = declare_extensions(l, package, NULL, p->n_extension, p->extension);
	for (uint32_t i = 0; status == STATUS_OK && i < p->n_service; i++)
		status = declare_service(l, i, p->service[i]);
	return status;
}
