/*
 * The field of a collection's messages that holds their vector. Its numbers are
 * taken out of the message before it becomes a document, so that neither filters
 * nor full text carry them.
 */
#ifndef SERVICES_REPO_VECTOR_FIELD_H
#define SERVICES_REPO_VECTOR_FIELD_H

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/repo/vector.h"

struct pool_message;

enum { VECTOR_FIELD_MAX_DEPTH = 16 };

struct vector_field {
	uint32_t numbers[VECTOR_FIELD_MAX_DEPTH];  /* of fields; the last has the numbers */
	const char *names[VECTOR_FIELD_MAX_DEPTH]; /* theirs, for errors */
	size_t depth;                              /* 0: there is none */
	size_t dimensions;
	enum vector_metric metric;
};

/* A path by its fields' numbers, "3.1": what is left of it when the type has another. */
void vector_field_write(const struct vector_field *field, struct strbuf *out);
/* False: it is no such path. Its names are empty. */
bool vector_field_read(const char *numbers, struct vector_field *ret) MUST_CHECK;

/*
 * Find @path, in proto or JSON names, in @message, from whose pool *ret borrows.
 * INVALID_ARGUMENT: it does not lead to a `repeated float` of a single message.
 */
enum status vector_field_find(const struct pool_message *message, const char *path,
			      struct vector_field *ret, struct error *err) MUST_CHECK;

/*
 * Append to @rest the valid message @proto without its vector, and to @vector its
 * numbers as floats, prepared; nothing if it has none. INVALID_ARGUMENT: so many
 * numbers are not the dimensions, or one is not finite; err->field is the path.
 */
enum status vector_field_take(const struct vector_field *field, struct bytes proto,
			      struct strbuf *rest, struct strbuf *vector,
			      struct error *err) MUST_CHECK;

/* Are all of them finite? */
bool vector_is_finite(const float *vector, size_t dimensions);

#endif
