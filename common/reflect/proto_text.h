/*
 * Descriptors as a person writes them: .proto text, with comments where the file
 * has source info. What is printed of a whole file compiles to that file again,
 * but for options whose extensions @pool does not know: these become comments.
 */
#ifndef COMMON_REFLECT_PROTO_TEXT_H
#define COMMON_REFLECT_PROTO_TEXT_H

#include <stddef.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_file;

/* Append the whole file. */
void proto_text_file(const struct pool *pool, const struct pool_file *file, struct strbuf *out);

/* Append what stands above the file's declarations: syntax, package, imports, options. */
void proto_text_header(const struct pool *pool, const struct pool_file *file,
		       struct strbuf *out);

/*
 * Append the declaration of a message, enum, service, method, field or extension
 * by its full name. NOT_FOUND: @pool has none of that name.
 */
enum status proto_text_symbol(const struct pool *pool, const char *name, size_t len,
			      struct strbuf *out, struct error *err) MUST_CHECK;

/* The same without comments. */
enum status proto_text_bare_symbol(const struct pool *pool, const char *name, size_t len,
				   struct strbuf *out, struct error *err) MUST_CHECK;

#endif
