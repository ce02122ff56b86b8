/*
 * Which methods stream: protobuf-c's descriptors do not say, a
 * FileDescriptorSet does. Private to common/rpc.
 */
#ifndef COMMON_RPC_KINDS_H
#define COMMON_RPC_KINDS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/base/bytes.h"

/*
 * Set kinds[i] (enum rpc_kind) for each method of @d. False: @descriptor_set
 * does not have the service.
 */
bool rpc_kinds(const ProtobufCServiceDescriptor *d, struct bytes descriptor_set,
	       unsigned char *kinds);

#endif
