/*
 * The descriptor of one symbol as its file has it: a slice of the file's bytes,
 * with options and what nobody knows. Borrowed from the pool.
 */
#ifndef COMMON_REFLECT_DECLARATION_H
#define COMMON_REFLECT_DECLARATION_H

#include "common/base/bytes.h"
#include "common/reflect/descriptor.h"

/* A serialized DescriptorProto, EnumDescriptorProto, ServiceDescriptorProto. */
struct bytes declaration_of_message(const struct pool_message *m);
struct bytes declaration_of_enum(const struct pool_enum *e);
struct bytes declaration_of_service(const struct pool_service *s);

/* A FieldDescriptorProto, of an extension too; a MethodDescriptorProto. */
struct bytes declaration_of_field(const struct pool_field *f);
struct bytes declaration_of_method(const struct pool_method *m);

#endif
