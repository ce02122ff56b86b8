#include "services/registry/service_file.h"

#include <string.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	FILE_NAME = 1,
	FILE_PACKAGE = 2,
	FILE_DEPENDENCY = 3,
	FILE_SERVICE = 6,
	FILE_SYNTAX = 12,
	SERVICE_NAME = 1,
	SERVICE_METHOD = 2,
	METHOD_INPUT = 2,
	METHOD_OUTPUT = 3,
	MAX_IMPORTS = 256,
};

struct imports {
	const struct pool_file *files[MAX_IMPORTS];
	size_t count;
};

static enum status add_type(const struct pool *pool, struct bytes method, uint32_t field,
			    struct imports *imports, struct bytes *ret_name, struct error *err)
{
	const struct pool_file *file;
	struct bytes name;

	if (!wire_find_bytes(method, field, &name) || !name.size)
		return error_field(err, "service_descriptor.method",
				   "a method lacks its input or output type");
	if (name.data[0] == '.')
		name = bytes_of(name.data + 1, name.size - 1);
	file = pool_file_of_symbol(pool, (const char *)name.data, name.size);
	if (!file || !pool_message(pool, (const char *)name.data, name.size))
		return error_field(err, "service_descriptor.method",
				   "%.*s is not a registered message; without a file types are "
				   "given by their full names",
				   (int)name.size, (const char *)name.data);
	if (ret_name)
		*ret_name = name;
	for (size_t i = 0; i < imports->count; i++)
		if (imports->files[i] == file)
			return STATUS_OK;
	if (imports->count == MAX_IMPORTS)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "the service's types are in more than %d files", MAX_IMPORTS);
	imports->files[imports->count++] = file;
	return STATUS_OK;
}

/* Everything the methods need; *ret_first is the first input's name. */
static enum status collect_imports(const struct pool *pool, struct bytes service,
				   struct imports *imports, struct bytes *ret_first,
				   struct error *err)
{
	struct wire_cursor c = wire_cursor_of(service);
	struct wire_field f;
	enum status status = STATUS_OK;

	while (status == STATUS_OK && wire_next(&c, &f)) {
		if (f.number != SERVICE_METHOD || f.type != WIRE_BYTES)
			continue;
		status = add_type(pool, f.data, METHOD_INPUT, imports,
				  ret_first->size ? NULL : ret_first, err);
		if (status == STATUS_OK)
			status = add_type(pool, f.data, METHOD_OUTPUT, imports, NULL, err);
	}
	return status;
}

/* "shop.v1.OrderService" out of what the descriptor and its first input say. */
static char *full_name_of(const struct pool *pool, struct bytes name, struct bytes first_input)
{
	const struct pool_file *file =
		first_input.size ? pool_file_of_symbol(pool, (const char *)first_input.data,
						       first_input.size)
				 : NULL;

	if (memchr(name.data, '.', name.size) || !file || !*file->package)
		return xstrndup((const char *)name.data, name.size);
	return xasprintf("%s.%.*s", file->package, (int)name.size, (const char *)name.data);
}

static void put_service(struct bytes service, const char *short_name, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(service);
	size_t mark = wire_open(out, FILE_SERVICE);
	struct wire_field f;

	wire_add_string(out, SERVICE_NAME, short_name);
	while (wire_next(&c, &f))
		if (f.number != SERVICE_NAME)
			strbuf_add(out, f.raw.data, f.raw.size);
	wire_close(out, mark);
}

static void put_file(const char *full_name, struct bytes service, const struct imports *imports,
		     struct strbuf *out)
{
	const char *dot = strrchr(full_name, '.');
	char *path AUTO_FREE = xasprintf("%s.service.proto", full_name);

	for (char *p = path; p < path + (dot ? dot - full_name + 1 : 0); p++)
		if (*p == '.')
			*p = '/';
	wire_add_string(out, FILE_NAME, path);
	if (dot)
		wire_add_bytes(out, FILE_PACKAGE,
			       bytes_of(full_name, (size_t)(dot - full_name)));
	for (size_t i = 0; i < imports->count; i++)
		wire_add_string(out, FILE_DEPENDENCY, imports->files[i]->name);
	put_service(service, dot ? dot + 1 : full_name, out);
	wire_add_string(out, FILE_SYNTAX, "proto3");
}

enum status service_file_make(const struct pool *pool, struct bytes service, struct strbuf *out,
			      char **ret_full_name, struct error *err)
{
	struct imports imports = {.count = 0};
	struct bytes name = {0}, first_input = {0};
	enum status status;
	char *full_name;

	if (!wire_find_bytes(service, SERVICE_NAME, &name) || !name.size)
		return error_field(err, "service_descriptor.name", "the service has no name");
	status = collect_imports(pool, service, &imports, &first_input, err);
	if (status != STATUS_OK)
		return status;
	full_name = full_name_of(pool, name, first_input);
	status = names_check_symbol(full_name, "service_descriptor.name", err);
	if (status != STATUS_OK) {
		free(full_name);
		return status;
	}
	put_file(full_name, service, &imports, out);
	*ret_full_name = full_name;
	return STATUS_OK;
}
