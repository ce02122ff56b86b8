#include "common/client/collection_records.h"

#include "collector/collection.pb-c.h"
#include "common/rpc/client.h"

static int64_t created_us(const Collector__Metadata *metadata)
{
	const Google__Protobuf__Timestamp *t = metadata ? metadata->created_at : NULL;

	return t ? t->seconds * 1000000 + t->nanos / 1000 : 0;
}

enum status collection_record_unpack(struct bytes data, struct arena *arena,
				     struct collection_record *ret, struct error *err)
{
	const Collector__Collection *c;
	ProtobufCMessage *message;
	enum status status =
		rpc_unpack(&collector__collection__descriptor, data, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	c = (const Collector__Collection *)message;
	*ret = (struct collection_record){
		.ns = c->namespace_,
		.name = c->name,
		.type = c->message_type ? c->message_type->message_name : "",
		.indexed_fields = (const char *const *)c->indexed_fields,
		.indexed_count = c->n_indexed_fields,
		.text_fields = (const char *const *)c->full_text_fields,
		.text_count = c->n_full_text_fields,
		.vector_field = c->vector ? c->vector->field : "",
		.created_us = created_us(c->metadata),
	};
	return STATUS_OK;
}
