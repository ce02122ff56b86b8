/*
 * Calling the repo. Every function blocks, takes its deadline and caller from
 * @options, and puts what it returns into @arena. UNAVAILABLE: no repo.
 *
 * Items are protobuf messages as bytes, with their full name ("shop.v1.Order");
 * the type_url is "type.googleapis.com/<name>".
 */
#ifndef COMMON_CLIENT_REPO_CLIENT_H
#define COMMON_CLIENT_REPO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct repo_label {
	const char *key, *value;
};

struct repo_record {
	const char *id;
	const char *etag;
	const char *type_name;
	struct bytes item;
};

/* Make the collection unless it exists. @indexed_fields ends with NULL. */
enum status repo_client_ensure_collection(struct rpc_channel *repo, const char *ns,
					  const char *collection, const char *message_name,
					  const char *const *indexed_fields,
					  const struct rpc_options *options,
					  struct arena *arena, struct error *err) MUST_CHECK;

/*
 * ALREADY_EXISTS: the id is taken. @id "" lets the repo choose; *ret_id and
 * *ret_etag may be NULL.
 */
enum status repo_client_create(struct rpc_channel *repo, const char *ns, const char *collection,
			       const char *id, const char *type_name, struct bytes item,
			       const struct rpc_options *options, struct arena *arena,
			       const char **ret_id, const char **ret_etag,
			       struct error *err) MUST_CHECK;

/* NOT_FOUND: no such record or collection. */
enum status repo_client_get(struct rpc_channel *repo, const char *ns, const char *collection,
			    const char *id, const struct rpc_options *options,
			    struct arena *arena, struct repo_record *ret_record,
			    struct error *err) MUST_CHECK;

/*
 * Replace the record. @etag "": whatever is there; else ABORTED when it changed.
 * @allow_missing: create it when there is none.
 */
enum status repo_client_put(struct rpc_channel *repo, const char *ns, const char *collection,
			    const char *id, const char *etag, bool allow_missing,
			    const char *type_name, struct bytes item,
			    const struct rpc_options *options, struct arena *arena,
			    const char **ret_etag, struct error *err) MUST_CHECK;

/* Deleting what is not there is OK. */
enum status repo_client_delete(struct rpc_channel *repo, const char *ns, const char *collection,
			       const char *id, const struct rpc_options *options,
			       struct arena *arena, struct error *err) MUST_CHECK;

/* One write of many. */
struct repo_write {
	const char *id;
	const char *type_name; /* NULL: delete the record */
	struct bytes item;
	bool replaces; /* put it whatever is there; else create it, or leave what is there */
};

/*
 * At most 1,000 writes, in order. Creating what is there and deleting what is not are
 * fine, so that a batch may be sent again. ret_outcomes[i] is how @writes[i] ended;
 * without it (NULL) the first failure is returned, and what came before and after it was
 * done all the same.
 */
enum status repo_client_write(struct rpc_channel *repo, const char *ns, const char *collection,
			      const struct repo_write *writes, size_t count,
			      const struct rpc_options *options, struct arena *arena,
			      enum status *ret_outcomes, struct error *err) MUST_CHECK;

struct repo_page {
	const struct repo_record *records;
	size_t count;
	const char *next_page_token; /* "" on the last page */
	int64_t total_count;
};

/*
 * One page. @filter_json is List's filter as a JSON object ("": none),
 * e.g. {"state": {"in": ["WORKFLOW_RUNNING"]}}; @order_by "" is by creation.
 */
enum status repo_client_list(struct rpc_channel *repo, const char *ns, const char *collection,
			     const char *filter_json, const char *order_by, int page_size,
			     const char *page_token, const struct rpc_options *options,
			     struct arena *arena, struct repo_page *ret_page,
			     struct error *err) MUST_CHECK;

/* The full name of the type of the collection's records. */
enum status repo_client_collection_type(struct rpc_channel *repo, const char *ns,
					const char *collection,
					const struct rpc_options *options, struct arena *arena,
					const char **ret_message, struct error *err) MUST_CHECK;

struct repo_collection {
	const char *name, *message;
};

/* The collections of @ns, all of them, ordered by name. */
enum status repo_client_collections(struct rpc_channel *repo, const char *ns,
				    const struct rpc_options *options, struct arena *arena,
				    const struct repo_collection **ret, size_t *ret_count,
				    struct error *err) MUST_CHECK;

/*
 * A page of all records, of which only the fields at @paths (ends with NULL) are
 * returned; without a total_count.
 */
enum status repo_client_list_fields(struct rpc_channel *repo, const char *ns,
				    const char *collection, const char *const *paths,
				    int page_size, const char *page_token,
				    const struct rpc_options *options, struct arena *arena,
				    struct repo_page *ret_page, struct error *err) MUST_CHECK;

/* How many records, and bytes on disk. */
enum status repo_client_describe(struct rpc_channel *repo, const char *ns,
				 const char *collection, const struct rpc_options *options,
				 struct arena *arena, int64_t *ret_records, int64_t *ret_bytes,
				 struct error *err) MUST_CHECK;

#endif
