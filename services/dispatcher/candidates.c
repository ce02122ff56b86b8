#include "services/dispatcher/candidates.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/names.h"
#include "common/base/strbuf.h"
#include "common/rpc/call.h"
#include "services/dispatcher/dispatch.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/peers.h"

struct handler *candidates_take_handler(const struct candidates *c, bool attached_only)
{
	const struct handler_wanted wanted = {
		.ns = c->ns,
		.service = c->service,
		.method = c->method,
		.attached_only = attached_only,
		.not_these = c->handlers,
		.not_count = c->handler_count,
	};

	return c->handler_count < CANDIDATES_MAX_TRIES ? handlers_take(c->d->handlers, &wanted)
						       : NULL;
}

/* The peer that is named at the beginning of @via; NULL: it is no peer. */
static const struct peer *first_of(const struct candidates *c, const char *via)
{
	char id[NAMES_NAMESPACE_MAX_BYTES + 1];
	size_t len = strcspn(via, ",");
	struct peer *peer;

	if (len >= sizeof(id))
		return NULL;
	memcpy(id, via, len);
	id[len] = '\0';
	peer = peers_take(c->d->peers, id);
	if (peer)
		peer_done(peer); /* it is compared and not looked into */
	return peer;
}

struct peer *candidates_take_peer(const struct candidates *c, void *call)
{
	const struct peer *not_these[CANDIDATES_MAX_TRIES + DISPATCH_MAX_HOPS];
	const char *via = rpc_metadata(call, DISPATCH_VIA_HEADER);
	size_t n = c->peer_count;

	if (n == CANDIDATES_MAX_TRIES)
		return NULL;
	memcpy(not_these, c->peers, n * sizeof(*not_these));
	for (; via && *via && n < c->peer_count + DISPATCH_MAX_HOPS; n++) {
		not_these[n] = first_of(c, via);
		via += strcspn(via, ",");
		via += *via == ',';
	}
	return peers_take_serving(c->d->peers, c->ns, not_these, n);
}

void candidates_call_handler(struct candidates *c, const struct handler *handler)
{
	if (c->handler_count < CANDIDATES_MAX_TRIES)
		c->handlers[c->handler_count++] = handler;
}

void candidates_call_peer(struct candidates *c, const struct peer *peer, struct arena *arena)
{
	if (c->peer_count == CANDIDATES_MAX_TRIES)
		return;
	c->peer_ids[c->peer_count] = arena_strdup(arena, peer_id(peer));
	c->peers[c->peer_count++] = peer;
}

size_t candidates_count(const struct candidates *c)
{
	return c->handler_count + c->peer_count;
}

bool candidates_may_go_on(struct candidates *c, void *call, enum status status,
			  bool not_processed, bool may_repeat)
{
	if (rpc_is_cancelled(call) ||
	    (!not_processed && (status != STATUS_UNAVAILABLE || !may_repeat)))
		return false;
	c->is_unsure |= !not_processed;
	return true;
}

static void put_asked(const struct candidates *c, struct strbuf *out)
{
	strbuf_addf(out, "asked: %s (here)", c->d->self.id);
	for (size_t i = 0; i < c->peer_count; i++)
		strbuf_addf(out, ", %s", c->peer_ids[i]);
}

void candidates_describe_none(const struct candidates *c, const struct error *last,
			      bool is_registered, struct error *ret_err)
{
	AUTO_STRBUF asked = STRBUF_INIT;

	put_asked(c, &asked);
	if (last)
		error_set(ret_err, STATUS_UNAVAILABLE,
			  "no handler of %s/%s in namespace %s can be reached now: %.200s; "
			  "%.200s",
			  c->service, c->method, c->ns, last->message, asked.buf);
	else if (is_registered)
		error_set(ret_err, STATUS_UNAVAILABLE,
			  "%s/%s is registered in namespace %s but has no handler; %.300s",
			  c->service, c->method, c->ns, asked.buf);
	else
		error_set(ret_err, STATUS_NOT_FOUND,
			  "nobody serves %s/%s in namespace %s; %.300s", c->service, c->method,
			  c->ns, asked.buf);
}
