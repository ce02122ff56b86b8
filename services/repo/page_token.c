#include "services/repo/page_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/random.h"

enum { MAC_BYTES = 8, TOKEN_MAX_BYTES = 1 << 20 };

/* ------------------------------------------------------------ the key */

static enum status fail(const char *what, const char *path, struct error *err)
{
	return error_set(err, STATUS_UNAVAILABLE, "cannot %s %s: %s", what, path,
			 strerror(errno));
}

static enum status make_key(const char *path, struct page_token_key *ret, struct error *err)
{
	AUTO_FREE char *temporary = xasprintf("%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t written;

	if (fd < 0)
		return fail("create", temporary, err);
	random_bytes(ret->bytes, sizeof(ret->bytes));
	written = write(fd, ret->bytes, sizeof(ret->bytes));
	bool synced = fsync(fd) == 0;
	if (close(fd) != 0 || !synced || written != (ssize_t)sizeof(ret->bytes))
		return fail("write", temporary, err);
	/* Tokens are made once the catalogue is open, whose opening syncs the directory. */
	return rename(temporary, path) == 0 ? STATUS_OK : fail("rename", temporary, err);
}

enum status page_token_load_key(const char *path, struct page_token_key *ret, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return errno == ENOENT ? make_key(path, ret, err) : fail("open", path, err);
	got = read(fd, ret->bytes, sizeof(ret->bytes));
	close(fd);
	return got == (ssize_t)sizeof(ret->bytes) ? STATUS_OK : make_key(path, ret, err);
}

/* ------------------------------------------------------------ base64url */

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(const struct strbuf *in, struct strbuf *out)
{
	uint32_t bits = 0;
	unsigned count = 0;

	for (size_t i = 0; i < in->len; i++) {
		bits = bits << 8 | (uint8_t)in->buf[i];
		for (count += 8; count >= 6; count -= 6)
			strbuf_addch(out, alphabet[bits >> (count - 6) & 63]);
	}
	if (count)
		strbuf_addch(out, alphabet[bits << (6 - count) & 63]);
}

static bool decode(const char *in, struct strbuf *out)
{
	uint32_t bits = 0;
	unsigned count = 0;

	for (; *in; in++) {
		const char *at = strchr(alphabet, *in);

		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		count += 6;
		if (count >= 8) {
			count -= 8;
			strbuf_addch(out, (char)(bits >> count & 0xff));
		}
	}
	/* One spelling for each token: what is left over must be nothing. */
	return count < 6 && !(bits & ((1U << count) - 1));
}

/* ------------------------------------------------------------ the token */

static void mac_of(const struct page_token_key *key, struct bytes scope, const char *payload,
		   size_t len, uint8_t out[MAC_BYTES])
{
	AUTO_STRBUF all = STRBUF_INIT;
	uint64_t size = scope.size, mac;

	strbuf_add(&all, &size, sizeof(size));
	strbuf_add(&all, scope.data, scope.size);
	strbuf_add(&all, payload, len);
	mac = hash_siphash(key->bytes, all.buf, all.len);
	memcpy(out, &mac, sizeof(mac));
}

static void put_value(struct strbuf *out, const struct query_value *v)
{
	uint64_t len = v->len;

	strbuf_addch(out, (char)v->type);
	if (v->type == VALUE_INT)
		strbuf_add(out, &v->integer, sizeof(v->integer));
	if (v->type == VALUE_REAL)
		strbuf_add(out, &v->real, sizeof(v->real));
	if (v->type == VALUE_TEXT || v->type == VALUE_BLOB) {
		strbuf_add(out, &len, sizeof(len));
		strbuf_add(out, v->text, v->len);
	}
}

void page_token_write(const struct page_token_key *key, struct bytes scope,
		      const struct page *page, struct strbuf *out)
{
	AUTO_STRBUF payload = STRBUF_INIT;
	uint8_t mac[MAC_BYTES];

	strbuf_add(&payload, &page->position.row, sizeof(page->position.row));
	strbuf_add(&payload, &page->total_count, sizeof(page->total_count));
	for (size_t i = 0; i < page->key_count; i++)
		put_value(&payload, &page->position.keys[i]);
	mac_of(key, scope, payload.buf, payload.len, mac);
	strbuf_add(&payload, mac, sizeof(mac));
	encode(&payload, out);
}

struct reader {
	const char *at, *end;
};

static bool get(struct reader *r, void *out, size_t size)
{
	if ((size_t)(r->end - r->at) < size)
		return false;
	memcpy(out, r->at, size);
	r->at += size;
	return true;
}

static bool get_value(struct reader *r, struct arena *arena, struct query_value *v)
{
	uint8_t type;
	uint64_t len;

	if (!get(r, &type, 1) || type > VALUE_BLOB)
		return false;
	*v = (struct query_value){0};
	memcpy(&v->type, &(int){type}, sizeof(int));
	if (v->type == VALUE_INT)
		return get(r, &v->integer, sizeof(v->integer));
	if (v->type == VALUE_REAL)
		return get(r, &v->real, sizeof(v->real));
	if (v->type == VALUE_NULL)
		return true;
	if (!get(r, &len, sizeof(len)) || len > (uint64_t)(r->end - r->at))
		return false;
	v->len = (size_t)len;
	v->text = arena_memdup(arena, r->at, v->len);
	r->at += len;
	return true;
}

/* The payload was authenticated: it is as it was written. */
static bool parse(struct reader *r, struct arena *arena, struct page *ret)
{
	if (!get(r, &ret->position.row, sizeof(ret->position.row)) ||
	    !get(r, &ret->total_count, sizeof(ret->total_count)))
		return false;
	for (ret->key_count = 0; r->at < r->end; ret->key_count++)
		if (ret->key_count == QUERY_MAX_ORDERS ||
		    !get_value(r, arena, &ret->position.keys[ret->key_count]))
			return false;
	return true;
}

enum status page_token_read(const struct page_token_key *key, struct bytes scope,
			    const char *token, struct arena *arena, struct page *ret,
			    struct error *err)
{
	AUTO_STRBUF payload = STRBUF_INIT;
	uint8_t mac[MAC_BYTES];
	bool good = strlen(token) <= TOKEN_MAX_BYTES && decode(token, &payload) &&
		    payload.len > MAC_BYTES;

	if (good) {
		payload.len -= MAC_BYTES;
		mac_of(key, scope, payload.buf, payload.len, mac);
		good = !memcmp(mac, payload.buf + payload.len, MAC_BYTES);
	}
	struct reader r = {payload.buf, payload.buf ? payload.buf + payload.len : NULL};
	if (!good || !parse(&r, arena, ret))
		return error_field(
			err, "page_token",
			"this is no page token of this query: begin with the first page");
	return STATUS_OK;
}
