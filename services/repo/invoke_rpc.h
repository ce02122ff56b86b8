/* Custom methods of collections. */
#ifndef SERVICES_REPO_INVOKE_RPC_H
#define SERVICES_REPO_INVOKE_RPC_H

#include "services/repo/rpc_internal.h"

void repo_invoke(Collector__CollectionService_Service *service,
		 const Collector__InvokeRequest *request,
		 Collector__InvokeResponse_Closure reply, void *call);

#endif
