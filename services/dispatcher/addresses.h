/*
 * Which addresses that clients name may be dialled: loopback, and what the
 * operator allows. Link-local ones (169.254.0.0/16, fe80::/10), where clouds
 * keep their metadata services, never.
 */
#ifndef SERVICES_DISPATCHER_ADDRESSES_H
#define SERVICES_DISPATCHER_ADDRESSES_H

#include "common/base/status.h"

/*
 * @address is host:port. @allowed (ends with NULL) has hosts or host:port as the
 * operator wrote them; "*" allows all but link-local ones.
 * INVALID_ARGUMENT: malformed. PERMISSION_DENIED: not allowed. Both blame @field.
 */
enum status addresses_check(const char *address, const char *const *allowed, const char *field,
			    struct error *err) MUST_CHECK;

#endif
