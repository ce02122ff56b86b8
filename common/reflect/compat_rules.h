/*
 * Inside common/reflect: a check of compat.h under way, and its parts, each for
 * one kind of symbol. An old symbol is @was, the one that it became @is.
 */
#ifndef COMMON_REFLECT_COMPAT_RULES_H
#define COMMON_REFLECT_COMPAT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/reflect/compat.h"
#include "common/reflect/descriptor.h"

struct compat_rule {
	const char *name;
	unsigned levels;
};

/* The levels that rules have. */
enum {
	FROM_WIRE = COMPAT_WIRE | COMPAT_WIRE_JSON | COMPAT_SOURCE,
	FROM_RECORDS = FROM_WIRE | COMPAT_RECORDS,
	FROM_WIRE_JSON = COMPAT_WIRE_JSON | COMPAT_SOURCE,
	/* Rules that stricter ones replace at the next level. */
	BELOW_SOURCE = COMPAT_WIRE | COMPAT_WIRE_JSON,
};

struct compat {
	const struct pool *after;
	unsigned levels;
	size_t max;
	struct arena *arena;
	struct compat_finding *findings; /* on the heap while they grow */
	size_t count, room;
	bool truncated;
	struct map enum_pairs; /* the pairs that were compared: two pointers -> yes or no */
};

/*
 * Note a finding, if its rule is asked for: @path in @file, and a sentence. When
 * there is no room the check is to end: c->truncated.
 */
void compat_add(struct compat *c, const struct compat_rule *rule, const struct pool_file *file,
		const char *path, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* "scope.name" in @out, which is emptied before; @scope may be "". */
const char *compat_join(struct strbuf *out, const char *scope, const char *name);

/* The new symbol of this full name, or NULL. */
const struct pool_message *compat_message_after(const struct compat *c, const char *name);
const struct pool_enum *compat_enum_after(const struct compat *c, const char *name);
const struct pool_service *compat_service_after(const struct compat *c, const char *name);

/* A file, apart from what is in it: compat_file.c. */
void compat_file(struct compat *c, const struct pool_file *was, const struct pool_file *is);

/* compat_message.c, compat_enum.c, compat_service.c */
void compat_message(struct compat *c, const struct pool_message *was,
		    const struct pool_message *is);
void compat_enum(struct compat *c, const struct pool_enum *was, const struct pool_enum *is);
void compat_service(struct compat *c, const struct pool_service *was,
		    const struct pool_service *is);

/* Fields of one number, or extensions: compat_field.c. */
void compat_field(struct compat *c, const struct pool_field *was, const struct pool_field *is);

/* Both stand for the same value, as far as their types can tell: compat_default.c. */
bool compat_same_default(const struct pool_field *was, const struct pool_field *is);

/* ---------------------------------------------------- compat_reserved.c */

bool compat_number_is_reserved(const struct pool_reserved *r, int64_t number);
bool compat_name_is_reserved(const struct pool_reserved *r, const char *name);

/* A symbol that keeps numbers, and names, for something. */
struct compat_keeper {
	const struct compat_rule *rule; /* that it goes on doing so */
	const struct pool_file *file;
	const char *path;
	const char *what;    /* "reserved numbers" */
	int64_t last_number; /* that it could keep: "max" */
};

/* A finding for each range of @was that @is does not keep whole, and for each name. */
void compat_reserved(struct compat *c, const struct compat_keeper *keeper,
		     const struct pool_reserved *was, const struct pool_reserved *is);

#endif
