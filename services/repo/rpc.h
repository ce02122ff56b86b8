/* The repo's two services over gRPC. The other headers know no protobuf-c. */
#ifndef SERVICES_REPO_RPC_H
#define SERVICES_REPO_RPC_H

#include <stdint.h>

#include "common/base/status.h"

struct daemon;
struct repo;

struct repo_config {
	int64_t writer_threads;
	int64_t max_open_collections;
	int64_t max_record_bytes;
	int64_t cache_bytes;
	int64_t change_retention_hours, change_retention_count;
	int64_t request_retention_hours, request_retention_count;
	int64_t max_file_bytes;
	int64_t max_file_streams;
	int64_t file_stall_seconds;
	int64_t watch_stall_seconds;
	int64_t vector_cache_bytes;
	int64_t query_threads;
};

enum status repo_new(struct daemon *d, const struct repo_config *config, struct repo **ret,
		     struct error *err) MUST_CHECK;

/* End the calls that have no end of their own. */
void repo_drain(struct repo *repo);

/* No calls any more. */
void repo_free(struct repo *repo);

#endif
