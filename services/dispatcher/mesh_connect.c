/* Connect: asking for it, taking it, and keeping what came of it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/base/strbuf.h"
#include "common/client/dispatch_records.h"
#include "common/daemon/daemon.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/mesh_inside.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/records.h"

enum { MAX_PENDING = 256 };

/* --------------------------------------------------------------- own namespaces */

static bool is_in(const char *const *list, size_t count, const char *item)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], item))
			return true;
	return false;
}

const char *const *mesh_own_namespaces(struct mesh *m, struct arena *arena)
{
	struct handler_record *records;
	const char **list;
	size_t count, n = 0;

	if (m->d->self.namespaces[0])
		return m->d->self.namespaces;
	count = handlers_count(m->d->handlers);
	records = arena_alloc(arena, (count + 1) * sizeof(*records));
	count = handlers_list(m->d->handlers, "", "", count, arena, records);
	list = arena_alloc(arena, (MESH_MAX_NAMESPACES + 2) * sizeof(*list));
	list[n++] = NAMES_DEFAULT_NAMESPACE;
	for (size_t i = 0; i < count && n <= MESH_MAX_NAMESPACES; i++)
		if (!is_in(list, n, records[i].ns))
			list[n++] = records[i].ns;
	list[n] = NULL;
	return list;
}

/* ------------------------------------------------------------------ keeping */

const char *mesh_record_id(const struct mesh *m, const char *peer, struct arena *arena)
{
	return arena_printf(arena, "%s/%s", m->d->self.id, peer);
}

static void keep_records(struct mesh *m, const struct peer_info *p, struct arena *arena)
{
	const char *id = mesh_record_id(m, p->id, arena);
	struct connection_record connection = {
		.id = id,
		.source_id = m->d->self.id,
		.target_id = p->id,
		.address = p->address,
		.shared_namespaces =
			peers_shared(mesh_own_namespaces(m, arena), p->namespaces, arena),
		.state = (int)p->state,
		.created_us = p->created_us,
		.last_activity_us = p->last_seen_us,
		.round_trip_us = p->round_trip_us,
		.outbound = p->outbound,
	};
	struct collector_record collector = {
		.id = p->id,
		.address = p->address,
		.namespaces = p->namespaces,
		.is_direct_peer = true,
		.distance = 1,
		.created_us = p->created_us,
		.last_seen_us = p->last_seen_us,
	};

	records_put(m->d->records, CONNECTIONS_COLLECTION, id, CONNECTION_TYPE,
		    connection_record_pack(&connection, arena));
	records_put(m->d->records, COLLECTORS_COLLECTION, id, COLLECTOR_TYPE,
		    collector_record_pack(&collector, arena));
}

static void keep_records_of(struct mesh *m, const char *peer)
{
	struct arena arena;
	size_t count;
	const struct peer_info *list;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, peer))
			keep_records(m, &list[i], &arena);
	daemon_set_number(m->d->daemon, "peers", (int64_t)count);
	arena_release(&arena);
}

/* What there is to tell of a peer, but for times. */
static char *describe(const struct peer_info *p, const char *const *own, struct arena *arena)
{
	AUTO_STRBUF out = STRBUF_INIT;

	strbuf_addf(&out, "%d %s", (int)p->state, p->address);
	for (const char *const *ns = p->namespaces; *ns; ns++)
		strbuf_addf(&out, " %s", *ns);
	for (const char *const *ns = peers_shared(own, p->namespaces, arena); *ns; ns++)
		strbuf_addf(&out, " +%s", *ns);
	return xstrdup(strbuf_str(&out));
}

void mesh_record_peers(struct mesh *m, const struct peer_info *list, size_t count,
		       struct arena *arena)
{
	const char *const *own = mesh_own_namespaces(m, arena);
	struct map now = {0};

	for (size_t i = 0; i < count; i++) {
		char *text = describe(&list[i], own, arena);
		const char *before = map_get(&m->recorded, list[i].id);
		if ((!before || strcmp(before, text) != 0) &&
		    peers_has(m->d->peers, list[i].id))
			keep_records(m, &list[i], arena);
		(void)map_put(&now, list[i].id, text);
	}
	map_release(&m->recorded, free);
	m->recorded = now;
}

enum status mesh_check_peer(const struct mesh *m, const char *id, const char *const *namespaces,
			    struct error *err)
{
	enum status status = *id ? names_check_namespace(id, "collector_id", err)
				 : error_field(err, "collector_id", "the collector has no id");
	size_t n = 0;

	if (status == STATUS_OK && !strcmp(id, m->d->self.id))
		status = error_field(err, "collector_id",
				     "%s is this collector itself, or another with its id", id);
	for (; status == STATUS_OK && namespaces[n]; n++)
		status = n < MESH_MAX_NAMESPACES
				 ? names_check_namespace(namespaces[n], "namespaces", err)
				 : error_field(err, "namespaces", "more than %d",
					       MESH_MAX_NAMESPACES);
	return status;
}

/* Of the peers that are unreachable, the one that was seen last the longest ago goes. */
static bool make_room(struct mesh *m)
{
	const struct peer_info *list, *oldest = NULL;
	struct arena arena;
	struct error gone;
	size_t count;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; count >= PEERS_MAX && i < count; i++)
		if (list[i].state == PEER_UNREACHABLE &&
		    (!oldest || list[i].last_seen_us < oldest->last_seen_us))
			oldest = &list[i];
	if (oldest && mesh_disconnect(m, oldest->id, &gone) == STATUS_OK)
		log_info("there are %d peers: %s, which is unreachable, makes room", PEERS_MAX,
			 oldest->id);
	arena_release(&arena);
	return oldest != NULL;
}

static enum status keep(struct mesh *m, const char *id, const char *address,
			const char *const *namespaces, bool outbound, struct error *err)
{
	if (!peers_put(m->d->peers, id, address, namespaces, outbound) &&
	    (!make_room(m) || !peers_put(m->d->peers, id, address, namespaces, outbound)))
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "no more peers: at most %d",
				 PEERS_MAX);
	keep_records_of(m, id);
	mesh_changed(m);
	return STATUS_OK;
}

/* --------------------------------------------------------------- connecting */

static bool add_pending(struct mesh *m, const char *nonce)
{
	bool added;

	pthread_mutex_lock(&m->mu);
	added = m->pending.count < MAX_PENDING;
	if (added)
		map_put(&m->pending, nonce, m);
	pthread_mutex_unlock(&m->mu);
	return added;
}

static void remove_pending(struct mesh *m, const char *nonce)
{
	pthread_mutex_lock(&m->mu);
	map_remove(&m->pending, nonce);
	pthread_mutex_unlock(&m->mu);
}

/* Who is at @address, and what it makes of @nonce. */
static enum status ask_who(struct mesh *m, const char *address, const char *nonce,
			   const struct rpc_options *options, struct arena *arena,
			   struct ping_answer *ret, struct error *err)
{
	struct rpc_channel *channel =
		rpc_client_channel(daemon_client(m->d->daemon), address, RPC_TRUST_FOREIGN);
	struct bytes reply;
	enum status status;

	if (!channel)
		return error_field(err, "address", "'%s' cannot be dialled", address);
	status = rpc_invoke_raw(channel, MESH_PING_PATH,
				ping_request_pack(m->d->self.id, nonce, arena), options, arena,
				&reply, NULL, err);
	rpc_channel_unref(channel);
	return status == STATUS_OK ? ping_response_unpack(reply, arena, ret, err) : status;
}

/* The address of the peer @id, in @arena; NULL: there is none. */
static const char *address_of(struct mesh *m, const char *id, struct arena *arena)
{
	size_t count;
	const struct peer_info *list = peers_list(m->d->peers, arena, &count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, id))
			return list[i].address;
	return NULL;
}

/*
 * A collector that claims the id of a peer at another address. One that was started anew
 * there may have it; if the peer is still where it was, and is not that same process by
 * another name, it keeps it. @instance is the claimant's; 0: not told.
 */
static enum status check_rival(struct mesh *m, const char *id, const char *address,
			       uint64_t instance, struct arena *arena, struct error *err)
{
	const struct rpc_options options = {.timeout_ms = MESH_PING_TIMEOUT_MS};
	const char *known = address_of(m, id, arena);
	struct ping_answer there, here;
	struct error ignored;

	if (!known || !strcmp(known, address) ||
	    ask_who(m, known, "alive", &options, arena, &there, &ignored) != STATUS_OK ||
	    strcmp(there.collector_id, id) != 0)
		return STATUS_OK;
	if (!instance &&
	    ask_who(m, address, "alive", &options, arena, &here, &ignored) == STATUS_OK)
		instance = here.instance;
	if (instance == there.instance)
		return STATUS_OK;
	log_warn("two collectors claim the id %s: the one at %s keeps it, the one at %s is "
		 "refused",
		 id, known, address);
	return error_set(err, STATUS_ALREADY_EXISTS,
			 "another collector has the id %s: it is at %s, and answers", id,
			 known);
}

static enum status dial_back(struct mesh *m, const struct connect_request *request,
			     const struct rpc_options *parent, struct arena *arena,
			     struct error *err)
{
	struct rpc_options options = *parent;
	struct ping_answer answer;
	enum status status;

	if (!options.timeout_ms || options.timeout_ms > MESH_DIAL_TIMEOUT_MS)
		options.timeout_ms = MESH_DIAL_TIMEOUT_MS;
	status = ask_who(m, request->address, request->nonce, &options, arena, &answer, err);
	if (status == STATUS_INVALID_ARGUMENT)
		return status;
	if (status != STATUS_OK)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s cannot be dialled back, so it cannot be a peer",
				 request->address);
	if (strcmp(answer.collector_id, request->collector_id) ||
	    strcmp(answer.nonce, request->nonce))
		return error_set(err, STATUS_PERMISSION_DENIED,
				 "the collector at %s did not ask for this connection",
				 request->address);
	return check_rival(m, request->collector_id, request->address, answer.instance, arena,
			   err);
}

enum status mesh_connect(struct mesh *m, const char *address, const char *const *namespaces,
			 const struct rpc_options *options, struct arena *arena,
			 const char **ret_id, struct error *err)
{
	struct rpc_channel *channel =
		rpc_client_channel(daemon_client(m->d->daemon), address, RPC_TRUST_FOREIGN);
	char nonce[HEX_KEY_BYTES];
	struct connect_request request = {
		.address = m->d->self.address,
		.collector_id = m->d->self.id,
		.nonce = nonce,
		.namespaces = *namespaces ? namespaces : mesh_own_namespaces(m, arena),
	};
	struct connect_answer answer;
	enum status status;

	if (!channel)
		return error_field(err, "address", "'%s' cannot be dialled", address);
	random_hex_key(nonce);
	if (!add_pending(m, nonce)) {
		rpc_channel_unref(channel);
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "%d Connects are under way",
				 MAX_PENDING);
	}
	status = dispatcher_client_connect(channel, &request, options, arena, &answer, err);
	remove_pending(m, nonce);
	rpc_channel_unref(channel);
	if (status == STATUS_OK)
		status = mesh_check_peer(m, answer.collector_id, answer.namespaces, err);
	if (status == STATUS_OK)
		status = check_rival(m, answer.collector_id, address, 0, arena, err);
	if (status == STATUS_OK)
		status = keep(m, answer.collector_id, address, answer.namespaces, true, err);
	if (status == STATUS_OK)
		*ret_id = answer.collector_id;
	return status;
}

enum status mesh_accept(struct mesh *m, const struct connect_request *request,
			const struct rpc_options *options, struct arena *arena,
			struct error *err)
{
	enum status status =
		mesh_check_peer(m, request->collector_id, request->namespaces, err);

	if (status == STATUS_OK)
		status = addresses_check(m->d->addresses, request->address, "address",
					 options->parent, err);
	if (status == STATUS_OK && !*request->nonce)
		status = error_field(err, "nonce",
				     "without a nonce the connection cannot be "
				     "checked");
	if (status == STATUS_OK)
		status = dial_back(m, request, options, arena, err);
	if (status == STATUS_OK)
		status = keep(m, request->collector_id, request->address, request->namespaces,
			      false, err);
	return status;
}

bool mesh_knows(struct mesh *m, const char *collector_id, const char *nonce)
{
	bool known;

	pthread_mutex_lock(&m->mu);
	known = *nonce && map_get(&m->pending, nonce);
	pthread_mutex_unlock(&m->mu);
	return known || peers_has(m->d->peers, collector_id);
}
