/*
 * What the files of collector.CollectiveWorker share. Private to rpc.c and
 * definition_rpc.c.
 */
#ifndef SERVICES_WORKER_RPC_SHARED_H
#define SERVICES_WORKER_RPC_SHARED_H

#include <stdint.h>

#include "collector/worker.pb-c.h"
#include "common/base/strbuf.h"
#include "common/client/repo_client.h"
#include "common/rpc/client.h"

struct engine;
struct keeper;
struct type_cache;

struct worker_rpc {
	Collector__CollectiveWorker_Service service; /* first: what a method is given */
	struct rpc_channel *repo;
	struct engine *engine;
	struct type_cache *types;
	_Atomic(struct keeper *) keeper;
};

struct worker_rpc *worker_rpc_of(Collector__CollectiveWorker_Service *service);

/* The body's status {code: OK}, in @arena. */
Collector__Status *worker_rpc_ok(struct arena *arena);

/* Everything here is written for the worker itself: system/ is the daemons'. */
struct rpc_options worker_rpc_options(void *call);

/* One more member of List's filter that is begun with '{'. */
void worker_rpc_add_equals(struct strbuf *filter, const char *path, const char *value);

/* A stored record as a message in the call's arena. DATA_LOSS: it is damaged. */
enum status worker_rpc_unpack(const ProtobufCMessageDescriptor *type, struct bytes item,
			      void *call, ProtobufCMessage **ret, struct error *err) MUST_CHECK;

/* A page of @collection as messages; the array is in the call's arena. */
enum status worker_rpc_list(struct worker_rpc *w, void *call, const char *collection,
			    const char *filter, const char *order, int32_t page_size,
			    const char *token, const ProtobufCMessageDescriptor *type,
			    ProtobufCMessage ***ret_messages, struct repo_page *ret_page,
			    struct error *err) MUST_CHECK;

/* The newest version of a definition, or @version. NOT_FOUND names the workflow. */
enum status worker_rpc_find_definition(struct worker_rpc *w, void *call, const char *ns,
				       const char *name, int64_t version,
				       struct repo_record *ret, struct error *err) MUST_CHECK;

/* DefineWorkflow, GetWorkflowDefinition, ListWorkflowDefinitions. */
void worker_rpc_set_definition_methods(struct worker_rpc *w);

#endif
