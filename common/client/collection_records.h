/* What the repo keeps in system/collections, as plain structs. */
#ifndef COMMON_CLIENT_COLLECTION_RECORDS_H
#define COMMON_CLIENT_COLLECTION_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

#define COLLECTIONS_COLLECTION "collections"

/* A collection, as far as others than the repo care. */
struct collection_record {
	const char *ns, *name;
	const char *type; /* full message name; "": any */
	const char *const *indexed_fields, *const *text_fields;
	size_t indexed_count, text_count;
	const char *vector_field; /* "": none */
	int64_t created_us;
};

/* Texts and lists are in @arena. INVALID_ARGUMENT: not a Collection. */
enum status collection_record_unpack(struct bytes data, struct arena *arena,
				     struct collection_record *ret,
				     struct error *err) MUST_CHECK;

#endif
