/* Directories whose making, moving and removal is on disk when the call returns. */
#ifndef SERVICES_REPO_DIRECTORY_H
#define SERVICES_REPO_DIRECTORY_H

#include "common/base/status.h"

/* Make @path, mode 0700, and sync its parent; one that is there is fine. */
enum status directory_make(const char *path, struct error *err) MUST_CHECK;

/* The same for one that need not outlive a crash: nothing is synced. */
enum status directory_make_scratch(const char *path, struct error *err) MUST_CHECK;

/*
 * Rename and sync the new parent. File systems make both ends of a rename one
 * change: the old parent needs no sync of its own.
 */
enum status directory_move(const char *from, const char *to, struct error *err) MUST_CHECK;

/* Remove @path and all below it, without following links; best effort. */
void directory_remove(const char *path);

#endif
