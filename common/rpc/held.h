/*
 * The first messages of a forwarded call, by reference, for as long as it may have to be
 * sent to another server instead. Private to common/rpc; whoever owns it guards it.
 */
#ifndef COMMON_RPC_HELD_H
#define COMMON_RPC_HELD_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	HELD_MESSAGES = 2,
	HELD_BYTES = 64 << 10,
	/* Beside those that were sent there are those that wait to be. */
	HELD_ROOM = 2 * HELD_MESSAGES,
};

struct held {
	bool is_open; /* all messages are here */
	unsigned count;
	size_t bytes;
	grpc_byte_buffer *messages[HELD_ROOM];
};

/* Hold what comes. */
void held_open(struct held *h);

/* One that was read; it stays the caller's. Without room for it, all are let go. */
void held_add(struct held *h, grpc_byte_buffer *message);

/* Some have been sent: past HELD_MESSAGES or HELD_BYTES all are let go. */
void held_sent(struct held *h);

/* Nothing is held any more. */
void held_let_go(struct held *h);

#endif
