/*
 * What pool_extend_set() says of descriptor sets, for a script that knows what
 * it should: frames on standard input (u32 little-endian length, a serialized
 * FileDescriptorSet), one answer frame for each: nothing when the set links,
 * else status, field and message with tabs between them.
 */
#include <stdint.h>
#include <stdio.h>

#include "common/base/strbuf.h"
#include "common/reflect/pool.h"

static bool read_frame(struct strbuf *out)
{
	uint8_t head[4];
	uint32_t size;

	if (fread(head, 1, sizeof(head), stdin) != sizeof(head))
		return false;
	size = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
	       (uint32_t)head[3] << 24;
	strbuf_reset(out);
	strbuf_grow(out, size);
	out->len = fread(out->buf, 1, size, stdin);
	return out->len == size;
}

static void write_frame(const struct strbuf *in)
{
	const uint8_t head[4] = {(uint8_t)in->len, (uint8_t)(in->len >> 8),
				 (uint8_t)(in->len >> 16), (uint8_t)(in->len >> 24)};

	fwrite(head, 1, sizeof(head), stdout);
	if (in->len)
		fwrite(in->buf, 1, in->len, stdout);
	fflush(stdout);
}

int main(void)
{
	AUTO_STRBUF set = STRBUF_INIT;

	while (read_frame(&set)) {
		struct pool *empty = pool_new(), *pool = NULL;
		AUTO_STRBUF answer = STRBUF_INIT;
		struct error err;

		if (pool_extend_set(empty, bytes_of(set.buf, set.len), &pool, &err) !=
		    STATUS_OK)
			strbuf_addf(&answer, "%s\t%s\t%s", status_name(err.status), err.field,
				    err.message);
		write_frame(&answer);
		pool_unref(pool);
		pool_unref(empty);
	}
	return 0;
}
