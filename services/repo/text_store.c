/* The SQL functions that full text is made with, and that look for a text in another. */

/* For memmem(): POSIX has it since 2024 only. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier) */
#include <sqlite3.h>
#include <string.h>

#include "services/repo/store_internal.h"

enum { MAX_DEPTH = 256 };

static void add_text(struct strbuf *out, const void *text, size_t len)
{
	if (!len)
		return;
	if (out->len)
		strbuf_addch(out, '\n');
	strbuf_add(out, text, len);
}

static void collect(const uint8_t *at, const uint8_t *end, int depth, bool is_object,
		    struct strbuf *out)
{
	struct jsonb_element e;
	bool is_key = is_object;

	while ((at = jsonb_next(at, end, &e))) {
		if (!is_key && e.type >= JSONB_TEXT_FIRST && e.type <= JSONB_TEXT_RAW)
			add_text(out, e.payload, e.size);
		else if (!is_key && (e.type == JSONB_ARRAY || e.type == JSONB_OBJECT) &&
			 depth < MAX_DEPTH)
			collect(e.payload, e.payload + e.size, depth + 1,
				e.type == JSONB_OBJECT, out);
		is_key = is_object && !is_key;
	}
}

static void collector_text(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	AUTO_STRBUF out = STRBUF_INIT;

	for (int i = 0; i < argc; i++) {
		const uint8_t *data;
		size_t size = (size_t)sqlite3_value_bytes(argv[i]);

		switch (sqlite3_value_type(argv[i])) {
		case SQLITE_TEXT:
			add_text(&out, sqlite3_value_text(argv[i]), size);
			break;
		case SQLITE_BLOB:
			data = sqlite3_value_blob(argv[i]);
			if (data)
				collect(data, data + size, 0, false, &out);
			break;
		default: /* numbers and NULL are no text */
			break;
		}
	}
	sqlite3_result_text64(context, strbuf_str(&out), out.len, SQLITE_TRANSIENT,
			      SQLITE_UTF8);
}

/*
 * What instr() > 0 says, but in time that grows with the lengths, not with their product: an
 * interrupt does not end a function, and both texts are a user's.
 */
static void collector_contains(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const unsigned char *text = sqlite3_value_text(argv[0]);
	const unsigned char *part = sqlite3_value_text(argv[1]);

	(void)argc;
	if (!text || !part)
		return; /* NULL */
	sqlite3_result_int(context, memmem(text, (size_t)sqlite3_value_bytes(argv[0]), part,
					   (size_t)sqlite3_value_bytes(argv[1])) != NULL);
}

int text_store_add_functions(struct sqlite3 *sqlite)
{
	enum { FLAGS = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS };
	int code = sqlite3_create_function_v2(sqlite, "collector_text", -1, FLAGS, NULL,
					      collector_text, NULL, NULL, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_create_function_v2(sqlite, "collector_contains", 2, FLAGS, NULL,
						  collector_contains, NULL, NULL, NULL);
	return code;
}

enum status text_store_register(struct database *db, struct error *err)
{
	int code = text_store_add_functions(database_sqlite(db));

	return code == SQLITE_OK ? STATUS_OK : database_error(db, code, err);
}
