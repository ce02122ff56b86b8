#include "common/client/repo_watch.h"

#include <stdlib.h>

#include "collector/collection_server.pb-c.h"
#include "common/base/alloc.h"
#include "common/rpc/stream.h"

struct repo_watch {
	struct rpc_stream *stream;
	struct arena arena; /* of the news */
};

enum status repo_watch_open(struct rpc_channel *repo, const char *ns, const char *collection,
			    bool snapshot, const struct rpc_options *options,
			    struct repo_watch **ret, struct error *err)
{
	Collector__WatchRecordsRequest request = COLLECTOR__WATCH_RECORDS_REQUEST__INIT;
	struct repo_watch *w = xcalloc(1, sizeof(*w));
	enum status status = rpc_stream_open(repo, "/collector.CollectionService/Watch",
					     options, &w->stream, err);

	if (status != STATUS_OK) {
		free(w);
		return status;
	}
	arena_init(&w->arena, 0);
	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.initial_snapshot = snapshot;
	/* Should the call be over, the first news say why. */
	if (rpc_stream_send(w->stream, rpc_pack(&request.base, &w->arena)))
		rpc_stream_half_close(w->stream);
	*ret = w;
	return STATUS_OK;
}

void repo_watch_free(struct repo_watch *w)
{
	if (!w)
		return;
	rpc_stream_free(w->stream);
	arena_release(&w->arena);
	free(w);
}

static struct repo_event event_of(const Collector__RecordEvent *e)
{
	struct repo_event event = {
		.id = e->info ? e->info->id : "",
		.is_gone = e->kind == COLLECTOR__RECORD_EVENT_KIND__RECORD_DELETED,
	};

	if (e->item)
		event.item = bytes_of(e->item->value.data, e->item->value.len);
	return event;
}

enum status repo_watch_next(struct repo_watch *w, struct repo_news *ret, struct error *err)
{
	const Collector__WatchRecordsResponse *r;
	ProtobufCMessage *message;
	struct bytes data;
	bool ended;
	enum status status = rpc_stream_receive(w->stream, &data, &ended, err);

	if (status == STATUS_OK && ended)
		status = error_set(err, STATUS_UNAVAILABLE, "the repo ended the watch");
	arena_reset(&w->arena);
	if (status == STATUS_OK)
		status = rpc_unpack(&collector__watch_records_response__descriptor, data,
				    &w->arena, &message, err);
	if (status != STATUS_OK)
		return status;
	r = (const Collector__WatchRecordsResponse *)message;
	*ret = (struct repo_news){
		.events = arena_alloc(&w->arena, (r->n_events + 1) * sizeof(*ret->events)),
		.count = r->n_events,
		.caught_up = r->caught_up,
	};
	for (size_t i = 0; i < r->n_events; i++)
		ret->events[i] = event_of(r->events[i]);
	return STATUS_OK;
}

void repo_watch_cancel(struct repo_watch *w)
{
	rpc_stream_cancel(w->stream);
}
