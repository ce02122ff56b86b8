#include "common/rpc/held.h"

#include <grpc/byte_buffer.h>

void held_open(struct held *h)
{
	*h = (struct held){.is_open = true};
}

void held_let_go(struct held *h)
{
	for (unsigned i = 0; i < h->count; i++)
		grpc_byte_buffer_destroy(h->messages[i]);
	*h = (struct held){.is_open = false};
}

void held_add(struct held *h, grpc_byte_buffer *message)
{
	if (!h->is_open)
		return;
	if (h->count == HELD_ROOM) {
		held_let_go(h);
		return;
	}
	h->bytes += grpc_byte_buffer_length(message);
	h->messages[h->count++] = grpc_byte_buffer_copy(message); /* of references */
}

void held_sent(struct held *h)
{
	if (h->count > HELD_MESSAGES || h->bytes > HELD_BYTES)
		held_let_go(h);
}
