/* Descriptors as a person writes them: .proto text, comments included. */
#ifndef SERVICES_CONSOLE_CTL_DESCRIBE_H
#define SERVICES_CONSOLE_CTL_DESCRIBE_H

#include <stdbool.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct session;

/*
 * Append the declaration of @name (message, enum, service, method, or a file
 * such as shop/v1/order.proto); with @as_json the FileDescriptorProto of its
 * file. NOT_FOUND: the registry does not know it.
 */
enum status describe_symbol(struct session *s, const char *name, bool as_json,
			    struct strbuf *out, struct error *err) MUST_CHECK;

#endif
