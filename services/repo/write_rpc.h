/* Writes as the rpc files prepare them. */
#ifndef SERVICES_REPO_WRITE_RPC_H
#define SERVICES_REPO_WRITE_RPC_H

#include "common/base/strbuf.h"
#include "services/repo/files_rpc.h"
#include "services/repo/rpc_internal.h"

/* A write and what it needs until it is done; in its call's memory. */
struct write {
	struct store_write store; /* first: what merging is given */
	struct store_batch batch; /* of it alone, unless it is in another */
	struct repo *repo;
	struct collection *collection;
	struct arena *arena;
	void *call;
	void (*succeed)(struct write *w);
	void *reply;         /* the closure, of the type that succeed() knows */
	struct type type;    /* of the item; a reference */
	struct pool *others; /* for an Any in it; a reference, or NULL */
	const char *const *mask;
	size_t mask_count;
	struct strbuf doc, labels, merged, rest, vector, old_vector;
	struct store_file_changes files; /* that go with a deleted record */
};

/* write_release() frees what the prepare functions allocated. */
void write_init(struct write *w, struct repo *repo, struct collection *c, void *call);
void write_release(struct write *w);

/*
 * Have @batch remembered under @request_id, as what @call asks; "" is not remembered.
 * INVALID_ARGUMENT: it is too long or no text.
 */
enum status write_name_request(struct repo *repo, void *call, const char *request_id,
			       struct store_batch *batch, struct error *err) MUST_CHECK;

/*
 * Fill w->store from a request, whose memory must live as long. INVALID_ARGUMENT
 * with the field's path; RESOURCE_EXHAUSTED: the item is too large.
 */
enum status write_prepare_create(struct write *w, const Collector__CreateRequest *r,
				 struct error *err) MUST_CHECK;
enum status write_prepare_update(struct write *w, const Collector__UpdateRequest *r,
				 struct error *err) MUST_CHECK;
enum status write_prepare_delete(struct write *w, const Collector__DeleteRequest *r,
				 struct error *err) MUST_CHECK;

void repo_create(Collector__CollectionService_Service *service,
		 const Collector__CreateRequest *request,
		 Collector__CreateResponse_Closure reply, void *call);
void repo_update(Collector__CollectionService_Service *service,
		 const Collector__UpdateRequest *request,
		 Collector__UpdateResponse_Closure reply, void *call);
void repo_delete(Collector__CollectionService_Service *service,
		 const Collector__DeleteRequest *request,
		 Collector__DeleteResponse_Closure reply, void *call);
void repo_batch(Collector__CollectionService_Service *service,
		const Collector__BatchRequest *request, Collector__BatchResponse_Closure reply,
		void *call);

#endif
