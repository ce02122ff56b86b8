#include "common/base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the character at @p, 0 if it is malformed. @left is at least 1. */
static size_t character(const unsigned char *p, size_t left)
{
	unsigned char c = p[0];
	size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (c < 0xc2 || c > 0xf4 || left < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) ||
	    (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

bool utf8_valid(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t i = 0;

	while (i < len) {
		uint64_t word;

		if (len - i >= sizeof(word)) {
			memcpy(&word, p + i, sizeof(word));
			if (!(word & 0x8080808080808080ull)) {
				i += sizeof(word);
				continue;
			}
		}
		if (p[i] < 0x80) {
			i++;
			continue;
		}
		size_t step = character(p + i, len - i);
		if (!step)
			return false;
		i += step;
	}
	return true;
}

size_t utf8_cut(const char *text, size_t len)
{
	size_t start = len;

	for (int back = 0; start && back < 4; back++) {
		unsigned char c = (unsigned char)text[--start];
		if (c < 0x80)
			return len;
		if (c >= 0xc0) {
			size_t need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
			return len - start >= need ? len : start;
		}
	}
	return len;
}
