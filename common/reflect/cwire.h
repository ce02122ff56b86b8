/*
 * The check that stands before every protobuf_c_message_unpack() of bytes from
 * outside: protobuf-c recurses without a limit, does not look at UTF-8, and
 * makes C strings of values that hold NUL.
 */
#ifndef COMMON_REFLECT_CWIRE_H
#define COMMON_REFLECT_CWIRE_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/status.h"

/*
 * Do @data parse as @d: structure, at most WIRE_MAX_DEPTH messages deep, string
 * fields UTF-8 without NUL, packed runs whole? Unknown fields are fine; groups
 * are skipped (protobuf-c refuses them itself).
 * INVALID_ARGUMENT: no; err->field has the path, such as "item.labels[3].key".
 */
enum status cwire_check(const ProtobufCMessageDescriptor *d, struct bytes data,
			struct error *err) MUST_CHECK;

/* The same; what @any holds, a string field of @d or within it, need not be text. */
enum status cwire_check_but(const ProtobufCMessageDescriptor *d, struct bytes data,
			    const ProtobufCFieldDescriptor *any, struct error *err) MUST_CHECK;

#endif
