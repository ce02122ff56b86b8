#include "common/daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"

/* The value of one row, still as text, and where it came from. */
struct setting {
	const struct daemon_option *row;
	void *config;
	const char *text;   /* NULL: the type's zero */
	const char *origin; /* "--listen", "COLLECTOR_LISTEN", the key "listen" */
	bool from_flag;
};

struct settings {
	struct setting rows[OPTIONS_MAX_ROWS];
	size_t count;
	struct arena *arena;
};

static void collect(struct settings *s, const struct option_set *sets)
{
	for (; sets->rows; sets++)
		for (const struct daemon_option *row = sets->rows; row->name; row++) {
			if (s->count == OPTIONS_MAX_ROWS)
				abort(); /* a table of ours is too long */
			s->rows[s->count++] = (struct setting){
				row, sets->config, row->default_value, "default", false};
		}
}

static struct setting *find(struct settings *s, const char *name, size_t len)
{
	for (size_t i = 0; i < s->count; i++)
		if (strlen(s->rows[i].row->name) == len &&
		    !memcmp(s->rows[i].row->name, name, len))
			return &s->rows[i];
	return NULL;
}

/* "page-size" as "COLLECTOR_PAGE_SIZE" or "page_size". */
static char *respell(struct arena *arena, const char *name, const char *prefix, bool upper)
{
	char *out = arena_printf(arena, "%s%s", prefix, name);

	for (char *p = out + strlen(prefix); *p; p++)
		*p = *p == '-' ? '_' : upper ? (char)toupper((unsigned char)*p) : *p;
	return out;
}

/* ------------------------------------------------------------------ flags */

static enum status set_by_flag(struct settings *s, struct setting *found, const char *value)
{
	bool again = found->from_flag && found->row->type == DAEMON_OPTION_LIST;

	found->text = again ? arena_printf(s->arena, "%s,%s", found->text, value) : value;
	found->origin = arena_printf(s->arena, "--%s", found->row->name);
	found->from_flag = true;
	return STATUS_OK;
}

static enum status take_flag(struct settings *s, char **argv, int argc, int *at,
			     struct error *err)
{
	const char *word = argv[*at], *name = word + 2, *value = strchr(word, '=');
	struct setting *found;

	if (strncmp(word, "--", 2))
		return error_field(err, word, "flags begin with --; see --help");
	found = find(s, name, value ? (size_t)(value - name) : strlen(name));
	if (!found)
		return error_field(err, word, "unknown flag; see --help");
	if (value)
		return set_by_flag(s, found, value + 1);
	if (found->row->type == DAEMON_OPTION_BOOL)
		return set_by_flag(s, found, "true");
	if (*at + 1 >= argc)
		return error_field(err, word, "needs a value");
	return set_by_flag(s, found, argv[++*at]);
}

/* The words that are not rows: help, version, check and the file. */
static bool take_special(char **argv, int argc, int *at, enum options_request *request,
			 const char **file)
{
	const char *word = argv[*at];

	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		*request = OPTIONS_HELP;
	else if (!strcmp(word, "--version"))
		*request = OPTIONS_VERSION;
	else if (!strcmp(word, "-n"))
		*request = OPTIONS_CHECK;
	else if (!strncmp(word, "--config=", 9))
		*file = word + 9;
	else if (!strcmp(word, "--config") && *at + 1 < argc)
		*file = argv[++*at];
	else
		return false;
	return true;
}

/* ------------------------------------------------------------- environment */

static void read_environment(struct settings *s)
{
	for (size_t i = 0; i < s->count; i++) {
		char *name = respell(s->arena, s->rows[i].row->name, "COLLECTOR_", true);
		const char *value = getenv(name);
		if (value && !s->rows[i].from_flag) {
			s->rows[i].text = value;
			s->rows[i].origin = name;
		}
	}
}

/* -------------------------------------------------------------------- file */

static const char *list_text(struct settings *s, const json_t *value)
{
	AUTO_STRBUF text = STRBUF_INIT;
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
	{
		if (!json_is_string(item) || strchr(json_string_value(item), ','))
			return NULL;
		strbuf_addf(&text, "%s%s", i ? "," : "", json_string_value(item));
	}
	return arena_strdup(s->arena, strbuf_str(&text));
}

/* NULL: the value does not fit the row's type. */
static const char *json_text(struct settings *s, const struct daemon_option *row,
			     const json_t *value)
{
	switch (row->type) {
	case DAEMON_OPTION_STRING:
		return json_is_string(value) ? arena_strdup(s->arena, json_string_value(value))
					     : NULL;
	case DAEMON_OPTION_INT:
		return json_is_integer(value) ? arena_printf(s->arena, "%" JSON_INTEGER_FORMAT,
							     json_integer_value(value))
					      : NULL;
	case DAEMON_OPTION_BOOL:
		return json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : NULL;
	case DAEMON_OPTION_LIST:
		return json_is_array(value) ? list_text(s, value) : NULL;
	}
	return NULL;
}

static struct setting *find_key(struct settings *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(respell(s->arena, s->rows[i].row->name, "", false), key))
			return &s->rows[i];
	return NULL;
}

static enum status take_key(struct settings *s, const char *key, const json_t *value,
			    struct error *err)
{
	struct setting *found = find_key(s, key);
	const char *text;

	if (!found)
		return error_field(err, key, "unknown key");
	text = json_text(s, found->row, value);
	if (!text)
		return error_field(err, key, "the value has the wrong type");
	if (!found->from_flag) {
		found->text = text;
		found->origin = arena_strdup(s->arena, key);
	}
	return STATUS_OK;
}

static enum status read_file(struct settings *s, const char *path, struct error *err)
{
	json_error_t problem;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &problem), *value;
	enum status status = STATUS_OK;
	const char *key;

	if (!root)
		return error_field(err, path, "line %d: %s", problem.line, problem.text);
	if (!json_is_object(root))
		status = error_field(err, path, "not a JSON object");
	json_object_foreach(root, key, value)
	{
		if (status == STATUS_OK)
			status = take_key(s, key, value, err);
	}
	json_decref(root);
	return status;
}

/* -------------------------------------------------------------- conversion */

static enum status store_int(const struct setting *v, int64_t *to, struct error *err)
{
	const struct daemon_option *row = v->row;
	char *end = NULL;
	long long value = 0;

	errno = 0;
	if (v->text)
		value = strtoll(v->text, &end, 10);
	if (v->text && (end == v->text || *end || errno))
		return error_field(err, v->origin, "'%s' is not a whole number", v->text);
	if (value < row->minimum || value > row->maximum)
		return error_field(err, v->origin,
				   "%lld is not within %" PRId64 " and %" PRId64, value,
				   row->minimum, row->maximum);
	*to = value;
	return STATUS_OK;
}

static enum status store_bool(const struct setting *v, bool *to, struct error *err)
{
	if (v->text && strcmp(v->text, "true") && strcmp(v->text, "false"))
		return error_field(err, v->origin, "'%s' is neither true nor false", v->text);
	*to = v->text && !strcmp(v->text, "true");
	return STATUS_OK;
}

static void store_list(struct arena *arena, const struct setting *v, const char ***to)
{
	const char *text = v->text ? v->text : "";
	size_t count = 0, n = 0;
	const char **list;

	for (const char *p = text; *p; p++)
		count += *p == ',';
	list = arena_alloc(arena, (count + 2) * sizeof(*list));
	while (*text) {
		size_t len = strcspn(text, ",");
		if (len)
			list[n++] = arena_strndup(arena, text, len);
		text += len + (text[len] == ',');
	}
	list[n] = NULL;
	*to = list;
}

static enum status store(struct arena *arena, const struct setting *v, struct error *err)
{
	void *to = (char *)v->config + v->row->offset;

	switch (v->row->type) {
	case DAEMON_OPTION_STRING:
		*(const char **)to = arena_strdup(arena, v->text ? v->text : "");
		return STATUS_OK;
	case DAEMON_OPTION_INT:
		return store_int(v, to, err);
	case DAEMON_OPTION_BOOL:
		return store_bool(v, to, err);
	case DAEMON_OPTION_LIST:
		store_list(arena, v, to);
		return STATUS_OK;
	}
	return STATUS_INTERNAL;
}

enum status options_read(const struct option_set *sets, int argc, char **argv,
			 struct arena *arena, enum options_request *ret_request,
			 struct error *err)
{
	struct settings s = {.arena = arena};
	enum options_request request = OPTIONS_RUN;
	const char *file = getenv("COLLECTOR_CONFIG");
	enum status status = STATUS_OK;

	collect(&s, sets);
	for (int i = 1; i < argc && status == STATUS_OK; i++)
		if (!take_special(argv, argc, &i, &request, &file))
			status = take_flag(&s, argv, argc, &i, err);
	if (status == STATUS_OK && request != OPTIONS_HELP && request != OPTIONS_VERSION) {
		if (file && *file)
			status = read_file(&s, file, err);
		read_environment(&s);
		for (size_t i = 0; i < s.count && status == STATUS_OK; i++)
			status = store(arena, &s.rows[i], err);
	}
	if (status == STATUS_OK)
		*ret_request = request;
	return status;
}

/* ---------------------------------------------------------------- printing */

static json_t *value_json(const struct daemon_option *row, const void *config)
{
	const void *from = (const char *)config + row->offset;
	json_t *list;

	switch (row->type) {
	case DAEMON_OPTION_STRING:
		return json_string(*(const char *const *)from);
	case DAEMON_OPTION_INT:
		return json_integer(*(const int64_t *)from);
	case DAEMON_OPTION_BOOL:
		return json_boolean(*(const bool *)from);
	case DAEMON_OPTION_LIST:
		list = json_array();
		for (const char *const *item = *(const char *const *const *)from; *item; item++)
			json_array_append_new(list, json_string(*item));
		return list;
	}
	return json_null();
}

void options_print(const struct option_set *sets, FILE *to)
{
	struct arena arena;
	json_t *all = json_object();

	arena_init(&arena, 0);
	for (; sets->rows; sets++)
		for (const struct daemon_option *row = sets->rows; row->name; row++)
			json_object_set_new(all, respell(&arena, row->name, "", false),
					    value_json(row, sets->config));
	json_dumpf(all, to, JSON_INDENT(2));
	fputc('\n', to);
	json_decref(all);
	arena_release(&arena);
}

void options_print_help(const struct option_set *sets, FILE *to)
{
	static const char *const forms[] = {[DAEMON_OPTION_STRING] = " TEXT",
					    [DAEMON_OPTION_INT] = " N",
					    [DAEMON_OPTION_BOOL] = "",
					    [DAEMON_OPTION_LIST] = " A,B,..."};

	for (; sets->rows; sets++)
		for (const struct daemon_option *row = sets->rows; row->name; row++) {
			char left[64];
			snprintf(left, sizeof(left), "--%s%s", row->name, forms[row->type]);
			fprintf(to, "  %-32s %s", left, row->help);
			if (row->default_value && *row->default_value)
				fprintf(to, " (%s)", row->default_value);
			fputc('\n', to);
		}
	fputs("  --config FILE                    a JSON file of these, with _ for -\n"
	      "  -n                               check the configuration, print it, exit\n"
	      "  --help, --version\n\n"
	      "Each is also read from the environment: --log-level as COLLECTOR_LOG_LEVEL.\n"
	      "Flags win over the environment, that over the file.\n",
	      to);
}
