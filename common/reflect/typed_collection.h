/*
 * Every collection with a type is also a gRPC service of its own: what
 * collector.CollectionService has, with the collection's message instead of Any and
 * without the fields that name the collection. shop/orders of shop.v1.Order is
 *
 *	package collections.shop;
 *	service Orders { rpc Get(Orders_GetRequest) returns (Orders_GetResponse); ... }
 *	message Orders_GetResponse { collector.Status status = 1; shop.v1.Order item = 2; ... }
 *
 * Field numbers are the same, so that messages are turned into each other on the wire,
 * without parsing what they hold.
 *
 * Names become identifiers, and each identifier is of one name: "_" is "__", "-" is
 * "_h", a digit in front gets "_" before it. In a service's name the first letter is
 * upper case, and "-" with a letter after it is that letter in upper case: order-lines is
 * OrderLines.
 */
#ifndef COMMON_REFLECT_TYPED_COLLECTION_H
#define COMMON_REFLECT_TYPED_COLLECTION_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/names.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool_message;
struct typed_collections;

#define TYPED_COLLECTION_PREFIX "collections."

/* Where their files are: "collections/shop/orders.proto". */
#define TYPED_COLLECTION_FILES "collections/"

/* What services are made from. Thread-safe. */
struct typed_collections *typed_collections_new(void);
void typed_collections_free(struct typed_collections *t);

struct typed_collection {
	char ns[NAMES_NAMESPACE_MAX_BYTES + 1], name[NAMES_NAMESPACE_MAX_BYTES + 1];
};

/* Append "collections.shop.Orders". */
void typed_collection_service(const char *ns, const char *name, struct strbuf *out);

/* The collection that a service is of. False: of none. */
bool typed_collection_of(const char *service, struct typed_collection *ret);

/*
 * Append a serialized FileDescriptorProto, "collections/shop/orders.proto", with the
 * service. @message is the collection's type and @import the file that declares it.
 */
void typed_collection_file(struct typed_collections *t, const char *ns, const char *name,
			   const char *message, const char *import, struct strbuf *out);

/* A method of such services. */
struct typed_method {
	const char *path; /* "/collector.CollectionService/Get" */
	const struct pool_message *request, *response;
	bool takes_item; /* its request holds one */
	bool streams;    /* many responses: Watch */
};

/* NULL: they have none of that name. Lives as long as @t. */
const struct typed_method *typed_collection_method(struct typed_collections *t,
						   const char *name);

/*
 * Append the request that collector.CollectionService takes. INVALID_ARGUMENT: @request is
 * no message.
 */
enum status typed_collection_request(const struct typed_method *m,
				     const struct typed_collection *collection,
				     const char *message, struct bytes request,
				     struct strbuf *out, struct error *err) MUST_CHECK;

/* Append the response as the service gives it. INTERNAL: @response is no message. */
enum status typed_collection_response(const struct typed_method *m, struct bytes response,
				      struct strbuf *out, struct error *err) MUST_CHECK;

#endif
