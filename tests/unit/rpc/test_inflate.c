#include "common/rpc/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/strbuf.h"
#include "tests/support/received.h"
#include "tests/support/suite.h"

enum { GZIP = 31, ZLIB = 15, RAW = -15, LIMIT = 1 << 20 };

static void setup(void)
{
	grpc_init();
}

static void teardown(void)
{
	grpc_shutdown();
}

static void compress_to(struct strbuf *out, struct bytes data, int window_bits)
{
	z_stream z = {0};
	size_t room = data.size + data.size / 100 + 1024;
	uint8_t *packed = xmalloc(room);

	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = (Bytef *)data.data;
	z.avail_in = (uInt)data.size;
	z.next_out = packed;
	z.avail_out = (uInt)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	strbuf_add(out, (const char *)packed, z.total_out);
	(void)deflateEnd(&z);
	free(packed);
}

/* Bytes that are neither all alike nor all different. */
static void fill(struct strbuf *out, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char c = (char)(i * i >> 7);
		strbuf_add(out, &c, 1);
	}
}

START_TEST(what_was_compressed_comes_back)
{
	static const size_t sizes[] = {0, 1, 100, 8191, 8192, 8193, 300000, LIMIT - 1, LIMIT};
	static const int formats[] = {GZIP, ZLIB};
	static const size_t pieces[] = {1000, 1 << 20};

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		AUTO_STRBUF data = STRBUF_INIT;
		fill(&data, sizes[s]);
		for (size_t k = 0; k < 4; k++) {
			AUTO_STRBUF packed = STRBUF_INIT, out = STRBUF_INIT;
			compress_to(&packed, bytes_of(data.buf, data.len), formats[k / 2]);
			ck_assert_int_eq(received_inflate(bytes_of(packed.buf, packed.len),
							  pieces[k % 2], LIMIT, &out),
					 GRPC_STATUS_OK);
			ck_assert_uint_eq(out.len, data.len);
			ck_assert(!data.len || !memcmp(out.buf, data.buf, data.len));
		}
	}
}
END_TEST

START_TEST(larger_than_the_limit)
{
	static const size_t sizes[] = {LIMIT + 1, LIMIT + 2, 2 * LIMIT, 100 * LIMIT};

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		AUTO_STRBUF packed = STRBUF_INIT, out = STRBUF_INIT;
		uint8_t *zeros = xcalloc(1, sizes[s]);
		compress_to(&packed, bytes_of(zeros, sizes[s]), GZIP);
		free(zeros);
		ck_assert_int_eq(
			received_inflate(bytes_of(packed.buf, packed.len), 1000, LIMIT, &out),
			GRPC_STATUS_RESOURCE_EXHAUSTED);
	}
}
END_TEST

START_TEST(what_is_no_compressed_message)
{
	AUTO_STRBUF data = STRBUF_INIT, packed = STRBUF_INIT, out = STRBUF_INIT,
		    raw = STRBUF_INIT;

	fill(&data, 5000);
	compress_to(&packed, bytes_of(data.buf, data.len), GZIP);
	compress_to(&raw, bytes_of(data.buf, data.len), RAW);
	/* Cut off anywhere. */
	for (size_t size = 0; size < packed.len; size++)
		ck_assert_int_eq(received_inflate(bytes_of(packed.buf, size), 100, LIMIT, &out),
				 GRPC_STATUS_INTERNAL);
	ck_assert_int_eq(received_inflate(bytes_of(raw.buf, raw.len), 100, LIMIT, &out),
			 GRPC_STATUS_INTERNAL);
	ck_assert_int_eq(received_inflate(bytes_of(data.buf, data.len), 100, LIMIT, &out),
			 GRPC_STATUS_INTERNAL);
	packed.buf[packed.len / 2] ^= 1; /* its checksum tells */
	ck_assert_int_eq(received_inflate(bytes_of(packed.buf, packed.len), 100, LIMIT, &out),
			 GRPC_STATUS_INTERNAL);
	packed.buf[packed.len / 2] ^= 1;
	for (size_t piece = 1000; piece <= packed.len + 1; piece += packed.len + 1 - 1000) {
		AUTO_STRBUF more = STRBUF_INIT;
		strbuf_add(&more, packed.buf, packed.len);
		strbuf_add(&more, "x", 1);
		ck_assert_int_eq(
			received_inflate(bytes_of(more.buf, more.len), piece, LIMIT, &out),
			GRPC_STATUS_INTERNAL);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {what_was_compressed_comes_back, larger_than_the_limit,
				      what_is_no_compressed_message, NULL};

	return suite_run("inflate", setup, teardown, tests);
}
