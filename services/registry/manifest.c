#include "services/registry/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "services/registry/disk.h"

enum { SUM_DIGITS = 16 };

static const char header[] = "collector-manifest 2";

/* ----------------------------------------------------------------- writing */

void manifest_begin(struct strbuf *out)
{
	strbuf_addf(out, "%s\n", header);
}

/* The line that was appended from @start on gets its sum in front, and ends. */
static void seal(struct strbuf *out, size_t start)
{
	const size_t text = start + SUM_DIGITS + 1;
	char sum[SUM_DIGITS + 1];

	snprintf(sum, sizeof(sum), "%016" PRIx64,
		 disk_checksum(bytes_of(out->buf + text, out->len - text)));
	memcpy(out->buf + start, sum, SUM_DIGITS);
	strbuf_addch(out, '\n');
}

static size_t open_line(struct strbuf *out)
{
	const size_t start = out->len;

	strbuf_addf(out, "%*s ", SUM_DIGITS, "");
	return start;
}

static void put_hex(struct strbuf *out, struct bytes bytes)
{
	static const char digits[] = "0123456789abcdef";

	strbuf_grow(out, 2 * bytes.size);
	for (size_t i = 0; i < bytes.size; i++) {
		strbuf_addch(out, digits[bytes.data[i] >> 4]);
		strbuf_addch(out, digits[bytes.data[i] & 15]);
	}
}

void manifest_add(struct strbuf *out, const struct manifest_line *l)
{
	const size_t start = open_line(out);

	switch (l->kind) {
	case MANIFEST_FILE:
		strbuf_addf(out,
			    "file %" PRId64 " %" PRId64 " %" PRId64 " %zu %016" PRIx64 " %s",
			    l->at, l->version, l->unix_us, l->size, l->checksum, l->name);
		break;
	case MANIFEST_BYTES:
		strbuf_addf(out, "bytes %" PRId64 " %" PRId64 " ", l->at, l->version);
		put_hex(out, l->bytes);
		strbuf_addf(out, " %s", l->name);
		break;
	case MANIFEST_GONE:
		strbuf_addf(out, "gone %" PRId64 " %" PRId64 " %s", l->at, l->unix_us, l->name);
		break;
	case MANIFEST_POLICY:
		strbuf_addf(out, "policy %" PRId64 " %s", l->at, policy_name(l->policy));
		break;
	case MANIFEST_FORGOTTEN:
		strbuf_addf(out, "forgotten %" PRId64, l->at);
		break;
	}
	seal(out, start);
}

void manifest_commit(struct strbuf *out, int64_t at, size_t lines)
{
	const size_t start = open_line(out);

	strbuf_addf(out, "commit %" PRId64 " %zu", at, lines);
	seal(out, start);
}

/* ----------------------------------------------------------- reading a line */

/* A text that is read from its start; once something was odd nothing more is read. */
struct scan {
	char *at;
	bool odd;
};

static bool skip(struct scan *s, char c)
{
	if (*s->at != c)
		s->odd = true;
	else
		s->at++;
	return !s->odd;
}

static uint64_t number(struct scan *s, int base)
{
	char *end = s->at;
	uint64_t value = strtoull(s->at, &end, base);

	if (end == s->at || *s->at == '-')
		s->odd = true;
	s->at = end;
	if (*end)
		(void)skip(s, ' ');
	return value;
}

static int64_t signed_number(struct scan *s)
{
	return (int64_t)number(s, 10);
}

static const char *path(struct scan *s)
{
	struct error ignored; /* an odd line is damage, whatever is wrong in it */

	if (names_check_path(s->at, "", &ignored) != STATUS_OK)
		s->odd = true;
	return s->at;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Into the place of the text. */
static struct bytes hex(struct scan *s)
{
	uint8_t *out = (uint8_t *)s->at;
	size_t n = 0;

	for (; digit(s->at[0]) >= 0 && digit(s->at[1]) >= 0; s->at += 2)
		out[n++] = (uint8_t)(digit(s->at[0]) << 4 | digit(s->at[1]));
	(void)skip(s, ' ');
	return bytes_of(out, n);
}

static bool starts(struct scan *s, const char *word)
{
	const size_t len = strlen(word);

	if (strncmp(s->at, word, len))
		return false;
	s->at += len;
	return true;
}

/* @text is what follows the sum. */
static bool parse_line(char *text, struct manifest_line *ret)
{
	struct scan s = {text, false};
	struct manifest_line l = {.kind = MANIFEST_FILE};

	if (starts(&s, "file ")) {
		l.at = signed_number(&s);
		l.version = signed_number(&s);
		l.unix_us = signed_number(&s);
		l.size = number(&s, 10);
		l.checksum = number(&s, 16);
		l.name = path(&s);
	} else if (starts(&s, "bytes ")) {
		l.kind = MANIFEST_BYTES;
		l.at = signed_number(&s);
		l.version = signed_number(&s);
		l.bytes = hex(&s);
		l.name = path(&s);
	} else if (starts(&s, "gone ")) {
		l.kind = MANIFEST_GONE;
		l.at = signed_number(&s);
		l.unix_us = signed_number(&s);
		l.name = path(&s);
	} else if (starts(&s, "policy ")) {
		l.kind = MANIFEST_POLICY;
		l.at = signed_number(&s);
		s.odd |= !policy_by_name(s.at, &l.policy);
	} else if (starts(&s, "forgotten ")) {
		l.kind = MANIFEST_FORGOTTEN;
		l.at = signed_number(&s);
	} else {
		return false;
	}
	*ret = l;
	return !s.odd;
}

/* ---------------------------------------------------------------- reading */

struct reading {
	char *at, *end;
	void (*take)(void *arg, const struct manifest_line *line);
	void *arg;
};

/* The next line, whose end becomes NUL. NULL: there is none, or it does not end. */
static char *next_line(struct reading *r)
{
	char *line = r->at;
	char *newline = r->at < r->end ? memchr(line, '\n', (size_t)(r->end - line)) : NULL;

	if (!newline)
		return NULL;
	*newline = '\0';
	r->at = newline + 1;
	return line;
}

/* The text after the line's sum; NULL: it is not what was written. */
static char *checked_text(const struct reading *r, char *line)
{
	const size_t len = (size_t)(r->at - 1 - line);
	char *text = line + SUM_DIGITS + 1;
	struct scan s = {line, false};

	if (len <= SUM_DIGITS + 1 || line[SUM_DIGITS] != ' ')
		return NULL;
	return number(&s, 16) == disk_checksum(bytes_of(text, len - SUM_DIGITS - 1)) &&
			       s.at == text
		       ? text
		       : NULL;
}

static bool parse_commit(char *text, int64_t *ret_at, size_t *ret_lines)
{
	struct scan s = {text, false};

	if (!starts(&s, "commit "))
		return false;
	*ret_at = signed_number(&s);
	*ret_lines = number(&s, 10);
	return !s.odd;
}

/* The lines of one commit, before it is known whether there is one. */
struct block {
	char **texts; /* good ones */
	size_t count, room;
};

static void add_text(struct block *b, char *text)
{
	if (b->count == b->room) {
		b->room = b->room ? 2 * b->room : 64;
		b->texts = xreallocarray(b->texts, b->room, sizeof(char *));
	}
	b->texts[b->count++] = text;
}

/* Hand over the lines of a commit. Returns how many say nothing that is known. */
static size_t take_block(struct reading *r, struct block *b)
{
	struct manifest_line line;
	size_t bad = 0;

	for (size_t i = 0; i < b->count; i++) {
		if (parse_line(b->texts[i], &line))
			r->take(r->arg, &line);
		else
			bad++;
	}
	b->count = 0;
	return bad;
}

static void read_blocks(struct reading *r, struct manifest *m)
{
	struct block block = {.count = 0};
	const char *committed = r->at;
	size_t expected;
	char *line;

	while ((line = next_line(r))) {
		char *text = checked_text(r, line);
		m->lines++;
		if (!text) {
			m->bad_lines++;
		} else if (parse_commit(text, &m->at, &expected)) {
			/* Lines that vanished with their ends leave no other trace. */
			m->bad_lines += block.count < expected && !m->bad_lines;
			m->bad_lines += take_block(r, &block);
			committed = r->at;
		} else {
			add_text(&block, text);
		}
	}
	m->is_torn = committed != r->end;
	free(block.texts);
}

/* --------------------------------------------------------------- format 1 */

/* The last line has the sum of all others, and a fixed length. */
static bool is_whole(struct bytes text, char **ret_end)
{
	enum { END_BYTES = 4 + SUM_DIGITS + 1 };
	char line[END_BYTES + 1] = "";
	size_t rest;

	if (text.size <= END_BYTES)
		return false;
	rest = text.size - END_BYTES;
	memcpy(line, text.data + rest, END_BYTES);
	*ret_end = (char *)text.data + rest;
	return text.data[rest - 1] == '\n' && !strncmp(line, "end ", 4) &&
	       strtoull(line + 4, NULL, 16) == disk_checksum(bytes_of(text.data, rest));
}

static void read_first_format(struct reading *r, struct manifest *m)
{
	char *line;

	while ((line = next_line(r))) {
		struct scan s = {line, false};
		struct manifest_line l = {.kind = MANIFEST_FILE, .at = m->at};
		l.version = signed_number(&s);
		l.created_us = signed_number(&s);
		l.unix_us = signed_number(&s);
		l.size = number(&s, 10);
		l.checksum = number(&s, 16);
		l.name = path(&s);
		m->lines++;
		if (s.odd)
			m->bad_lines++;
		else
			r->take(r->arg, &l);
	}
}

enum status manifest_read(struct strbuf *text,
			  void (*take)(void *arg, const struct manifest_line *line), void *arg,
			  struct manifest *ret, struct error *err)
{
	struct reading r = {text->buf, text->buf + text->len, take, arg};
	struct manifest m = {.format = 2};
	char *first, *end = r.end;

	if (text->len && sscanf(text->buf, "collector-manifest %d", &m.format) == 1 &&
	    (m.format < 1 || m.format > 2))
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the manifest's format is %d: a newer program wrote it",
				 m.format);
	if (m.format == 1 && !is_whole(bytes_of(text->buf, text->len), &end))
		return error_set(err, STATUS_DATA_LOSS, "the manifest is damaged");
	r.end = end;
	first = next_line(&r);
	if (m.format == 1) {
		m.bad_lines = sscanf(first, "collector-manifest 1 %" SCNd64, &m.at) != 1;
		read_first_format(&r, &m);
	} else {
		m.bad_lines = !first || strcmp(first, header) != 0;
		read_blocks(&r, &m);
	}
	*ret = m;
	return STATUS_OK;
}
