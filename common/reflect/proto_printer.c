/* Comments, names and places of .proto text. */
#include "common/reflect/proto_printer.h"

#include <string.h>

#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	LOCATION_LEADING = 3,
	LOCATION_TRAILING = 4,
	LOCATION_DETACHED = 6,
};

void proto_printer_indent(struct proto_printer *p)
{
	for (int i = 0; i < p->depth; i++)
		strbuf_addstr(p->out, "  ");
}

/* ------------------------------------------------------------------ comments */

size_t proto_printer_enter(struct proto_printer *p, uint32_t field, uint32_t index)
{
	size_t mark = p->path.len;

	wire_add_varint(&p->path, field);
	wire_add_varint(&p->path, index);
	return mark;
}

void proto_printer_leave(struct proto_printer *p, size_t mark)
{
	strbuf_truncate(&p->path, mark);
}

static void put_comment_text(struct proto_printer *p, struct bytes text)
{
	const char *at = (const char *)text.data, *end = at + text.size;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((newline ? newline : end) - at);
		proto_printer_indent(p);
		strbuf_addf(p->out, "//%s%.*s\n", n && *at != ' ' ? " " : "", (int)n, at);
		at += n + 1;
	}
}

/* What stands above the declaration at the current path, and after it. */
void proto_printer_comments(struct proto_printer *p)
{
	const struct bytes *location =
		comments_location(&p->comments, bytes_of(p->path.buf, p->path.len));
	struct wire_cursor c;
	struct wire_field f;
	struct bytes text;

	if (!location)
		return;
	c = wire_cursor_of(*location);
	while (wire_next(&c, &f))
		if (f.number == LOCATION_DETACHED && f.type == WIRE_BYTES) {
			put_comment_text(p, f.data);
			strbuf_addch(p->out, '\n');
		}
	if (wire_find_bytes(*location, LOCATION_LEADING, &text))
		put_comment_text(p, text);
	if (wire_find_bytes(*location, LOCATION_TRAILING, &text))
		put_comment_text(p, text);
}

/* --------------------------------------------------------------------- names */

static bool is_declared(const struct proto_printer *p, const char *scope, size_t scope_len,
			const char *name, size_t len)
{
	AUTO_STRBUF symbol = STRBUF_INIT;
	const struct pool_file *f = p->file;

	strbuf_add(&symbol, scope, scope_len);
	if (scope_len)
		strbuf_addch(&symbol, '.');
	strbuf_add(&symbol, name, len);
	if (pool_file_of_symbol(p->pool, symbol.buf, symbol.len))
		return true;
	/* A package of an import hides as well. */
	for (uint32_t i = 0; i < f->dependency_count; i++) {
		const char *package = f->dependencies[i]->package;
		if (!strncmp(package, symbol.buf, symbol.len) &&
		    (package[symbol.len] == '.' || !package[symbol.len]))
			return true;
	}
	return !strncmp(f->package, symbol.buf, symbol.len) &&
	       (f->package[symbol.len] == '.' || !f->package[symbol.len]);
}

/*
 * Within @scope, @name means @full_name if the innermost scope that has its first
 * part is the one in which the whole is (protobuf's rule: it never looks back).
 */
static bool means(const struct proto_printer *p, const char *scope, const char *name,
		  const char *full_name)
{
	size_t first = strcspn(name, ".");
	size_t around = strlen(full_name) - strlen(name);
	size_t len = strlen(scope);

	around = around ? around - 1 : 0; /* without its dot */
	while (len > around) {
		if (is_declared(p, scope, len, name, first))
			return false;
		while (len && scope[--len] != '.')
			;
	}
	return len == around;
}

/* The shortest of: within the message, within the package, full, full with a dot. */
void proto_printer_type(struct proto_printer *p, const char *scope, const char *full_name)
{
	size_t package = strlen(p->file->package);
	size_t inside = strlen(scope);
	const char *short_name = full_name;

	if (inside > package && !strncmp(full_name, scope, inside) && full_name[inside] == '.')
		short_name = full_name + inside + 1;
	else if (package && !strncmp(full_name, p->file->package, package) &&
		 full_name[package] == '.')
		short_name = full_name + package + 1;
	if (means(p, scope, short_name, full_name))
		strbuf_addstr(p->out, short_name);
	else
		strbuf_addf(p->out, ".%s", full_name);
}

void proto_printer_close(struct proto_printer *p)
{
	p->depth--;
	proto_printer_indent(p);
	strbuf_addstr(p->out, "}\n");
}

void proto_printer_begin(struct proto_printer *p, const struct pool *pool,
			 const struct pool_file *file, struct strbuf *out)
{
	*p = (struct proto_printer){.pool = pool, .file = file, .out = out};
	comments_init(&p->comments, file);
}

void proto_printer_begin_bare(struct proto_printer *p, const struct pool *pool,
			      const struct pool_file *file, struct strbuf *out)
{
	*p = (struct proto_printer){.pool = pool, .file = file, .out = out};
}

void proto_printer_end(struct proto_printer *p)
{
	comments_release(&p->comments);
	strbuf_release(&p->path);
}
