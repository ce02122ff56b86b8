/* Modify: from a request to a new definition, and what it takes to get there. */
#include "services/repo/modify_rpc.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"

enum { ATTEMPTS_MAX = 5 };

/* What the request changes, as its update_mask has it. */
enum {
	INDEXED_FIELDS,
	TEXT_FIELDS,
	TEXT_DISABLED,
	LABELS,
	SCHEMA,
	VECTOR,
	QUOTA,
	CHANGE_COUNT
};

static const char *const change_names[CHANGE_COUNT] = {
	[INDEXED_FIELDS] = "indexed_fields",
	[TEXT_FIELDS] = "full_text_fields",
	[TEXT_DISABLED] = "full_text_disabled",
	[LABELS] = "labels",
	[SCHEMA] = "schema",
	[VECTOR] = "vector",
	[QUOTA] = "quota",
};

/* A change in the making. */
struct change {
	struct repo *repo;
	const struct collection *collection;
	const Collector__ModifyRequest *request;
	void *call;
	struct arena *arena;
	bool changes[CHANGE_COUNT];
	Collector__Collection *definition;
	struct type type; /* a new version, a reference; without a pool: none */
	struct store_modify store;
};

static enum status read_mask(struct change *ch, struct error *err)
{
	const Collector__ModifyRequest *r = ch->request;

	for (size_t i = 0; i < r->n_update_mask; i++) {
		int which = 0;

		while (which < CHANGE_COUNT &&
		       strcmp(change_names[which], r->update_mask[i]) != 0)
			which++;
		if (which == CHANGE_COUNT)
			return error_field(err, "update_mask", "there is no \"%s\" to change",
					   r->update_mask[i]);
		ch->changes[which] = true;
	}
	if (r->n_update_mask)
		return STATUS_OK;
	ch->changes[INDEXED_FIELDS] = true;
	ch->changes[TEXT_FIELDS] = r->n_full_text_fields != 0;
	ch->changes[TEXT_DISABLED] = r->full_text_disabled;
	ch->changes[LABELS] = r->n_labels != 0;
	ch->changes[SCHEMA] = r->schema;
	ch->changes[VECTOR] = r->vector;
	ch->changes[QUOTA] = r->quota;
	return STATUS_OK;
}

/* The version that is registered now, unless the collection has it. */
static enum status find_new_version(struct change *ch, struct error *err)
{
	const struct collection *c = ch->collection;
	struct store_definition stored;
	struct type type;
	enum status status;

	if (!ch->changes[SCHEMA])
		return STATUS_OK;
	if (!*c->message_name)
		return error_field(err, "schema", "the collection has no type of its own");
	status = store_load(c->store, ch->arena, &stored, err);
	if (status == STATUS_OK)
		status = types_find(ch->repo->types, c->ns, c->message_name, ch->call,
				    ch->arena, &type, err);
	if (status != STATUS_OK)
		return status;
	if (!type.descriptor_set.size ||
	    bytes_equal(type.descriptor_set, stored.descriptor_set)) {
		pool_unref(type.pool);
		return STATUS_OK;
	}
	ch->type = type;
	ch->store.message_name = c->message_name;
	ch->store.descriptor_set = type.descriptor_set;
	ch->store.schema_version = ch->definition->schema_version = c->schema_version + 1;
	return STATUS_OK;
}

static void set_labels(struct change *ch)
{
	const Collector__ModifyRequest *r = ch->request;
	Collector__Metadata *metadata = ch->definition->metadata;

	metadata->n_labels = r->n_labels;
	metadata->labels = arena_alloc(ch->arena, (r->n_labels + 1) * sizeof(void *));
	for (size_t i = 0; i < r->n_labels; i++) {
		Collector__Metadata__LabelsEntry *entry =
			arena_alloc(ch->arena, sizeof(*entry));

		collector__metadata__labels_entry__init(entry);
		entry->key = r->labels[i]->key;
		entry->value = r->labels[i]->value;
		metadata->labels[i] = entry;
	}
}

/* What searches go by until others are collected. */
static void keep_vectors(struct change *ch)
{
	const Collector__VectorIndex *before = ch->definition->vector;
	AUTO_STRBUF numbers = STRBUF_INIT;

	vector_field_write(&ch->collection->vector, &numbers);
	ch->store.old_vector_field = before ? before->field : "";
	ch->store.old_vector_numbers = arena_strdup(ch->arena, strbuf_str(&numbers));
}

static bool is_same_vector(const Collector__VectorIndex *a, const Collector__VectorIndex *b)
{
	if (!a || !b)
		return a == b;
	return !strcmp(a->field, b->field) && a->dimensions == b->dimensions &&
	       a->metric == b->metric;
}

/* What the request says into the definition. */
static enum status change_definition(struct change *ch, struct error *err)
{
	const Collector__ModifyRequest *r = ch->request;
	Collector__Collection *d = ch->definition;

	if (r->n_indexed_fields > MAX_INDEXED_FIELDS)
		return error_field(err, "indexed_fields", "more than %d", MAX_INDEXED_FIELDS);
	if (r->n_full_text_fields > MAX_TEXT_FIELDS)
		return error_field(err, "full_text_fields", "more than %d", MAX_TEXT_FIELDS);
	if (r->n_labels > MAX_COLLECTION_LABELS)
		return error_field(err, "labels", "more than %d", MAX_COLLECTION_LABELS);
	if (ch->changes[INDEXED_FIELDS]) {
		d->indexed_fields = r->indexed_fields;
		d->n_indexed_fields = r->n_indexed_fields;
	}
	if (ch->changes[TEXT_FIELDS]) {
		d->full_text_fields = r->full_text_fields;
		d->n_full_text_fields = r->n_full_text_fields;
	}
	if (ch->changes[TEXT_DISABLED])
		d->full_text_disabled = r->full_text_disabled;
	if (ch->changes[LABELS])
		set_labels(ch);
	if (ch->changes[QUOTA])
		d->quota = r->quota;
	ch->store.sets_quota = ch->changes[QUOTA];
	ch->store.sets_vector = ch->changes[VECTOR] && !is_same_vector(d->vector, r->vector);
	keep_vectors(ch);
	if (ch->changes[VECTOR])
		d->vector = r->vector;
	d->metadata->updated_at = timestamp_of(ch->arena, clock_unix_us());
	return STATUS_OK;
}

/* All paths, also those that stay, must be of the type that the collection will have. */
static enum status resolve(struct change *ch, struct error *err)
{
	const struct type *type = ch->type.pool ? &ch->type : &ch->collection->type;
	const Collector__Collection *d = ch->definition;
	struct store_modify *m = &ch->store;
	enum status status = resolve_paths(type, d->indexed_fields, d->n_indexed_fields, false,
					   "indexed_fields", ch->arena, &m->indexed, err);

	m->indexed_count = d->n_indexed_fields;
	m->sets_indexed = ch->changes[INDEXED_FIELDS];
	if (status == STATUS_OK)
		status = take_vector(d->vector, type, "vector", &m->vectors, err);
	if (status == STATUS_OK)
		status = take_quota(d->quota, "quota", &m->quota, err);
	if (status == STATUS_OK)
		status = resolve_paths(type, d->full_text_fields, d->n_full_text_fields, true,
				       "full_text_fields", ch->arena, &m->text, err);
	m->text_count = d->n_full_text_fields;
	m->has_text = !d->full_text_disabled;
	m->sets_text = (ch->changes[TEXT_FIELDS] && m->has_text) || ch->changes[TEXT_DISABLED];
	return status;
}

static enum status prepare(struct change *ch, struct error *err)
{
	enum status status = read_mask(ch, err);

	if (status == STATUS_OK)
		status = definition_of(ch->repo, ch->collection->definition, ch->arena,
				       &ch->definition, err);
	if (status == STATUS_OK)
		status = find_new_version(ch, err);
	if (status == STATUS_OK)
		status = change_definition(ch, err);
	if (status == STATUS_OK)
		status = resolve(ch, err);
	if (status != STATUS_OK)
		return status;
	ch->definition->server_endpoint = (char *)"";
	ch->definition->building = false;
	ch->store.definition = rpc_pack(&ch->definition->base, ch->arena);
	ch->definition->building = true;
	ch->store.building_definition = rpc_pack(&ch->definition->base, ch->arena);
	return STATUS_OK;
}

static enum status modify(struct change *ch, struct error *err)
{
	const struct collection *c = ch->collection;
	enum status status;

	if (!strcmp(c->ns, CATALOG_NAMESPACE) && !strcmp(c->name, CATALOG_COLLECTION))
		return error_set(err, STATUS_PERMISSION_DENIED,
				 "the catalogue itself cannot be changed");
	status = prepare(ch, err);
	if (status == STATUS_OK)
		status = catalog_modify(ch->repo->catalog, c, &ch->store, clock_unix_us(), err);
	if (status == STATUS_OK)
		status = definition_of(ch->repo,
				       ch->store.is_building ? ch->store.building_definition
							     : ch->store.definition,
				       ch->arena, &ch->definition, err);
	return status;
}

static enum status modify_once(struct change *ch, struct error *err)
{
	struct collection *c;
	enum status status = repo_acquire(ch->repo, ch->call, ch->request->namespace_,
					  ch->request->collection_name, ACCESS_WRITE, &c, err);

	if (status != STATUS_OK)
		return status;
	ch->collection = c;
	status = modify(ch, err);
	pool_unref(ch->type.pool);
	catalog_release(ch->repo->catalog, c);
	return status;
}

void repo_modify(Collector__CollectionService_Service *service,
		 const Collector__ModifyRequest *request,
		 Collector__ModifyResponse_Closure reply, void *call)
{
	Collector__ModifyResponse response = COLLECTOR__MODIFY_RESPONSE__INIT;
	struct change ch;
	struct error err = {0};
	enum status status = STATUS_ABORTED;

	/* Another change may come between: this one is of what there is then. */
	for (int i = 0; status == STATUS_ABORTED && i < ATTEMPTS_MAX; i++) {
		ch = (struct change){.repo = repo_of_records(service),
				     .request = request,
				     .call = call,
				     .arena = rpc_arena(call)};
		status = modify_once(&ch, &err);
	}
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	response.status = status_ok(ch.arena);
	response.collection = ch.definition;
	reply(&response, call);
}
