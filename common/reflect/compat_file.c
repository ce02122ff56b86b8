/* What a file says of itself, and what it does not declare any more. */
#include <inttypes.h>
#include <string.h>

#include "common/reflect/compat_rules.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

static const struct compat_rule same_package = {"FILE_SAME_PACKAGE", FROM_WIRE};
static const struct compat_rule same_syntax = {"FILE_SAME_SYNTAX", COMPAT_SOURCE};
static const struct compat_rule message_no_delete = {"MESSAGE_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule enum_no_delete = {"ENUM_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule service_no_delete = {"SERVICE_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule extension_no_delete = {"EXTENSION_NO_DELETE", COMPAT_SOURCE};

/* --------------------------------------------------------------- options */

enum { FILE_OPTIONS = 8 }; /* in google.protobuf.FileDescriptorProto */

enum option_kind { OPTION_TEXT, OPTION_BOOL, OPTION_OPTIMIZE_MODE };

/* Options that generated code depends on, by their numbers in FileOptions. */
static const struct file_option {
	const char *rule;
	const char *name;
	uint32_t number;
	enum option_kind kind;
	uint64_t unset; /* what it is then; texts are empty */
} file_options[] = {
	{"FILE_SAME_JAVA_PACKAGE", "java_package", 1, OPTION_TEXT, 0},
	{"FILE_SAME_JAVA_OUTER_CLASSNAME", "java_outer_classname", 8, OPTION_TEXT, 0},
	{"FILE_SAME_OPTIMIZE_FOR", "optimize_for", 9, OPTION_OPTIMIZE_MODE, 1},
	{"FILE_SAME_JAVA_MULTIPLE_FILES", "java_multiple_files", 10, OPTION_BOOL, 0},
	{"FILE_SAME_GO_PACKAGE", "go_package", 11, OPTION_TEXT, 0},
	{"FILE_SAME_CC_GENERIC_SERVICES", "cc_generic_services", 16, OPTION_BOOL, 0},
	{"FILE_SAME_JAVA_GENERIC_SERVICES", "java_generic_services", 17, OPTION_BOOL, 0},
	{"FILE_SAME_PY_GENERIC_SERVICES", "py_generic_services", 18, OPTION_BOOL, 0},
	{"FILE_SAME_CC_ENABLE_ARENAS", "cc_enable_arenas", 31, OPTION_BOOL, 1},
	{"FILE_SAME_OBJC_CLASS_PREFIX", "objc_class_prefix", 36, OPTION_TEXT, 0},
	{"FILE_SAME_CSHARP_NAMESPACE", "csharp_namespace", 37, OPTION_TEXT, 0},
	{"FILE_SAME_SWIFT_PREFIX", "swift_prefix", 39, OPTION_TEXT, 0},
	{"FILE_SAME_PHP_CLASS_PREFIX", "php_class_prefix", 40, OPTION_TEXT, 0},
	{"FILE_SAME_PHP_NAMESPACE", "php_namespace", 41, OPTION_TEXT, 0},
	{"FILE_SAME_PHP_METADATA_NAMESPACE", "php_metadata_namespace", 44, OPTION_TEXT, 0},
	{"FILE_SAME_RUBY_PACKAGE", "ruby_package", 45, OPTION_TEXT, 0},
};
enum { OPTION_COUNT = sizeof(file_options) / sizeof(file_options[0]) };

struct option_value {
	uint64_t number;
	struct bytes text;
};

static void read_option(const struct wire_field *f, struct option_value values[OPTION_COUNT])
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const bool is_text = file_options[i].kind == OPTION_TEXT;

		if (file_options[i].number != f->number ||
		    f->type != (is_text ? WIRE_BYTES : WIRE_VARINT))
			continue;
		values[i].text = f->data;
		values[i].number = f->value;
	}
}

/* Like a parser: the file's options may come in pieces, and the last value counts. */
static void read_options(const struct pool_file *file, struct option_value values[OPTION_COUNT])
{
	struct wire_cursor c = wire_cursor_of(file->bytes);
	struct wire_field options, f;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		values[i] = (struct option_value){file_options[i].unset, bytes_of(NULL, 0)};
	while (wire_next(&c, &options)) {
		struct wire_cursor inner = wire_cursor_of(options.data);

		if (options.number != FILE_OPTIONS || options.type != WIRE_BYTES)
			continue;
		while (wire_next(&inner, &f))
			read_option(&f, values);
	}
}

static void add_value(const struct file_option *option, const struct option_value *value,
		      struct strbuf *out)
{
	static const char *const modes[] = {"0", "SPEED", "CODE_SIZE", "LITE_RUNTIME"};

	if (option->kind == OPTION_TEXT)
		strbuf_addf(out, "\"%.*s\"", (int)value->text.size,
			    value->text.size ? (const char *)value->text.data : "");
	else if (option->kind == OPTION_BOOL)
		strbuf_addstr(out, value->number ? "true" : "false");
	else if (value->number < sizeof(modes) / sizeof(modes[0]))
		strbuf_addstr(out, modes[value->number]);
	else
		strbuf_addf(out, "%" PRIu64, value->number);
}

static bool same_value(enum option_kind kind, const struct option_value *a,
		       const struct option_value *b)
{
	if (kind == OPTION_TEXT)
		return bytes_equal(a->text, b->text);
	return kind == OPTION_BOOL ? !a->number == !b->number : a->number == b->number;
}

static void check_options(struct compat *c, const struct pool_file *was,
			  const struct pool_file *is)
{
	struct option_value old[OPTION_COUNT], new[OPTION_COUNT];

	read_options(was, old);
	read_options(is, new);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct file_option *option = &file_options[i];
		const struct compat_rule rule = {option->rule, COMPAT_SOURCE};
		AUTO_STRBUF from = STRBUF_INIT;
		AUTO_STRBUF to = STRBUF_INIT;

		if (same_value(option->kind, &old[i], &new[i]))
			continue;
		add_value(option, &old[i], &from);
		add_value(option, &new[i], &to);
		compat_add(c, &rule, is, is->name, "the file's option %s changes from %s to %s",
			   option->name, from.buf, to.buf);
	}
}

/* ------------------------------------------------------------ deletions */

/* A file's symbols are found by their names within the package: it may be another now. */
static const char *name_in(struct strbuf *out, const struct pool_file *is,
			   const struct pool_file *was, const char *full_name)
{
	const size_t package = strlen(was->package);

	return compat_join(out, is->package, full_name + package + (package ? 1 : 0));
}

static void check_deletions(struct compat *c, const struct pool_file *was,
			    const struct pool_file *is)
{
	AUTO_STRBUF name = STRBUF_INIT;

	for (uint32_t i = 0; i < was->message_count; i++) {
		const char *path = was->messages[i].full_name;
		const struct pool_message *m =
			compat_message_after(c, name_in(&name, is, was, path));

		if (!m || m->file != is)
			compat_add(c, &message_no_delete, was, path,
				   "the message is gone from the file");
	}
	for (uint32_t i = 0; i < was->enum_count; i++) {
		const char *path = was->enums[i].full_name;
		const struct pool_enum *e = compat_enum_after(c, name_in(&name, is, was, path));

		if (!e || e->file != is)
			compat_add(c, &enum_no_delete, was, path,
				   "the enum is gone from the file");
	}
	for (uint32_t i = 0; i < was->service_count; i++) {
		const char *path = was->services[i].full_name;
		const struct pool_service *s =
			compat_service_after(c, name_in(&name, is, was, path));

		if (!s || s->file != is)
			compat_add(c, &service_no_delete, was, path,
				   "the service is gone from the file");
	}
	for (uint32_t i = 0; i < was->extension_count; i++) {
		const char *path = was->extensions[i].full_name;
		const struct pool_field *f;

		name_in(&name, is, was, path);
		f = pool_extension(c->after, name.buf, name.len);
		if (!f || f->file != is)
			compat_add(c, &extension_no_delete, was, path,
				   "the extension is gone from the file");
	}
}

void compat_file(struct compat *c, const struct pool_file *was, const struct pool_file *is)
{
	if (strcmp(was->package, is->package) != 0)
		compat_add(c, &same_package, is, is->name,
			   "the file's package changes from \"%s\" to \"%s\"", was->package,
			   is->package);
	if (was->is_proto3 != is->is_proto3)
		compat_add(c, &same_syntax, is, is->name,
			   "the file's syntax changes from proto%d to proto%d",
			   was->is_proto3 ? 3 : 2, is->is_proto3 ? 3 : 2);
	if (!(c->levels & COMPAT_SOURCE))
		return;
	check_options(c, was, is);
	check_deletions(c, was, is);
}
