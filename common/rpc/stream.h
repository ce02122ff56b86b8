/*
 * One outbound call of any kind, blocking, on the thread that opened it: messages
 * are sent and received in turn. Every wait ends with the call's deadline, or when
 * the parent is cancelled.
 */
#ifndef COMMON_RPC_STREAM_H
#define COMMON_RPC_STREAM_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct rpc_stream;

/*
 * Call @path ("/shop.v1.Orders/Follow"). UNAVAILABLE, DEADLINE_EXCEEDED: the
 * channel cannot be connected; nothing was sent.
 */
enum status rpc_stream_open(struct rpc_channel *channel, const char *path,
			    const struct rpc_options *options, struct rpc_stream **ret_stream,
			    struct error *err) MUST_CHECK;

/* Cancels the call unless it has ended. NULL is fine. */
void rpc_stream_free(struct rpc_stream *s);

/*
 * End the call now: whoever waits for it goes on, and receives CANCELLED. Any
 * thread, as long as the stream is not freed.
 */
void rpc_stream_cancel(struct rpc_stream *s);

/*
 * Send, and wait until flow control has taken it. False: the call is over, and
 * rpc_stream_receive() tells why.
 */
bool rpc_stream_send(struct rpc_stream *s, struct bytes message);

/* Say that no more is sent. */
void rpc_stream_half_close(struct rpc_stream *s);

/*
 * Wait for the next message; it is valid until the next call with @s. *ret_ended:
 * there is none, and the call ended with OK. Else the call's status.
 */
enum status rpc_stream_receive(struct rpc_stream *s, struct bytes *ret_message, bool *ret_ended,
			       struct error *err) MUST_CHECK;

#endif
