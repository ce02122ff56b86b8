/*
 * Functions that are not used in this tree, because each has a caller that
 * got it wrong. Forced into every translation unit of ours with -include.
 */
#ifndef COMMON_BASE_BANNED_H
#define COMMON_BASE_BANNED_H

#include <stdio.h>
#include <string.h>

#undef strcpy
#define strcpy(d, s) function_strcpy_is_banned_use_strbuf
#undef strcat
#define strcat(d, s) function_strcat_is_banned_use_strbuf
#undef strncpy
#define strncpy(d, s, n) function_strncpy_is_banned_use_strbuf
#undef strncat
#define strncat(d, s, n) function_strncat_is_banned_use_strbuf
#undef strtok
#define strtok(s, d) function_strtok_is_banned_use_strcspn
#undef sprintf
#define sprintf(...) function_sprintf_is_banned_use_strbuf_or_snprintf
#undef vsprintf
#define vsprintf(...) function_vsprintf_is_banned_use_strbuf_or_vsnprintf

#endif
