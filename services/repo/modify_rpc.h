/* Changes of what a collection is. */
#ifndef SERVICES_REPO_MODIFY_RPC_H
#define SERVICES_REPO_MODIFY_RPC_H

#include "services/repo/rpc_internal.h"

void repo_modify(Collector__CollectionService_Service *service,
		 const Collector__ModifyRequest *request,
		 Collector__ModifyResponse_Closure reply, void *call);

#endif
