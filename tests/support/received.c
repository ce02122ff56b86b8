#include "tests/support/received.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/inflate.h"

static grpc_byte_buffer *in_pieces(struct bytes packed, size_t piece)
{
	size_t count = (packed.size + piece - 1) / piece;
	grpc_slice *slices = xcalloc(count + 1, sizeof(*slices));
	grpc_byte_buffer *payload;

	for (size_t i = 0, at = 0; i < count; i++, at += piece)
		slices[i] = grpc_slice_from_copied_buffer(
			(const char *)packed.data + at,
			packed.size - at < piece ? packed.size - at : piece);
	payload = grpc_raw_compressed_byte_buffer_create(slices, count, GRPC_COMPRESS_GZIP);
	for (size_t i = 0; i < count; i++)
		grpc_slice_unref(slices[i]);
	free(slices);
	return payload;
}

static void add_all(grpc_byte_buffer *payload, struct strbuf *out)
{
	grpc_byte_buffer_reader reader;
	grpc_slice all;

	if (!grpc_byte_buffer_reader_init(&reader, payload))
		abort();
	all = grpc_byte_buffer_reader_readall(&reader);
	strbuf_add(out, (const char *)GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all));
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
}

int received_inflate(struct bytes packed, size_t piece, size_t limit, struct strbuf *out)
{
	grpc_byte_buffer *payload = in_pieces(packed, piece);
	char why[INFLATE_MESSAGE_BYTES] = "";
	grpc_status_code code;

	if (!rpc_is_compressed(payload))
		abort();
	code = rpc_inflate(&payload, limit, why);
	if ((code == GRPC_STATUS_OK) != (payload != NULL) || rpc_is_compressed(payload) ||
	    (code != GRPC_STATUS_OK && !*why))
		abort();
	if (payload) {
		add_all(payload, out);
		grpc_byte_buffer_destroy(payload);
	}
	return code;
}
