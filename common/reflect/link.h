/*
 * Inside common/reflect: making a unit of a parsed FileDescriptorProto. First
 * everything in it is declared (declare.c): descriptors are laid out in the
 * unit's arena and their names enter the pool. Then it is linked (link.c): type
 * names are resolved (scope.c) and the rules of the language checked (rules.c).
 */
#ifndef COMMON_REFLECT_LINK_H
#define COMMON_REFLECT_LINK_H

#include "common/base/status.h"
#include "common/reflect/unit.h"
#include "google/protobuf/descriptor.pb-c.h"

enum { LINK_MAX_SYMBOLS = 100000 }; /* in one file */

struct linker {
	struct pool *pool; /* being built; the unit's imports are in it */
	struct pool_unit *unit;
	struct arena *scratch;
	struct error *err;
	const Google__Protobuf__FileDescriptorProto *proto;

	/* The unit's arrays, writable, and what each element was made of. */
	struct pool_message *messages;
	struct pool_enum *enums;
	struct pool_service *services;
	struct pool_field *extensions;
	const Google__Protobuf__DescriptorProto **message_protos;
	const Google__Protobuf__EnumDescriptorProto **enum_protos;
	const Google__Protobuf__FieldDescriptorProto **extension_protos;
	uint32_t message_count, enum_count, extension_count;
	size_t symbol_room;

	/* The files whose symbols may be named: imports, and what they import publicly. */
	const struct pool_file **visible;
	size_t visible_mask;
};

/*
 * Link the file into @pool. @unit has its dependencies, public imports and
 * bytes; on success it is complete, on failure both are to be thrown away.
 */
enum status link_file(struct pool *pool, struct pool_unit *unit,
		      const Google__Protobuf__FileDescriptorProto *proto, struct arena *scratch,
		      struct error *err) MUST_CHECK;

/* "file: symbol" in err->field. */
enum status link_fail(const struct linker *l, const char *symbol, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* ------------------------------------------------------------- declare.c */
enum status declare_file(struct linker *l) MUST_CHECK;

/* "scope.name", or NULL where that is too long. @scope may be "". */
char *declare_join(struct linker *l, const char *scope, const char *name);
enum status declare_symbol(struct linker *l, enum symbol_kind kind, const char *full_name,
			   const void *descriptor, uint32_t index) MUST_CHECK;

/* Fill in what a field's own declaration says. @m is NULL for extensions. */
enum status declare_field(struct linker *l, struct pool_field *f, const char *scope,
			  const Google__Protobuf__FieldDescriptorProto *p,
			  const struct pool_message *m) MUST_CHECK;

/* ------------------------------------------------------------ reserved.c */

/* What the message or enum keeps from being used again. */
void reserved_of_message(struct linker *l, struct pool_message *m,
			 const Google__Protobuf__DescriptorProto *p);
void reserved_of_enum(struct linker *l, struct pool_enum *e,
		      const Google__Protobuf__EnumDescriptorProto *p);

/* --------------------------------------------------------------- scope.c */
void scope_init(struct linker *l);

/*
 * What @name means inside @scope: innermost first, by its first component.
 * INVALID_ARGUMENT: nothing, or something that is not imported; @where is blamed.
 */
enum status scope_resolve(const struct linker *l, const char *scope, const char *name,
			  const char *where, const struct symbol **ret_symbol) MUST_CHECK;

/* --------------------------------------------------------------- rules.c */

/* An identifier: letters, digits, '_', not starting with a digit. */
bool rules_is_identifier(const char *name, size_t len);
enum status rules_check_file(struct linker *l) MUST_CHECK;
enum status rules_check_enum(struct linker *l, const struct pool_enum *e,
			     const Google__Protobuf__EnumDescriptorProto *p) MUST_CHECK;
enum status rules_check_field(struct linker *l, const struct pool_field *f,
			      const Google__Protobuf__FieldDescriptorProto *p) MUST_CHECK;
enum status rules_check_extension(struct linker *l, const struct pool_field *f) MUST_CHECK;

/* Numbers, names, reserved and extension ranges, oneofs. */
enum status rules_check_message(struct linker *l, const struct pool_message *m,
				const Google__Protobuf__DescriptorProto *p) MUST_CHECK;

#endif
