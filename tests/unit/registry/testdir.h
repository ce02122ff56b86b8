/* A directory for one test, which is removed after it. */
#ifndef TESTS_UNIT_REGISTRY_TESTDIR_H
#define TESTS_UNIT_REGISTRY_TESTDIR_H

#include "common/base/strbuf.h"
#include "services/registry/tree.h"

extern char testdir[64];

/* What damage was told of, a line each: "<path below the testdir>: <why>". */
extern struct strbuf testdir_damage;
extern const struct tree_damage testdir_noting;

void testdir_make(void);
void testdir_remove(void);

/* Replace the content of @path, which is below the directory. */
void testdir_overwrite(const char *path, const char *text);

/* The content of @path, appended to @out. */
void testdir_read(const char *path, struct strbuf *out);

#endif
