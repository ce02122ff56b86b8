/* Collectors that are only heard of, when a call needs one. */
#include <string.h>

#include "common/base/random.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/hearsay.h"
#include "services/dispatcher/mesh_inside.h"
#include "services/dispatcher/peers.h"

enum { MAX_DIALS = 3 };

/* Dial it; NULL: it is not there, or is not who it was said to be. */
static struct peer *dial(struct mesh *m, const struct heard *h, void *call, struct arena *arena)
{
	static const char *const own[] = {NULL};
	struct rpc_options options = {.parent = call, .timeout_ms = MESH_DIAL_TIMEOUT_MS};
	struct error ignored; /* the next one is tried */
	const char *id;

	if (addresses_check(m->d->addresses, h->address, "address", call, &ignored) !=
		    STATUS_OK ||
	    mesh_connect(m, h->address, own, &options, arena, &id, &ignored) != STATUS_OK ||
	    strcmp(id, h->id) != 0)
		return NULL;
	return peers_take(m->d->peers, h->id);
}

/* A peer that can pass a call on to it. */
static struct peer *teller(struct mesh *m, const struct heard *h)
{
	struct peer *peer = peers_take(m->d->peers, h->through);

	if (peer && peers_state(m->d->peers, peer) != PEER_UP) {
		peer_done(peer);
		peer = NULL;
	}
	return peer;
}

static struct peer *dial_or_relay(struct mesh *m, const struct heard *list, size_t count,
				  void *call, struct arena *arena, bool *ret_relays)
{
	size_t first = count ? random_u64() % count : 0;
	struct peer *peer;

	*ret_relays = false;
	for (size_t i = 0; i < count && i < MAX_DIALS; i++) {
		peer = dial(m, &list[(first + i) % count], call, arena);
		if (peer)
			return peer;
	}
	*ret_relays = true;
	for (size_t i = 0; i < count; i++) {
		peer = teller(m, &list[(first + i) % count]);
		if (peer)
			return peer;
	}
	return NULL;
}

static bool serves(const struct heard *h, const char *ns)
{
	for (const char *const *item = h->namespaces; *item; item++)
		if (!strcmp(*item, ns))
			return true;
	return false;
}

/* Those that fit, in @arena: of this id, or that serve the namespace and are no peers. */
static size_t choose(struct mesh *m, const char *id, const char *ns, struct arena *arena,
		     struct heard **ret)
{
	size_t count, n = 0;
	const struct heard *all = hearsay_list(m->hearsay, arena, &count);
	struct heard *fit = arena_alloc(arena, (count + 1) * sizeof(*fit));

	for (size_t i = 0; i < count; i++)
		if (id ? !strcmp(all[i].id, id)
		       : serves(&all[i], ns) && !peers_has(m->d->peers, all[i].id))
			fit[n++] = all[i];
	*ret = fit;
	return n;
}

static struct peer *reach(struct mesh *m, const char *id, const char *ns, void *call,
			  bool *ret_relays)
{
	struct heard *fit;
	struct arena arena;
	struct peer *peer;
	size_t count;

	arena_init(&arena, 0);
	count = choose(m, id, ns, &arena, &fit);
	peer = dial_or_relay(m, fit, count, call, &arena, ret_relays);
	arena_release(&arena);
	return peer;
}

struct peer *mesh_reach(struct mesh *m, const char *id, void *call, bool *ret_relays)
{
	struct peer *peer = peers_take(m->d->peers, id);

	*ret_relays = false;
	return peer ? peer : reach(m, id, NULL, call, ret_relays);
}

struct peer *mesh_reach_serving(struct mesh *m, const char *ns, void *call, bool *ret_relays)
{
	return reach(m, NULL, ns, call, ret_relays);
}

const struct heard *mesh_heard(struct mesh *m, struct arena *arena, size_t *ret_count)
{
	size_t count, n = 0;
	const struct heard *all = hearsay_list(m->hearsay, arena, &count);
	struct heard *others = arena_alloc(arena, (count + 1) * sizeof(*others));

	for (size_t i = 0; i < count; i++)
		if (!peers_has(m->d->peers, all[i].id))
			others[n++] = all[i];
	*ret_count = n;
	return others;
}
