/* What a user searches for in full text, as an expression that finds just that. */
#include <ctype.h>
#include <string.h>

#include "common/base/utf8.h"
#include "services/repo/query.h"

/* One word or phrase of the user's text. */
struct part {
	const char *text;
	size_t len;
	bool is_prefix;
};

/* Has it a character that a word may be made of? */
static bool has_word(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (isalnum((unsigned char)text[i]) || (unsigned char)text[i] >= 0x80)
			return true;
	return false;
}

/* The part at @text; returns what follows it. */
static const char *next_part(const char *text, struct part *ret)
{
	const bool is_phrase = *text == '"';

	text += is_phrase;
	ret->text = text;
	ret->len = strcspn(text, is_phrase ? "\"" : "\" \t\r\n");
	text += ret->len;
	ret->is_prefix = false;
	if (is_phrase) {
		text += *text == '"';
		ret->is_prefix = *text == '*';
		return text + ret->is_prefix;
	}
	while (ret->len && ret->text[ret->len - 1] == '*') {
		ret->is_prefix = true;
		ret->len--;
	}
	return text;
}

/* As FTS5 takes it literally; there is no quote in it. */
static void add_part(struct strbuf *match, const struct part *part)
{
	strbuf_addstr(match, match->len ? " \"" : "\"");
	strbuf_add(match, part->text, part->len);
	strbuf_addstr(match, part->is_prefix ? "\" *" : "\"");
}

void query_set_text(struct query *q, const char *text, bool is_expression)
{
	const size_t len = strlen(text);
	AUTO_STRBUF match = STRBUF_INIT;
	struct part part;

	if (len > QUERY_TEXT_MAX_BYTES)
		text = arena_strndup(q->arena, text, utf8_cut(text, QUERY_TEXT_MAX_BYTES));
	if (is_expression) {
		q->match = arena_strdup(q->arena, text);
		return;
	}
	for (text += strspn(text, " \t\r\n"); *text; text += strspn(text, " \t\r\n")) {
		text = next_part(text, &part);
		if (has_word(part.text, part.len))
			add_part(&match, &part);
	}
	q->matches_nothing = !match.len;
	q->match = arena_strdup(q->arena, strbuf_str(&match));
}
