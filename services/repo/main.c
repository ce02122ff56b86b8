/* collector-repo: collections of protobuf messages on SQLite. */
#include <stddef.h>

#include "common/daemon/daemon.h"
#include "services/repo/rpc.h"

static const struct daemon_option options[] = {
	{"writer-threads", DAEMON_OPTION_INT, "2", 1, 64,
	 offsetof(struct repo_config, writer_threads),
	 "threads that write; a collection is always written by the same one"},
	{"max-open-collections", DAEMON_OPTION_INT, "256", 1, 100000,
	 offsetof(struct repo_config, max_open_collections),
	 "collections kept open; more are opened, the least used closed"},
	{"max-record-bytes", DAEMON_OPTION_INT, "4194304", 1024, 64 << 20,
	 offsetof(struct repo_config, max_record_bytes), "the largest message in a record"},
	{"cache-bytes", DAEMON_OPTION_INT, "100663296", 1 << 20, INT64_MAX,
	 offsetof(struct repo_config, cache_bytes),
	 "memory for SQLite's caches, of all open collections together"},
	{"change-retention-hours", DAEMON_OPTION_INT, "168", 1, 24 * 3650,
	 offsetof(struct repo_config, change_retention_hours),
	 "for how long changes are kept for those who watch a collection"},
	{"change-retention-count", DAEMON_OPTION_INT, "100000", 1, 1000000000,
	 offsetof(struct repo_config, change_retention_count),
	 "how many changes of a collection are kept"},
	{"request-retention-hours", DAEMON_OPTION_INT, "24", 1, 24 * 3650,
	 offsetof(struct repo_config, request_retention_hours),
	 "for how long the outcome of a write with a request_id is remembered"},
	{"request-retention-count", DAEMON_OPTION_INT, "100000", 1, 1000000000,
	 offsetof(struct repo_config, request_retention_count),
	 "how many outcomes of a collection are remembered"},
	{"max-file-bytes", DAEMON_OPTION_INT, "17179869184", 1024, INT64_MAX,
	 offsetof(struct repo_config, max_file_bytes), "the largest file of a collection"},
	{"max-file-streams", DAEMON_OPTION_INT, "64", 1, 10000,
	 offsetof(struct repo_config, max_file_streams),
	 "files that are put or got at once; each takes up to 2 MiB of memory"},
	{"file-stall-seconds", DAEMON_OPTION_INT, "60", 1, 86400,
	 offsetof(struct repo_config, file_stall_seconds),
	 "a transfer that stands still so long gives its place to another"},
	{"watch-stall-seconds", DAEMON_OPTION_INT, "60", 1, 86400,
	 offsetof(struct repo_config, watch_stall_seconds),
	 "a watch whose client takes nothing for so long is ended"},
	{"vector-cache-bytes", DAEMON_OPTION_INT, "268435456", 0, INT64_MAX,
	 offsetof(struct repo_config, vector_cache_bytes),
	 "memory for vectors that were searched, of all collections together"},
	{"query-threads", DAEMON_OPTION_INT, "12", 1, 256,
	 offsetof(struct repo_config, query_threads),
	 "threads for queries; a third of them at most for those of one collection, the last "
	 "third for one of each"},
	{0},
};

static enum status open_repo(struct daemon *d, const void *config, void **ret_state,
			     struct error *err)
{
	struct repo *repo;
	enum status status = repo_new(d, config, &repo, err);

	if (status == STATUS_OK)
		*ret_state = repo;
	return status;
}

static void drain_repo(void *state)
{
	repo_drain(state);
}

static void close_repo(void *state)
{
	repo_free(state);
}

static const struct daemon_spec spec = {
	.name = DAEMON_REPO,
	.summary = "Keeps collections of protobuf messages: create, get, update, list, search.",
	.options = options,
	.config_size = sizeof(struct repo_config),
	.open = open_repo,
	.drain = drain_repo,
	.close = close_repo,
};

int main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
