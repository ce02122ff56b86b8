/*
 * Where a page of a query ended, as an opaque text: authenticated with a key of
 * this repo, and bound to the query, so that nobody can make one or use it
 * elsewhere.
 */
#ifndef SERVICES_REPO_PAGE_TOKEN_H
#define SERVICES_REPO_PAGE_TOKEN_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/repo/query.h"

struct page_token_key {
	uint8_t bytes[HASH_KEY_BYTES];
};

/* The key in the file @path, made at first use. */
enum status page_token_load_key(const char *path, struct page_token_key *ret,
				struct error *err) MUST_CHECK;

struct page {
	struct query_position position;
	size_t key_count; /* of position.keys */
	int64_t total_count;
};

/* @scope says which query it is; the text goes to @out. */
void page_token_write(const struct page_token_key *key, struct bytes scope,
		      const struct page *page, struct strbuf *out);

/*
 * INVALID_ARGUMENT blaming page_token: not ours, or of another query. Texts are
 * in @arena.
 */
enum status page_token_read(const struct page_token_key *key, struct bytes scope,
			    const char *token, struct arena *arena, struct page *ret,
			    struct error *err) MUST_CHECK;

#endif
