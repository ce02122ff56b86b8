#include "services/repo/fingerprint.h"

#include "common/base/hash.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/wire.h"

/* Not secret: who makes two requests alike deceives himself alone. */
static const uint8_t key[HASH_KEY_BYTES] = "collector-repo-1";

static uint64_t hash_field(const struct pool_field *declared, const struct wire_field *f)
{
	if (f->type == WIRE_BYTES && declared && declared->type_message && !declared->is_map) {
		const uint64_t inner[2] = {f->number,
					   fingerprint_of(declared->type_message, f->data)};

		return hash_siphash(key, inner, sizeof(inner));
	}
	return hash_siphash(key, f->raw.data, f->raw.size);
}

uint64_t fingerprint_of(const struct pool_message *m, struct bytes request)
{
	struct wire_cursor c = wire_cursor_of(request);
	uint64_t all[2] = {0, 0}; /* what has an order, and the sum of what has none */
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct pool_field *declared = pool_declared_field(m, f.number);
		const uint64_t one = hash_field(declared, &f);

		if (declared && declared->is_map) {
			all[1] += one;
		} else {
			const uint64_t next[2] = {all[0], one};
			all[0] = hash_siphash(key, next, sizeof(next));
		}
	}
	return hash_siphash(key, all, sizeof(all));
}
