/*
 * Linked descriptors: what a pool knows of a message, field, enum, service,
 * method and file. They are made by pool_extend() (pool.h), never change, and
 * live as long as any pool that holds their file: hold a pool reference while
 * using them. All members are for reading; texts are NUL-terminated and hold no
 * other NUL.
 */
#ifndef COMMON_REFLECT_DESCRIPTOR_H
#define COMMON_REFLECT_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct pool_file;
struct pool_message;
struct pool_enum;

/* The numbers of google.protobuf.FieldDescriptorProto.Type. */
enum pool_type {
	POOL_TYPE_DOUBLE = 1,
	POOL_TYPE_FLOAT = 2,
	POOL_TYPE_INT64 = 3,
	POOL_TYPE_UINT64 = 4,
	POOL_TYPE_INT32 = 5,
	POOL_TYPE_FIXED64 = 6,
	POOL_TYPE_FIXED32 = 7,
	POOL_TYPE_BOOL = 8,
	POOL_TYPE_STRING = 9,
	POOL_TYPE_GROUP = 10,
	POOL_TYPE_MESSAGE = 11,
	POOL_TYPE_BYTES = 12,
	POOL_TYPE_UINT32 = 13,
	POOL_TYPE_ENUM = 14,
	POOL_TYPE_SFIXED32 = 15,
	POOL_TYPE_SFIXED64 = 16,
	POOL_TYPE_SINT32 = 17,
	POOL_TYPE_SINT64 = 18,
};

/* Messages that proto3 JSON writes in a form of their own. */
enum pool_well_known {
	POOL_WELL_KNOWN_NONE,
	POOL_WELL_KNOWN_ANY,
	POOL_WELL_KNOWN_TIMESTAMP,
	POOL_WELL_KNOWN_DURATION,
	POOL_WELL_KNOWN_FIELD_MASK,
	POOL_WELL_KNOWN_STRUCT,
	POOL_WELL_KNOWN_VALUE,
	POOL_WELL_KNOWN_LIST_VALUE,
	POOL_WELL_KNOWN_EMPTY,
	POOL_WELL_KNOWN_WRAPPER, /* DoubleValue and its eight siblings; the value is field 1 */
};

struct pool_range {
	int64_t first, last; /* both included */
};

/* What may not be used again. Both are sorted. */
struct pool_reserved {
	uint32_t range_count;
	uint32_t name_count;
	const struct pool_range *ranges;
	const char *const *names;
};

struct pool_enum_value {
	const char *name;
	uint32_t name_len;
	int32_t number;
};

struct pool_enum {
	const char *full_name;
	const char *name;
	const struct pool_file *file;
	const struct pool_message *parent; /* NULL: at file level */
	uint32_t index;                    /* among its parent's enums */
	uint32_t value_count;
	const struct pool_enum_value *values; /* in declaration order */
	const uint32_t *by_number;            /* positions in values, sorted by number */
	const uint32_t *by_name;              /* the same, sorted by name */
	struct pool_reserved reserved;
	uint32_t sequential; /* values[0..n) have the numbers 0..n-1 */
	bool closed;         /* proto2: unlisted numbers are unknown fields */
	bool is_null;        /* google.protobuf.NullValue */
};

struct pool_field {
	const char *name;
	const char *json_name; /* of an extension: "[its.full_name]" */
	const char *full_name;
	uint32_t name_len;
	uint32_t json_name_len;
	uint32_t number;
	uint32_t index;             /* in message->fields; of an extension: in its scope */
	uint32_t declaration_index; /* among the fields as the file lists them */
	int32_t oneof;     /* index in message->oneofs, -1: none; never a synthetic one */
	uint8_t type;      /* enum pool_type */
	uint8_t wire_type; /* of one element */
	bool repeated;     /* maps too */
	bool packed;       /* how a writer writes it; readers take both */
	bool is_map;
	bool has_presence;
	bool required;
	bool check_utf8; /* proto3 string */
	uint8_t ctype;   /* google.protobuf.FieldOptions.CType: what C++ makes of a string */
	uint8_t jstype;  /* google.protobuf.FieldOptions.JSType: of an integer of 64 bits */
	bool is_extension;
	uint8_t tag_len;
	uint8_t tag[5];                     /* as a writer writes it */
	const struct pool_message *parent;  /* where declared; extensions may have NULL */
	const struct pool_message *message; /* that it is a field of; an extension's extendee */
	const struct pool_message *type_message; /* messages, groups, maps (the entry type) */
	const struct pool_enum *type_enum;
	const struct pool_file *file;
	const char *default_text; /* as descriptors have it; NULL: its type's */
	/* The key as JSON text with quotes and colon, and as an SQLite JSONB element. */
	const char *text_key;
	const uint8_t *jsonb_key;
	uint32_t text_key_len;
	uint32_t jsonb_key_len;
};

struct pool_oneof {
	const char *name;
	uint32_t name_len;
	bool synthetic; /* stands for proto3 `optional` */
	uint32_t field_count;
	const struct pool_field *const *fields;
};

struct pool_message {
	const char *full_name;
	const char *name;
	const struct pool_file *file;
	const struct pool_message *parent; /* NULL: at file level */
	uint32_t index;                    /* among its parent's messages */
	uint32_t field_count;
	const struct pool_field *fields; /* sorted by number */
	uint32_t oneof_count;            /* synthetic ones too */
	const struct pool_oneof *oneofs;
	uint8_t well_known; /* enum pool_well_known */
	bool is_map_entry;
	bool is_message_set;
	bool has_required;                    /* itself, not in its sub-messages */
	bool is_extendable;                   /* has extension ranges */
	bool has_nested;                      /* messages, enums or extensions */
	bool no_standard_descriptor_accessor; /* the option of that name */
	uint32_t extension_range_count;
	const struct pool_range *extension_ranges; /* sorted */
	struct pool_reserved reserved;
	/* dense[number] for numbers below dense_count. */
	uint32_t dense_count;
	const struct pool_field *const *dense;
	/* Open addressing over hash_bytes() of names and JSON names; see members.c. */
	uint32_t name_mask;
	const struct pool_field *const *name_table;
};

enum pool_idempotency {
	POOL_IDEMPOTENCY_UNKNOWN = 0,
	POOL_NO_SIDE_EFFECTS = 1,
	POOL_IDEMPOTENT = 2,
};

struct pool_service;

struct pool_method {
	const char *name;
	const char *full_name; /* "shop.v1.Orders.Place" */
	const struct pool_service *service;
	uint32_t index;
	const struct pool_message *input;
	const struct pool_message *output;
	bool client_streaming;
	bool server_streaming;
	uint8_t idempotency; /* enum pool_idempotency */
};

struct pool_service {
	const char *full_name;
	const char *name;
	const struct pool_file *file;
	uint32_t index;
	uint32_t method_count;
	const struct pool_method *methods; /* in declaration order */
	const uint32_t *by_name;           /* positions in methods, sorted by name */
};

/*
 * A file. Reference counting and symbols are the pool's business; what is
 * below is for everyone.
 */
struct pool_file {
	const char *name;    /* "shop/v1/order.proto" */
	const char *package; /* "" without one */
	struct bytes bytes;  /* the FileDescriptorProto exactly as it was given */
	bool is_proto3;
	bool java_string_check_utf8; /* the option of that name */
	uint32_t dependency_count;
	const struct pool_file *const *dependencies; /* as imported; weak and public ones too */
	uint32_t message_count;
	const struct pool_message *messages; /* nested and map entries too, outer ones first */
	uint32_t enum_count;
	const struct pool_enum *enums; /* those in messages too */
	uint32_t service_count;
	const struct pool_service *services;
	uint32_t extension_count;
	const struct pool_field *extensions; /* those in messages too */
};

/* "int32" and the like, as .proto files have it. NULL: messages, groups, enums. */
const char *pool_scalar_name(enum pool_type type);

/* The value with @number (the first, where aliased), or NULL. */
const struct pool_enum_value *pool_enum_value_by_number(const struct pool_enum *e,
							int32_t number);
const struct pool_enum_value *pool_enum_value_by_name(const struct pool_enum *e,
						      const char *name, size_t len);

/* By proto name or JSON name; extensions are not looked for. NULL: none. */
const struct pool_field *pool_field_by_name(const struct pool_message *m, const char *name,
					    size_t len);

/* By proto name alone. */
const struct pool_field *pool_field_by_proto_name(const struct pool_message *m,
						  const char *name, size_t len);

/* Declared fields only; pool_field_by_number() of pool.h knows extensions too. */
const struct pool_field *pool_declared_field(const struct pool_message *m, uint32_t number);

const struct pool_method *pool_method(const struct pool_service *s, const char *name,
				      size_t len);

#endif
