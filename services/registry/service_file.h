/*
 * A service that comes without a file: a file of its own is made for it,
 * "<package>/<Service>.service.proto", importing what its methods take and return.
 */
#ifndef SERVICES_REGISTRY_SERVICE_FILE_H
#define SERVICES_REGISTRY_SERVICE_FILE_H

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;

/*
 * Append the FileDescriptorProto for @service, a serialized
 * ServiceDescriptorProto whose name is full ("shop.v1.OrderService") or, in the
 * package of its first method's input, short. *ret_full_name (owned) is the former.
 * INVALID_ARGUMENT: a name is malformed, or a type is not registered.
 */
enum status service_file_make(const struct pool *pool, struct bytes service, struct strbuf *out,
			      char **ret_full_name, struct error *err) MUST_CHECK;

#endif
