#include "tests/unit/registry/testdir.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "services/registry/disk.h"
#include "tests/support/suite.h"

char testdir[64];
struct strbuf testdir_damage;

static void note(void *arg, const char *path, const char *why)
{
	const size_t len = strlen(testdir);

	(void)arg;
	strbuf_addf(&testdir_damage, "%s: %s\n",
		    strncmp(path, testdir, len) ? path : path + len, why);
}

const struct tree_damage testdir_noting = {note, NULL};

void testdir_make(void)
{
	static const char template[] = "/tmp/collector-registry-XXXXXX";

	memcpy(testdir, template, sizeof(template));
	ck_assert_ptr_nonnull(mkdtemp(testdir));
	testdir_damage = STRBUF_INIT;
}

void testdir_remove(void)
{
	char *command AUTO_FREE = xasprintf("rm -rf '%s'", testdir);

	ck_assert_int_eq(system(command), 0);
	strbuf_release(&testdir_damage);
}

void testdir_overwrite(const char *path, const char *text)
{
	char *full AUTO_FREE = xasprintf("%s/%s", testdir, path);
	FILE *f = fopen(full, "w");

	ck_assert_msg(f != NULL, "%s", full);
	fputs(text, f);
	fclose(f);
}

void testdir_read(const char *path, struct strbuf *out)
{
	char *full AUTO_FREE = xasprintf("%s/%s", testdir, path);
	struct error err;

	ck_assert_msg(disk_read(full, 1 << 20, out, &err) == STATUS_OK, "%s", err.message);
}
