/* What must hold of the directory after a crash, whatever was asked for before. */
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/crash/world.h"

static bool is_sound(const char *path)
{
	static const char *const checks[] = {
		"PRAGMA integrity_check",
		"INSERT INTO text (text, rank) VALUES ('integrity-check', 1)",
		/* Of vectors that were collected anew the old ones are gone. */
		"SELECT iif(EXISTS (SELECT 1 FROM vector_rows) + EXISTS (SELECT 1 FROM"
		" vector_chunks) + EXISTS (SELECT 1 FROM vector_versions) AND EXISTS (SELECT 1"
		" FROM vector_rows_b) + EXISTS (SELECT 1 FROM vector_chunks_b) + EXISTS (SELECT"
		" 1 FROM vector_versions_b), 'two of them', 'ok')",
		NULL};
	sqlite3 *db;
	bool good = sqlite3_open(path, &db) == SQLITE_OK;

	for (size_t i = 0; good && checks[i]; i++) {
		sqlite3_stmt *stmt;

		/* The text's view needs a function of ours; not all have vectors. */
		if (sqlite3_prepare_v2(db, checks[i], -1, &stmt, NULL) != SQLITE_OK)
			continue;
		int code = sqlite3_step(stmt);
		if (i != 1)
			good = code == SQLITE_ROW &&
			       !strcmp((const char *)sqlite3_column_text(stmt, 0), "ok");
		(void)sqlite3_finalize(stmt);
	}
	sqlite3_close(db);
	if (!good)
		fprintf(stderr, "%s is damaged\n", path);
	return good;
}

static int count_in(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *found;
	int count = 0;

	while (dir && (found = readdir(dir)))
		count += *found->d_name != '.';
	if (dir)
		closedir(dir);
	return count;
}

/* After the start nothing is left over: one incarnation of each collection, staging empty. */
bool world_is_clean(const struct world *w, const char *directory)
{
	AUTO_FREE char *staging = xasprintf("%s/staging", directory);
	struct catalog_item *items;
	struct arena arena;
	size_t count;
	bool good = count_in(staging) == 0;

	if (!good)
		fprintf(stderr, "staging is not empty\n");
	arena_init(&arena, 0);
	count = catalog_list(w->catalog, NULL, &arena, &items);
	for (size_t i = 0; good && i < count; i++) {
		AUTO_FREE char *path =
			xasprintf("%s/ns/%s/%s", directory, items[i].ns, items[i].name);

		good = count_in(path) == 1;
		if (!good)
			fprintf(stderr, "%s has %d incarnations\n", path, count_in(path));
	}
	arena_release(&arena);
	return good;
}

bool world_is_sound(const char *directory, int depth)
{
	DIR *dir = opendir(directory);
	const struct dirent *found;
	bool good = true;

	while (good && dir && (found = readdir(dir))) {
		AUTO_FREE char *path = xasprintf("%s/%s", directory, found->d_name);

		if (*found->d_name == '.')
			continue;
		if (!strcmp(found->d_name, "collection.db"))
			good = is_sound(path);
		else if (depth < 4)
			good = world_is_sound(path, depth + 1);
	}
	if (dir)
		closedir(dir);
	return good;
}
