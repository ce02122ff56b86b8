#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static enum log_level threshold = LOG_LEVEL_INFO;
static const char *service_name = "collector";

void log_init(const char *service, enum log_level level)
{
	service_name = service;
	threshold = level;
}

bool log_enabled(enum log_level level)
{
	return level >= threshold;
}

bool log_level_by_name(const char *name, enum log_level *ret_level)
{
	for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++)
		if (!strcmp(name, level_names[i])) {
			*ret_level = (enum log_level)i;
			return true;
		}
	return false;
}

/* logfmt value: quotes and backslashes escaped, control characters as spaces. */
static size_t escape(char *out, size_t room, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 < room; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			out[n++] = '\\';
		out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	return n;
}

static void emit(enum log_level level, const char *pairs, const char *text)
{
	char line[4096], when[CLOCK_TEXT_BYTES];
	size_t n;
	int head;

	clock_format(clock_unix_us(), when);
	head = snprintf(line, 1500, "time=%s level=%s service=%s%s%.1200s msg=\"", when,
			level_names[level], service_name, *pairs ? " " : "", pairs);
	n = head < 1500 ? (size_t)head : 1499;
	n += escape(line + n, sizeof(line) - n - 3, text);
	line[n++] = '"';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0) {
		/* Nowhere left to complain; a full pipe must not stop the daemon. */
	}
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[1900];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	emit(level, "", text);
}

void log_pairs(enum log_level level, const char *pairs, const char *fmt, ...)
{
	char text[1900];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	emit(level, pairs, text);
}
