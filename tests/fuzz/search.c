/*
 * Any text as a path: refused, or one whose canonical spelling means the same
 * and whose SQL is taken by SQLite. The first byte is the type.
 */
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/reflect/search.h"
#include "tests/fuzz/fuzz.h"

static struct error err;

static void check_sql(const struct search_path *path)
{
	AUTO_STRBUF sql = STRBUF_INIT;
	static sqlite3 *db;
	sqlite3_stmt *statement;

	if (!db)
		FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK, NULL, NULL);
	strbuf_addstr(&sql, "SELECT json_extract('{}', '");
	search_path_sql(path, &sql);
	strbuf_addstr(&sql, "')");
	FUZZ_CHECK(sqlite3_prepare_v2(db, sql.buf, -1, &statement, NULL) == SQLITE_OK, NULL,
		   &sql);
	FUZZ_CHECK(sqlite3_step(statement) == SQLITE_ROW, NULL, &sql);
	sqlite3_finalize(statement);
}

static void check_path(const struct pool_message *m, const char *text, struct arena *arena)
{
	AUTO_STRBUF canonical = STRBUF_INIT, again = STRBUF_INIT;
	struct search_path path, same;

	if (search_resolve(fuzz_pool(), m, text, arena, &path, &err) != STATUS_OK) {
		FUZZ_CHECK(err.message[0], &err, NULL);
		return;
	}
	search_path_canonical(&path, &canonical);
	if (canonical.len > SEARCH_PATH_MAX_BYTES)
		return; /* brackets and quotes made it longer */
	FUZZ_CHECK(search_resolve(fuzz_pool(), m, strbuf_str(&canonical), arena, &same, &err) ==
			   STATUS_OK,
		   &err, &canonical);
	FUZZ_CHECK(same.kind == path.kind && same.part_count == path.part_count, NULL,
		   &canonical);
	search_path_canonical(&same, &again);
	FUZZ_CHECK(!strcmp(strbuf_str(&canonical), strbuf_str(&again)), NULL, &canonical);
	check_sql(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	const struct pool_message *m = fuzz_type(fuzz_take_byte(&in));
	char *text AUTO_FREE = xstrndup((const char *)in.data, in.size);
	struct arena arena;

	arena_init(&arena, 0);
	check_path(m, text, &arena);
	arena_release(&arena);
	return 0;
}
