/*
 * Random messages, merged and pruned by random masks: by common/reflect/mask.h
 * and by libprotobuf's FieldMaskUtil, which must come to the same. The masks lead
 * through messages that are there, since FieldMaskUtil creates those that are
 * not; through maps it does not go.
 *
 *	random COUNT SEED	so many rounds for each type
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/mask.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/protobuf_cpp.h"
#include "tests/support/random_message.h"
#include "tests/support/types.h"

enum { MAX_PATHS = 4, PATH_BYTES = 512 };

static struct pool *pool;
static struct error err;
static unsigned long passed, failed;

struct round {
	const struct pool_message *type;
	struct strbuf base, patch;
	char paths[MAX_PATHS][PATH_BYTES];
	const char *mask[MAX_PATHS];
	size_t path_count;
	struct strbuf field_mask; /* the same, serialized */
};

static struct bytes bytes_in(const struct strbuf *sb)
{
	return bytes_of(strbuf_str(sb), sb->len);
}

static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % below;
}

/* Of a normalized message. */
static bool find_message(struct bytes message, const struct pool_field *f, struct bytes *ret)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field found;

	while (wire_next(&c, &found))
		if (found.number == f->number && found.type == f->wire_type) {
			*ret = found.data;
			return true;
		}
	return false;
}

static void random_path(const struct pool_message *m, struct bytes message, uint64_t *seed,
			char path[PATH_BYTES])
{
	size_t len = 0;

	while (m && m->field_count) {
		const struct pool_field *f = &m->fields[draw(seed, m->field_count)];

		if (len + f->name_len + 2 > PATH_BYTES)
			return;
		len += (size_t)snprintf(path + len, PATH_BYTES - len, "%s%s", len ? "." : "",
					f->name);
		if (f->repeated || !f->type_message || !draw(seed, 3) ||
		    !find_message(message, f, &message))
			return;
		m = f->type_message;
	}
}

static void round_init(struct round *r, const struct pool_message *type, uint64_t *seed)
{
	AUTO_STRBUF patch = STRBUF_INIT;

	*r = (struct round){.type = type, .path_count = 1 + draw(seed, MAX_PATHS)};
	random_message(type, seed, &r->base);
	random_message(type, seed, &patch);
	if (wire_normalize(pool, type, bytes_in(&patch), &r->patch, &err) != STATUS_OK)
		abort();
	for (size_t i = 0; i < r->path_count; i++) {
		random_path(type, bytes_in(&r->patch), seed, r->paths[i]);
		r->mask[i] = r->paths[i];
		wire_add_string(&r->field_mask, 1, r->paths[i]);
	}
}

static void round_release(struct round *r)
{
	strbuf_release(&r->base);
	strbuf_release(&r->patch);
	strbuf_release(&r->field_mask);
}

static void check(const struct round *r, const char *what, const struct strbuf *ours,
		  struct cpp_message *theirs)
{
	struct cpp_message *read = cpp_message_new(r->type->full_name);
	size_t a_len = 0, b_len = 0;
	const char *a =
		cpp_parse(read, strbuf_str(ours), ours->len) ? cpp_wire(read, &a_len) : NULL;
	const char *b = cpp_wire(theirs, &b_len);

	if (a && b && a_len == b_len && !memcmp(a, b, a_len)) {
		passed++;
	} else {
		failed++;
		printf("FAIL %s of %s differs:", what, r->type->full_name);
		for (size_t i = 0; i < r->path_count; i++)
			printf(" %s", r->mask[i]);
		printf("\n");
	}
	cpp_message_free(read);
}

static void run(const struct pool_message *type, uint64_t *seed)
{
	struct cpp_message *from = cpp_message_new(type->full_name);
	struct cpp_message *to = cpp_message_new(type->full_name);
	AUTO_STRBUF merged = STRBUF_INIT, pruned = STRBUF_INIT;
	struct round r;

	round_init(&r, type, seed);
	if (cpp_parse(from, strbuf_str(&r.patch), r.patch.len) &&
	    cpp_parse(to, strbuf_str(&r.base), r.base.len)) {
		if (mask_merge(pool, type, bytes_in(&r.base), bytes_in(&r.patch), r.mask,
			       r.path_count, &merged, &err) != STATUS_OK ||
		    mask_prune(type, bytes_in(&r.patch), r.mask, r.path_count, &pruned, &err) !=
			    STATUS_OK) {
			printf("FAIL %s: %s\n", err.field, err.message);
			failed++;
		}
		cpp_merge_masked(from, to, r.field_mask.buf, r.field_mask.len);
		check(&r, "merging", &merged, to);
		cpp_trim_masked(from, r.field_mask.buf, r.field_mask.len);
		check(&r, "pruning", &pruned, from);
	}
	round_release(&r);
	cpp_message_free(from);
	cpp_message_free(to);
}

int main(int argc, char **argv)
{
	const unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
	uint64_t seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	const struct pool_file *const *files;
	size_t file_count;

	pool = types_pool();
	files = pool_files(pool, &file_count);
	for (size_t i = 0; i < file_count; i++)
		for (uint32_t k = 0; k < files[i]->message_count; k++) {
			const struct pool_message *m = &files[i]->messages[k];
			struct cpp_message *known = cpp_message_new(m->full_name);

			for (unsigned long n = 0;
			     known && !m->is_map_entry && m->field_count && n < count; n++)
				run(m, &seed);
			cpp_message_free(known);
		}
	pool_unref(pool);
	printf("mask: %lu passed, %lu failed\n", passed, failed);
	return failed || !passed;
}
