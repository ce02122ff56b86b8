#include "common/client/workflow_records.h"

#include <limits.h>
#include <string.h>

#include "collector/worker.pb-c.h"
#include "common/rpc/client.h"
#include "common/rpc/status_code.h"

enum { DEFAULT_DELAY_MS = 1000, DEFAULT_MAX_DELAY_MS = 60000 };

static Google__Protobuf__Timestamp *stamp(struct arena *arena, uint64_t unix_us)
{
	Google__Protobuf__Timestamp *t;

	if (!unix_us)
		return NULL;
	t = arena_alloc(arena, sizeof(*t));
	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(unix_us / 1000000);
	t->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return t;
}

static uint64_t unix_us_of(const Google__Protobuf__Timestamp *t)
{
	return t ? (uint64_t)t->seconds * 1000000 + (uint64_t)t->nanos / 1000 : 0;
}

static Google__Protobuf__Any *any_of(struct arena *arena, const struct typed_message *m)
{
	Google__Protobuf__Any *any;

	if (!m->type)
		return NULL;
	any = arena_alloc(arena, sizeof(*any));
	google__protobuf__any__init(any);
	any->type_url = arena_printf(arena, "type.googleapis.com/%s", m->type);
	any->value.data = (uint8_t *)m->value.data;
	any->value.len = m->value.size;
	return any;
}

static struct typed_message message_of(const Google__Protobuf__Any *any)
{
	const char *slash = any ? strrchr(any->type_url, '/') : NULL;

	return slash ? (struct typed_message){slash + 1,
					      bytes_of(any->value.data, any->value.len)}
		     : (struct typed_message){NULL, bytes_of(NULL, 0)};
}

static Collector__Status *status_of(struct arena *arena, enum status status,
				    const char *message)
{
	Collector__Status *s;

	if (status == STATUS_OK)
		return NULL;
	s = arena_alloc(arena, sizeof(*s));
	collector__status__init(s);
	s->code = (Collector__Status__Code)status_to_collector_code(status);
	s->message = (char *)message;
	return s;
}

static enum status code_of(const Collector__Status *s)
{
	return s ? status_from_collector_code((int)s->code) : STATUS_OK;
}

static const char *text_of(const Collector__Status *s)
{
	return s ? s->message : "";
}

/* -------------------------------------------------------------- definitions */

/* Past what milliseconds can hold: negative, which definitions may not be. */
static int milliseconds(int32_t seconds)
{
	return seconds > INT_MAX / 1000 ? -1 : seconds < 0 ? -1 : seconds * 1000;
}

static struct workflow_retry retry_of(const Collector__RetryPolicy *p)
{
	struct workflow_retry r = {1, DEFAULT_DELAY_MS, DEFAULT_MAX_DELAY_MS, 2};

	if (!p)
		return r;
	r.max_attempts = p->max_attempts ? p->max_attempts : 1;
	if (p->initial_delay_seconds)
		r.initial_delay_ms = milliseconds(p->initial_delay_seconds);
	if (p->max_delay_seconds)
		r.max_delay_ms = milliseconds(p->max_delay_seconds);
	if (p->backoff_multiplier != 0)
		r.multiplier = p->backoff_multiplier;
	return r;
}

static const char *type_ref(const Collector__MessageTypeRef *ref)
{
	return ref ? ref->message_name : "";
}

static void take_task(const Collector__Task *t, struct arena *arena, struct workflow_task *ret)
{
	*ret = (struct workflow_task){
		.id = t->id,
		.service = t->service ? t->service->service_name : "",
		.service_ns = t->service ? t->service->namespace_ : "",
		.method = t->method_name,
		.input_type = type_ref(t->input_type),
		.output_type = type_ref(t->output_type),
		.continuation_id = t->continuation_id,
		.has_template = t->input_config != NULL,
		.dependencies = (const char *const *)t->dependencies,
		.dependency_count = t->n_dependencies,
		.retry = retry_of(t->retry_policy),
	};
	if (t->input_config)
		ret->template_struct = rpc_pack(&t->input_config->base, arena);
}

enum status workflow_definition_unpack(struct bytes data, struct arena *arena,
				       struct workflow_definition *ret, struct error *err)
{
	const Collector__WorkflowDefinition *d;
	ProtobufCMessage *message;
	enum status status = rpc_unpack(&collector__workflow_definition__descriptor, data,
					arena, &message, err);

	if (status != STATUS_OK)
		return status;
	d = (const Collector__WorkflowDefinition *)message;
	*ret = (struct workflow_definition){
		.id = d->id,
		.ns = d->namespace_,
		.name = d->name,
		.input_type = type_ref(d->input_type),
		.output_type = type_ref(d->output_type),
		.version = d->version,
		.tasks = arena_alloc(arena, (d->n_tasks + 1) * sizeof(*ret->tasks)),
		.task_count = d->n_tasks,
	};
	for (size_t i = 0; i < d->n_tasks; i++)
		take_task(d->tasks[i], arena, &ret->tasks[i]);
	return STATUS_OK;
}

/* --------------------------------------------------------------------- runs */

static void put_tasks(const struct workflow_run *run, struct arena *arena,
		      Collector__ActiveWorkflow *m)
{
	m->task_executions =
		arena_alloc(arena, (run->task_count + 1) * sizeof(*m->task_executions));
	m->task_outputs = arena_alloc(arena, (run->task_count + 1) * sizeof(*m->task_outputs));
	for (size_t i = 0; i < run->task_count; i++) {
		const struct workflow_task_state *t = &run->tasks[i];
		Collector__ActiveWorkflow__TaskExecutionsEntry *entry =
			arena_alloc(arena, sizeof(*entry));
		Collector__TaskExecution *x = arena_alloc(arena, sizeof(*x));
		collector__active_workflow__task_executions_entry__init(entry);
		collector__task_execution__init(x);
		x->task_id = (char *)t->task_id;
		x->execution_id = (char *)t->execution_id;
		x->state = (Collector__ExecutionState)t->state;
		x->attempt_number = t->attempt;
		x->error = status_of(arena, t->error_status, t->error_message);
		entry->key = (char *)t->task_id;
		entry->value = x;
		m->task_executions[m->n_task_executions++] = entry;
		if (t->output.type) {
			Collector__ActiveWorkflow__TaskOutputsEntry *output =
				arena_alloc(arena, sizeof(*output));
			collector__active_workflow__task_outputs_entry__init(output);
			output->key = (char *)t->task_id;
			output->value = any_of(arena, &t->output);
			m->task_outputs[m->n_task_outputs++] = output;
		}
	}
}

static Collector__Metadata *metadata_of(const struct workflow_run *run, struct arena *arena)
{
	Collector__Metadata *m = arena_alloc(arena, sizeof(*m));

	collector__metadata__init(m);
	m->created_at = stamp(arena, run->created_us);
	m->labels = arena_alloc(arena, (run->label_count + 1) * sizeof(*m->labels));
	for (size_t i = 0; i < run->label_count; i++) {
		Collector__Metadata__LabelsEntry *entry = arena_alloc(arena, sizeof(*entry));
		collector__metadata__labels_entry__init(entry);
		entry->key = (char *)run->labels[i].key;
		entry->value = (char *)run->labels[i].value;
		m->labels[m->n_labels++] = entry;
	}
	return m;
}

struct bytes workflow_run_pack(const struct workflow_run *run, struct arena *arena)
{
	Collector__ActiveWorkflow m = COLLECTOR__ACTIVE_WORKFLOW__INIT;

	m.id = (char *)run->id;
	m.workflow_definition_id = (char *)run->definition_id;
	m.namespace_ = (char *)run->ns;
	m.definition_version = run->version;
	m.state = (Collector__WorkflowState)run->state;
	m.input = any_of(arena, &run->input);
	m.current_output = any_of(arena, &run->current_output);
	m.error = status_of(arena, run->error_status, run->error_message);
	m.metadata = metadata_of(run, arena);
	m.started_at = stamp(arena, run->started_us);
	m.finished_at = stamp(arena, run->finished_us);
	put_tasks(run, arena, &m);
	return rpc_pack(&m.base, arena);
}

static void take_output(struct workflow_run *run,
			const Collector__ActiveWorkflow__TaskOutputsEntry *entry)
{
	for (size_t i = 0; i < run->task_count; i++)
		if (!strcmp(run->tasks[i].task_id, entry->key))
			run->tasks[i].output = message_of(entry->value);
}

static void take_tasks(const Collector__ActiveWorkflow *m, struct arena *arena,
		       struct workflow_run *ret)
{
	ret->tasks = arena_alloc(arena, (m->n_task_executions + 1) * sizeof(*ret->tasks));
	for (size_t i = 0; i < m->n_task_executions; i++) {
		const Collector__TaskExecution *x = m->task_executions[i]->value;
		if (!x)
			continue;
		ret->tasks[ret->task_count++] = (struct workflow_task_state){
			.task_id = m->task_executions[i]->key,
			.state = (enum execution_state)x->state,
			.attempt = x->attempt_number,
			.execution_id = x->execution_id,
			.error_status = code_of(x->error),
			.error_message = text_of(x->error),
		};
	}
	for (size_t i = 0; i < m->n_task_outputs; i++)
		take_output(ret, m->task_outputs[i]);
}

static void take_labels(const Collector__Metadata *m, struct arena *arena,
			struct workflow_run *ret)
{
	struct workflow_label *labels;

	if (!m)
		return;
	labels = arena_alloc(arena, (m->n_labels + 1) * sizeof(*labels));
	for (size_t i = 0; i < m->n_labels; i++)
		labels[i] = (struct workflow_label){m->labels[i]->key, m->labels[i]->value};
	ret->labels = labels;
	ret->label_count = m->n_labels;
	ret->created_us = unix_us_of(m->created_at);
}

enum status workflow_run_unpack(struct bytes data, struct arena *arena,
				struct workflow_run *ret, struct error *err)
{
	const Collector__ActiveWorkflow *m;
	ProtobufCMessage *message;
	enum status status =
		rpc_unpack(&collector__active_workflow__descriptor, data, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	m = (const Collector__ActiveWorkflow *)message;
	*ret = (struct workflow_run){
		.id = m->id,
		.ns = m->namespace_,
		.definition_id = m->workflow_definition_id,
		.version = m->definition_version,
		.state = (enum workflow_state)m->state,
		.input = message_of(m->input),
		.current_output = message_of(m->current_output),
		.error_status = code_of(m->error),
		.error_message = text_of(m->error),
		.started_us = unix_us_of(m->started_at),
		.finished_us = unix_us_of(m->finished_at),
	};
	take_tasks(m, arena, ret);
	take_labels(m->metadata, arena, ret);
	return STATUS_OK;
}

/* --------------------------------------------------------------- executions */

struct bytes workflow_execution_pack(const struct workflow_execution *x, struct arena *arena)
{
	Collector__Execution m = COLLECTOR__EXECUTION__INIT;
	Collector__ServiceTypeRef service = COLLECTOR__SERVICE_TYPE_REF__INIT;
	Collector__Metadata metadata = COLLECTOR__METADATA__INIT;

	service.service_name = (char *)x->service;
	metadata.created_at = stamp(arena, x->finished_us);
	m.id = (char *)x->id;
	m.workflow_id = (char *)x->workflow_id;
	m.task_id = (char *)x->task_id;
	m.namespace_ = (char *)x->ns;
	m.service = &service;
	m.method_name = (char *)x->method;
	m.input = any_of(arena, &x->input);
	m.output = any_of(arena, &x->output);
	m.state = (Collector__ExecutionState)x->state;
	m.error = status_of(arena, x->error_status, x->error_message);
	m.attempt_number = x->attempt;
	m.executor_id = (char *)x->executor_id;
	m.metadata = &metadata;
	m.started_at = stamp(arena, x->started_us);
	m.finished_at = stamp(arena, x->finished_us);
	return rpc_pack(&m.base, arena);
}

enum status workflow_execution_unpack(struct bytes data, struct arena *arena,
				      struct workflow_execution *ret, struct error *err)
{
	const Collector__Execution *m;
	ProtobufCMessage *message;
	enum status status =
		rpc_unpack(&collector__execution__descriptor, data, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	m = (const Collector__Execution *)message;
	*ret = (struct workflow_execution){
		.id = m->id,
		.workflow_id = m->workflow_id,
		.task_id = m->task_id,
		.ns = m->namespace_,
		.service = m->service ? m->service->service_name : "",
		.method = m->method_name,
		.input = message_of(m->input),
		.output = message_of(m->output),
		.state = (enum execution_state)m->state,
		.error_status = code_of(m->error),
		.error_message = text_of(m->error),
		.executor_id = m->executor_id,
		.attempt = m->attempt_number,
		.started_us = unix_us_of(m->started_at),
		.finished_us = unix_us_of(m->finished_at),
	};
	return STATUS_OK;
}
