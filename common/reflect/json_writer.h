/*
 * Inside common/reflect: the walk of json_out.c, and the messages with a JSON
 * form of their own (json_known.c), which call each other.
 */
#ifndef COMMON_REFLECT_JSON_WRITER_H
#define COMMON_REFLECT_JSON_WRITER_H

#include "common/base/status.h"
#include "common/reflect/json_out.h"
#include "common/reflect/json_sink.h"
#include "common/reflect/scan.h"

struct json_writer {
	struct json_sink sink;
	struct scan scan;
	const struct pool *others; /* for what an Any holds, after scan.pool; may be NULL */
	unsigned flags;
	int depth;    /* messages that are open */
	size_t start; /* of the document in the sink's buffer */
};

/* May a message begin here? */
enum status json_check_depth(const struct json_writer *w) MUST_CHECK;

/* Before what is written again and again. */
enum status json_check_size(const struct json_writer *w) MUST_CHECK;

/* A value that has no JSON form: null if the caller is lenient, else an error. */
enum status json_no_form(struct json_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A string of proto3 that the message may not hold. */
enum status json_not_utf8(struct json_writer *w);

/* The value of @f: a number, or @data of @value bytes. */
enum status json_write_value(struct json_writer *w, const struct pool_field *f, uint64_t value,
			     const uint8_t *data) MUST_CHECK;

/* A whole message, in its own form where it has one. Counts the depth. */
enum status json_write_message(struct json_writer *w, const struct pool_message *m,
			       struct bytes message) MUST_CHECK;

/* Keys and values of its fields, into an object that is open. */
enum status json_write_fields(struct json_writer *w, const struct pool_message *m,
			      struct bytes message) MUST_CHECK;

/* An object of the map, or a list, whose entries are [@at, @end). */
enum status json_write_map(struct json_writer *w, const struct pool_field *f, size_t at,
			   size_t end) MUST_CHECK;
enum status json_write_list(struct json_writer *w, const struct pool_field *f, size_t at,
			    size_t end) MUST_CHECK;

/* Messages whose well_known is not NONE or EMPTY. */
enum status json_write_known(struct json_writer *w, const struct pool_message *m,
			     struct bytes message) MUST_CHECK;

#endif
