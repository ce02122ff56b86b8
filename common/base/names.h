/*
 * The names that come in from outside, checked at the door by these functions
 * alone: what does not fit is INVALID_ARGUMENT blaming @field and touches
 * nothing. The rules are ARCHITECTURE.md's "Names".
 */
#ifndef COMMON_BASE_NAMES_H
#define COMMON_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

#define NAMES_DEFAULT_NAMESPACE "default"
#define NAMES_SYSTEM_NAMESPACE  "system"

enum { NAMES_NAMESPACE_MAX_BYTES = 63, NAMES_ID_MAX_BYTES = 512 };

/* [a-z0-9][a-z0-9_-]{0,62}. An empty one means "default" and is fine. */
enum status names_check_namespace(const char *name, const char *field,
				  struct error *err) MUST_CHECK;

/* "" becomes "default"; anything else is returned as it is. */
const char *names_namespace_or_default(const char *name);

/*
 * A namespace inside a nested reference: empty, or the same as @outer (both
 * after names_namespace_or_default()).
 */
enum status names_check_nested_namespace(const char *nested, const char *outer,
					 const char *field, struct error *err) MUST_CHECK;

/* [a-z0-9][a-z0-9_-]{0,62} */
enum status names_check_collection(const char *name, const char *field,
				   struct error *err) MUST_CHECK;

/* 1 to 512 bytes of UTF-8 without control characters. */
enum status names_check_id(const char *id, const char *field, struct error *err) MUST_CHECK;

/*
 * A relative path, parts separated by single '/', none empty, "." or "..", no
 * control characters or backslashes, 512 bytes at most.
 */
enum status names_check_path(const char *path, const char *field, struct error *err) MUST_CHECK;

/* A fully qualified protobuf name, "shop.v1.Order", without a leading dot. */
enum status names_check_symbol(const char *symbol, const char *field,
			       struct error *err) MUST_CHECK;

/*
 * Is the symbol under a prefix that nobody may register? What every daemon serves or
 * every file may import: of gRPC's own packages health and reflection, not the others.
 */
bool names_symbol_is_reserved(const char *symbol);

#endif
