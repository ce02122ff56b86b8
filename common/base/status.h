/*
 * Outcomes. The values are gRPC's canonical codes (grpc/status.h), so that a
 * status crosses the wire without a table; collector.Status.Code is another
 * numbering and is translated in common/rpc/status_code.c alone.
 */
#ifndef COMMON_BASE_STATUS_H
#define COMMON_BASE_STATUS_H

enum status {
	STATUS_OK = 0,
	STATUS_CANCELLED = 1,
	STATUS_UNKNOWN = 2,
	STATUS_INVALID_ARGUMENT = 3,
	STATUS_DEADLINE_EXCEEDED = 4,
	STATUS_NOT_FOUND = 5,
	STATUS_ALREADY_EXISTS = 6,
	STATUS_PERMISSION_DENIED = 7,
	STATUS_RESOURCE_EXHAUSTED = 8,
	STATUS_FAILED_PRECONDITION = 9,
	STATUS_ABORTED = 10,
	STATUS_OUT_OF_RANGE = 11,
	STATUS_UNIMPLEMENTED = 12,
	STATUS_INTERNAL = 13,
	STATUS_UNAVAILABLE = 14,
	STATUS_DATA_LOSS = 15,
	STATUS_UNAUTHENTICATED = 16,
};

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/*
 * What went wrong, for a person: a sentence, and where it applies the path of
 * the field that is to blame ("orders[2].qty"). Callers own the struct, on
 * their stack; it holds no pointers. Texts longer than the buffers are cut at
 * a character boundary.
 */
struct error {
	enum status status;
	char field[160]; /* "" when no single field is to blame */
	char message[640];
};

/*
 * Fill @err (which may be NULL) and return @status, so that a failing function
 * can `return error_set(err, STATUS_NOT_FOUND, "...")`. The field is cleared.
 */
enum status error_set(struct error *err, enum status status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* The same as INVALID_ARGUMENT, blaming @field. */
enum status error_field(struct error *err, const char *field, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* The analyzer sees one file at a time: tell it what these two return. */
#ifdef __clang_analyzer__
#define error_set(err, status, ...) (error_set(err, status, __VA_ARGS__), (status))
#define error_field(err, field, ...)                                                           \
	(error_field(err, field, __VA_ARGS__), STATUS_INVALID_ARGUMENT)
#endif

/* Put "prefix" before the field path that @err already has. */
void error_prefix_field(struct error *err, const char *prefix);

/* "NOT_FOUND" and the like; "CODE_42" never: unknown values give "UNKNOWN". */
const char *status_name(enum status status);

/* The status with this name. False: no such name. */
_Bool status_by_name(const char *name, enum status *ret_status);

#endif
