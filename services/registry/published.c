#include "services/registry/published.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/base/utf8.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "services/registry/disk.h"
#include "services/registry/registered.h"

enum {
	RECORD_DESCRIPTOR = 4, /* RegisteredProto.file_descriptor */
	FILE_SOURCE_INFO = 9,  /* FileDescriptorProto.source_code_info */
};

const struct published_kind published_kinds[2] = {
	{"registered_protos", "collector.RegisteredProto",
	 (const char *const[]){"namespace", "file_name", NULL}, SNAPSHOT_FILES},
	{"registered_services", "collector.RegisteredService",
	 (const char *const[]){"namespace", "service_name", NULL}, SNAPSHOT_SERVICES},
};

size_t published_count(const struct published_kind *kind, const struct snapshot *s)
{
	return kind->list == SNAPSHOT_FILES ? s->file_count : s->service_count;
}

const char *published_id(const struct published_kind *kind, const struct snapshot *s,
			 const char *ns, size_t i, struct arena *arena)
{
	enum { CHECKSUM_BYTES = 17 };
	const char *id = arena_printf(arena, "%s/%s", ns, snapshot_name(s, kind->list, i));
	const size_t len = strlen(id);
	int kept;

	if (len <= PUBLISHED_ID_MAX_BYTES)
		return id;
	kept = (int)utf8_cut(id, PUBLISHED_ID_MAX_BYTES - CHECKSUM_BYTES);
	return arena_printf(arena, "%.*s~%016" PRIx64, kept, id,
			    disk_checksum(bytes_of(id, len)));
}

static const struct snapshot_file *file_of(const struct published_kind *kind,
					   const struct snapshot *s, size_t i)
{
	return kind->list == SNAPSHOT_FILES ? s->files[i] : s->services[i].file;
}

int64_t published_stamp(const struct published_kind *kind, const struct snapshot *s, size_t i)
{
	return file_of(kind, s, i)->changed_us;
}

static struct bytes without_comments(struct bytes file, struct arena *arena)
{
	uint8_t *out = arena_alloc(arena, file.size + 1);
	struct wire_cursor c = wire_cursor_of(file);
	struct wire_field f;
	size_t n = 0;

	while (wire_next(&c, &f)) {
		if (f.number == FILE_SOURCE_INFO)
			continue;
		memcpy(out + n, f.raw.data, f.raw.size);
		n += f.raw.size;
	}
	return bytes_of(out, n);
}

/* Packing the descriptor anew would lose what this program does not know. */
static struct bytes with_descriptor(struct bytes record, struct bytes file, struct arena *arena)
{
	AUTO_STRBUF out = STRBUF_INIT;

	strbuf_add(&out, record.data, record.size);
	wire_add_bytes(&out, RECORD_DESCRIPTOR, file);
	return bytes_of(arena_memdup(arena, out.buf, out.len), out.len);
}

static struct bytes proto_record(const struct snapshot *s, const char *ns, const char *name,
				 struct arena *arena)
{
	const struct pool_file *f = pool_file(s->pool, name, strlen(name));
	const struct bytes record = rpc_pack(&registered_proto(s, ns, arena, f)->base, arena);
	/* Comments are for people who read the file, and most of its bytes. */
	const struct bytes file = without_comments(f->bytes, arena);

	return file.size > PUBLISHED_FILE_MAX_BYTES ? record
						    : with_descriptor(record, file, arena);
}

struct bytes published_record(const struct published_kind *kind, const struct snapshot *s,
			      const char *ns, size_t i, struct arena *arena)
{
	const char *name = snapshot_name(s, kind->list, i);
	const struct pool_service *service;

	if (kind->list == SNAPSHOT_FILES)
		return proto_record(s, ns, name, arena);
	service = pool_service(s->pool, name, strlen(name));
	return rpc_pack(&registered_service(s, ns, arena, service)->base, arena);
}

int64_t published_stamp_of(struct bytes record)
{
	const Collector__RegisteredService *r; /* `metadata` has one number in both */
	ProtobufCMessage *message;
	struct arena arena;
	struct error ignored; /* then it is written anew */
	int64_t stamp = 0;

	arena_init(&arena, 0);
	if (rpc_unpack(&collector__registered_service__descriptor, record, &arena, &message,
		       &ignored) == STATUS_OK) {
		r = (const Collector__RegisteredService *)message;
		if (r->metadata && r->metadata->updated_at)
			stamp = r->metadata->updated_at->seconds * 1000000 +
				r->metadata->updated_at->nanos / 1000;
	}
	arena_release(&arena);
	return stamp;
}
