/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, up to U+10FFFF. */
#ifndef COMMON_BASE_UTF8_H
#define COMMON_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const char *text, size_t len);

/* The largest n <= @len such that text[0..n) does not end inside a character. */
size_t utf8_cut(const char *text, size_t len);

#endif
