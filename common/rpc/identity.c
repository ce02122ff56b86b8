#include "common/rpc/identity.h"

#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/rpc/payload.h"

bool rpc_slice_is(const grpc_slice *slice, const char *text)
{
	return bytes_equal(rpc_slice_bytes(slice), bytes_of_string(text));
}

bool rpc_slice_has_prefix(const grpc_slice *slice, const char *prefix)
{
	struct bytes b = rpc_slice_bytes(slice);
	size_t len = strlen(prefix);

	return b.size >= len && !memcmp(b.data, prefix, len);
}

/* ---------------------------------------------------------------- reading */

struct claims {
	const grpc_slice *key, *daemon, *principal, *kind, *request_id, *traceparent;
};

static void collect(const grpc_metadata_array *metadata, struct claims *claims)
{
	for (size_t i = 0; i < metadata->count; i++) {
		const grpc_slice *key = &metadata->metadata[i].key;
		const grpc_slice *value = &metadata->metadata[i].value;

		switch (GRPC_SLICE_LENGTH(*key)) {
		case sizeof(RPC_TRACEPARENT_HEADER) - 1:
			if (rpc_slice_is(key, RPC_TRACEPARENT_HEADER))
				claims->traceparent = value;
			break;
		case sizeof(RPC_REQUEST_ID_HEADER) - 1:
			if (rpc_slice_is(key, RPC_REQUEST_ID_HEADER))
				claims->request_id = value;
			break;
		case sizeof(RPC_KEY_HEADER) - 1:
			if (rpc_slice_is(key, RPC_KEY_HEADER))
				claims->key = value;
			break;
		case sizeof(RPC_KIND_HEADER) - 1:
			if (rpc_slice_is(key, RPC_KIND_HEADER))
				claims->kind = value;
			break;
		case sizeof(RPC_DAEMON_HEADER) - 1:
			if (rpc_slice_is(key, RPC_DAEMON_HEADER))
				claims->daemon = value;
			break;
		case sizeof(RPC_PRINCIPAL_HEADER) - 1:
			if (rpc_slice_is(key, RPC_PRINCIPAL_HEADER))
				claims->principal = value;
			break;
		default:
			break;
		}
	}
}

/* In constant time for keys of the right length, which is no secret. */
static bool key_matches(const grpc_slice *claimed, const char *key)
{
	struct bytes b;
	unsigned char difference = 0;

	if (!claimed || !key || !*key)
		return false;
	b = rpc_slice_bytes(claimed);
	if (b.size != strlen(key))
		return false;
	for (size_t i = 0; i < b.size; i++)
		difference |= (unsigned char)(b.data[i] ^ (unsigned char)key[i]);
	return !difference;
}

/* Printable ASCII without spaces and quotes, neither empty nor too long for @out. */
static bool take_token(const grpc_slice *value, char *out, size_t size)
{
	struct bytes b;

	if (!value)
		return false;
	b = rpc_slice_bytes(value);
	if (!b.size || b.size >= size)
		return false;
	for (size_t i = 0; i < b.size; i++)
		if (b.data[i] <= ' ' || b.data[i] > '~' || b.data[i] == '"' ||
		    b.data[i] == '\\')
			return false;
	memcpy(out, b.data, b.size);
	out[b.size] = '\0';
	return true;
}

/* W3C Trace Context, version 00: 2-32-16-2 hex digits joined by '-'. */
static bool take_traceparent(const grpc_slice *value, char out[RPC_TRACEPARENT_BYTES])
{
	if (!take_token(value, out, RPC_TRACEPARENT_BYTES) ||
	    strlen(out) != RPC_TRACEPARENT_BYTES - 1)
		goto none;
	for (int i = 0; i < RPC_TRACEPARENT_BYTES - 1; i++) {
		bool dash = i == 2 || i == 35 || i == 52;
		if (dash ? out[i] != '-' : !strchr("0123456789abcdef", out[i]))
			goto none;
	}
	return true;
none:
	out[0] = '\0';
	return false;
}

static void format_id(uint64_t id, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 15; i >= 0; i--, id >>= 4)
		out[i] = digits[id & 15];
	out[16] = '\0';
}

static void set_caller(struct rpc_identity *identity, enum rpc_caller_kind kind,
		       const char *name)
{
	identity->caller.kind = kind;
	if (name)
		snprintf(identity->caller_name, sizeof(identity->caller_name), "%s", name);
	identity->caller.name = identity->caller_name;
}

void rpc_identity_read(const grpc_metadata_array *metadata, const char *daemon_key,
		       uint64_t fallback_id, struct rpc_identity *identity)
{
	struct claims claims = {0};

	collect(metadata, &claims);
	identity->request_id_given =
		take_token(claims.request_id, identity->request_id, RPC_REQUEST_ID_BYTES);
	if (!identity->request_id_given)
		format_id(fallback_id, identity->request_id);
	identity->traceparent[0] = '\0';
	if (claims.traceparent)
		(void)take_traceparent(claims.traceparent, identity->traceparent);

	if (!key_matches(claims.key, daemon_key)) {
		set_caller(identity, RPC_CALLER_ADMIN, "local");
	} else if (claims.principal) {
		bool admin = claims.kind && rpc_slice_is(claims.kind, "admin");
		bool named = take_token(claims.principal, identity->caller_name,
					RPC_CALLER_NAME_BYTES);
		set_caller(identity, admin && named ? RPC_CALLER_ADMIN : RPC_CALLER_USER,
			   named ? NULL : "unnamed");
	} else {
		bool named =
			take_token(claims.daemon, identity->caller_name, RPC_CALLER_NAME_BYTES);
		set_caller(identity, RPC_CALLER_DAEMON, named ? NULL : "unnamed");
	}
}

/* ---------------------------------------------------------------- writing */

void rpc_headers_release(struct rpc_headers *h)
{
	for (size_t i = 0; i < h->count; i++) {
		grpc_slice_unref(h->items[i].key);
		grpc_slice_unref(h->items[i].value);
	}
	free(h->items);
	*h = (struct rpc_headers){0};
}

static bool is_legal(grpc_slice key, grpc_slice value)
{
	return grpc_header_key_is_legal(key) &&
	       (grpc_is_binary_header(key) || grpc_header_nonbin_value_is_legal(value));
}

static bool add(struct rpc_headers *h, grpc_slice key, grpc_slice value)
{
	if (!is_legal(key, value)) {
		grpc_slice_unref(key);
		grpc_slice_unref(value);
		return false;
	}
	if (h->count == h->capacity) {
		h->capacity = h->capacity ? h->capacity * 2 : 8;
		h->items = xreallocarray(h->items, h->capacity, sizeof(*h->items));
	}
	h->items[h->count] = (grpc_metadata){.key = key, .value = value};
	h->count++;
	return true;
}

bool rpc_headers_add(struct rpc_headers *h, const char *key, const char *value)
{
	return add(h, grpc_slice_from_copied_string(key), grpc_slice_from_copied_string(value));
}

void rpc_headers_pass(struct rpc_headers *h, const grpc_metadata *pair)
{
	(void)add(h, grpc_slice_ref(pair->key), grpc_slice_ref(pair->value));
}

void rpc_headers_add_identity(struct rpc_headers *h, const char *daemon_key, const char *name,
			      const struct rpc_caller *caller)
{
	if (!daemon_key)
		return;
	(void)rpc_headers_add(h, RPC_KEY_HEADER, daemon_key);
	(void)rpc_headers_add(h, RPC_DAEMON_HEADER, name ? name : "unnamed");
	if (!caller)
		return;
	/* What is forwarded never has daemon rights. */
	(void)rpc_headers_add(h, RPC_PRINCIPAL_HEADER, caller->name);
	(void)rpc_headers_add(h, RPC_KIND_HEADER,
			      caller->kind == RPC_CALLER_ADMIN ? "admin" : "user");
}
