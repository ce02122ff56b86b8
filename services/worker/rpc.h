/* collector.CollectiveWorker over gRPC. */
#ifndef SERVICES_WORKER_RPC_H
#define SERVICES_WORKER_RPC_H

struct daemon;
struct engine;
struct keeper;
struct type_cache;
struct worker_rpc;

/* Adds the service to the daemon's server. All is borrowed; the keeper comes later. */
struct worker_rpc *worker_rpc_new(struct daemon *d, struct engine *e, struct type_cache *types);
void worker_rpc_set_keeper(struct worker_rpc *w, struct keeper *k);
void worker_rpc_free(struct worker_rpc *w);

#endif
