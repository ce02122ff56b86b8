/*
 * A blocking client of one call of any kind, on the bare gRPC core, so that
 * servers and proxies are tested against something that is not our own client.
 * One thread per call. Every wait ends: the call has a deadline.
 */
#ifndef TESTS_SUPPORT_STREAM_CLIENT_H
#define TESTS_SUPPORT_STREAM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct stream;

struct stream_pair {
	const char *key, *value; /* the value of a "-bin" key is written in hex */
};

struct stream_options {
	int timeout_ms;                     /* 0: no deadline */
	const struct stream_pair *metadata; /* ends with a NULL key; NULL: none */
	const char *service_config;         /* JSON, a retry policy in it; NULL: no retries */
	bool gzip;                          /* compress what is sent */
};

enum { STREAM_TEST_TIMEOUT_MS = 60000 };

/* Call @path at 127.0.0.1:@port. */
struct stream *stream_open_with(int port, const char *path,
				const struct stream_options *options);
struct stream *stream_open(int port, const char *path, int timeout_ms,
			   const struct stream_pair *metadata);

/* False: the call is over. Waits until flow control has taken the message. */
bool stream_send(struct stream *s, struct bytes message);
void stream_half_close(struct stream *s);

/* False: no more messages. Replaces what is in @out. */
bool stream_read(struct stream *s, struct strbuf *out);
void stream_cancel(struct stream *s);

/* Wait for the end. @message may be NULL. */
enum status stream_status(struct stream *s, struct strbuf *message);

/* Of the answer's headers or, after stream_status(), its trailers; NULL: not sent. */
const char *stream_header(struct stream *s, const char *key);
const char *stream_trailer(struct stream *s, const char *key);

/* Wait for the end; append status, message, headers and trailers, a line each, in a fixed order. */
void stream_describe(struct stream *s, struct strbuf *out);
size_t stream_trailer_count(struct stream *s);
void stream_free(struct stream *s);

/* Unary in one go: send, half-close, read, end. @reply may be NULL. */
enum status stream_unary(int port, const char *path, struct bytes request,
			 const struct stream_pair *metadata, struct strbuf *reply,
			 struct strbuf *message);

#endif
