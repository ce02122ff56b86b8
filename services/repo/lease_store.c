/* Leases: who may work on which records for a while. */
#include <sqlite3.h>

#include "services/repo/store_internal.h"

enum status leases_check(struct store *s, int64_t rid, int64_t token, uint64_t now_us,
			 struct error *err)
{
	sqlite3_stmt *stmt;
	enum status status = database_prepare(
		s->writer,
		"SELECT 1 FROM leases WHERE rid = ? AND token = ? AND expires_at_us > ?", &stmt,
		err);

	if (status != STATUS_OK)
		return status;
	sqlite3_bind_int64(stmt, 1, rid);
	sqlite3_bind_int64(stmt, 2, token);
	sqlite3_bind_int64(stmt, 3, (sqlite3_int64)now_us);
	int code = sqlite3_step(stmt);
	if (code == SQLITE_DONE)
		status = error_set(err, STATUS_ABORTED, "the lease %lld is over",
				   (long long)token);
	else if (code != SQLITE_ROW)
		status = database_error(s->writer, code, err);
	database_reset(stmt);
	return status;
}
