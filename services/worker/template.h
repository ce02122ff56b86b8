/*
 * Templates of task inputs: JSON in which "{{input.order.id}}" stands for a
 * value of the workflow's input and "{{tasks.charge.output.receipt}}" for one of
 * a task's output. A text that is one such expression becomes the value itself,
 * of whatever type; in a longer text it becomes text. List elements are reached
 * as items[0] or items.0. "{{{{" is a literal "{{".
 */
#ifndef SERVICES_WORKER_TEMPLATE_H
#define SERVICES_WORKER_TEMPLATE_H

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/client/workflow_records.h"

struct pool;
struct pool_message;

enum { TEMPLATE_MAX_BYTES = 1 << 20, TEMPLATE_MAX_DEPTH = 64 };

/* What expressions refer to. */
struct template_scope {
	const struct pool *pool;
	struct typed_message input;              /* type NULL: there is none */
	const struct workflow_task_state *tasks; /* with their outputs */
	size_t task_count;
};

/*
 * Fill in @structure (a serialized google.protobuf.Struct) and append the result,
 * read as @type, to @out. INVALID_ARGUMENT: a reference leads nowhere, or the
 * result is not a @type; the message names the expression.
 */
enum status template_fill(const struct template_scope *scope, struct bytes structure,
			  const struct pool_message *type, struct strbuf *out,
			  struct error *err) MUST_CHECK;

/* What a definition knows of a reference: the types, where they are known. */
struct template_types {
	const struct pool *pool;
	const struct pool_message *input; /* NULL: any */
	/* The output of task @id; false: not a task that comes before this one.
	 * *ret_type may be NULL: not known. */
	bool (*task_output)(void *arg, const char *id, const struct pool_message **ret_type);
	void *arg;
};

/*
 * Check without values that @structure has only fields of @target, and every
 * expression in it. INVALID_ARGUMENT as above.
 */
enum status template_check(const struct template_types *types, struct bytes structure,
			   const struct pool_message *target, struct error *err) MUST_CHECK;

#endif
