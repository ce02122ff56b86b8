/*
 * Which addresses of handlers and peers this dispatcher dials: loopback, its seeds, and
 * what --allow-address lists (common/base/address.h). A name is judged by what it means
 * at the moment at which it is dialled, each time anew (common/rpc/client.h).
 *
 * Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_ADDRESSES_H
#define SERVICES_DISPATCHER_ADDRESSES_H

#include "common/base/status.h"

struct addresses;
struct rpc_client;

/*
 * From now on @client, borrowed, dials nothing else. Both lists end with NULL and are
 * borrowed. INVALID_ARGUMENT: an entry is malformed; blames its option.
 */
enum status addresses_open(struct rpc_client *client, const char *const *allowed,
			   const char *const *seeds, struct addresses **ret,
			   struct error *err) MUST_CHECK;

/* Names are not looked up any more. */
void addresses_close(struct addresses *a);

/*
 * May @address be dialled? Looks a name up, within the deadline of @call, an inbound call
 * or NULL. INVALID_ARGUMENT: not host:port. PERMISSION_DENIED: no. Both blame @field.
 * Others: it cannot be told.
 */
enum status addresses_check(struct addresses *a, const char *address, const char *field,
			    void *call, struct error *err) MUST_CHECK;

/* The same by the text alone, for who cannot wait: a name must be listed. */
enum status addresses_check_text(struct addresses *a, const char *address, const char *field,
				 struct error *err) MUST_CHECK;

#endif
