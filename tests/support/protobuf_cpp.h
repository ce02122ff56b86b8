/*
 * libprotobuf's C++ library behind functions of C: an oracle for tests and a
 * yardstick for benches. It knows the types of tests/support/types, as protoc
 * compiled them to C++. Of one thread.
 */
#ifndef TESTS_SUPPORT_PROTOBUF_CPP_H
#define TESTS_SUPPORT_PROTOBUF_CPP_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A message object, reused by every call below. */
struct cpp_message;

/* Of type @full_name; NULL: it is not known. The caller frees it. */
struct cpp_message *cpp_message_new(const char *full_name);
void cpp_message_free(struct cpp_message *m);

/* Read wire bytes into @m. False: they are refused. Required fields may be missing. */
bool cpp_parse(struct cpp_message *m, const void *data, size_t size);

/* Read JSON text into @m. False: it is refused. */
bool cpp_parse_json(struct cpp_message *m, const char *text, size_t size, bool ignore_unknown);

/*
 * What is in @m, as wire bytes (maps sorted) or JSON. Borrowed until the next call
 * with @m. NULL: it has no such form. Unknown fields are gone after cpp_json().
 */
const char *cpp_wire(struct cpp_message *m, size_t *ret_size);
const char *cpp_json(struct cpp_message *m, bool defaults, size_t *ret_size);

/* Merge what @mask (a serialized google.protobuf.FieldMask) names of @from into @to. */
bool cpp_merge_masked(struct cpp_message *from, struct cpp_message *to, const void *mask,
		      size_t size);

/* Leave in @m what @mask names, nothing else. */
bool cpp_trim_masked(struct cpp_message *m, const void *mask, size_t size);

#ifdef __cplusplus
}
#endif

#endif
