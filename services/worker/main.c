/* collector-worker: durable workflows of registered methods. */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/client/type_cache.h"
#include "common/daemon/daemon.h"
#include "services/worker/engine.h"
#include "services/worker/keeper.h"
#include "services/worker/rpc.h"

struct worker {
	struct daemon *daemon;
	struct type_cache *types;
	struct engine *engine;
	struct keeper *keeper;
	struct worker_rpc *rpc;
};

static enum status open_worker(struct daemon *d, const void *config, void **ret_state,
			       struct error *err)
{
	struct worker *w = xcalloc(1, sizeof(*w));

	(void)config;
	(void)err;
	w->daemon = d;
	w->types = type_cache_new(daemon_channel(d, DAEMON_REGISTRY));
	w->engine = engine_new(d, w->types);
	w->rpc = worker_rpc_new(d, w->engine, w->types);
	*ret_state = w;
	return STATUS_OK;
}

static void start_worker(void *state)
{
	struct worker *w = state;

	w->keeper = keeper_new(w->daemon, w->engine);
	worker_rpc_set_keeper(w->rpc, w->keeper);
}

static void close_worker(void *state)
{
	struct worker *w = state;

	keeper_free(w->keeper);
	engine_free(w->engine);
	worker_rpc_free(w->rpc);
	type_cache_free(w->types);
	free(w);
}

static const struct daemon_spec spec = {
	.name = DAEMON_WORKER,
	.summary = "Runs workflows of registered methods; everything they are is in the repo.",
	.open = open_worker,
	.start = start_worker,
	.close = close_worker,
};

int main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
