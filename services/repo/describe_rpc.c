/* Describe: what a collection is, how much it holds, what is being built. */
#include "services/repo/read_rpc.h"

#include "common/rpc/call.h"

/* ------------------------------------------------------------ indexes, versions, builds */

static Collector__IndexInfo *index_info(struct arena *arena, const char *field, bool is_ready)
{
	Collector__IndexInfo *index = arena_alloc(arena, sizeof(*index));

	collector__index_info__init(index);
	index->field = (char *)field;
	index->state = is_ready ? COLLECTOR__INDEX_STATE__INDEX_READY
				: COLLECTOR__INDEX_STATE__INDEX_BUILDING;
	return index;
}

static enum status describe_indexes(const struct collection *c,
				    Collector__DescribeResponse *response, struct arena *arena,
				    struct error *err)
{
	const Collector__Collection *d = response->collection_definition;
	const struct search_path *const *paths;
	enum status status = resolve_paths(&c->type, d->indexed_fields, d->n_indexed_fields,
					   false, "indexed_fields", arena, &paths, err);

	if (status != STATUS_OK)
		return status;
	response->n_indexes = d->n_indexed_fields;
	response->indexes = arena_alloc(arena, (response->n_indexes + 1) * sizeof(void *));
	for (size_t i = 0; i < response->n_indexes; i++)
		response->indexes[i] = index_info(arena, d->indexed_fields[i],
						  store_has_index(c->store, paths[i]));
	if (!d->full_text_disabled)
		response->full_text = index_info(arena, "", c->has_text);
	return STATUS_OK;
}

static void describe_build(const struct store_build_state *state, const char *problem,
			   Collector__DescribeResponse *response, struct arena *arena)
{
	Collector__BuildInfo *build = arena_alloc(arena, sizeof(*build));

	collector__build_info__init(build);
	build->step = (char *)state->step;
	build->records_done = state->done;
	build->records_total = state->total;
	build->problem = (char *)problem;
	response->build = build;
}

static void add_vectors(Collector__DescribeResponse *response, const char *field,
			const struct store_vectors *vectors, int64_t count, bool is_ready,
			struct arena *arena)
{
	Collector__VectorInfo *info = arena_alloc(arena, sizeof(*info));
	Collector__VectorIndex *index = arena_alloc(arena, sizeof(*index));

	if (!vectors->dimensions)
		return;
	collector__vector_index__init(index);
	index->field = (char *)field;
	index->dimensions = (int32_t)vectors->dimensions;
	index->metric = (Collector__VectorMetric)vectors->metric;
	collector__vector_info__init(info);
	info->index = index;
	info->vector_count = count;
	info->state = is_ready ? COLLECTOR__INDEX_STATE__INDEX_READY
			       : COLLECTOR__INDEX_STATE__INDEX_BUILDING;
	response->vectors[response->n_vectors++] = info;
}

static void describe_vectors(const struct store_vector_state *state,
			     Collector__DescribeResponse *response, struct arena *arena)
{
	const Collector__VectorIndex *last = response->collection_definition->vector;
	const char *field = last ? last->field : "";

	response->vectors = arena_alloc(arena, 2 * sizeof(void *));
	add_vectors(response, state->has_next ? state->now_field : field, &state->now,
		    state->now_count, true, arena);
	if (state->has_next)
		add_vectors(response, field, &state->next, state->next_count, false, arena);
}

static void describe_versions(const struct store_version *versions, size_t count,
			      Collector__DescribeResponse *response, struct arena *arena)
{
	response->schema_versions = arena_alloc(arena, (count + 1) * sizeof(void *));
	for (size_t i = 0; i < count; i++) {
		Collector__SchemaVersionInfo *v = arena_alloc(arena, sizeof(*v));

		collector__schema_version_info__init(v);
		v->version = versions[i].version;
		v->message_name = (char *)versions[i].message_name;
		v->created_at = timestamp_of(arena, versions[i].created_us);
		response->schema_versions[response->n_schema_versions++] = v;
	}
}

static enum status describe_shape(struct repo *repo, const struct collection *c,
				  Collector__DescribeResponse *response, struct arena *arena,
				  struct error *err)
{
	struct store_build_state state = {.is_building = false};
	struct store_vector_state vectors = {.has_next = false};
	struct store_version *versions = NULL;
	struct store_reader *reader;
	size_t count = 0;
	enum status status = store_take_reader(c->store, &reader, err);

	if (status != STATUS_OK)
		return status;
	status = store_build_state(reader, &state, err);
	if (status == STATUS_OK)
		status = store_vector_state(reader, arena, &vectors, err);
	if (status == STATUS_OK)
		status = store_versions(reader, arena, &versions, &count, err);
	store_give_reader(c->store, reader);
	if (status != STATUS_OK)
		return status;
	describe_vectors(&vectors, response, arena);
	describe_versions(versions, count, response, arena);
	if (state.is_building)
		describe_build(&state, catalog_build_problem(repo->catalog, c, arena), response,
			       arena);
	return STATUS_OK;
}

/* ------------------------------------------------------------ Describe */

static enum status describe(struct repo *repo, const struct collection *c,
			    Collector__DescribeResponse *response, struct arena *arena,
			    struct error *err)
{
	struct store_sizes sizes;
	enum status status = store_measure(c->store, &sizes, err);

	if (status == STATUS_OK)
		status = definition_of(repo, c->definition, arena,
				       &response->collection_definition, err);
	if (status != STATUS_OK)
		return status;
	response->status = status_ok(arena);
	response->record_count = sizes.record_count;
	response->database_bytes = sizes.database_bytes;
	response->wal_bytes = sizes.wal_bytes;
	response->record_bytes = sizes.record_bytes;
	response->file_count = sizes.file_count;
	response->file_bytes = sizes.file_bytes;
	response->vector_count = sizes.vector_count;
	response->storage_size_bytes =
		sizes.database_bytes + sizes.wal_bytes + sizes.file_bytes;
	response->schema_version_count = sizes.schema_versions;
	response->last_sequence = sizes.last_sequence;
	response->forgotten_sequence = sizes.forgotten_sequence;
	response->lease_count = sizes.lease_count;
	status = describe_indexes(c, response, arena, err);
	return status == STATUS_OK ? describe_shape(repo, c, response, arena, err) : status;
}

void repo_describe(Collector__CollectionService_Service *service,
		   const Collector__DescribeRequest *request,
		   Collector__DescribeResponse_Closure reply, void *call)
{
	Collector__DescribeResponse response = COLLECTOR__DESCRIBE_RESPONSE__INIT;
	struct repo *repo = repo_of_records(service);
	struct collection *c;
	struct error err = {0};
	enum status status = repo_acquire(repo, call, request->namespace_,
					  request->collection_name, ACCESS_READ, &c, &err);

	if (status == STATUS_OK) {
		status = describe(repo, c, &response, rpc_arena(call), &err);
		if (status == STATUS_OK)
			reply(&response, call);
		catalog_release(repo->catalog, c);
	}
	if (status != STATUS_OK)
		rpc_fail_error(call, &err);
}
