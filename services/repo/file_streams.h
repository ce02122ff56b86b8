/*
 * The uploads and downloads that are open: no more than a limit. When there are so
 * many, one that has not moved for a while gives its place to a new one, so that
 * clients that are dead or slow keep nobody out. Thread-safe.
 */
#ifndef SERVICES_REPO_FILE_STREAMS_H
#define SERVICES_REPO_FILE_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

struct file_streams;

/* Embedded, zeroed; @evict before entering. */
struct file_stream {
	/*
	 * Give up what the stream holds; it has left then. False: it is moving after
	 * all. Must neither block nor call the functions below.
	 */
	bool (*evict)(struct file_stream *stream);
	/* The streams'. */
	struct file_stream *next, **link; /* link NULL: it is not in */
	uint64_t moved_ns;
};

/* @stall_s is how long it takes. */
struct file_streams *file_streams_new(unsigned max, unsigned stall_s);

/* None may be in. NULL is fine. */
void file_streams_free(struct file_streams *streams);

/* RESOURCE_EXHAUSTED: there are too many, and they move. */
enum status file_streams_enter(struct file_streams *streams, struct file_stream *stream,
			       struct error *err) MUST_CHECK;

/* It moved. */
void file_streams_touch(struct file_streams *streams, struct file_stream *stream);

/* After this returns, evict() is not and will not be running. Again is fine. */
void file_streams_leave(struct file_streams *streams, struct file_stream *stream);

#endif
