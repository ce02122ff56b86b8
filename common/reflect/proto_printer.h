/*
 * The parts of a printer of .proto text: proto_printer.c (comments, names),
 * proto_options.c, proto_types.c; proto_text.c puts them together. Inside
 * common/reflect.
 */
#ifndef COMMON_REFLECT_PROTO_PRINTER_H
#define COMMON_REFLECT_PROTO_PRINTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"
#include "common/reflect/comments.h"

struct pool;
struct pool_file;
struct pool_enum;
struct pool_field;
struct pool_message;

struct proto_printer {
	const struct pool *pool;
	const struct pool_file *file;
	struct strbuf *out;
	int depth;
	struct comments comments;
	struct strbuf path;    /* of what is being printed, packed as comments.h has it */
	const char *separator; /* before the next item of a list of options: " [", then ", " */
};

void proto_printer_begin(struct proto_printer *p, const struct pool *pool,
			 const struct pool_file *file, struct strbuf *out);
void proto_printer_end(struct proto_printer *p);

/* Begin what is printed without comments. */
void proto_printer_begin_bare(struct proto_printer *p, const struct pool *pool,
			      const struct pool_file *file, struct strbuf *out);

/* Begin a line, at the current depth. */
void proto_printer_indent(struct proto_printer *p);

/* End a block that was opened with p->depth++. */
void proto_printer_close(struct proto_printer *p);

/*
 * Go to the @index-th element of a repeated field of the descriptor, and back to
 * where the returned mark was.
 */
size_t proto_printer_enter(struct proto_printer *p, uint32_t field, uint32_t index);
void proto_printer_leave(struct proto_printer *p, size_t mark);

/* The comments of what is at the current path. */
void proto_printer_comments(struct proto_printer *p);

/* A type's name, as short as it can be within @scope. */
void proto_printer_type(struct proto_printer *p, const char *scope, const char *full_name);

/* Whole declarations, at their path. @parent NULL: what the file itself declares. */
void proto_printer_field(struct proto_printer *p, const char *scope,
			 const struct pool_field *f);
void proto_printer_enum(struct proto_printer *p, const struct pool_enum *e);
void proto_printer_message(struct proto_printer *p, const struct pool_message *m);
void proto_printer_nested(struct proto_printer *p, const struct pool_message *parent);
void proto_printer_extensions(struct proto_printer *p, const struct pool_message *parent);

/* A string literal. */
void proto_printer_quote(struct proto_printer *p, struct bytes text);

/* `option a = b;`, a line for each of the serialized @options of @type. */
void proto_printer_option_lines(struct proto_printer *p, const char *type,
				struct bytes options);

/*
 * "[a = b, c = d]", the options of a field, value or range: begin, items of any
 * kind, end. Without an item nothing is written.
 */
void proto_printer_list_begin(struct proto_printer *p);
void proto_printer_list_item(struct proto_printer *p); /* its text follows */
void proto_printer_list_options(struct proto_printer *p, const char *type,
				struct bytes options);
void proto_printer_list_end(struct proto_printer *p);

#endif
