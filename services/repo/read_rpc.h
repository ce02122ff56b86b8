/* The methods that read records. */
#ifndef SERVICES_REPO_READ_RPC_H
#define SERVICES_REPO_READ_RPC_H

#include "services/repo/rpc_internal.h"

void repo_get(Collector__CollectionService_Service *service,
	      const Collector__GetRequest *request, Collector__GetResponse_Closure reply,
	      void *call);
void repo_list(Collector__CollectionService_Service *service,
	       const Collector__ListRequest *request, Collector__ListResponse_Closure reply,
	       void *call);
void repo_search(Collector__CollectionService_Service *service,
		 const Collector__SearchRequest *request,
		 Collector__SearchResponse_Closure reply, void *call);
void repo_describe(Collector__CollectionService_Service *service,
		   const Collector__DescribeRequest *request,
		   Collector__DescribeResponse_Closure reply, void *call);

#endif
