/*
 * logfmt on stderr: time, level, service, then the caller's message and pairs.
 * One line is one write(2), so lines of threads never mix. Only main.c and
 * rpc.c files log, once per event; libraries return errors.
 */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Before threads start. @service is borrowed for ever. */
void log_init(const char *service, enum log_level level);
bool log_enabled(enum log_level level);

/* "debug", "info", "warn", "error". False: no such level. */
bool log_level_by_name(const char *name, enum log_level *ret_level);

/*
 * One line: msg="<fmt...>". Control characters and quotes of the text are
 * escaped, and it is cut at 1,900 bytes.
 */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same after @pairs, ready-made logfmt such as `call=7 code=OK`. */
void log_pairs(enum log_level level, const char *pairs, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
