/*
 * Messages as JSON, straight from their wire bytes: as canonical proto3 JSON
 * text, or as SQLite's JSONB. Output is appended to a buffer; after an error
 * the buffer is as long as it was before.
 *
 * Keys are json_names, in the order of field numbers; map keys are sorted.
 */
#ifndef COMMON_REFLECT_JSON_OUT_H
#define COMMON_REFLECT_JSON_OUT_H

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_message;

/* A small message may ask for a large document: by long names, or by defaults. */
enum { JSON_OUT_MAX_BYTES = 256 << 20 };

enum json_out_flags {
	JSON_OUT_INT64_NUMBERS = 1,    /* 64-bit integers as numbers, not as strings */
	JSON_OUT_TIMESTAMP_NANOS = 2,  /* always nine fractional digits: sorts as text */
	JSON_OUT_DURATION_SECONDS = 4, /* durations as numbers, not as "1.5s" */
	JSON_OUT_LENIENT = 8,          /* no JSON form: null; an Any that cannot be shown:
	                                  {"@type": url, "@bytes": base64} */
	JSON_OUT_PROTO_NAMES = 16,     /* keys as the .proto file has them; text only */
	JSON_OUT_SCALAR_DEFAULTS = 32, /* scalars without presence even at their default */
	JSON_OUT_EMPTY_LISTS = 64,     /* empty lists and maps */
	JSON_OUT_DEFAULTS = JSON_OUT_SCALAR_DEFAULTS | JSON_OUT_EMPTY_LISTS,

	/* What the store keeps for filters: see the "search dialect" in STORAGE.md. */
	JSON_OUT_SEARCH = JSON_OUT_INT64_NUMBERS | JSON_OUT_TIMESTAMP_NANOS |
			  JSON_OUT_DURATION_SECONDS | JSON_OUT_LENIENT |
			  JSON_OUT_SCALAR_DEFAULTS,
};

/*
 * INVALID_ARGUMENT: @message does not parse as @m, or (without JSON_OUT_LENIENT)
 * holds a value that has no JSON form; err->field has the path.
 * RESOURCE_EXHAUSTED: the document would have more than JSON_OUT_MAX_BYTES, or parts of
 * sub-messages that must be merged have more than SCAN_MERGE_MAX_BYTES (scan.h).
 */
enum status wire_to_json(const struct pool *pool, const struct pool_message *m,
			 struct bytes message, unsigned flags, struct strbuf *out,
			 struct error *err) MUST_CHECK;
enum status wire_to_jsonb(const struct pool *pool, const struct pool_message *m,
			  struct bytes message, unsigned flags, struct strbuf *out,
			  struct error *err) MUST_CHECK;

/* The same; what an Any holds is also looked for in @others, which may be NULL. */
enum status wire_to_jsonb_among(const struct pool *pool, const struct pool *others,
				const struct pool_message *m, struct bytes message,
				unsigned flags, struct strbuf *out,
				struct error *err) MUST_CHECK;

#endif
