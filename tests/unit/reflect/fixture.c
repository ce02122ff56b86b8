#include "tests/unit/reflect/fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/status.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	fclose(f);
}

static void read_file(const char *path, struct strbuf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	ck_assert_ptr_nonnull(f);
	do {
		strbuf_grow(out, 4096);
		n = fread(out->buf + out->len, 1, 4096, f);
		out->len += n;
	} while (n);
	fclose(f);
}

void fixture_compile(const char *name, const char *source, struct strbuf *out)
{
	char dir[] = "/tmp/collector-reflect-XXXXXX";
	AUTO_STRBUF set = STRBUF_INIT;
	struct bytes file;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	char *path AUTO_FREE = xasprintf("%s/%s", dir, name);
	char *result AUTO_FREE = xasprintf("%s/out", dir);
	char *command AUTO_FREE = xasprintf("protoc -I%s -I/usr/include --include_source_info "
					    "--descriptor_set_out=%s %s",
					    dir, result, path);
	char *parents AUTO_FREE = xasprintf("mkdir -p $(dirname %s)", path);
	char *cleaning AUTO_FREE = xasprintf("rm -r %s", dir);
	ck_assert_int_eq(system(parents), 0);
	write_file(path, source);
	ck_assert_int_eq(system(command), 0);
	read_file(result, &set);
	ck_assert_int_eq(system(cleaning), 0);
	ck_assert(wire_find_bytes(bytes_of(set.buf, set.len), 1, &file));
	strbuf_add(out, file.data, file.size);
}

struct pool *fixture_pool_of(struct bytes file)
{
	struct pool *empty = pool_new(), *builtins, *all;
	struct error err;

	ck_assert_int_eq(pool_extend_set(empty, builtin_descriptor_set(), &builtins, &err),
			 STATUS_OK);
	ck_assert_msg(pool_extend(builtins, &file, 1, &all, &err) == STATUS_OK, "%s: %s",
		      err.field, err.message);
	pool_unref(empty);
	pool_unref(builtins);
	return all;
}

struct pool *fixture_pool(const char *source)
{
	AUTO_STRBUF file = STRBUF_INIT;

	fixture_compile("t.proto", source, &file);
	return fixture_pool_of(bytes_of(file.buf, file.len));
}
