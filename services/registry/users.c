#include "services/registry/users.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/client/repo_client.h"

enum { PAGE = 1000, MAX_TIMEOUT_MS = 10000, PATIENCE_MS = 1000 };

struct asking {
	struct rpc_channel *repo;
	uint64_t deadline_ns;
	struct arena *arena;
	struct error *err;
	size_t total;
};

/* One system collection, and where what is in it goes. */
struct kind {
	const char *collection;
	size_t item_size;
	enum status (*unpack)(struct bytes item, struct arena *arena, void *ret,
			      struct error *err);
};

static enum status unpack_collection(struct bytes item, struct arena *arena, void *ret,
				     struct error *err)
{
	return collection_record_unpack(item, arena, ret, err);
}

static enum status unpack_handler(struct bytes item, struct arena *arena, void *ret,
				  struct error *err)
{
	return handler_record_unpack(item, arena, ret, err);
}

static enum status unpack_workflow(struct bytes item, struct arena *arena, void *ret,
				   struct error *err)
{
	return workflow_definition_unpack(item, arena, ret, err);
}

static const struct kind collections = {COLLECTIONS_COLLECTION,
					sizeof(struct collection_record), unpack_collection};
static const struct kind handlers = {DISPATCH_SERVERS_COLLECTION, sizeof(struct handler_record),
				     unpack_handler};
static const struct kind workflows = {WORKFLOW_DEFINITIONS_COLLECTION,
				      sizeof(struct workflow_definition), unpack_workflow};

static enum status fetch(struct asking *a, const struct kind *kind, const char *filter,
			 const char *token, struct repo_page *ret)
{
	const uint64_t now = clock_monotonic_ns();
	const uint64_t left_ms = a->deadline_ns > now ? (a->deadline_ns - now) / 1000000 : 0;
	const struct rpc_options options = {
		.timeout_ms = left_ms < MAX_TIMEOUT_MS ? (int)left_ms + 1 : MAX_TIMEOUT_MS,
		.patience_ms = PATIENCE_MS};
	struct error why;
	enum status status =
		repo_client_list(a->repo, NAMES_SYSTEM_NAMESPACE, kind->collection, filter, "",
				 PAGE, token, &options, a->arena, ret, &why);

	if (status == STATUS_OK || status == STATUS_NOT_FOUND)
		return status;
	return error_set(
		a->err,
		status == STATUS_DEADLINE_EXCEEDED ? STATUS_DEADLINE_EXCEEDED
						   : STATUS_UNAVAILABLE,
		"who uses what changes cannot be found out: system/%s in the repo: %s: %s",
		kind->collection, status_name(status), why.message);
}

static enum status take_page(struct asking *a, const struct kind *kind,
			     const struct repo_page *page, char *items, size_t count)
{
	for (size_t i = 0; i < page->count; i++) {
		struct error why;
		if (kind->unpack(page->records[i].item, a->arena,
				 items + (count + i) * kind->item_size, &why) != STATUS_OK)
			return error_set(a->err, STATUS_UNAVAILABLE,
					 "who uses what changes cannot be found out: %s in "
					 "system/%s: %s",
					 page->records[i].id, kind->collection, why.message);
	}
	return STATUS_OK;
}

/* Never in place: the arena cannot grow what it handed out. */
static char *grow(struct asking *a, const struct kind *kind, const char *items, size_t count,
		  size_t *room)
{
	char *more;

	*room = *room ? 2 * *room + PAGE : PAGE;
	more = arena_alloc(a->arena, *room * kind->item_size);
	if (items)
		memcpy(more, items, count * kind->item_size);
	return more;
}

/* All that match @filter. */
static enum status ask(struct asking *a, const struct kind *kind, const char *filter,
		       void *ret_items, size_t *ret_count)
{
	struct repo_page page = {.next_page_token = ""};
	size_t count = 0, room = 0;
	char *items = NULL;

	do {
		enum status status = fetch(a, kind, filter, page.next_page_token, &page);
		if (status == STATUS_NOT_FOUND)
			break; /* no daemon has made it: there is nobody */
		if (status != STATUS_OK)
			return status;
		a->total += page.count;
		if (a->total > USERS_MAX)
			return error_set(a->err, STATUS_RESOURCE_EXHAUSTED,
					 "more than %d collections, handlers and workflows are "
					 "there to check",
					 USERS_MAX);
		while (count + page.count > room)
			items = grow(a, kind, items, count, &room);
		status = take_page(a, kind, &page, items, count);
		if (status != STATUS_OK)
			return status;
		count += page.count;
	} while (*page.next_page_token);
	memcpy(ret_items, &items, sizeof(items));
	*ret_count = count;
	return STATUS_OK;
}

enum status users_ask(struct rpc_channel *repo, const char *ns, uint64_t deadline_ns,
		      struct arena *arena, struct users *ret, struct error *err)
{
	struct asking a = {repo, deadline_ns, arena, err, 0};
	/* Names of namespaces need no escapes. */
	const char *in_namespace = arena_printf(arena, "{\"namespace\": \"%s\"}", ns);
	const char *serving =
		arena_printf(arena, "{\"namespaces\": {\"contains\": \"%s\"}}", ns);
	struct users u = {0};
	enum status status =
		ask(&a, &collections, in_namespace, &u.collections, &u.collection_count);

	if (status == STATUS_OK)
		status = ask(&a, &handlers, serving, &u.handlers, &u.handler_count);
	if (status == STATUS_OK)
		status = ask(&a, &workflows, in_namespace, &u.workflows, &u.workflow_count);
	if (status == STATUS_OK)
		*ret = u;
	return status;
}
