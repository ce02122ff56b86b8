#include "common/reflect/typed_collection.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/reflect/builtin.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__FileDescriptorProto FileProto;
typedef Google__Protobuf__MethodDescriptorProto MethodProto;
typedef Google__Protobuf__ServiceDescriptorProto ServiceProto;

#define SOURCE_FILE    "collector/collection_server.proto"
#define SOURCE_PACKAGE ".collector."
#define SOURCE_SERVICE "collector.CollectionService"

enum {
	NAMESPACE_FIELD = 1, /* of every request, as is what follows */
	COLLECTION_FIELD = 2,
	ANY_TYPE_URL = 1,
	ANY_VALUE = 2,
	MAX_MESSAGES = 32, /* that a service has */
};

static const char *const methods[] = {"Create", "Get",    "Update", "Delete",
				      "List",   "Search", "Watch"};
enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

struct typed_collections {
	struct pool *pool;
	FileProto *source;
	struct typed_method methods[METHODS];
};

/* -------------------------------------------------------------------- names */

static void add_escaped(struct strbuf *out, const char *name, bool is_service)
{
	const char *p = name;

	if (isdigit((unsigned char)*p))
		strbuf_addch(out, '_');
	else if (is_service)
		strbuf_addch(out, (char)toupper((unsigned char)*p++));
	for (; *p; p++) {
		if (*p == '_')
			strbuf_addstr(out, "__");
		else if (*p == '-' && is_service && islower((unsigned char)p[1]))
			strbuf_addch(out, (char)toupper((unsigned char)*++p));
		else if (*p == '-')
			strbuf_addstr(out, "_h");
		else
			strbuf_addch(out, *p);
	}
}

/* One character of the name may be two of the identifier. False: no such identifier. */
static bool take_escaped(const char **at, struct strbuf *out, bool is_first, bool is_service)
{
	char c = *(*at)++;

	if (c == '_' && **at == '_')
		strbuf_addch(out, *(*at)++);
	else if (c == '_' && **at == 'h') {
		strbuf_addch(out, '-');
		(*at)++;
	} else if (c == '_' && is_first && isdigit((unsigned char)**at))
		strbuf_addch(out, *(*at)++);
	else if (isupper((unsigned char)c) && is_service) {
		if (!is_first)
			strbuf_addch(out, '-');
		strbuf_addch(out, (char)tolower((unsigned char)c));
	} else if (islower((unsigned char)c) || isdigit((unsigned char)c))
		strbuf_addch(out, c);
	else
		return false;
	return true;
}

/* The name of the identifier of @len bytes, but only if it is that name's. */
static bool unescape(const char *identifier, size_t len, bool is_service,
		     char ret[NAMES_NAMESPACE_MAX_BYTES + 1])
{
	char *text AUTO_FREE = xstrndup(identifier, len);
	AUTO_STRBUF name = STRBUF_INIT;
	AUTO_STRBUF again = STRBUF_INIT;
	const char *at = text;

	while (*at)
		if (!take_escaped(&at, &name, at == text, is_service))
			return false;
	if (!name.len || name.len > NAMES_NAMESPACE_MAX_BYTES)
		return false;
	add_escaped(&again, strbuf_str(&name), is_service);
	memcpy(ret, name.buf, name.len + 1);
	return !strcmp(strbuf_str(&again), text);
}

void typed_collection_service(const char *ns, const char *name, struct strbuf *out)
{
	strbuf_addstr(out, TYPED_COLLECTION_PREFIX);
	add_escaped(out, ns, false);
	strbuf_addch(out, '.');
	add_escaped(out, name, true);
}

bool typed_collection_of(const char *service, struct typed_collection *ret)
{
	const size_t prefix = strlen(TYPED_COLLECTION_PREFIX);
	const char *ns = service + prefix, *dot;

	if (strncmp(service, TYPED_COLLECTION_PREFIX, prefix) != 0)
		return false;
	dot = strchr(ns, '.');
	return dot && unescape(ns, (size_t)(dot - ns), false, ret->ns) &&
	       unescape(dot + 1, strlen(dot + 1), true, ret->name);
}

/* -------------------------------------------------------------------- source */

static bool is_any(const struct pool_field *f)
{
	return f->type_message && f->type_message->well_known == POOL_WELL_KNOWN_ANY;
}

/* Is there an Any in it, or in what it holds of the same file? */
static bool holds_item(const struct pool_message *m)
{
	for (uint32_t i = 0; i < m->field_count; i++) {
		const struct pool_field *f = &m->fields[i];
		if (is_any(f) || (f->type_message && f->type_message->file == m->file &&
				  f->type_message != m && holds_item(f->type_message)))
			return true;
	}
	return false;
}

static void find_methods(struct typed_collections *t)
{
	const struct pool_service *s =
		pool_service(t->pool, SOURCE_SERVICE, strlen(SOURCE_SERVICE));

	for (int i = 0; i < METHODS; i++) {
		const struct pool_method *m = pool_method(s, methods[i], strlen(methods[i]));
		t->methods[i] = (struct typed_method){
			.path = xasprintf("/%s/%s", SOURCE_SERVICE, methods[i]),
			.request = m->input,
			.response = m->output,
			.takes_item = holds_item(m->input),
			.streams = m->server_streaming,
		};
	}
}

struct typed_collections *typed_collections_new(void)
{
	struct typed_collections *t = xcalloc(1, sizeof(*t));
	struct pool *empty = pool_new();
	const struct pool_file *file;
	struct error err;

	/* Built with this program: they link, or the build is broken. */
	if (pool_extend_set(empty, builtin_descriptor_set(), &t->pool, &err) != STATUS_OK)
		abort();
	pool_unref(empty);
	file = pool_file(t->pool, SOURCE_FILE, strlen(SOURCE_FILE));
	t->source = google__protobuf__file_descriptor_proto__unpack(NULL, file->bytes.size,
								    file->bytes.data);
	if (!t->source)
		abort();
	find_methods(t);
	return t;
}

void typed_collections_free(struct typed_collections *t)
{
	if (!t)
		return;
	for (int i = 0; i < METHODS; i++)
		free((char *)t->methods[i].path);
	google__protobuf__file_descriptor_proto__free_unpacked(t->source, NULL);
	pool_unref(t->pool);
	free(t);
}

const struct typed_method *typed_collection_method(struct typed_collections *t,
						   const char *name)
{
	for (int i = 0; i < METHODS; i++)
		if (!strcmp(methods[i], name))
			return &t->methods[i];
	return NULL;
}

/* --------------------------------------------------------------------- files */

/* A file being made of the source's parts; all in @arena. */
struct making {
	struct typed_collections *t;
	struct arena *arena;
	const char *package, *service;  /* "collections.shop", "Orders" */
	const char *item;               /* ".shop.v1.Order" */
	const char *made[MAX_MESSAGES]; /* the source's names of messages */
	MessageProto *messages[MAX_MESSAGES];
	size_t count;
};

static const MessageProto *source_message(const struct making *k, const char *name)
{
	for (size_t i = 0; i < k->t->source->n_message_type; i++)
		if (!strcmp(k->t->source->message_type[i]->name, name))
			return k->t->source->message_type[i];
	return NULL;
}

/* ".collections.shop.Orders_GetRequest": no service's name has "_" before a capital. */
static char *typed_name(const struct making *k, const char *message)
{
	return arena_printf(k->arena, ".%s.%s_%s", k->package, k->service, message);
}

static void make_message(struct making *k, const char *name);

/* The type of a field as the typed message has it; NULL: as it is. */
static char *typed_type(struct making *k, const char *message, const FieldProto *f)
{
	const size_t package = strlen(SOURCE_PACKAGE), len = strlen(message);
	const char *type = f->type_name, *name;
	const struct pool_message *m;

	if (!type || f->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE)
		return NULL;
	if (!strcmp(type, ".google.protobuf.Any"))
		return (char *)k->item;
	if (strncmp(type, SOURCE_PACKAGE, package) != 0)
		return NULL;
	name = type + package;
	if (!strncmp(name, message, len) && name[len] == '.') /* the entry of a map */
		return arena_printf(k->arena, "%s%s", typed_name(k, message), name + len);
	m = pool_message(k->t->pool, type + 1, strlen(type + 1));
	if (!source_message(k, name) || !m || !holds_item(m))
		return NULL;
	make_message(k, name);
	return typed_name(k, name);
}

static bool names_collection(const MessageProto *m, const FieldProto *f)
{
	size_t len = strlen(m->name), suffix = strlen("Request");

	return len > suffix && !strcmp(m->name + len - suffix, "Request") &&
	       (f->number == NAMESPACE_FIELD || f->number == COLLECTION_FIELD);
}

static void make_message(struct making *k, const char *name)
{
	const MessageProto *from = source_message(k, name);
	MessageProto *to = arena_memdup(k->arena, from, sizeof(*from));

	for (size_t i = 0; i < k->count; i++)
		if (!strcmp(k->made[i], name))
			return;
	if (k->count == MAX_MESSAGES)
		abort(); /* our own file: the tests make one of every collection */
	k->made[k->count] = name;
	k->messages[k->count++] = to;
	to->name = arena_printf(k->arena, "%s_%s", k->service, name);
	to->field = arena_alloc(k->arena, (from->n_field + 1) * sizeof(FieldProto *));
	to->n_field = 0;
	for (size_t i = 0; i < from->n_field; i++) {
		FieldProto *f = arena_memdup(k->arena, from->field[i], sizeof(*from->field[i]));
		char *type = names_collection(from, f) ? NULL : typed_type(k, name, f);
		if (type)
			f->type_name = type;
		if (!names_collection(from, f))
			to->field[to->n_field++] = f;
	}
}

static MethodProto *make_method(struct making *k, const char *name)
{
	const ServiceProto *s = k->t->source->service[0];
	MethodProto *m = NULL;

	for (size_t i = 0; i < s->n_method; i++)
		if (!strcmp(s->method[i]->name, name))
			m = arena_memdup(k->arena, s->method[i], sizeof(*m));
	if (!m)
		abort(); /* our own file has it */
	for (int i = 0; i < 2; i++) {
		char **type = i ? &m->output_type : &m->input_type;
		const char *message = *type + strlen(SOURCE_PACKAGE);
		make_message(k, message);
		*type = typed_name(k, message);
	}
	return m;
}

static bool is_listed(char *const *list, size_t count, const char *item)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], item))
			return true;
	return false;
}

/* What the source imports, the source, and the file of the collection's type. */
static void set_imports(struct making *k, FileProto *file, const char *import)
{
	const FileProto *source = k->t->source;
	const char *const more[] = {SOURCE_FILE, import};

	file->dependency = arena_alloc(k->arena, (source->n_dependency + 2) * sizeof(char *));
	for (size_t i = 0; i < source->n_dependency; i++)
		file->dependency[file->n_dependency++] = source->dependency[i];
	for (int i = 0; i < 2; i++)
		if (!is_listed(file->dependency, file->n_dependency, more[i]))
			file->dependency[file->n_dependency++] = (char *)more[i];
}

static void pack(const FileProto *file, struct strbuf *out)
{
	size_t size = google__protobuf__file_descriptor_proto__get_packed_size(file);

	strbuf_grow(out, size);
	google__protobuf__file_descriptor_proto__pack(file, (uint8_t *)out->buf + out->len);
	out->len += size;
	out->buf[out->len] = '\0';
}

void typed_collection_file(struct typed_collections *t, const char *ns, const char *name,
			   const char *message, const char *import, struct strbuf *out)
{
	FileProto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
	ServiceProto service = GOOGLE__PROTOBUF__SERVICE_DESCRIPTOR_PROTO__INIT;
	ServiceProto *services[] = {&service};
	MethodProto *made[METHODS];
	AUTO_STRBUF full_name = STRBUF_INIT;
	struct making k = {.t = t};
	struct arena arena;

	arena_init(&arena, 0);
	k.arena = &arena;
	typed_collection_service(ns, name, &full_name);
	k.package = arena_strndup(&arena, full_name.buf,
				  (size_t)(strrchr(full_name.buf, '.') - full_name.buf));
	k.service = strrchr(full_name.buf, '.') + 1;
	k.item = arena_printf(&arena, ".%s", message);
	file.name = arena_printf(&arena, TYPED_COLLECTION_FILES "%s/%s.proto", ns, name);
	file.package = (char *)k.package;
	file.syntax = (char *)"proto3";
	set_imports(&k, &file, import);
	for (int i = 0; i < METHODS; i++)
		made[i] = make_method(&k, methods[i]);
	service.name = (char *)k.service;
	service.method = made;
	service.n_method = METHODS;
	file.service = services;
	file.n_service = 1;
	file.message_type = k.messages;
	file.n_message_type = k.count;
	pack(&file, out);
	arena_release(&arena);
}

/* --------------------------------------------------------------- translation */

/* From typed to CollectionService's, or back. */
struct translation {
	const char *message; /* the item's type; NULL: from Any to typed */
	struct strbuf *out;
};

static void put_any(const struct translation *t, uint32_t number, struct bytes value)
{
	size_t mark = wire_open(t->out, number), url;

	url = wire_open(t->out, ANY_TYPE_URL);
	strbuf_addstr(t->out, "type.googleapis.com/");
	strbuf_addstr(t->out, t->message);
	wire_close(t->out, url);
	wire_add_bytes(t->out, ANY_VALUE, value);
	wire_close(t->out, mark);
}

static void put_item(const struct translation *t, const struct wire_field *f)
{
	struct bytes value = bytes_of(NULL, 0);

	if (t->message) {
		put_any(t, f->number, f->data);
		return;
	}
	(void)wire_find_bytes(f->data, ANY_VALUE, &value); /* none: an empty message */
	wire_add_bytes(t->out, f->number, value);
}

/* All occurrences of a singular message are one message: their bytes after each other. */
static void put_merged(const struct translation *t, struct bytes in, uint32_t number)
{
	struct wire_cursor c = wire_cursor_of(in);
	AUTO_STRBUF all = STRBUF_INIT;
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == number && f.type == WIRE_BYTES)
			strbuf_add(&all, f.data.data, f.data.size);
	put_any(t, number, bytes_of(all.buf, all.len));
}

/* False: it is malformed. */
static bool translate(const struct translation *t, const struct pool_message *m,
		      struct bytes in, uint32_t leave_out_to)
{
	struct wire_cursor c = wire_cursor_of(in);
	bool merged = false;
	struct wire_field w;

	while (wire_next(&c, &w)) {
		const struct pool_field *f = pool_declared_field(m, w.number);
		if (w.number <= leave_out_to)
			continue;
		if (!f || w.type != WIRE_BYTES || !f->type_message) {
			strbuf_add(t->out, w.raw.data, w.raw.size);
		} else if (is_any(f) && t->message && !f->repeated) {
			if (!merged)
				put_merged(t, in, w.number);
			merged = true;
		} else if (is_any(f)) {
			put_item(t, &w);
		} else if (f->type_message->file == m->file && holds_item(f->type_message)) {
			size_t mark = wire_open(t->out, w.number);
			if (!translate(t, f->type_message, w.data, 0))
				return false;
			wire_close(t->out, mark);
		} else {
			strbuf_add(t->out, w.raw.data, w.raw.size);
		}
	}
	return !c.malformed;
}

enum status typed_collection_request(const struct typed_method *m,
				     const struct typed_collection *collection,
				     const char *message, struct bytes request,
				     struct strbuf *out, struct error *err)
{
	const struct translation t = {message, out};

	wire_add_string(out, NAMESPACE_FIELD, collection->ns);
	wire_add_string(out, COLLECTION_FIELD, collection->name);
	/* Fields of those numbers are not the typed request's: they must not win. */
	return translate(&t, m->request, request, COLLECTION_FIELD)
		       ? STATUS_OK
		       : error_set(err, STATUS_INVALID_ARGUMENT,
				   "the request is no protobuf message");
}

enum status typed_collection_response(const struct typed_method *m, struct bytes response,
				      struct strbuf *out, struct error *err)
{
	const struct translation t = {NULL, out};

	return translate(&t, m->response, response, 0)
		       ? STATUS_OK
		       : error_set(err, STATUS_INTERNAL, "the repo's answer is no message");
}
