/* The methods that read records, and what those that run queries share. */
#ifndef SERVICES_REPO_READ_RPC_H
#define SERVICES_REPO_READ_RPC_H

#include "services/repo/rpc_internal.h"

/* A call that runs a query when its collection's turn has come. */
struct reading {
	struct turn turn; /* first */
	struct repo *repo;
	struct collection *collection;
	const void *request;
	void *reply; /* the closure, of the type that answer() knows */
	/* Answers the call, or says why not. */
	enum status (*answer)(struct reading *r, struct error *err);
};

/* It is answered, whatever becomes of it; @what is in the call's memory but for the turn. */
void reading_start(struct repo *repo, void *call, const char *ns, const char *name,
		   const struct reading *what);

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

void repo_explain_query(Collector__CollectionService_Service *service,
			const Collector__ExplainQueryRequest *request,
			Collector__ExplainQueryResponse_Closure reply, void *call);

void repo_search_collections(Collector__CollectionRepo_Service *service,
			     const Collector__SearchCollectionsRequest *request,
			     Collector__SearchCollectionsResponse_Closure reply, void *call);

/*
 * A request as a query, all of it checked; @q was initialized. *scope names the
 * query and *page says where its page begins.
 */
enum status list_prepare(const struct repo *repo, const struct collection *c,
			 const Collector__ListRequest *r, struct query *q, struct strbuf *scope,
			 struct page *page, size_t *ret_limit, struct error *err) MUST_CHECK;
enum status search_prepare(const struct collection *c, const Collector__SearchRequest *r,
			   struct query *q, size_t *ret_limit, struct error *err) MUST_CHECK;

#endif
