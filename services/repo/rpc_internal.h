/* What the repo's rpc files share; for them alone. */
#ifndef SERVICES_REPO_RPC_INTERNAL_H
#define SERVICES_REPO_RPC_INTERNAL_H

#include "collector/collection_repo.pb-c.h"
#include "collector/collection_server.pb-c.h"
#include "common/base/arena.h"
#include "common/base/status.h"
#include "services/repo/catalog.h"
#include "services/repo/page_token.h"
#include "services/repo/query.h"
#include "services/repo/rpc.h"
#include "services/repo/types.h"

struct rpc_pool;
struct waits;
struct watches;

enum {
	PAGE_DEFAULT = 100,
	PAGE_MAX = 1000,
	/* A page ends after so many, too: clients take messages of 4 MiB if they are not told. */
	PAGE_MAX_BYTES = 3 << 20,
	PAGE_BYTES_OF_INFO = 128, /* of a record, beside its texts */
};

struct repo {
	Collector__CollectionService_Service records; /* what its methods are given */
	Collector__CollectionRepo_Service collections;
	struct daemon *daemon;
	struct repo_config config;
	struct types *types;
	struct catalog *catalog;
	struct vector_cache *vectors;
	struct file_streams *file_streams;
	struct rpc_pool *query_pool;  /* List, Search, ExplainQuery, SearchCollections */
	struct turns *turns;          /* on its threads */
	struct turn_queue searches;   /* SearchCollections */
	struct rpc_pool *search_pool; /* helps SearchCollections */
	struct page_token_key token_key;
	struct watches *watches;
	struct waits *waits;
};

/* The repo that a method's service belongs to. */
struct repo *repo_of_records(Collector__CollectionService_Service *service);
struct repo *repo_of_collections(Collector__CollectionRepo_Service *service);

extern const Collector__CollectionService_Service record_methods;
extern const Collector__CollectionRepo_Service collection_methods;

/* ------------------------------------------------------------ checks */

enum access { ACCESS_READ, ACCESS_WRITE };

/*
 * Check names and rights, and find the collection; @ns may be empty. Release it
 * with catalog_release().
 */
enum status repo_acquire(struct repo *repo, void *call, const char *ns, const char *name,
			 enum access access, struct collection **ret,
			 struct error *err) MUST_CHECK;

/* Only the checks. *ret_ns is @ns or "default". */
enum status repo_check(void *call, const char *ns, const char *name, enum access access,
		       const char **ret_ns, struct error *err) MUST_CHECK;

/* INVALID_ARGUMENT blaming read_mask: a path is not of the collection's type. */
enum status check_read_mask(const struct collection *c, char *const *mask, size_t count,
			    struct error *err) MUST_CHECK;

/* A page's size: 0 is the default, negative INVALID_ARGUMENT blaming @field. */
enum status repo_page_size(int32_t asked, const char *field, size_t *ret,
			   struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ messages */

/* A body's OK. */
Collector__Status *status_ok(struct arena *arena);
Google__Protobuf__Any *any_of(struct arena *arena, const struct collection *c,
			      const char *type_url, struct bytes value);
/* The record's message, or what the mask leaves of it; a copy in @arena. */
enum status item_of(struct arena *arena, const struct collection *c,
		    const struct store_record *record, char *const *mask, size_t mask_count,
		    Google__Protobuf__Any **ret, struct error *err) MUST_CHECK;
Collector__RecordInfo *info_of(struct arena *arena, const struct store_record *record);
Google__Protobuf__Timestamp *timestamp_of(struct arena *arena, uint64_t unix_us);

/* A stored definition with what only this repo knows filled in. DATA_LOSS: it does not parse. */
enum status definition_of(const struct repo *repo, struct bytes definition, struct arena *arena,
			  Collector__Collection **ret, struct error *err) MUST_CHECK;

/* A collection of one type; else it takes records of any. */
bool definition_has_type(const Collector__Collection *c);

/*
 * Resolve the paths that a request names; each must lead to a single value, or to text. They
 * are in @arena. INVALID_ARGUMENT blaming @field.
 */
enum status resolve_paths(const struct type *type, char *const *names, size_t count,
			  bool is_text, const char *field, struct arena *arena,
			  const struct search_path *const **ret, struct error *err) MUST_CHECK;

/*
 * The definition of vectors or limits, NULL: none. INVALID_ARGUMENT blaming @field, or
 * what in it is wrong.
 */
enum status take_vector(const Collector__VectorIndex *v, const struct type *type,
			const char *field, struct store_vectors *ret,
			struct error *err) MUST_CHECK;
enum status take_quota(const Collector__CollectionQuota *q, const char *field,
		       struct store_quota *ret, struct error *err) MUST_CHECK;

enum { MAX_INDEXED_FIELDS = 32, MAX_TEXT_FIELDS = 64, MAX_COLLECTION_LABELS = 64 };

/* ------------------------------------------------------------ filters */

/* List's filter: {"path": value} and {"path": {"op": value}}. @filter may be NULL. */
enum status filter_add_struct(struct query *q, const Google__Protobuf__Struct *filter,
			      struct error *err) MUST_CHECK;

/* What the generated types of map entries of strings all look like. */
struct label_entry {
	ProtobufCMessage base;
	char *key, *value;
};

/* Labels that records must have: @entries is an array of pointers to label entries. */
enum status filter_add_labels(struct query *q, const void *entries, size_t count,
			      struct error *err) MUST_CHECK;

/* One of Search's filters. */
enum status filter_add(struct query *q, const char *path, const Collector__Filter *filter,
		       struct error *err) MUST_CHECK;

#endif
