#include "services/dispatcher/explain.h"

#include <stdlib.h>
#include <string.h>

#include "common/client/type_cache.h"
#include "common/reflect/pool.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/hearsay.h"
#include "services/dispatcher/mesh.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/typed.h"

enum { MAX_HANDLERS = 256 };

/* What is found out, step by step. */
struct inquiry {
	struct dispatcher *d;
	const struct explain_question *q;
	struct arena *arena;
	struct explanation e;
	struct candidate *candidates; /* room for all */
	bool elsewhere;               /* another collector is the target */
	bool here;                    /* a handler of this collector gets it */
	bool is_typed;                /* it is a call of a typed collection */
	struct typed_collection collection;
};

static void add(struct inquiry *i, const struct candidate *c)
{
	i->candidates[i->e.count++] = *c;
}

/* ----------------------------------------------------------------- handlers */

static const char *why_handler(const struct inquiry *i, const struct handler_info *h)
{
	if (i->elsewhere)
		return "the call is for another collector";
	if (!i->e.registered && h->record.kind != HANDLER_ATTACHED)
		return "nobody registered the method: only attached handlers get it";
	if (h->is_ejected)
		return "it was away when it was called last: asked after the others";
	if (!h->is_ready)
		return "it is not connected now: asked after those that are";
	return h->record.kind == HANDLER_ATTACHED  ? "its stream is open"
	       : h->record.kind == HANDLER_BACKEND ? "it is connected"
						   : "it is built in";
}

static void ask_handlers(struct inquiry *i)
{
	struct handler_info *found = arena_alloc(i->arena, MAX_HANDLERS * sizeof(*found));
	const struct handler_wanted wanted = {
		.ns = i->q->ns, .service = i->q->service, .method = i->q->method};
	size_t count = handlers_serving(i->d->handlers, &wanted, i->arena, found, MAX_HANDLERS);

	for (size_t k = 0; k < count; k++) {
		const struct handler_info *h = &found[k];
		bool may = !i->elsewhere &&
			   (i->e.registered || h->record.kind == HANDLER_ATTACHED);
		i->here |= may;
		add(i, &(struct candidate){.kind = CANDIDATE_HANDLER,
					   .id = h->record.id,
					   .address = h->record.address,
					   .eligible = may,
					   .reason = why_handler(i, h),
					   .in_flight = h->in_flight});
	}
}

/* The service is of a collection: this collector's own comes first. */
static void ask_collection(struct inquiry *i, struct rpc_call *call)
{
	bool may;

	i->is_typed = typed_collection_of(i->q->service, &i->collection);
	if (!i->is_typed)
		return;
	may = !i->elsewhere && !strcmp(i->collection.ns, i->q->ns) &&
	      !typed_is_absent(i->d->typed, &i->collection, call);
	i->here |= may;
	add(i,
	    &(struct candidate){
		    .kind = CANDIDATE_HANDLER,
		    .id = arena_printf(i->arena, "%s/%s", i->collection.ns, i->collection.name),
		    .eligible = may,
		    .reason = may ? "the repo of this collector has the collection"
			      : i->elsewhere
				      ? "the call is for another collector"
				      : "the repo of this collector has no such collection"});
}

/* -------------------------------------------------------------------- peers */

static bool serves(const char *const *namespaces, const char *ns)
{
	for (const char *const *item = namespaces; *item; item++)
		if (!strcmp(*item, ns))
			return true;
	return false;
}

static const char *why_peer(const struct inquiry *i, const struct peer_info *p, bool *ret_may)
{
	bool is_target = i->elsewhere && !strcmp(p->id, i->q->target);

	*ret_may = is_target;
	if (is_target)
		return "it is the target";
	if (*i->q->target)
		return "the call is for another collector";
	if (!serves(p->namespaces, i->q->ns))
		return arena_printf(i->arena, "it does not serve namespace %s", i->q->ns);
	if (p->state == PEER_SUSPECT)
		return "it is suspect: it missed pings";
	if (p->state == PEER_UNREACHABLE)
		return "it is unreachable";
	if (i->here)
		return i->is_typed ? "it serves the namespace, but the collection is here"
				   : "it serves the namespace, but a handler is here: asked if "
				     "none can be reached";
	*ret_may = true;
	if (p->is_ejected)
		return "it serves the namespace, but was away when it was called last: asked "
		       "after "
		       "the others";
	return "it serves the namespace and is up";
}

static void ask_peers(struct inquiry *i, const struct peer_info *list, size_t count)
{
	for (size_t k = 0; k < count; k++) {
		const struct peer_info *p = &list[k];
		struct candidate c = {.kind = CANDIDATE_PEER,
				      .id = p->id,
				      .address = p->address,
				      .in_flight = p->in_flight,
				      .round_trip_us = p->round_trip_us};
		c.reason = why_peer(i, p, &c.eligible);
		add(i, &c);
	}
}

/* Only asked when no peer is. */
static void ask_heard(struct inquiry *i, const struct heard *list, size_t count)
{
	bool peer_is = false;

	for (size_t k = 0; k < i->e.count; k++)
		peer_is |= i->candidates[k].eligible;
	for (size_t k = 0; k < count; k++) {
		const struct heard *h = &list[k];
		bool fits = *i->q->target ? !strcmp(h->id, i->q->target)
					  : serves(h->namespaces, i->q->ns);
		add(i,
		    &(struct candidate){
			    .kind = CANDIDATE_HEARD_OF,
			    .id = h->id,
			    .address = h->address,
			    .eligible = fits && !peer_is,
			    .reason = !fits     ? "neither the target nor serving the namespace"
				      : peer_is ? "somebody nearer gets the call"
						: arena_printf(i->arena,
							       "%s told of it: it is dialled, "
							       "or reached through that peer",
							       h->through)});
	}
}

/* ------------------------------------------------------------------ decision */

static const char *decide(const struct inquiry *i)
{
	const char *self = i->d->self.id;
	size_t eligible = 0;

	while (eligible < i->e.count && i->candidates[eligible].eligible)
		eligible++;
	if (i->is_typed && strcmp(i->collection.ns, i->q->ns) != 0)
		return arena_printf(i->arena,
				    "INVALID_ARGUMENT: the service is of namespace %s, not %s",
				    i->collection.ns, i->q->ns);
	if (i->here)
		return arena_printf(i->arena, "a %s of this collector, %s, is called",
				    i->is_typed ? "collection" : "handler", self);
	if (i->elsewhere)
		return eligible ? arena_printf(i->arena, "collector %s is called", i->q->target)
				: arena_printf(i->arena, "NOT_FOUND: collector %s is not known",
					       i->q->target);
	if (eligible)
		return eligible == 1 ? arena_printf(i->arena, "collector %s is called",
						    i->candidates[0].id)
				     : arena_printf(i->arena, "one of %zu collectors is called",
						    eligible);
	if (i->is_typed)
		return "UNIMPLEMENTED: there is no such collection; NOT_FOUND for a Dispatch";
	return i->e.registered ? "UNAVAILABLE: the method is registered and has no handler"
			       : "NOT_FOUND: nobody serves the method";
}

static int eligible_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->eligible != y->eligible)
		return y->eligible - x->eligible;
	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	if (x->in_flight != y->in_flight)
		return x->in_flight < y->in_flight ? -1 : 1;
	return strcmp(x->id, y->id);
}

struct explanation explain(struct dispatcher *d, const struct explain_question *q,
			   const struct rpc_options *options, struct arena *arena)
{
	struct inquiry i = {.d = d, .q = q, .arena = arena};
	const struct pool_method *method;
	const struct peer_info *peers;
	struct error unknown; /* then it counts as not registered */
	struct pool *pool;
	const struct heard *heard;
	size_t peer_count, heard_count;

	i.elsewhere = *q->target && strcmp(q->target, d->self.id);
	i.e.registered = type_cache_method(d->types, q->ns, q->service, q->method, options,
					   &pool, &method, &unknown) == STATUS_OK;
	if (i.e.registered)
		pool_unref(pool);
	peers = peers_list(d->peers, arena, &peer_count);
	heard = mesh_heard(d->mesh, arena, &heard_count);
	i.candidates = arena_alloc(arena, (MAX_HANDLERS + 1 + peer_count + heard_count) *
						  sizeof(*i.candidates));
	ask_handlers(&i);
	ask_collection(&i, options->parent);
	ask_peers(&i, peers, peer_count);
	ask_heard(&i, heard, heard_count);
	qsort(i.candidates, i.e.count, sizeof(*i.candidates), eligible_first);
	i.e.candidates = i.candidates;
	i.e.decision = decide(&i);
	return i.e;
}
