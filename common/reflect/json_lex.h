/*
 * Reading JSON text (RFC 8259) token by token. Inside common/reflect. A reader
 * that fails remembers why in `problem`; what comes after is undefined.
 */
#ifndef COMMON_REFLECT_JSON_LEX_H
#define COMMON_REFLECT_JSON_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"

struct json_lex {
	const char *begin, *at, *end;
	const char *problem;     /* a sentence; NULL: none yet */
	struct strbuf unescaped; /* of the latest string that had escapes */
};

/* json_lex_peek() where white space is next, or the end. */
int json_lex_peek_on(struct json_lex *l);

/* The next character after white space, -1 at the end. */
static inline int json_lex_peek(struct json_lex *l)
{
	return l->at < l->end && (unsigned char)*l->at > ' ' ? (unsigned char)*l->at
							     : json_lex_peek_on(l);
}

/* Take @c, or fail. */
bool json_lex_expect(struct json_lex *l, char c);

/* Take @c if it is next. */
static inline bool json_lex_accept(struct json_lex *l, char c)
{
	if (json_lex_peek(l) != c)
		return false;
	l->at++;
	return true;
}

/* Take "true", "false" or "null", which must be next. */
bool json_lex_literal(struct json_lex *l, const char *word);

/* A string, unescaped; valid until the next string is read. */
bool json_lex_string(struct json_lex *l, struct bytes *ret_text);

/* A number as it is written. */
bool json_lex_number(struct json_lex *l, struct bytes *ret_text);

/* Any value, at most @depth levels of objects and arrays. */
bool json_lex_skip(struct json_lex *l, int depth);

/* The line that reading has got to, from 1. */
size_t json_lex_line(const struct json_lex *l);

/*
 * Exact: "1.0", "1e5" and "-0" are integers, "1.5" is not. False: not an integer,
 * or not within 64 bits and a sign.
 */
bool json_lex_integer(struct bytes text, bool *ret_negative, uint64_t *ret_magnitude);

#endif
