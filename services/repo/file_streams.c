#include "services/repo/file_streams.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

struct file_streams {
	unsigned max;
	uint64_t stall_ns;
	pthread_mutex_t mu; /* what follows, and of streams what is the streams' */
	struct file_stream *first;
	unsigned count;
};

struct file_streams *file_streams_new(unsigned max, unsigned stall_s)
{
	struct file_streams *streams = xcalloc(1, sizeof(*streams));

	pthread_mutex_init(&streams->mu, NULL);
	streams->max = max;
	streams->stall_ns = stall_s * UINT64_C(1000000000);
	return streams;
}

void file_streams_free(struct file_streams *streams)
{
	if (!streams)
		return;
	pthread_mutex_destroy(&streams->mu);
	free(streams);
}

static void take_out(struct file_streams *streams, struct file_stream *stream)
{
	if (!stream->link)
		return;
	*stream->link = stream->next;
	if (stream->next)
		stream->next->link = stream->link;
	stream->link = NULL;
	streams->count--;
}

/* Some stream that stands still: the first that lets itself be evicted. */
static void evict_one(struct file_streams *streams)
{
	const uint64_t now = clock_monotonic_ns();

	for (struct file_stream *s = streams->first; s; s = s->next) {
		if (now - s->moved_ns < streams->stall_ns || !s->evict(s))
			continue;
		take_out(streams, s);
		return;
	}
}

enum status file_streams_enter(struct file_streams *streams, struct file_stream *stream,
			       struct error *err)
{
	bool has_room;

	pthread_mutex_lock(&streams->mu);
	if (streams->count >= streams->max)
		evict_one(streams);
	has_room = streams->count < streams->max;
	if (has_room) {
		stream->moved_ns = clock_monotonic_ns();
		stream->next = streams->first;
		stream->link = &streams->first;
		if (stream->next)
			stream->next->link = &stream->next;
		streams->first = stream;
		streams->count++;
	}
	pthread_mutex_unlock(&streams->mu);
	return has_room ? STATUS_OK
			: error_set(err, STATUS_RESOURCE_EXHAUSTED,
				    "%u files are being transferred already", streams->max);
}

void file_streams_touch(struct file_streams *streams, struct file_stream *stream)
{
	pthread_mutex_lock(&streams->mu);
	stream->moved_ns = clock_monotonic_ns();
	pthread_mutex_unlock(&streams->mu);
}

void file_streams_leave(struct file_streams *streams, struct file_stream *stream)
{
	pthread_mutex_lock(&streams->mu);
	take_out(streams, stream);
	pthread_mutex_unlock(&streams->mu);
}
