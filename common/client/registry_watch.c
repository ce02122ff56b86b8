#include "common/client/registry_watch.h"

#include <stdlib.h>

#include "collector/registry.pb-c.h"
#include "common/base/alloc.h"
#include "common/rpc/stream.h"

struct registry_watch {
	struct rpc_stream *stream;
	struct arena arena; /* of the event */
};

static struct bytes pack_request(const struct registry_known *known, size_t count,
				 struct arena *arena)
{
	Collector__WatchRequest request = COLLECTOR__WATCH_REQUEST__INIT;
	Collector__WatchRequest__KnownVersionsEntry *entries =
		arena_alloc(arena, (count + 1) * sizeof(*entries));

	request.include_descriptors = true;
	request.namespaces = arena_alloc(arena, (count + 1) * sizeof(*request.namespaces));
	request.known_versions =
		arena_alloc(arena, (count + 1) * sizeof(*request.known_versions));
	request.n_namespaces = request.n_known_versions = count;
	for (size_t i = 0; i < count; i++) {
		collector__watch_request__known_versions_entry__init(&entries[i]);
		entries[i].key = request.namespaces[i] = (char *)known[i].ns;
		entries[i].value = known[i].version;
		request.known_versions[i] = &entries[i];
	}
	return rpc_pack(&request.base, arena);
}

enum status registry_watch_open(struct rpc_channel *registry,
				const struct registry_known *known, size_t count,
				const struct rpc_options *options, struct registry_watch **ret,
				struct error *err)
{
	struct registry_watch *w = xcalloc(1, sizeof(*w));
	enum status status = rpc_stream_open(registry, "/collector.CollectorRegistry/Watch",
					     options, &w->stream, err);

	if (status != STATUS_OK) {
		free(w);
		return status;
	}
	arena_init(&w->arena, 0);
	/* Should the call be over, the first event says why. */
	if (rpc_stream_send(w->stream, pack_request(known, count, &w->arena)))
		rpc_stream_half_close(w->stream);
	*ret = w;
	return STATUS_OK;
}

void registry_watch_free(struct registry_watch *w)
{
	if (!w)
		return;
	rpc_stream_free(w->stream);
	arena_release(&w->arena);
	free(w);
}

enum status registry_watch_next(struct registry_watch *w, struct registry_event *ret,
				struct error *err)
{
	const Collector__WatchResponse *r;
	ProtobufCMessage *message;
	struct bytes data;
	bool ended;
	enum status status = rpc_stream_receive(w->stream, &data, &ended, err);

	if (status == STATUS_OK && ended)
		status = error_set(err, STATUS_UNAVAILABLE, "the registry ended the watch");
	arena_reset(&w->arena);
	if (status == STATUS_OK)
		status = rpc_unpack(&collector__watch_response__descriptor, data, &w->arena,
				    &message, err);
	if (status != STATUS_OK)
		return status;
	r = (const Collector__WatchResponse *)message;
	*ret = (struct registry_event){
		.ns = r->namespace_,
		.version = r->version,
		.removed = (const char *const *)r->removed_files,
		.removed_count = r->n_removed_files,
		.file_descriptor_set =
			bytes_of(r->file_descriptor_set.data, r->file_descriptor_set.len),
		.complete = r->complete,
		.more = r->more,
	};
	return STATUS_OK;
}

void registry_watch_cancel(struct registry_watch *w)
{
	rpc_stream_cancel(w->stream);
}
