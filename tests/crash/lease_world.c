/* Leases in the world: taken, given back, and what must be found of them after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/query.h"
#include "tests/crash/world.h"

enum { TOKENS_MAX = 16, HOUR_US = 3600000000u };

#define TOKENS "tokens of" /* all that were given, up to the value */

struct taken {
	const char *id;
	int64_t token;
};

static bool take_one(void *arg, const struct store_record *record, int64_t token)
{
	struct taken *t = arg;

	if (strcmp(record->id, t->id) != 0)
		abort();
	t->token = token;
	return true;
}

static int64_t take(struct world *w, struct collection *c, const char *id, const char *value)
{
	struct taken taken = {.id = id};
	struct store_take take = {
		.owner = "me",
		.expires_us = WORLD_NOW_US + (uint64_t)HOUR_US,
		.row = take_one,
		.arg = &taken,
	};
	struct store_write write = {
		.operation = store_take_leases, .operands = &take, .now_us = WORLD_NOW_US};
	struct arena arena;
	struct error err;

	arena_init(&arena, 0);
	take.query = world_query(c, value, &arena);
	take.query->limit = 1;
	query_finish(take.query);
	must(writer_run(catalog_writer(w->catalog), c->queue, &write, &err), &err, "lease");
	arena_release(&arena);
	return taken.token;
}

/* Tell the leases that they last longer, or end them. */
static void keep(struct world *w, struct collection *c, struct store_lease *leases,
		 size_t count, bool ends)
{
	struct store_keep keep = {
		.leases = leases,
		.count = count,
		.expires_us = ends ? 0 : WORLD_NOW_US + (uint64_t)HOUR_US,
	};
	struct store_write write = {
		.operation = store_keep_leases, .operands = &keep, .now_us = WORLD_NOW_US};
	struct error err;

	must(writer_run(catalog_writer(w->catalog), c->queue, &write, &err), &err, "keep");
}

static struct collection *acquire(struct world *w, const char *collection)
{
	struct collection *c;
	struct error err;

	must(catalog_acquire(w->catalog, "default", collection, &c, &err), &err, "acquire");
	return c;
}

void world_lease(struct world *w, const char *collection, const char *id, const char *value,
		 int token)
{
	AUTO_FREE char *expected = xasprintf("lease %s", id);
	AUTO_FREE char *text = xasprintf("%d", token);
	struct collection *c = acquire(w, collection);

	expectation_begin(collection, expected, text);
	if (take(w, c, id, value) != token)
		abort();
	expectation_done(collection, expected, text);
	expectation_done(collection, TOKENS, text);
	catalog_release(w->catalog, c);
}

void world_release(struct world *w, const char *collection, const char *id, int token)
{
	AUTO_FREE char *expected = xasprintf("lease %s", id);
	struct store_lease lease = {.id = id, .token = token};
	struct collection *c = acquire(w, collection);

	expectation_begin(collection, expected, "");
	keep(w, c, &lease, 1, true);
	if (!lease.was_held)
		abort();
	expectation_done(collection, expected, "");
	catalog_release(w->catalog, c);
}

/* Which of all tokens holds it. */
void world_lease_value(struct world *w, struct collection *c, const char *id,
		       char out[EXPECTED_TEXT_MAX])
{
	struct store_lease leases[TOKENS_MAX];

	for (int i = 0; i < TOKENS_MAX; i++)
		leases[i] = (struct store_lease){.id = id, .token = i + 1};
	keep(w, c, leases, TOKENS_MAX, false);
	*out = '\0';
	for (int i = 0; i < TOKENS_MAX; i++)
		if (leases[i].was_held)
			(void)snprintf(out, EXPECTED_TEXT_MAX, "%d", i + 1);
}

bool world_tokens_go_on(struct world *w, struct collection *c, const struct expectations *e)
{
	for (const struct expected *x = e->all; x < e->all + e->count; x++) {
		if (strcmp(x->id, TOKENS) != 0 || strcmp(x->collection, c->name) != 0)
			continue;
		world_put(w, c->name, "probe", "a probe");
		const int64_t token = take(w, c, "probe", "a probe");
		if (token > strtoll(x->done, NULL, 10))
			return true;
		fprintf(stderr, "token %lld is given again\n", (long long)token);
		return false;
	}
	return true;
}
