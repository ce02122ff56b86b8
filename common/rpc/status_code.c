#include "common/rpc/status_code.h"

#include "collector/common.pb-c.h"

#define CODE(name) COLLECTOR__STATUS__CODE__##name

enum {
	/* What older peers answer for OK, as HTTP does. */
	FOREIGN_OK = 200,
};

/* By enum status. */
static const int codes[] = {
	[STATUS_OK] = CODE(OK),
	[STATUS_CANCELLED] = CODE(CANCELLED),
	[STATUS_UNKNOWN] = CODE(UNKNOWN),
	[STATUS_INVALID_ARGUMENT] = CODE(INVALID_ARGUMENT),
	[STATUS_DEADLINE_EXCEEDED] = CODE(DEADLINE_EXCEEDED),
	[STATUS_NOT_FOUND] = CODE(NOT_FOUND),
	[STATUS_ALREADY_EXISTS] = CODE(ALREADY_EXISTS),
	[STATUS_PERMISSION_DENIED] = CODE(PERMISSION_DENIED),
	[STATUS_RESOURCE_EXHAUSTED] = CODE(RESOURCE_EXHAUSTED),
	[STATUS_FAILED_PRECONDITION] = CODE(FAILED_PRECONDITION),
	[STATUS_ABORTED] = CODE(ABORTED),
	[STATUS_OUT_OF_RANGE] = CODE(OUT_OF_RANGE),
	[STATUS_UNIMPLEMENTED] = CODE(UNIMPLEMENTED),
	[STATUS_INTERNAL] = CODE(INTERNAL),
	[STATUS_UNAVAILABLE] = CODE(UNAVAILABLE),
	[STATUS_DATA_LOSS] = CODE(DATA_LOSS),
	[STATUS_UNAUTHENTICATED] = CODE(UNAUTHENTICATED),
};
enum { CODE_COUNT = sizeof(codes) / sizeof(codes[0]) };

int status_to_collector_code(enum status status)
{
	return (unsigned)status < CODE_COUNT ? codes[status] : CODE(UNKNOWN);
}

enum status status_from_collector_code(int code)
{
	if (code == FOREIGN_OK)
		return STATUS_OK;
	for (unsigned i = 0; i < CODE_COUNT; i++)
		if (codes[i] == code)
			return (enum status)i;
	return STATUS_UNKNOWN;
}
