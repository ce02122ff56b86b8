/*
 * The expressions in templates of task inputs: "{{input.order.id}}" and
 * "{{tasks.charge.output.receipt}}" in a longer text. "{{{{" is a literal "{{".
 */
#ifndef COMMON_CLIENT_WORKFLOW_EXPRESSION_H
#define COMMON_CLIENT_WORKFLOW_EXPRESSION_H

#include <stdbool.h>

#include "common/base/status.h"

/*
 * The first expression in @text, which reaches from *ret_start to *ret_end:
 * *ret_expression, owned by the caller, is the part between, trimmed. False: there is none.
 */
bool workflow_expression_next(const char *text, const char **ret_start, const char **ret_end,
			      char **ret_expression);

/*
 * *ret_path is where the path begins in "input.x.y" or "tasks.<id>.output.x";
 * *ret_task is owned by the caller, and NULL for the input. INVALID_ARGUMENT: it is neither.
 */
enum status workflow_expression_split(const char *expression, char **ret_task,
				      const char **ret_path, struct error *err) MUST_CHECK;

#endif
