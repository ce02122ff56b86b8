/* Who watches the changes of collections. */
#ifndef SERVICES_REPO_WATCH_RPC_H
#define SERVICES_REPO_WATCH_RPC_H

#include "services/repo/rpc_internal.h"

struct watches;

/* @repo is borrowed. */
struct watches *watches_new(struct repo *repo);

/* Something was written to the collection of this incarnation, or it is gone. Any thread. */
void watches_wake(struct watches *all, const char *incarnation);

/* Tell all watchers to go; new ones are refused. */
void watches_end(struct watches *all);

/* No calls any more. NULL is fine. */
void watches_free(struct watches *all);

void repo_watch(Collector__CollectionService_Service *service,
		const Collector__WatchRecordsRequest *request,
		Collector__WatchRecordsResponse_Closure reply, void *call);

#endif
