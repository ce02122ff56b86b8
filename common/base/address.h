/*
 * Which addresses that clients name may be dialled: loopback, and what the
 * operator allows. Link-local ones and the others where clouds keep their metadata
 * services, never.
 *
 * The operator's list, which ends with NULL, has names and IP addresses
 * ("backend.internal", "10.0.0.5", "[fd00::5]"), networks ("10.0.0.0/8",
 * "[fd00::]/8"), each with or without a port (":50051"), and "*" for all.
 */
#ifndef COMMON_BASE_ADDRESS_H
#define COMMON_BASE_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/resolver.h"
#include "common/base/status.h"

enum { ADDRESS_TEXT_BYTES = RESOLVER_ADDRESS_BYTES + 8 };

/* What a name was resolved to and may be dialled: "10.0.0.5:50051", "[fd00::5]:50051". */
struct address_list {
	char items[RESOLVER_MAX_ADDRESSES][ADDRESS_TEXT_BYTES];
	size_t count;
};

/* Is the operator's list well-formed? INVALID_ARGUMENT, blaming @field: no. */
enum status address_check_list(const char *const *allowed, const char *field,
			       struct error *err) MUST_CHECK;

/*
 * By the text of @address, host:port, alone: a name is judged by what the list
 * says of the name. INVALID_ARGUMENT: malformed. PERMISSION_DENIED: not allowed.
 * Both blame @field.
 */
enum status address_check(const char *address, const char *const *allowed, const char *field,
			  struct error *err) MUST_CHECK;

/*
 * The same for an address that is to be dialled now, which must be dialled as it
 * is returned: asked again, a name may mean something else. A name passes if it is
 * listed, or if all that it resolves to is in listed networks; and nothing of it is
 * where nobody may go. Statuses as address_check() and resolver_lookup().
 */
enum status address_resolve(struct resolver *r, const char *address, const char *const *allowed,
			    const char *field, uint64_t deadline_ns, struct address_list *ret,
			    struct error *err) MUST_CHECK;

#endif
