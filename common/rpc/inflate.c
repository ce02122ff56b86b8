#include "common/rpc/inflate.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/slice_buffer.h>
#include <stdio.h>
#include <zlib.h>

enum {
	FIRST_PIECE_BYTES = 8 << 10,
	MAX_PIECE_BYTES = 256 << 10,
	ANY_HEADER = 32, /* zlib's or gzip's: gRPC's deflate is zlib's format */
};

struct inflation {
	z_stream z;
	grpc_slice_buffer out;
	grpc_slice piece;        /* being filled */
	size_t max_bytes, total; /* of pieces, the one being filled included */
	int state;               /* of zlib */
};

/* False: there would be more than is allowed. */
static bool add_piece(struct inflation *i)
{
	size_t size = i->total < FIRST_PIECE_BYTES ? FIRST_PIECE_BYTES : i->total;

	if (i->total > i->max_bytes)
		return false;
	if (size > MAX_PIECE_BYTES)
		size = MAX_PIECE_BYTES;
	/* A byte too many tells a message that ends at the limit from a larger one. */
	if (size > i->max_bytes - i->total + 1)
		size = i->max_bytes - i->total + 1;
	i->piece = grpc_slice_malloc_large(size);
	i->total += size;
	i->z.next_out = GRPC_SLICE_START_PTR(i->piece);
	i->z.avail_out = (uInt)size;
	return true;
}

/* What is filled of the piece goes to the others. */
static void keep_piece(struct inflation *i)
{
	size_t filled = GRPC_SLICE_LENGTH(i->piece) - i->z.avail_out;

	i->total -= i->z.avail_out;
	grpc_slice_buffer_add(&i->out, grpc_slice_sub(i->piece, 0, filled));
	grpc_slice_unref(i->piece);
	i->piece = grpc_empty_slice();
	i->z.avail_out = 0;
}

/* False: it grows too large. */
static bool inflate_slice(struct inflation *i, const grpc_slice *in)
{
	i->z.next_in = (Bytef *)GRPC_SLICE_START_PTR(*in); /* zlib only reads it */
	i->z.avail_in = (uInt)GRPC_SLICE_LENGTH(*in);
	while (i->state == Z_OK && (i->z.avail_in || !i->z.avail_out)) {
		if (!i->z.avail_out) {
			keep_piece(i);
			if (!add_piece(i))
				return false;
		}
		i->state = inflate(&i->z, Z_NO_FLUSH);
		if (i->state == Z_BUF_ERROR && !i->z.avail_in)
			i->state = Z_OK; /* it goes on in the next slice */
	}
	return true;
}

/* False: it grows too large. What is no compressed message has another state than Z_STREAM_END. */
static bool inflate_all(struct inflation *i, const grpc_slice_buffer *in)
{
	bool fits = true;

	for (size_t k = 0; fits && k < in->count; k++) {
		fits = inflate_slice(i, &in->slices[k]);
		if (i->state == Z_STREAM_END && (i->z.avail_in || k + 1 < in->count))
			i->state = Z_DATA_ERROR; /* something comes after it */
	}
	keep_piece(i);
	return fits && i->total <= i->max_bytes;
}

grpc_status_code rpc_inflate(grpc_byte_buffer **payload, size_t max_bytes,
			     char message[INFLATE_MESSAGE_BYTES])
{
	struct inflation i = {.max_bytes = max_bytes, .piece = grpc_empty_slice()};
	grpc_byte_buffer *compressed = *payload;
	grpc_status_code code = GRPC_STATUS_OK;
	bool fits;

	*payload = NULL;
	grpc_slice_buffer_init(&i.out);
	i.state = inflateInit2(&i.z, MAX_WBITS + ANY_HEADER);
	fits = inflate_all(&i, &compressed->data.raw.slice_buffer);
	(void)inflateEnd(&i.z);
	if (!fits) {
		code = GRPC_STATUS_RESOURCE_EXHAUSTED;
		snprintf(message, INFLATE_MESSAGE_BYTES,
			 "the message is larger than %zu bytes when it is decompressed",
			 max_bytes);
	} else if (i.state != Z_STREAM_END) {
		code = GRPC_STATUS_INTERNAL;
		snprintf(message, INFLATE_MESSAGE_BYTES, "the message cannot be decompressed");
	} else {
		*payload = grpc_raw_byte_buffer_create(i.out.slices, i.out.count);
	}
	grpc_slice_buffer_destroy(&i.out);
	grpc_byte_buffer_destroy(compressed);
	return code;
}

bool rpc_inflate_of_call(grpc_call *call, grpc_byte_buffer **payload, size_t max_bytes)
{
	char message[INFLATE_MESSAGE_BYTES];
	grpc_status_code code = rpc_inflate(payload, max_bytes, message);

	if (code != GRPC_STATUS_OK)
		grpc_call_cancel_with_status(call, code, message, NULL);
	return code == GRPC_STATUS_OK;
}
