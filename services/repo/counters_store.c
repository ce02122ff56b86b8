/* The numbers in `meta` that every group updates, and the limits of some of them. */
#include <sqlite3.h>
#include <stddef.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"

static const struct {
	const char *key;
	size_t offset;
} counters[] = {
	{"record_count", offsetof(struct store_counters, records)},
	{"next_revision", offsetof(struct store_counters, next_revision)},
	{"next_token", offsetof(struct store_counters, next_token)},
	{"forgotten", offsetof(struct store_counters, forgotten)},
	{"deleted_bytes", offsetof(struct store_counters, deleted_bytes)},
	{"record_bytes", offsetof(struct store_counters, record_bytes)},
	{"file_count", offsetof(struct store_counters, files)},
	{"file_bytes", offsetof(struct store_counters, file_bytes)},
	{"vector_count", offsetof(struct store_counters, vectors)},
	{"next_vector_count", offsetof(struct store_counters, next_vectors)},
	{"vector_version", offsetof(struct store_counters, vector_version)},
};
enum { COUNTER_COUNT = sizeof(counters) / sizeof(counters[0]) };

static int64_t value_of(const struct store_counters *all, size_t i)
{
	return *(const int64_t *)(const void *)((const char *)all + counters[i].offset);
}

enum status read_counter(struct database *db, const char *key, int64_t *ret, struct error *err)
{
	AUTO_FREE char *sql = xasprintf("SELECT value FROM meta WHERE key = '%s'", key);

	return read_number(db, sql, ret, err);
}

enum status counters_read(struct store *s, struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < COUNTER_COUNT; i++)
		status = read_counter(
			s->writer, counters[i].key,
			(int64_t *)(void *)((char *)&s->counters + counters[i].offset), err);
	s->committed = s->counters;
	return status;
}

enum status counters_save(struct store *s, struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < COUNTER_COUNT; i++)
		if (value_of(&s->counters, i) != value_of(&s->committed, i))
			status = set_number(s, counters[i].key, value_of(&s->counters, i), err);
	return status;
}

enum status quota_check(const struct store *s, const struct store_counters *before,
			struct error *err)
{
	const struct store_counters *now = &s->counters;
	const struct {
		const char *what;
		int64_t limit, value, was;
	} all[] = {
		{"records", s->quota.records, now->records, before->records},
		{"bytes of records", s->quota.record_bytes, now->record_bytes,
		 before->record_bytes},
		{"files", s->quota.files, now->files, before->files},
		{"bytes of files", s->quota.file_bytes, now->file_bytes, before->file_bytes},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].limit && all[i].value > all[i].limit && all[i].value > all[i].was)
			return error_set(err, STATUS_RESOURCE_EXHAUSTED,
					 "the collection's quota is %lld %s",
					 (long long)all[i].limit, all[i].what);
	return STATUS_OK;
}
