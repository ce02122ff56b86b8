/*
 * JSON text to wire bytes in one pass, driven by the descriptor.
 */
#ifndef COMMON_REFLECT_JSON_IN_H
#define COMMON_REFLECT_JSON_IN_H

#include <stddef.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_message;

enum { JSON_IN_MAX_BYTES = 256 << 20 };

enum json_in_flags {
	JSON_IN_IGNORE_UNKNOWN = 1, /* unknown fields and unknown enum names are dropped */
};

/*
 * Append @text, read as @m, to @out as wire bytes. After an error @out is as long as before.
 * INVALID_ARGUMENT: not JSON, or not this message; err->message starts with where,
 * "line 3, orders[2].qty: ...", and err->field has the path alone.
 * RESOURCE_EXHAUSTED: @text has more than JSON_IN_MAX_BYTES. (Elements of lists grow most, a
 * -1 to 15 bytes: the caller bounds @text by what it can afford.)
 */
enum status json_to_wire(const struct pool *pool, const struct pool_message *m,
			 const char *text, size_t len, unsigned flags, struct strbuf *out,
			 struct error *err) MUST_CHECK;

#endif
