#include "services/console/ctl/arguments.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static const struct flag *find(const struct flag *const *tables, const char *name, size_t len,
			       char letter)
{
	for (; *tables; tables++)
		for (const struct flag *f = *tables; f->name; f++)
			if (letter ? f->letter == letter
				   : strlen(f->name) == len && !memcmp(f->name, name, len))
				return f;
	return NULL;
}

static void add_flag(struct arguments *a, const struct flag *f, const char *value)
{
	a->flags = xreallocarray(a->flags, a->flag_count + 1, sizeof(*a->flags));
	a->flags[a->flag_count++] = (struct given_flag){f, value};
}

/* Takes argv[*at], and argv[*at + 1] when that is its value. */
static bool take_flag(struct arguments *a, int argc, char **argv, int *at,
		      const struct flag *const *tables, char **ret_problem)
{
	const char *word = argv[*at], *value = NULL;
	bool is_long = word[1] == '-';
	const char *name = word + 2;
	size_t len = is_long ? strcspn(name, "=") : 0;
	const struct flag *f = find(tables, name, len, is_long ? '\0' : word[1]);

	if (!f) {
		*ret_problem = xasprintf("unknown flag %s", word);
		return false;
	}
	if (is_long && name[len])
		value = name + len + 1;
	else if (!is_long && word[2])
		value = word + 2 + (word[2] == '=');
	if (!f->value && value) {
		*ret_problem = xasprintf("--%s takes no value", f->name);
		return false;
	}
	if (f->value && !value) {
		if (*at + 1 >= argc) {
			*ret_problem = xasprintf("--%s needs a value: %s", f->name, f->value);
			return false;
		}
		value = argv[++*at];
	}
	add_flag(a, f, value);
	return true;
}

bool arguments_parse(struct arguments *a, int argc, char **argv,
		     const struct flag *const *tables, char **ret_problem)
{
	bool only_words = false;

	*a = (struct arguments){0};
	if (argc > ARGUMENTS_MAX) {
		*ret_problem = xasprintf("more than %d arguments", ARGUMENTS_MAX);
		return false;
	}
	a->positional = xcalloc((size_t)argc + 1, sizeof(*a->positional));
	for (int i = 0; i < argc; i++) {
		if (!only_words && !strcmp(argv[i], "--")) {
			only_words = true;
		} else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
			if (!take_flag(a, argc, argv, &i, tables, ret_problem))
				return false;
		} else {
			a->positional[a->count++] = argv[i];
		}
	}
	return true;
}

void arguments_release(struct arguments *a)
{
	free(a->positional);
	free(a->flags);
	*a = (struct arguments){0};
}

const char *arguments_nth(const struct arguments *a, const char *name, size_t nth)
{
	for (size_t i = 0; i < a->flag_count; i++)
		if (!strcmp(a->flags[i].flag->name, name) && !nth--)
			return a->flags[i].value;
	return NULL;
}

const char *arguments_value(const struct arguments *a, const char *name)
{
	const char *last = NULL;

	for (size_t i = 0; i < a->flag_count; i++)
		if (!strcmp(a->flags[i].flag->name, name))
			last = a->flags[i].value;
	return last;
}

bool arguments_has(const struct arguments *a, const char *name)
{
	for (size_t i = 0; i < a->flag_count; i++)
		if (!strcmp(a->flags[i].flag->name, name))
			return true;
	return false;
}
