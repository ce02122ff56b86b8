/*
 * Inside common/reflect: a serialized FileDescriptorProto from outside, checked
 * and unpacked. Two things in it are more than protobuf-c can hold: groups among
 * the unknown fields (custom options), and defaults of strings that are no text.
 */
#ifndef COMMON_REFLECT_FILE_PROTO_H
#define COMMON_REFLECT_FILE_PROTO_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "google/protobuf/descriptor.pb-c.h"

enum { FILE_PROTO_DEPENDENCY = 3, FILE_PROTO_SOURCE_INFO = 9 };

/*
 * Do @file parse, and is it named? *ret_name is borrowed from @file.
 * INVALID_ARGUMENT: no. RESOURCE_EXHAUSTED: it is larger than POOL_FILE_MAX_BYTES.
 */
enum status file_proto_check(struct bytes file, struct bytes *ret_name,
			     struct error *err) MUST_CHECK;

/*
 * Unpack @file, which has been checked, into @arena, whose limit is heeded:
 * without source info, unknown fields and enum values that nobody knows, as if
 * the file did not have them. @buffer is for scratch. NULL: it is too large.
 */
Google__Protobuf__FileDescriptorProto *file_proto_unpack(struct bytes file,
							 struct strbuf *buffer,
							 struct arena *arena);

#endif
