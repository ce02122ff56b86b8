/*
 * An immutable snapshot of linked protobuf files. A pool is extended into
 * another pool that shares what it can with the first; readers of either need
 * no lock. References are counted atomically; descriptors (descriptor.h) and
 * everything else that a lookup returns are borrowed from the pool and stay
 * valid while a reference to it (or to a pool that was extended from it) is
 * held.
 *
 * Descriptors come from outside: sizes, depth, names, numbers, and every
 * reference in them are checked before anything is kept.
 */
#ifndef COMMON_REFLECT_POOL_H
#define COMMON_REFLECT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/reflect/descriptor.h"

struct arena;
struct pool;
struct strbuf;

enum {
	POOL_FILE_MAX_BYTES = 4 << 20,
	POOL_NAME_MAX_BYTES = 1024, /* of a symbol or file name */
};

/* An empty pool. The caller owns the reference. */
struct pool *pool_new(void);
struct pool *pool_ref(struct pool *pool);
void pool_unref(struct pool *pool);

/*
 * Add @count serialized FileDescriptorProtos, in any order, to @base. The bytes
 * are copied. All of them are linked, or nothing is added. A file that @base
 * has already is skipped when the bytes are the same, comments apart. *ret_pool is a new
 * reference, of @base itself when nothing was new.
 *
 * INVALID_ARGUMENT: not a descriptor, a rule of the language is broken, an import or type
 * cannot be found; err->field tells where, such as "shop/v1/order.proto: shop.v1.Order.customer".
 * ALREADY_EXISTS: another file of this name, or another definition of a symbol, is there.
 * RESOURCE_EXHAUSTED: a file is larger than POOL_FILE_MAX_BYTES.
 */
enum status pool_extend(struct pool *base, const struct bytes *files, size_t count,
			struct pool **ret_pool, struct error *err) MUST_CHECK;

/* The same for the files of a serialized FileDescriptorSet. */
enum status pool_extend_set(struct pool *base, struct bytes descriptor_set,
			    struct pool **ret_pool, struct error *err) MUST_CHECK;

/*
 * Like pool_extend(), but a file whose name @base has with other bytes replaces
 * that one, and all that depends on it is linked anew. Descriptors of @base are
 * untouched; those of the new pool are others wherever a file was relinked.
 * Statuses as above.
 */
enum status pool_replace(struct pool *base, const struct bytes *files, size_t count,
			 struct pool **ret_pool, struct error *err) MUST_CHECK;

/*
 * Are two serialized FileDescriptorProtos the same, comments apart? Compilers
 * differ in whether they keep them.
 */
bool pool_same_file(struct bytes a, struct bytes b);

/*
 * The files of a serialized FileDescriptorSet, sliced without copying. The
 * array is in @arena, the bytes are borrowed from @descriptor_set.
 */
enum status pool_split_set(struct bytes descriptor_set, struct arena *arena,
			   struct bytes **ret_files, size_t *ret_count,
			   struct error *err) MUST_CHECK;

/* ------------------------------------------------------------- lookups
 * Names are fully qualified, without a leading dot. NULL: there is none.
 */
const struct pool_file *pool_file(const struct pool *pool, const char *name, size_t len);
const struct pool_message *pool_message(const struct pool *pool, const char *name, size_t len);
const struct pool_enum *pool_enum(const struct pool *pool, const char *name, size_t len);
const struct pool_service *pool_service(const struct pool *pool, const char *name, size_t len);
const struct pool_field *pool_extension(const struct pool *pool, const char *name, size_t len);

/* The message that an Any's type_url names: what follows its last '/'. */
const struct pool_message *pool_message_of_url(const struct pool *pool, const char *url,
					       size_t len);

/* The file that declares a symbol of any kind: message, enum, enum value, field,
 * oneof, service, method ("shop.v1.Orders.Place"), extension. */
const struct pool_file *pool_file_of_symbol(const struct pool *pool, const char *name,
					    size_t len);

/* A declared field, or an extension of @m that this pool holds. */
const struct pool_field *pool_field_by_number(const struct pool *pool,
					      const struct pool_message *m, uint32_t number);

/* The numbers of @m's extensions in this pool, ascending, in @arena. */
uint32_t *pool_extension_numbers(const struct pool *pool, const struct pool_message *m,
				 struct arena *arena, size_t *ret_count);

/* ----------------------------------------------------------- iteration */

/* All files, each after the files that it imports. Borrowed from the pool. */
const struct pool_file *const *pool_files(const struct pool *pool, size_t *ret_count);

/* @file and all that it imports, directly or not, dependencies first; in @arena. */
const struct pool_file *const *pool_closure(const struct pool_file *file, struct arena *arena,
					    size_t *ret_count);

/* Append a serialized FileDescriptorSet of @files, with their original bytes. */
void pool_write_set(const struct pool_file *const *files, size_t count, struct strbuf *out);

/*
 * Append the comment in front of a symbol of any kind, as its file's source
 * info has it. Nothing is appended when there is none.
 */
void pool_comment(const struct pool *pool, const char *symbol, size_t len, struct strbuf *out);

#endif
