/*
 * What the worker keeps in the system collections, as plain structs and as the
 * bytes of collector.WorkflowDefinition, ActiveWorkflow and Execution. Texts and
 * lists that come out of bytes are in the arena.
 */
#ifndef COMMON_CLIENT_WORKFLOW_RECORDS_H
#define COMMON_CLIENT_WORKFLOW_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

#define WORKFLOW_DEFINITIONS_COLLECTION "workflow_definitions"
#define WORKFLOW_DEFINITION_TYPE        "collector.WorkflowDefinition"
#define ACTIVE_WORKFLOWS_COLLECTION     "active_workflows"
#define ACTIVE_WORKFLOW_TYPE            "collector.ActiveWorkflow"
#define EXECUTIONS_COLLECTION           "executions"
#define EXECUTION_TYPE                  "collector.Execution"

/* As collector.WorkflowState and collector.ExecutionState number them. */
enum workflow_state {
	WORKFLOW_PENDING = 0,
	WORKFLOW_RUNNING = 1,
	WORKFLOW_SUCCEEDED = 2,
	WORKFLOW_FAILED = 3,
	WORKFLOW_CANCELLED = 4,
	WORKFLOW_PAUSED = 5,
};
enum execution_state {
	EXECUTION_PENDING = 0,
	EXECUTION_RUNNING = 1,
	EXECUTION_SUCCEEDED = 2,
	EXECUTION_FAILED = 3,
	EXECUTION_CANCELLED = 4,
	EXECUTION_RETRYING = 5,
};

/* A message with its full name; type NULL: none. */
struct typed_message {
	const char *type;
	struct bytes value;
};

struct workflow_retry {
	int max_attempts; /* at least 1 in a definition that was checked */
	int initial_delay_ms, max_delay_ms;
	double multiplier;
};

struct workflow_task {
	const char *id, *service, *method;
	const char *service_ns;  /* "": the workflow's */
	const char *input_type;  /* "": as registered */
	const char *output_type; /* "": as registered */
	const char *continuation_id;
	bool has_template;
	struct bytes template_struct; /* a google.protobuf.Struct */
	const char *const *dependencies;
	size_t dependency_count;
	struct workflow_retry retry;
};

struct workflow_definition {
	const char *id, *ns, *name;
	const char *input_type, *output_type; /* "": any */
	int64_t version;
	struct workflow_task *tasks;
	size_t task_count;
};

/* INVALID_ARGUMENT: not a WorkflowDefinition. */
enum status workflow_definition_unpack(struct bytes data, struct arena *arena,
				       struct workflow_definition *ret,
				       struct error *err) MUST_CHECK;

struct workflow_task_state {
	const char *task_id;
	enum execution_state state;
	int attempt; /* the newest with a result; 0: none */
	const char *execution_id;
	enum status error_status;
	const char *error_message; /* "" */
	struct typed_message output;
};

struct workflow_label {
	const char *key, *value;
};

struct workflow_run {
	const char *id, *ns, *definition_id;
	int64_t version;
	enum workflow_state state;
	struct typed_message input, current_output;
	struct workflow_task_state *tasks;
	size_t task_count;
	enum status error_status;
	const char *error_message;
	const struct workflow_label *labels;
	size_t label_count;
	uint64_t created_us, started_us, finished_us; /* 0: not yet */
};

struct bytes workflow_run_pack(const struct workflow_run *run, struct arena *arena);
enum status workflow_run_unpack(struct bytes data, struct arena *arena,
				struct workflow_run *ret, struct error *err) MUST_CHECK;

struct workflow_execution {
	const char *id, *workflow_id, *task_id, *ns, *service, *method;
	struct typed_message input, output;
	enum execution_state state;
	enum status error_status;
	const char *error_message, *executor_id;
	int attempt;
	uint64_t started_us, finished_us;
};

struct bytes workflow_execution_pack(const struct workflow_execution *x, struct arena *arena);
enum status workflow_execution_unpack(struct bytes data, struct arena *arena,
				      struct workflow_execution *ret,
				      struct error *err) MUST_CHECK;

#endif
