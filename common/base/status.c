#include "common/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/utf8.h"

#undef error_set
#undef error_field

static const char *const names[] = {
	[STATUS_OK] = "OK",
	[STATUS_CANCELLED] = "CANCELLED",
	[STATUS_UNKNOWN] = "UNKNOWN",
	[STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[STATUS_NOT_FOUND] = "NOT_FOUND",
	[STATUS_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[STATUS_ABORTED] = "ABORTED",
	[STATUS_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[STATUS_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[STATUS_INTERNAL] = "INTERNAL",
	[STATUS_UNAVAILABLE] = "UNAVAILABLE",
	[STATUS_DATA_LOSS] = "DATA_LOSS",
	[STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
};
enum { STATUS_COUNT = sizeof(names) / sizeof(names[0]) };

const char *status_name(enum status status)
{
	return (unsigned)status < STATUS_COUNT ? names[status] : "UNKNOWN";
}

_Bool status_by_name(const char *name, enum status *ret_status)
{
	for (int i = 0; i < STATUS_COUNT; i++)
		if (!strcmp(names[i], name)) {
			*ret_status = (enum status)i;
			return 1;
		}
	return 0;
}

static void format(char *out, size_t size, const char *fmt, va_list args)
{
	int n = vsnprintf(out, size, fmt, args);

	if (n >= 0 && (size_t)n >= size)
		out[utf8_cut(out, size - 1)] = '\0';
}

enum status error_set(struct error *err, enum status status, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return status;
	err->status = status;
	err->field[0] = '\0';
	va_start(args, fmt);
	format(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return status;
}

enum status error_field(struct error *err, const char *field, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return STATUS_INVALID_ARGUMENT;
	err->status = STATUS_INVALID_ARGUMENT;
	snprintf(err->field, sizeof(err->field), "%s", field);
	va_start(args, fmt);
	format(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return STATUS_INVALID_ARGUMENT;
}

void error_prefix_field(struct error *err, const char *prefix)
{
	char path[sizeof(err->field)];

	if (!err)
		return;
	snprintf(path, sizeof(path), "%s%s%s", prefix,
		 err->field[0] && err->field[0] != '[' ? "." : "", err->field);
	memcpy(err->field, path, sizeof(path));
}
