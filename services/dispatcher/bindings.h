/*
 * Binding methods to handlers for good: records in system/dispatch_servers, and
 * from there into the table of handlers; the same for Serve wrappers, in
 * system/serve_wrappers. Other dispatchers of the repo change them too: both collections
 * are followed, and the tables loaded anew when somebody else's record comes or goes;
 * should nobody tell, every 10 s, and every 2 s while they cannot be followed. Blocks on
 * the repo. Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_BINDINGS_H
#define SERVICES_DISPATCHER_BINDINGS_H

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/client/dispatch_records.h"
#include "common/rpc/client.h"

struct bindings;
struct dispatcher;

/* @d is borrowed; its handlers must be there. */
struct bindings *bindings_new(struct dispatcher *d);
void bindings_free(struct bindings *b);

/* Load the tables and follow what becomes of them; returns at once. */
void bindings_start(struct bindings *b);

/*
 * Another dispatcher of the same repo may have bound what is missed here: load
 * the table anew, unless that was done a tenth of a second ago.
 */
void bindings_refresh(struct bindings *b);

/*
 * Bind, and remember it. UNAVAILABLE: the repo is away; nothing is bound then.
 * RESOURCE_EXHAUSTED: HANDLERS_MAX.
 */
enum status bindings_add(struct bindings *b, const struct handler_record *record,
			 const struct rpc_options *options, struct arena *arena,
			 struct error *err) MUST_CHECK;

/*
 * Give the namespace this wrapper; with an empty service, none. UNAVAILABLE: the repo is
 * away. RESOURCE_EXHAUSTED: WRAPPERS_MAX.
 */
enum status bindings_set_wrapper(struct bindings *b, const struct wrapper_record *record,
				 const struct rpc_options *options, struct arena *arena,
				 struct error *err) MUST_CHECK;

/* NOT_FOUND: there is no such handler in @ns. */
enum status bindings_remove(struct bindings *b, const char *ns, const char *id,
			    const struct rpc_options *options, struct arena *arena,
			    struct error *err) MUST_CHECK;

#endif
