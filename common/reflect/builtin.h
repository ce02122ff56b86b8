/*
 * The descriptors of everything that this program was built with: collector.*,
 * google.protobuf's well-known types, google.rpc, grpc.health and
 * grpc.reflection, comments included. The bytes live in the binary, for ever.
 */
#ifndef COMMON_REFLECT_BUILTIN_H
#define COMMON_REFLECT_BUILTIN_H

#include "common/base/bytes.h"

/* A serialized google.protobuf.FileDescriptorSet, dependencies first. */
struct bytes builtin_descriptor_set(void);

#endif
