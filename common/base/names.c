#include "common/base/names.h"

#include <string.h>

#include "common/base/utf8.h"

static bool is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static enum status check_label(const char *name, const char *what, const char *field,
			       struct error *err)
{
	size_t len = strlen(name);

	if (!len)
		return error_field(err, field, "%s is missing", what);
	if (len > NAMES_NAMESPACE_MAX_BYTES)
		return error_field(err, field, "%s is longer than %d characters", what,
				   NAMES_NAMESPACE_MAX_BYTES);
	for (size_t i = 0; i < len; i++)
		if (!is_label_char(name[i]) || (!i && (name[i] == '_' || name[i] == '-')))
			return error_field(err, field, "%s must match [a-z0-9][a-z0-9_-]{0,62}",
					   what);
	return STATUS_OK;
}

enum status names_check_namespace(const char *name, const char *field, struct error *err)
{
	return *name ? check_label(name, "namespace", field, err) : STATUS_OK;
}

const char *names_namespace_or_default(const char *name)
{
	return *name ? name : NAMES_DEFAULT_NAMESPACE;
}

enum status names_check_nested_namespace(const char *nested, const char *outer,
					 const char *field, struct error *err)
{
	if (!*nested || !strcmp(nested, names_namespace_or_default(outer)))
		return STATUS_OK;
	return error_field(err, field,
			   "must be empty or equal to the request's namespace \"%s\"",
			   names_namespace_or_default(outer));
}

enum status names_check_collection(const char *name, const char *field, struct error *err)
{
	return check_label(name, "collection name", field, err);
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/* U+0080..U+009F are control characters too: C2 80 .. C2 9F. */
static bool has_c1_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0)
			return true;
	return false;
}

enum status names_check_id(const char *id, const char *field, struct error *err)
{
	size_t len = strlen(id);

	if (!len)
		return error_field(err, field, "id is missing");
	if (len > NAMES_ID_MAX_BYTES)
		return error_field(err, field, "id is longer than %d bytes",
				   NAMES_ID_MAX_BYTES);
	if (!utf8_valid(id, len))
		return error_field(err, field, "id is not valid UTF-8");
	if (has_control(id) || has_c1_control(id))
		return error_field(err, field, "id holds a control character");
	return STATUS_OK;
}

static bool part_is_bad(const char *part, size_t len)
{
	return !len || (len == 1 && part[0] == '.') ||
	       (len == 2 && part[0] == '.' && part[1] == '.');
}

enum status names_check_path(const char *path, const char *field, struct error *err)
{
	size_t len = strlen(path);

	if (!len)
		return error_field(err, field, "path is missing");
	if (len > NAMES_ID_MAX_BYTES)
		return error_field(err, field, "path is longer than %d bytes",
				   NAMES_ID_MAX_BYTES);
	if (!utf8_valid(path, len) || has_control(path) || strchr(path, '\\'))
		return error_field(err, field,
				   "path holds a character that is not allowed in paths");
	for (const char *part = path;; part++) {
		size_t n = strcspn(part, "/");
		if (part_is_bad(part, n))
			return error_field(err, field,
					   "path has an empty, \".\" or \"..\" part");
		part += n;
		if (!*part)
			return STATUS_OK;
	}
}

static bool is_ident_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

enum status names_check_symbol(const char *symbol, const char *field, struct error *err)
{
	bool start = true;

	if (!*symbol)
		return error_field(err, field, "name is missing");
	if (strlen(symbol) > NAMES_ID_MAX_BYTES)
		return error_field(err, field, "name is longer than %d bytes",
				   NAMES_ID_MAX_BYTES);
	for (const char *p = symbol; *p; p++) {
		bool digit = *p >= '0' && *p <= '9';
		if (*p == '.' ? start : !is_ident_start(*p) && (start || !digit))
			return error_field(err, field, "not a fully qualified protobuf name");
		start = *p == '.';
	}
	if (start)
		return error_field(err, field, "not a fully qualified protobuf name");
	return STATUS_OK;
}

static bool is_under(const char *symbol, const char *package)
{
	size_t n = strlen(package);

	return !strncmp(symbol, package, n) && (!symbol[n] || symbol[n] == '.');
}

bool names_symbol_is_reserved(const char *symbol)
{
	static const char *const reserved[] = {"collector", "collections", "google.protobuf",
					       "grpc.health", "grpc.reflection"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (is_under(symbol, reserved[i]))
			return true;
	return false;
}
