/* Records that are worked on for a while. */
#ifndef SERVICES_REPO_LEASE_RPC_H
#define SERVICES_REPO_LEASE_RPC_H

#include "services/repo/rpc_internal.h"

void repo_lease(Collector__CollectionService_Service *service,
		const Collector__LeaseRequest *request, Collector__LeaseResponse_Closure reply,
		void *call);
void repo_renew(Collector__CollectionService_Service *service,
		const Collector__RenewRequest *request, Collector__RenewResponse_Closure reply,
		void *call);
void repo_release(Collector__CollectionService_Service *service,
		  const Collector__ReleaseRequest *request,
		  Collector__ReleaseResponse_Closure reply, void *call);

#endif
