/*
 * Any bytes as a FileDescriptorSet: loaded or refused, and what was loaded is
 * used as the registry and the converters do.
 */
#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/reflect/compat.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_text.h"
#include "common/reflect/wire.h"
#include "tests/fuzz/fuzz.h"

static struct error err;

static void use_message(const struct pool *pool, const struct pool_message *m)
{
	static const uint8_t message[] = {8, 1, 18, 2, 8, 1, 26, 0, 33, 1, 2, 3, 4, 5, 6, 7, 8};
	const struct bytes some = bytes_of(message, sizeof(message));
	AUTO_STRBUF text = STRBUF_INIT, wire = STRBUF_INIT;

	FUZZ_CHECK(pool_message(pool, m->full_name, strlen(m->full_name)) == m, NULL, NULL);
	FUZZ_CHECK(wire_to_json(pool, m, bytes_of("", 0), JSON_OUT_DEFAULTS | JSON_OUT_LENIENT,
				&text, &err) == STATUS_OK,
		   &err, NULL);
	/* In proto2 two fields may have one name in JSON: then that is refused. */
	if (json_to_wire(pool, m, text.buf, text.len, 0, &wire, &err) == STATUS_OK)
		FUZZ_CHECK(wire_validate(pool, m, fuzz_written(&wire), 0, &err) == STATUS_OK,
			   &err, &text);
	FUZZ_CHECK((wire_normalize(pool, m, some, &wire, &err) == STATUS_OK) ==
			   (wire_validate(pool, m, some, 0, &err) == STATUS_OK),
		   &err, &text);
}

static void use_file(const struct pool *pool, const struct pool_file *file)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct bytes own = file->bytes;
	struct pool *same;

	FUZZ_CHECK(pool_extend((struct pool *)pool, &own, 1, &same, &err) == STATUS_OK, &err,
		   NULL);
	FUZZ_CHECK(same == pool, NULL, NULL);
	pool_unref(same);
	proto_text_file(pool, file, &text);
	for (uint32_t i = 0; i < file->message_count; i++)
		use_message(pool, &file->messages[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pool *pool, *base = (struct pool *)fuzz_pool();
	const struct pool_file *const *files;
	size_t count, before;

	(void)pool_files(base, &before);
	if (pool_extend_set(base, bytes_of(data, size), &pool, &err) != STATUS_OK) {
		FUZZ_CHECK(err.message[0], &err, NULL);
		return 0;
	}
	files = pool_files(pool, &count);
	for (size_t i = before; i < count; i++)
		use_file(pool, files[i]);
	pool_unref(pool);
	return 0;
}
