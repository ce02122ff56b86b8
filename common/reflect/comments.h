/*
 * Inside common/reflect: the comments of one file, found by what they are about.
 * pool_comment() (pool.h) looks for a single one.
 */
#ifndef COMMON_REFLECT_COMMENTS_H
#define COMMON_REFLECT_COMMENTS_H

#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/map.h"
#include "common/base/strbuf.h"

struct pool_enum;
struct pool_field;
struct pool_file;
struct pool_message;

/* Borrows from its file. */
struct comments {
	struct map by_path; /* SourceCodeInfo.Location.path, packed -> struct bytes, owned */
};

void comments_init(struct comments *c, const struct pool_file *file);
void comments_release(struct comments *c);

/* The SourceCodeInfo.Location of @path, packed. NULL: there is none. */
const struct bytes *comments_location(const struct comments *c, struct bytes path);

/* Append what stands in front of a declaration of this file. */
void comments_add_message(const struct comments *c, const struct pool_message *m,
			  struct strbuf *out);
void comments_add_field(const struct comments *c, const struct pool_field *f,
			struct strbuf *out);
void comments_add_enum(const struct comments *c, const struct pool_enum *e, struct strbuf *out);
void comments_add_value(const struct comments *c, const struct pool_enum *e, uint32_t index,
			struct strbuf *out);

#endif
