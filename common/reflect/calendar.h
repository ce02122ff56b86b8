/*
 * Inside common/reflect: seconds since 1970 and RFC 3339 text, for all years
 * that a google.protobuf.Timestamp may have. (The C library's functions know
 * time zones and locales, and are slow.)
 */
#ifndef COMMON_REFLECT_CALENDAR_H
#define COMMON_REFLECT_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALENDAR_FIRST_SECOND INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define CALENDAR_LAST_SECOND  INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define CALENDAR_DURATION_MAX INT64_C(315576000000) /* seconds, 10,000 years */

enum { CALENDAR_TEXT_BYTES = 19 };

/* "2026-01-02T03:04:05" without NUL or zone; returns CALENDAR_TEXT_BYTES. */
size_t calendar_format(int64_t seconds, char out[CALENDAR_TEXT_BYTES]);

/* RFC 3339 with any offset and up to nine fractional digits. False: it is not. */
bool calendar_parse(const char *text, size_t len, int64_t *ret_seconds, int32_t *ret_nanos);

/* "-1.5s" as proto3 JSON has it, in range. False: it is not. */
bool calendar_parse_duration(const char *text, size_t len, int64_t *ret_seconds,
			     int32_t *ret_nanos);

#endif
