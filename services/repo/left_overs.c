#include "services/repo/left_overs.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "services/repo/directory.h"

struct place {
	bool (*is_current)(void *arg, const char *ns, const char *name,
			   const char *incarnation);
	void *arg;
	const char *ns, *name;
};

/* Call @each for what is in the directory @path. */
static void for_each_in(const char *path,
			void (*each)(struct place *at, const char *path, const char *name),
			struct place *at)
{
	DIR *dir = opendir(path);
	struct dirent *found;

	if (!dir)
		return;
	while ((found = readdir(dir))) {
		if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, ".."))
			continue;
		AUTO_FREE char *inner = xasprintf("%s/%s", path, found->d_name);
		each(at, inner, found->d_name);
	}
	closedir(dir);
}

static void clean_incarnation(struct place *at, const char *path, const char *name)
{
	if (!at->is_current(at->arg, at->ns, at->name, name))
		directory_remove(path);
}

static void clean_collection(struct place *at, const char *path, const char *name)
{
	at->name = name;
	for_each_in(path, clean_incarnation, at);
	/* Goes only when it is empty. */
	(void)rmdir(path);
}

static void clean_namespace(struct place *at, const char *path, const char *name)
{
	at->ns = name;
	for_each_in(path, clean_collection, at);
}

void left_overs_remove(const char *directory,
		       bool (*is_current)(void *arg, const char *ns, const char *name,
					  const char *incarnation),
		       void *arg)
{
	struct place at = {is_current, arg, NULL, NULL};
	AUTO_FREE char *ns = xasprintf("%s/ns", directory);

	for_each_in(ns, clean_namespace, &at);
}
