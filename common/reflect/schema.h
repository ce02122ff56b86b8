/*
 * What the JSON of a message looks like, for what makes or checks it without
 * knowing protobuf: forms, editors, agents.
 *
 * The schema describes canonical proto3 JSON, as wire_to_json() prints it and
 * json_to_wire() reads it: json_names for keys, 64-bit integers as strings (or
 * numbers), names of enums (or numbers, where the enum is open). What
 * json_to_wire() takes beyond that, such as proto names or null for "not set", the
 * schema refuses.
 */
#ifndef COMMON_REFLECT_SCHEMA_H
#define COMMON_REFLECT_SCHEMA_H

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_message;

enum {
	SCHEMA_MAX_BYTES = 4 << 20,
	SKELETON_MAX_BYTES = 1 << 20,
};

/*
 * Append a JSON Schema (2020-12) of @m: a "$defs" entry for each message and enum
 * that it reaches, by full name. Comments are descriptions, where files have
 * source info. Known extensions are properties "[their.full_name]".
 * RESOURCE_EXHAUSTED: it would be longer than SCHEMA_MAX_BYTES.
 */
enum status schema_json(const struct pool *pool, const struct pool_message *m,
			struct strbuf *out, struct error *err) MUST_CHECK;

/*
 * Append an instance of @m to start from: every field at its default, one element
 * in each list and map, a member of each oneof; a message within itself is left
 * out. The schema holds for it, and json_to_wire() reads it.
 * RESOURCE_EXHAUSTED: what it must have is longer than SKELETON_MAX_BYTES.
 */
enum status schema_skeleton(const struct pool_message *m, struct strbuf *out,
			    struct error *err) MUST_CHECK;

#endif
