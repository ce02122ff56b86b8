/*
 * Typed paths: what a user means by "billing.city", in terms of the message
 * that is stored, and how the JSON document made of it (JSON_OUT_SEARCH) is
 * asked for it. The same text serves index and predicate: SQLite matches index
 * expressions by text.
 */
#ifndef COMMON_REFLECT_SEARCH_H
#define COMMON_REFLECT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct arena;
struct pool;
struct pool_enum;
struct pool_message;
struct strbuf;

enum { SEARCH_PATH_MAX_PARTS = 32, SEARCH_PATH_MAX_BYTES = 1024 };

/* What stands at the end of a path, and what its document form is. */
enum search_kind {
	SEARCH_INT,
	SEARCH_UINT, /* beyond INT64_MAX it is a REAL in the document */
	SEARCH_REAL, /* NaN and infinities are the texts "NaN", "Infinity", "-Infinity" */
	SEARCH_BOOL,
	SEARCH_STRING,
	SEARCH_BYTES,     /* base64 text */
	SEARCH_ENUM,      /* the name, or the number if it has none */
	SEARCH_TIMESTAMP, /* RFC 3339 text, UTC, nine digits: sorts as text */
	SEARCH_DURATION,  /* a number of seconds */
	SEARCH_MESSAGE,   /* an object; a FieldMask is a SEARCH_STRING */
	SEARCH_DYNAMIC,   /* whatever is there: in Struct, Value, ListValue, Any */
};

struct search_part {
	const char *key; /* json_name or map key; "" for a list position */
	size_t key_len;
	uint32_t position; /* of a list element, "[2]" */
	bool is_position;
	bool is_map_key;
	bool is_list; /* the value at this part is a list (and no position follows) */
};

struct search_path {
	size_t part_count;
	struct search_part *parts;
	enum search_kind kind; /* of one element where the leaf is a list or map */
	bool has_presence;     /* absent is told apart from default */
	bool is_list;          /* the leaf is a list */
	bool is_map;           /* the leaf is a whole map */
	bool crosses_list;     /* a part before the last is a list */
	bool is_wrapper;       /* google.protobuf.*Value: presence, but a scalar form */
	const struct pool_enum *type_enum;       /* SEARCH_ENUM */
	const struct pool_message *type_message; /* SEARCH_MESSAGE; may be NULL */
};

/*
 * Resolve @user_path against @m. Parts are separated by dots and may be proto
 * names or json_names; map keys follow as a part (labels.env) or in brackets
 * (labels["app.kubernetes.io/name"]), list positions in brackets (items[0]).
 * *ret_path is in @arena, which must live as long as it; @pool too.
 * INVALID_ARGUMENT: the path is malformed, or a part is not there; the message
 * names the part, err->field is the path.
 */
enum status search_resolve(const struct pool *pool, const struct pool_message *m,
			   const char *user_path, struct arena *arena,
			   struct search_path *ret_path, struct error *err) MUST_CHECK;

/*
 * Append the SQLite JSON path of the whole, `$.billing.city`, as it goes between
 * single quotes in SQL text (quotes in it are doubled; nothing else needs care).
 */
void search_path_sql(const struct search_path *path, struct strbuf *out);

/*
 * The same for parts [@first, @end), from "$": for paths that cross a list,
 * once up to the list and once inside its elements (json_each).
 */
void search_path_sql_range(const struct search_path *path, size_t first, size_t end,
			   struct strbuf *out);

/* The path in json_names, "billing.city": one spelling for what users spell in two ways. */
void search_path_canonical(const struct search_path *path, struct strbuf *out);

#endif
