#include "common/client/workflow_expression.h"

#include <string.h>

#include "common/base/alloc.h"

bool workflow_expression_next(const char *text, const char **ret_start, const char **ret_end,
			      char **ret_expression)
{
	const char *open = strstr(text, "{{"), *close = open ? strstr(open, "}}") : NULL;

	while (open && !strncmp(open, "{{{{", 4)) {
		open = strstr(open + 4, "{{");
		close = open ? strstr(open, "}}") : NULL;
	}
	if (!open || !close)
		return false;
	*ret_start = open;
	*ret_end = close + 2;
	open += 2;
	while (open < close && *open == ' ')
		open++;
	while (close > open && close[-1] == ' ')
		close--;
	*ret_expression = xstrndup(open, (size_t)(close - open));
	return true;
}

enum status workflow_expression_split(const char *expression, char **ret_task,
				      const char **ret_path, struct error *err)
{
	const char *rest = expression;
	size_t len;

	*ret_task = NULL;
	if (!strncmp(rest, "input", 5) && (!rest[5] || rest[5] == '.' || rest[5] == '[')) {
		*ret_path = rest + 5 + (rest[5] == '.');
		return STATUS_OK;
	}
	if (!strncmp(rest, "tasks.", 6)) {
		rest += 6;
		len = strcspn(rest, ".");
		if (len && !strncmp(rest + len, ".output", 7) &&
		    (!rest[len + 7] || rest[len + 7] == '.' || rest[len + 7] == '[')) {
			*ret_task = xstrndup(rest, len);
			*ret_path = rest + len + 7 + (rest[len + 7] == '.');
			return STATUS_OK;
		}
	}
	return error_set(err, STATUS_INVALID_ARGUMENT,
			 "{{%s}}: an expression begins with input or tasks.<id>.output",
			 expression);
}
