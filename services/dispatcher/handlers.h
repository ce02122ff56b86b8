/*
 * What methods are bound to, by namespace, service and method. In memory; the truth
 * is in system/dispatch_servers and is loaded from there, save for attached handlers,
 * which are here as long as their stream.
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

struct attached;
struct handler;
struct handlers;
struct rpc_channel;
struct rpc_client;

enum { HANDLERS_MAX = 10000 };

struct handlers *handlers_new(struct rpc_client *client);
void handlers_free(struct handlers *h);

/*
 * Add or replace by id. @attached is that of a HANDLER_ATTACHED, else NULL. False:
 * HANDLERS_MAX, or no channel can be made to the address.
 */
bool handlers_put(struct handlers *h, const struct handler_record *record,
		  struct attached *attached);
bool handlers_remove(struct handlers *h, const char *ns, const char *id);

/* Make the table hold exactly @records beside the attached ones. */
void handlers_replace(struct handlers *h, const struct handler_record *records, size_t count);

/* A method that is to be called. */
struct handler_wanted {
	const char *ns, *service, *method;
	bool attached_only;                     /* nobody registered it */
	const struct handler *const *not_these; /* were tried already; not looked into */
	size_t not_count;
};

/*
 * A handler of the method: of two drawn at random the one with fewer calls under
 * way, connected ones first, ejected ones last. NULL: there is none. Give it back with
 * handlers_done().
 */
struct handler *handlers_take(struct handlers *h, const struct handler_wanted *wanted);
void handlers_done(struct handler *handler);

/* What came of calling it; see ejection.h. */
void handler_was_away(struct handler *handler);
void handler_was_there(struct handler *handler);

enum handler_kind handler_kind(const struct handler *handler);
struct rpc_channel *handler_channel(const struct handler *handler); /* of a backend */
struct attached *handler_attached(const struct handler *handler);   /* of an attached one */
const char *handler_collection(const struct handler *handler);      /* of a collection */
const char *handler_address(const struct handler *handler);         /* "": it has none */
bool handler_forwards_authorization(const struct handler *handler);
const char *handler_id(const struct handler *handler);

/* Handlers of @ns ("": all) after id @after, ordered by id, at most @max, in @arena. */
size_t handlers_list(struct handlers *h, const char *ns, const char *after, size_t max,
		     struct arena *arena, struct handler_record *ret);
size_t handlers_count(struct handlers *h);
bool handlers_has(struct handlers *h, const char *ns, const char *service, const char *id);

/* A handler as it is now. */
struct handler_info {
	struct handler_record record;
	bool is_ready; /* can be called without a wait */
	bool is_ejected;
	unsigned in_flight;
};

/* Those that serve the method, at most @max, in @arena. */
size_t handlers_serving(struct handlers *h, const struct handler_wanted *wanted,
			struct arena *arena, struct handler_info *ret, size_t max);

#endif
