#include "services/worker/keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/client/daemon_client.h"
#include "common/client/repo_client.h"
#include "common/client/workflow_records.h"
#include "common/daemon/daemon.h"
#include "services/worker/delay.h"
#include "services/worker/engine.h"

enum {
	RETRY_MS = 100,
	WATCH_MS = 250,
	CALL_TIMEOUT_MS = 5000,
	PROBE_TIMEOUT_MS = 1000,
	PAGE = 200
};

struct keeper {
	struct daemon *daemon;
	struct engine *engine;
	pthread_t thread;
	pthread_mutex_t mu; /* closing, recovered */
	pthread_cond_t changed;
	bool closing, recovered;
};

static const struct {
	const char *name, *type;
	const char *indexed[4];
} collections[] = {
	{WORKFLOW_DEFINITIONS_COLLECTION,
	 WORKFLOW_DEFINITION_TYPE,
	 {"name", "namespace", NULL}},
	{ACTIVE_WORKFLOWS_COLLECTION,
	 ACTIVE_WORKFLOW_TYPE,
	 {"state", "workflow_definition_id", "namespace", NULL}},
	{EXECUTIONS_COLLECTION, EXECUTION_TYPE, {"workflow_id", "state", NULL}},
};

static enum status ensure_collections(struct keeper *k, struct arena *arena, struct error *err)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	enum status status = STATUS_OK;

	for (size_t i = 0; i < sizeof(collections) / sizeof(collections[0]); i++)
		if (status == STATUS_OK)
			status = repo_client_ensure_collection(
				daemon_channel(k->daemon, DAEMON_REPO), "system",
				collections[i].name, collections[i].type,
				collections[i].indexed, &options, arena, err);
	return status;
}

/* ---------------------------------------------------------------- recovering */

static enum status take_up(struct keeper *k, const struct repo_record *record,
			   struct arena *arena, struct error *err)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct repo_record definition;
	struct workflow_run run;
	enum status status = workflow_run_unpack(record->item, arena, &run, err);

	if (status == STATUS_OK)
		status = repo_client_get(daemon_channel(k->daemon, DAEMON_REPO), "system",
					 WORKFLOW_DEFINITIONS_COLLECTION, run.definition_id,
					 &options, arena, &definition, err);
	if (status == STATUS_OK)
		status = engine_add(k->engine, record->item, record->etag, definition.item,
				    true, err);
	if (status == STATUS_UNAVAILABLE || status == STATUS_DEADLINE_EXCEEDED)
		return status;
	if (status != STATUS_OK)
		log_error("run %s cannot be taken up: %s; it stands still", record->id,
			  err->message);
	return STATUS_OK;
}

/* All pages are read before any run moves: what moves changes the listing. */
static enum status recover(struct keeper *k, size_t *ret_count, struct error *err)
{
	static const char unfinished[] =
		"{\"state\": {\"in\": [\"WORKFLOW_PENDING\", \"WORKFLOW_RUNNING\"]}}";
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct repo_page page = {.next_page_token = ""};
	struct repo_record *all = NULL;
	struct arena arena;
	enum status status;
	size_t count = 0;

	arena_init(&arena, 0);
	do {
		status = repo_client_list(daemon_channel(k->daemon, DAEMON_REPO), "system",
					  ACTIVE_WORKFLOWS_COLLECTION, unfinished, "", PAGE,
					  page.next_page_token, &options, &arena, &page, err);
		if (status != STATUS_OK)
			break;
		all = xreallocarray(all, count + page.count + 1, sizeof(*all));
		memcpy(all + count, page.records, page.count * sizeof(*all));
		count += page.count;
	} while (*page.next_page_token);
	for (size_t i = 0; status == STATUS_OK && i < count; i++)
		status = take_up(k, &all[i], &arena, err);
	free(all);
	arena_release(&arena);
	*ret_count = count;
	return status;
}

static bool set_recovered(struct keeper *k, size_t count)
{
	pthread_mutex_lock(&k->mu);
	k->recovered = true;
	pthread_mutex_unlock(&k->mu);
	if (count)
		log_info("%zu unfinished runs taken up", count);
	return true;
}

static bool try_recover(struct keeper *k)
{
	struct arena arena;
	struct error err;
	size_t count = 0;
	enum status status;

	arena_init(&arena, 0);
	status = ensure_collections(k, &arena, &err);
	arena_release(&arena);
	if (status == STATUS_OK)
		status = recover(k, &count, &err);
	if (status == STATUS_OK)
		return set_recovered(k, count);
	log_debug("waiting for the repo: %s", err.message);
	return false;
}

/* ------------------------------------------------------------------ watching */

static bool is_serving(struct keeper *k, enum daemon_name other)
{
	struct rpc_options options = {.timeout_ms = PROBE_TIMEOUT_MS};
	struct arena arena;
	struct error ignored; /* away is away */
	bool serving = false;

	arena_init(&arena, 0);
	if (daemon_client_is_serving(daemon_channel(k->daemon, other), "", &options, &arena,
				     &serving, &ignored) != STATUS_OK)
		serving = false;
	arena_release(&arena);
	return serving;
}

static bool pause_ms(struct keeper *k, int delay_ms)
{
	struct timespec until = delay_until(delay_ms);
	bool closing;

	pthread_mutex_lock(&k->mu);
	while (!k->closing)
		if (pthread_cond_timedwait(&k->changed, &k->mu, &until))
			break;
	closing = k->closing;
	pthread_mutex_unlock(&k->mu);
	return !closing;
}

static void *run(void *arg)
{
	struct keeper *k = arg;
	bool recovered = false, ready = false;

	do {
		bool now;
		if (!recovered)
			recovered = try_recover(k);
		now = recovered && is_serving(k, DAEMON_REPO) &&
		      is_serving(k, DAEMON_DISPATCHER);
		if (now != ready)
			daemon_set_ready(k->daemon, now);
		ready = now;
	} while (pause_ms(k, ready ? WATCH_MS : RETRY_MS));
	return NULL;
}

struct keeper *keeper_new(struct daemon *d, struct engine *e)
{
	struct keeper *k = xcalloc(1, sizeof(*k));

	k->daemon = d;
	k->engine = e;
	pthread_mutex_init(&k->mu, NULL);
	pthread_cond_init(&k->changed, NULL);
	daemon_set_ready(d, false);
	if (pthread_create(&k->thread, NULL, run, k))
		abort();
	return k;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	pthread_mutex_lock(&k->mu);
	k->closing = true;
	pthread_cond_signal(&k->changed);
	pthread_mutex_unlock(&k->mu);
	pthread_join(k->thread, NULL);
	pthread_mutex_destroy(&k->mu);
	pthread_cond_destroy(&k->changed);
	free(k);
}

bool keeper_has_recovered(struct keeper *k)
{
	bool recovered;

	pthread_mutex_lock(&k->mu);
	recovered = k->recovered;
	pthread_mutex_unlock(&k->mu);
	return recovered;
}
