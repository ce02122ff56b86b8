/*
 * What methods are bound to: servers by namespace, service and method. In
 * memory; the truth is in system/dispatch_servers and is loaded from there.
 *
 * Thread-safe: one mutex guards the table, held for lookups only. A handler that
 * was taken stays valid until it is given back, also when it is removed.
 */
#ifndef SERVICES_DISPATCHER_HANDLERS_H
#define SERVICES_DISPATCHER_HANDLERS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/client/dispatch_records.h"

struct handler;
struct handlers;
struct rpc_channel;
struct rpc_client;

enum { HANDLERS_MAX = 10000 };

struct handlers *handlers_new(struct rpc_client *client);
void handlers_free(struct handlers *h);

/* Add or replace by id. False: HANDLERS_MAX, or no channel can be made to the address. */
bool handlers_put(struct handlers *h, const struct handler_record *record);
bool handlers_remove(struct handlers *h, const char *ns, const char *id);

/* Make the table hold exactly @records. */
void handlers_replace(struct handlers *h, const struct handler_record *records, size_t count);

/*
 * A handler of the method: of two drawn at random the one with fewer calls under
 * way, connected ones first. NULL: there is none. Give it back with
 * handlers_done().
 */
struct handler *handlers_take(struct handlers *h, const char *ns, const char *service,
			      const char *method);

/* Another one than @not_this, for a second try; NULL: there is none. */
struct handler *handlers_take_other(struct handlers *h, const char *ns, const char *service,
				    const char *method, const struct handler *not_this);
void handlers_done(struct handler *handler);

struct rpc_channel *handler_channel(const struct handler *handler);
bool handler_forwards_authorization(const struct handler *handler);
const char *handler_id(const struct handler *handler);

/* Handlers of @ns ("": all) after id @after, ordered by id, at most @max, in @arena. */
size_t handlers_list(struct handlers *h, const char *ns, const char *after, size_t max,
		     struct arena *arena, struct handler_record *ret);
size_t handlers_count(struct handlers *h);

#endif
