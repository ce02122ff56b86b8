#include "services/registry/import.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/registry/catalog.h"
#include "services/registry/reflector.h"

/* Field numbers: of FileDescriptorProto, and of the two answers. */
enum {
	FILE_NAME = 1,
	FILE_PACKAGE = 2,
	FILE_DEPENDENCY = 3,
	FILE_MESSAGE = 4,
	FILE_SERVICE = 6,
	SERVICE_NAME = 1, /* ServiceDescriptorProto's and ServiceResponse's */
	MESSAGE_NAME = 1,
	MESSAGE_NESTED = 3,
	MESSAGE_EXTENSION_RANGE = 5,
	ANSWERED_SERVICE = 1,
	ANSWERED_FILE = 1,
	ANSWERED_NUMBER = 2,
	ASKED_MESSAGE = 1, /* ExtensionRequest's */
	ASKED_NUMBER = 2,
};

enum { MAX_NESTING = 32 }; /* of messages; the linker refuses more */

struct file {
	struct bytes bytes;
	bool is_needed; /* and so among the needed ones */
};

struct service {
	const char *name;
	struct file *file; /* that declares it; NULL: not told yet */
};

struct import {
	struct reflector *from;
	const struct pool *builtins;
	struct arena *arena;
	struct map services;        /* full name -> struct service */
	struct service **in_order;  /* the same */
	struct map files;           /* name -> struct file: all that came */
	struct file **needed;       /* those that a service needs, in the order found */
	size_t needed_count, bytes; /* bytes: of all files */
	size_t extension_count;     /* that it told of */
	struct error *err;
};

static enum status too_much(struct import *im, const char *what, int most)
{
	return error_set(
		im->err, STATUS_RESOURCE_EXHAUSTED,
		"the server has more than %d %s: import some of its services at a time", most,
		what);
}

static enum status wrong(struct import *im, const char *what, struct bytes name)
{
	char shown[REFLECTOR_SHOWN_BYTES];

	return error_set(im->err, STATUS_FAILED_PRECONDITION, "the server %s \"%s\"", what,
			 reflector_show(name, shown));
}

/* ------------------------------------------------------------------ services */

static enum status add_service(struct import *im, const char *name)
{
	struct service *s;

	if (map_get(&im->services, name))
		return STATUS_OK;
	if (im->services.count == IMPORT_MAX_SERVICES)
		return too_much(im, "services", IMPORT_MAX_SERVICES);
	s = arena_zalloc(im->arena, sizeof(*s));
	s->name = name;
	im->in_order[im->services.count] = s;
	map_put(&im->services, name, s);
	return STATUS_OK;
}

static enum status add_listed(struct import *im, struct bytes listed)
{
	struct bytes name;
	const char *text;

	if (!wire_find_bytes(listed, SERVICE_NAME, &name) || memchr(name.data, '\0', name.size))
		return wrong(im, "lists a service without a name", bytes_of(NULL, 0));
	text = arena_strndup(im->arena, (const char *)name.data, name.size);
	if (names_check_symbol(text, "service_names", im->err) != STATUS_OK)
		return wrong(im, "lists a service whose name is none:", name);
	/* Of gRPC itself, or ours: everybody has them. */
	return names_symbol_is_reserved(text) ? STATUS_OK : add_service(im, text);
}

static enum status list_services(struct import *im)
{
	struct wire_field f;
	struct wire_cursor c;
	struct bytes list;
	enum status status = reflector_ask(im->from, REFLECTOR_SERVICES, bytes_of_string("*"),
					   &list, im->err);

	if (status == STATUS_NOT_FOUND)
		im->err->status = status = STATUS_FAILED_PRECONDITION;
	if (status != STATUS_OK)
		return status;
	c = wire_cursor_of(list);
	while (status == STATUS_OK && wire_next(&c, &f))
		if (f.number == ANSWERED_SERVICE && f.type == WIRE_BYTES)
			status = add_listed(im, f.data);
	return status;
}

static enum status choose_services(struct import *im, const char *const *names, size_t count)
{
	enum status status = STATUS_OK;

	im->in_order = arena_alloc(im->arena, IMPORT_MAX_SERVICES * sizeof(*im->in_order));
	if (!count)
		return list_services(im);
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = add_service(im, names[i]);
	return status;
}

/* --------------------------------------------------------------------- files */

/* The services that are looked for and @file declares. */
static void note_services(struct import *im, struct file *file)
{
	struct wire_cursor c = wire_cursor_of(file->bytes);
	AUTO_STRBUF full = STRBUF_INIT;
	struct bytes package = {0}, name;
	struct wire_field f;
	size_t scope;

	if (wire_find_bytes(file->bytes, FILE_PACKAGE, &package) && package.size) {
		strbuf_add(&full, package.data, package.size);
		strbuf_addch(&full, '.');
	}
	scope = full.len;
	while (wire_next(&c, &f)) {
		struct service *s;
		if (f.number != FILE_SERVICE || f.type != WIRE_BYTES ||
		    !wire_find_bytes(f.data, SERVICE_NAME, &name))
			continue;
		strbuf_truncate(&full, scope);
		strbuf_add(&full, name.data, name.size);
		s = map_get_n(&im->services, full.buf, full.len);
		if (s && !s->file)
			s->file = file;
	}
}

static enum status take_file(struct import *im, struct bytes bytes)
{
	struct bytes name;
	struct file *file;

	if (!wire_find_bytes(bytes, FILE_NAME, &name) || !name.size)
		return wrong(im, "sent a file without a name", bytes_of(NULL, 0));
	if (pool_file(im->builtins, (const char *)name.data, name.size))
		return STATUS_OK;
	file = map_get_n(&im->files, (const char *)name.data, name.size);
	if (file)
		return bytes_equal(file->bytes, bytes)
			       ? STATUS_OK
			       : wrong(im, "sent two different files named", name);
	if (im->files.count == CATALOG_MAX_FILES)
		return too_much(im, "files", CATALOG_MAX_FILES);
	if (bytes.size > IMPORT_MAX_BYTES - im->bytes)
		return too_much(im, "bytes of descriptors", IMPORT_MAX_BYTES);
	im->bytes += bytes.size;
	file = arena_zalloc(im->arena, sizeof(*file));
	file->bytes = bytes_of(arena_memdup(im->arena, bytes.data, bytes.size), bytes.size);
	map_put_n(&im->files, (const char *)name.data, name.size, file);
	note_services(im, file);
	return STATUS_OK;
}

/*
 * What is asked for comes first, if *ret_first (may be NULL) is one that is not built
 * in. NOT_FOUND: the server says that it has none.
 */
static enum status ask_for_files(struct import *im, enum reflector_question question,
				 struct bytes about, struct file **ret_first)
{
	struct wire_field f;
	struct wire_cursor c;
	struct bytes files;
	enum status status = reflector_ask(im->from, question, about, &files, im->err);

	if (status != STATUS_OK)
		return status;
	c = wire_cursor_of(files);
	while (status == STATUS_OK && wire_next(&c, &f)) {
		struct bytes name;
		if (f.number != ANSWERED_FILE || f.type != WIRE_BYTES)
			continue;
		status = take_file(im, f.data);
		if (status == STATUS_OK && ret_first &&
		    wire_find_bytes(f.data, FILE_NAME, &name))
			*ret_first = map_get_n(&im->files, (const char *)name.data, name.size);
		ret_first = NULL;
	}
	return status;
}

static void need(struct import *im, struct file *file)
{
	if (file->is_needed)
		return;
	file->is_needed = true;
	im->needed[im->needed_count++] = file;
}

static enum status find_service(struct import *im, struct service *s, bool is_listed)
{
	const struct bytes name = bytes_of_string(s->name);
	enum status status = STATUS_OK;

	if (!s->file)
		status = ask_for_files(im, REFLECTOR_SYMBOL, name, NULL);
	if (status == STATUS_NOT_FOUND && !is_listed) {
		error_field(im->err, "service_names", "the server has no service %s", s->name);
		return im->err->status = STATUS_NOT_FOUND;
	}
	if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !s->file))
		return wrong(im, "cannot tell the file that declares the service", name);
	if (status == STATUS_OK)
		need(im, s->file);
	return status;
}

static enum status find_import(struct import *im, struct bytes name)
{
	const char *text = (const char *)name.data;
	struct file *file;
	enum status status = STATUS_OK;

	if (!name.size || pool_file(im->builtins, text, name.size))
		return STATUS_OK; /* the linker blames an empty one */
	file = map_get_n(&im->files, text, name.size);
	if (!file) {
		status = ask_for_files(im, REFLECTOR_FILE, name, NULL);
		file = map_get_n(&im->files, text, name.size);
	}
	if (status == STATUS_NOT_FOUND || (status == STATUS_OK && !file))
		return wrong(im, "has files that import one which it cannot tell:", name);
	if (status == STATUS_OK)
		need(im, file);
	return status;
}

static enum status find_imports_of(struct import *im, const struct file *file)
{
	struct wire_cursor c = wire_cursor_of(file->bytes);
	enum status status = STATUS_OK;
	struct wire_field f;

	while (status == STATUS_OK && wire_next(&c, &f))
		if (f.number == FILE_DEPENDENCY && f.type == WIRE_BYTES)
			status = find_import(im, f.data);
	return status;
}

/* ---------------------------------------------------------------- extensions
 * Nothing imports the files that extend a message, and servers need not know them:
 * one that says so is believed.
 */
static enum status find_extension(struct import *im, struct bytes message, uint64_t number)
{
	AUTO_STRBUF request = STRBUF_INIT;
	struct file *file = NULL;
	enum status status;

	wire_add_bytes(&request, ASKED_MESSAGE, message);
	wire_add_uint(&request, ASKED_NUMBER, number);
	status = ask_for_files(im, REFLECTOR_EXTENSION, bytes_of(request.buf, request.len),
			       &file);
	if (status == STATUS_OK && file)
		need(im, file);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* An ExtensionNumberResponse's numbers, packed or not. */
struct numbers {
	struct wire_cursor fields;
	const uint8_t *at, *end; /* of the packed ones */
};

static bool next_number(struct numbers *n, uint64_t *ret_number)
{
	struct wire_field f;

	for (;;) {
		if (n->at && n->at < n->end) {
			n->at = wire_read_varint(n->at, n->end, ret_number);
			if (n->at)
				return true;
		}
		if (!wire_next(&n->fields, &f))
			return false;
		if (f.number == ANSWERED_NUMBER && f.type == WIRE_BYTES) {
			n->at = f.data.data;
			n->end = f.data.data + f.data.size;
		} else if (f.number == ANSWERED_NUMBER && f.type == WIRE_VARINT) {
			*ret_number = f.value;
			return true;
		}
	}
}

static enum status find_extensions_of(struct import *im, struct bytes message)
{
	AUTO_STRBUF copy = STRBUF_INIT; /* the answer ends with the next question */
	struct bytes answer;
	struct numbers numbers, counted;
	uint64_t number;
	enum status status =
		reflector_ask(im->from, REFLECTOR_EXTENSIONS, message, &answer, im->err);

	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	strbuf_add(&copy, answer.data, answer.size);
	numbers = (struct numbers){.fields = wire_cursor_of(bytes_of(copy.buf, copy.len))};
	for (counted = numbers; next_number(&counted, &number);)
		if (++im->extension_count > IMPORT_MAX_EXTENSIONS)
			return too_much(im, "extensions", IMPORT_MAX_EXTENSIONS);
	while (status == STATUS_OK && next_number(&numbers, &number))
		status = find_extension(im, message, number);
	return status;
}

/* Of @message, whose scope's name is in @full, and of those in it. */
static enum status find_extensions_below(struct import *im, struct bytes message,
					 struct strbuf *full, int depth)
{
	struct wire_cursor c = wire_cursor_of(message);
	const size_t scope = full->len;
	enum status status = STATUS_OK;
	bool is_extendable = false;
	struct wire_field f;
	struct bytes name;

	if (depth > MAX_NESTING || !wire_find_bytes(message, MESSAGE_NAME, &name))
		return STATUS_OK; /* the linker blames it */
	if (scope)
		strbuf_addch(full, '.');
	strbuf_add(full, name.data, name.size);
	while (status == STATUS_OK && wire_next(&c, &f)) {
		is_extendable = is_extendable || f.number == MESSAGE_EXTENSION_RANGE;
		if (f.number == MESSAGE_NESTED && f.type == WIRE_BYTES)
			status = find_extensions_below(im, f.data, full, depth + 1);
	}
	if (status == STATUS_OK && is_extendable)
		status = find_extensions_of(im, bytes_of(full->buf, full->len));
	strbuf_truncate(full, scope);
	return status;
}

static enum status find_extensions_in(struct import *im, const struct file *file)
{
	struct wire_cursor c = wire_cursor_of(file->bytes);
	AUTO_STRBUF full = STRBUF_INIT;
	struct bytes package = {0};
	enum status status = STATUS_OK;
	struct wire_field f;

	if (wire_find_bytes(file->bytes, FILE_PACKAGE, &package))
		strbuf_add(&full, package.data, package.size);
	while (status == STATUS_OK && wire_next(&c, &f))
		if (f.number == FILE_MESSAGE && f.type == WIRE_BYTES)
			status = find_extensions_below(im, f.data, &full, 0);
	return status;
}

/* ----------------------------------------------------------------------- all */

static enum status collect(struct import *im, bool is_listed)
{
	enum status status = STATUS_OK;

	im->needed = arena_alloc(im->arena, CATALOG_MAX_FILES * sizeof(struct file *));
	for (size_t i = 0; i < im->services.count && status == STATUS_OK; i++)
		status = find_service(im, im->in_order[i], is_listed);
	/* Each file that is found is put at the end. */
	for (size_t i = 0; i < im->needed_count && status == STATUS_OK; i++) {
		status = find_imports_of(im, im->needed[i]);
		if (status == STATUS_OK && is_listed)
			status = find_extensions_in(im, im->needed[i]);
	}
	return status;
}

static void fill(const struct import *im, struct imported *ret)
{
	*ret = (struct imported){
		.services = arena_alloc(im->arena,
					(im->services.count + 1) * sizeof(*ret->services)),
		.files = arena_alloc(im->arena, (im->needed_count + 1) * sizeof(*ret->files))};
	for (; ret->service_count < im->services.count; ret->service_count++)
		ret->services[ret->service_count] = im->in_order[ret->service_count]->name;
	for (; ret->file_count < im->needed_count; ret->file_count++)
		ret->files[ret->file_count] = im->needed[ret->file_count]->bytes;
}

enum status import_collect(struct reflector *from, const struct pool *builtins,
			   const char *const *names, size_t count, struct arena *arena,
			   struct imported *ret, struct error *err)
{
	struct import im = {.from = from, .builtins = builtins, .arena = arena, .err = err};
	enum status status = choose_services(&im, names, count);

	if (status == STATUS_OK)
		status = collect(&im, !count);
	if (status == STATUS_OK)
		fill(&im, ret);
	map_release(&im.services, NULL);
	map_release(&im.files, NULL);
	return status;
}
