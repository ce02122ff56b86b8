/*
 * Inside common/reflect: making a unit of a parsed FileDescriptorProto. First
 * everything in it is declared (declare.c): descriptors are laid out in the
 * unit's arena and their names enter the pool. Then it is linked (link.c): type
 * names are resolved (scope.c) and the rules of the language checked (rules_*.c).
 * What is taken and what is refused is what protoc takes and refuses:
 * tests/link/cases says so, rule by rule.
 */
#ifndef COMMON_REFLECT_LINK_H
#define COMMON_REFLECT_LINK_H

#include "common/base/status.h"
#include "common/reflect/unit.h"
#include "google/protobuf/descriptor.pb-c.h"

enum {
	LINK_MAX_SYMBOLS = 100000,    /* in one file */
	LINK_MAX_PACKAGE_BYTES = 511, /* this and what follows are protoc's */
	LINK_MAX_PACKAGE_DOTS = 100,
	LINK_MAX_NESTING = 31, /* messages in messages, the outermost included */
};

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

/* "file: symbol" in err->field; @symbol "" is the file itself. */
enum status link_fail(const struct linker *l, const char *symbol, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* @symbol is in @file already. ALREADY_EXISTS where that is another file. */
enum status link_already_defined(const struct linker *l, const char *symbol,
				 const struct pool_file *file);

/*
 * Options that a parser left as they were spelled, @count of them: their meaning
 * is unknown, so the file is refused.
 */
enum status link_interpreted(const struct linker *l, const char *symbol,
			     size_t count) MUST_CHECK;

/* ------------------------------------------------------------- declare.c */
enum status declare_file(struct linker *l) MUST_CHECK;

/* Enter @key into the pool; @s.file is set. Returns what is there already, or NULL. */
const struct symbol *declare_symbol(struct linker *l, const char *key, struct symbol s);

/* ------------------------------------------------------------- members.c */

/* The JSON name that a field of this name has by itself. @out has room for strlen(name) + 1. */
size_t member_json_name(const char *name, char *out);

/* Does the file give the field another JSON name than it has by itself? */
bool member_has_own_json_name(struct linker *l,
			      const Google__Protobuf__FieldDescriptorProto *p);

/* Make m->name_table. Two fields of one name, or of one JSON name, are refused. */
enum status members_enter(struct linker *l, struct pool_message *m,
			  const Google__Protobuf__DescriptorProto *p) MUST_CHECK;

/* Names must differ in more than case and underscores: a rule of proto3. */
enum status members_check_letters(struct linker *l, const struct pool_message *m) MUST_CHECK;

/* -------------------------------------------------------------- ranges.c */

struct link_range {
	int64_t first, last; /* both included; first > last: it runs backwards */
	const char *what;    /* for a sentence: "a reserved range" */
};

/* Does no number belong to two of @ranges? They are sorted in passing. */
enum status ranges_check(struct linker *l, const char *symbol, struct link_range *ranges,
			 size_t count) MUST_CHECK;

/* ------------------------------------------------------------ reserved.c */

/* What the message or enum keeps from being used again. */
void reserved_of_message(struct linker *l, struct pool_message *m,
			 const Google__Protobuf__DescriptorProto *p);
void reserved_of_enum(struct linker *l, struct pool_enum *e,
		      const Google__Protobuf__EnumDescriptorProto *p);

/* Is none of @names reserved, and nothing reserved twice? */
enum status reserved_check_names(struct linker *l, const char *symbol, char *const *reserved,
				 size_t reserved_count, const char **names,
				 size_t count) MUST_CHECK;

/* --------------------------------------------------------------- scope.c */
void scope_init(struct linker *l);

enum scope_wanted {
	SCOPE_ANYTHING, /* the innermost symbol of the name, whatever it is */
	SCOPE_TYPES,    /* passes over fields and the like on its way out */
};

/*
 * What @name means inside @scope: innermost first, by its first component.
 * INVALID_ARGUMENT: nothing, or something that is not imported; @where is blamed.
 */
enum status scope_resolve(const struct linker *l, const char *scope, const char *name,
			  enum scope_wanted wanted, const char *where,
			  struct symbol *ret_symbol) MUST_CHECK;

/* --------------------------------------------------------------- rules_*.c */
enum status rules_check_file(struct linker *l) MUST_CHECK;
enum status rules_check_service(struct linker *l, const struct pool_service *s,
				const Google__Protobuf__ServiceDescriptorProto *p) MUST_CHECK;
enum status rules_check_enum(struct linker *l, const struct pool_enum *e,
			     const Google__Protobuf__EnumDescriptorProto *p) MUST_CHECK;
enum status rules_check_field(struct linker *l, const struct pool_field *f,
			      const Google__Protobuf__FieldDescriptorProto *p) MUST_CHECK;
enum status rules_check_default(struct linker *l, const struct pool_field *f,
				const char *text) MUST_CHECK;
enum status rules_check_extension(struct linker *l, const struct pool_field *f,
				  const Google__Protobuf__FieldDescriptorProto *p) MUST_CHECK;
enum status rules_check_message(struct linker *l, const struct pool_message *m,
				const Google__Protobuf__DescriptorProto *p) MUST_CHECK;

#endif
