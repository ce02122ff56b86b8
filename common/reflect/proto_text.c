#include "common/reflect/proto_text.h"

#include <string.h>

#include "common/reflect/declaration.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_printer.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7,
	FILE_OPTIONS = 8,
	FILE_PUBLIC_DEPENDENCY = 10,
	FILE_WEAK_DEPENDENCY = 11,
	MESSAGE_FIELD = 2,
	MESSAGE_MESSAGE = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION = 6,
	SERVICE_METHOD = 2,
	SERVICE_OPTIONS = 3,
	METHOD_OPTIONS = 4,
};

/* ------------------------------------------------------------------ services */

static void put_method(struct proto_printer *p, const struct pool_method *m)
{
	struct bytes options;

	proto_printer_comments(p);
	proto_printer_indent(p);
	strbuf_addf(p->out, "rpc %s(%s", m->name, m->client_streaming ? "stream " : "");
	proto_printer_type(p, m->service->full_name, m->input->full_name);
	strbuf_addf(p->out, ") returns (%s", m->server_streaming ? "stream " : "");
	proto_printer_type(p, m->service->full_name, m->output->full_name);
	strbuf_addch(p->out, ')');
	if (!wire_find_bytes(declaration_of_method(m), METHOD_OPTIONS, &options)) {
		strbuf_addstr(p->out, ";\n");
		return;
	}
	strbuf_addstr(p->out, " {\n");
	p->depth++;
	proto_printer_option_lines(p, "google.protobuf.MethodOptions", options);
	proto_printer_close(p);
}

static void put_service(struct proto_printer *p, const struct pool_service *s)
{
	struct bytes options;

	proto_printer_comments(p);
	strbuf_addf(p->out, "service %s {\n", s->name);
	p->depth++;
	if (wire_find_bytes(declaration_of_service(s), SERVICE_OPTIONS, &options))
		proto_printer_option_lines(p, "google.protobuf.ServiceOptions", options);
	for (uint32_t i = 0; i < s->method_count; i++) {
		size_t mark = proto_printer_enter(p, SERVICE_METHOD, i);
		put_method(p, &s->methods[i]);
		proto_printer_leave(p, mark);
	}
	proto_printer_close(p);
}

/* ---------------------------------------------------------------------- files */

static bool is_among(struct bytes file, uint32_t number, uint32_t index)
{
	struct wire_cursor c = wire_cursor_of(file);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const uint8_t *at, *end;
		uint64_t value;
		if (f.number != number)
			continue;
		if (f.type == WIRE_VARINT && f.value == index)
			return true;
		if (f.type != WIRE_BYTES)
			continue;
		for (at = f.data.data, end = at + f.data.size; at && at < end;) {
			at = wire_read_varint(at, end, &value);
			if (at && value == index)
				return true;
		}
	}
	return false;
}

static void put_imports(struct proto_printer *p)
{
	const struct pool_file *f = p->file;

	for (uint32_t i = 0; i < f->dependency_count; i++)
		strbuf_addf(p->out, "%simport %s\"%s\";\n", i ? "" : "\n",
			    is_among(f->bytes, FILE_PUBLIC_DEPENDENCY, i) ? "public "
			    : is_among(f->bytes, FILE_WEAK_DEPENDENCY, i) ? "weak "
									  : "",
			    f->dependencies[i]->name);
}

static void put_header(struct proto_printer *p)
{
	const struct pool_file *file = p->file;
	struct bytes options;

	strbuf_addf(p->out, "syntax = \"%s\";\n", file->is_proto3 ? "proto3" : "proto2");
	if (*file->package)
		strbuf_addf(p->out, "\npackage %s;\n", file->package);
	put_imports(p);
	if (wire_find_bytes(file->bytes, FILE_OPTIONS, &options)) {
		strbuf_addch(p->out, '\n');
		proto_printer_option_lines(p, "google.protobuf.FileOptions", options);
	}
}

void proto_text_header(const struct pool *pool, const struct pool_file *file,
		       struct strbuf *out)
{
	struct proto_printer p;

	proto_printer_begin_bare(&p, pool, file, out);
	put_header(&p);
	proto_printer_end(&p);
}

void proto_text_file(const struct pool *pool, const struct pool_file *file, struct strbuf *out)
{
	struct proto_printer p;

	proto_printer_begin(&p, pool, file, out);
	put_header(&p);
	proto_printer_nested(&p, NULL);
	proto_printer_extensions(&p, NULL);
	for (uint32_t i = 0; i < file->service_count; i++) {
		size_t mark = proto_printer_enter(&p, FILE_SERVICE, i);
		strbuf_addch(out, '\n');
		put_service(&p, &file->services[i]);
		proto_printer_leave(&p, mark);
	}
	proto_printer_end(&p);
}

/* -------------------------------------------------------------------- symbols */

static void enter_message(struct proto_printer *p, const struct pool_message *m)
{
	if (m->parent)
		enter_message(p, m->parent);
	(void)proto_printer_enter(p, m->parent ? MESSAGE_MESSAGE : FILE_MESSAGE, m->index);
}

static bool print_type(struct proto_printer *p, const char *name, size_t len)
{
	const struct pool_message *m = pool_message(p->pool, name, len);
	const struct pool_enum *e = pool_enum(p->pool, name, len);
	const struct pool_service *s = pool_service(p->pool, name, len);

	if (m) {
		enter_message(p, m);
		proto_printer_message(p, m);
	} else if (e) {
		if (e->parent)
			enter_message(p, e->parent);
		(void)proto_printer_enter(p, e->parent ? MESSAGE_ENUM : FILE_ENUM, e->index);
		proto_printer_enum(p, e);
	} else if (s) {
		(void)proto_printer_enter(p, FILE_SERVICE, s->index);
		put_service(p, s);
	}
	return m || e || s;
}

static bool print_extension(struct proto_printer *p, const char *name, size_t len)
{
	const struct pool_field *f = pool_extension(p->pool, name, len);

	if (!f)
		return false;
	if (f->parent)
		enter_message(p, f->parent);
	(void)proto_printer_enter(p, f->parent ? MESSAGE_EXTENSION : FILE_EXTENSION, f->index);
	strbuf_addf(p->out, "extend %s {\n", f->message->full_name);
	p->depth++;
	proto_printer_field(p, f->parent ? f->parent->full_name : p->file->package, f);
	proto_printer_close(p);
	return true;
}

/* A field of a message, or a method of a service. */
static bool print_member(struct proto_printer *p, const char *name, size_t len)
{
	const struct pool_message *m;
	const struct pool_service *s;
	const struct pool_field *f;
	const struct pool_method *method;
	size_t dot = len;

	while (dot && name[dot] != '.')
		dot--;
	m = pool_message(p->pool, name, dot);
	s = pool_service(p->pool, name, dot);
	f = m ? pool_field_by_name(m, name + dot + 1, len - dot - 1) : NULL;
	method = s ? pool_method(s, name + dot + 1, len - dot - 1) : NULL;
	if (f) {
		enter_message(p, m);
		(void)proto_printer_enter(p, MESSAGE_FIELD, f->declaration_index);
		proto_printer_field(p, m->full_name, f);
	} else if (method) {
		(void)proto_printer_enter(p, FILE_SERVICE, s->index);
		(void)proto_printer_enter(p, SERVICE_METHOD, method->index);
		put_method(p, method);
	}
	return f || method;
}

/* Whatever has the name, by a printer that has begun; ends it. */
static enum status print_symbol(struct proto_printer *p, const char *name, size_t len,
				struct error *err)
{
	const bool found = print_type(p, name, len) || print_extension(p, name, len) ||
			   print_member(p, name, len);

	proto_printer_end(p);
	return found ? STATUS_OK
		     : error_set(err, STATUS_NOT_FOUND,
				 "%.*s is not a message, enum, service, method or field",
				 (int)len, name);
}

enum status proto_text_symbol(const struct pool *pool, const char *name, size_t len,
			      struct strbuf *out, struct error *err)
{
	const struct pool_file *file = pool_file_of_symbol(pool, name, len);
	struct proto_printer p;

	if (!file)
		return error_set(err, STATUS_NOT_FOUND, "there is no %.*s", (int)len, name);
	proto_printer_begin(&p, pool, file, out);
	return print_symbol(&p, name, len, err);
}

enum status proto_text_bare_symbol(const struct pool *pool, const char *name, size_t len,
				   struct strbuf *out, struct error *err)
{
	const struct pool_file *file = pool_file_of_symbol(pool, name, len);
	struct proto_printer p;

	if (!file)
		return error_set(err, STATUS_NOT_FOUND, "there is no %.*s", (int)len, name);
	proto_printer_begin_bare(&p, pool, file, out);
	return print_symbol(&p, name, len, err);
}
