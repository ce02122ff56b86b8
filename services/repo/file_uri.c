#include "services/repo/file_uri.h"

#include <string.h>

#include "common/base/names.h"

#define SCHEME "collector://"

enum status file_path_check(const char *path, const char *field, struct error *err)
{
	enum status status = names_check_path(path, field, err);
	size_t parts = 1;

	for (const char *at = path; status == STATUS_OK && *at; at++)
		parts += *at == '/';
	if (status == STATUS_OK && parts > FILE_PATH_MAX_PARTS)
		return error_field(err, field, "path has more than %d parts",
				   FILE_PATH_MAX_PARTS);
	return status;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static void add_encoded(struct strbuf *out, const char *text, const char *also_plain)
{
	for (; *text; text++) {
		if (is_plain(*text) || strchr(also_plain, *text))
			strbuf_addch(out, *text);
		else
			strbuf_addf(out, "%%%02X", (unsigned char)*text);
	}
}

void file_uri_write(const char *ns, const char *collection, const char *record_id,
		    const char *path, struct strbuf *out)
{
	strbuf_addf(out, SCHEME "%s/%s/", ns, collection);
	add_encoded(out, record_id, "");
	if (*path) {
		strbuf_addch(out, '/');
		add_encoded(out, path, "/");
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL: a '%' without two digits, or a NUL. */
static const char *decoded(const char *text, size_t len, struct arena *arena)
{
	char *out = arena_alloc(arena, len + 1), *to = out;

	for (size_t i = 0; i < len; i++) {
		const bool is_whole = i + 2 < len;
		const int high = is_whole ? hex_digit(text[i + 1]) : -1;
		const int low = is_whole ? hex_digit(text[i + 2]) : -1;

		if (text[i] != '%') {
			*to++ = text[i];
			continue;
		}
		if (high < 0 || low < 0 || !(high | low))
			return NULL;
		*to++ = (char)(high << 4 | low);
		i += 2;
	}
	*to = '\0';
	return out;
}

enum status file_uri_read(const char *uri, const char *field, struct arena *arena,
			  struct file_uri *ret, struct error *err)
{
	const char **const parts[] = {&ret->ns, &ret->collection, &ret->record_id, &ret->path};
	const char *at = uri + strlen(SCHEME);

	if (strncmp(uri, SCHEME, strlen(SCHEME)) != 0)
		return error_field(err, field, "does not begin with \"" SCHEME "\"");
	for (size_t i = 0; i < 4; i++) {
		const size_t len = i == 3 ? strlen(at) : strcspn(at, "/");

		*parts[i] = decoded(at, len, arena);
		if (!*parts[i])
			return error_field(err, field, "'%%' is not followed by two digits");
		at += len;
		if (i < 2 && *at != '/')
			return error_field(err, field,
					   "a part is missing: \"" SCHEME
					   "namespace/collection/id/path\"");
		at += *at == '/';
	}
	return STATUS_OK;
}
