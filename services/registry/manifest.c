#include "services/registry/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/names.h"
#include "services/registry/disk.h"

enum { SUM_DIGITS = 16, MAX_LINE_BYTES = 1024 };

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

void manifest_add(struct strbuf *out, const struct manifest_line *l)
{
	const size_t start = open_line(out);

	switch (l->kind) {
	case MANIFEST_FILE:
		strbuf_addf(out,
			    "file %" PRId64 " %" PRId64 " %" PRId64 " %zu %016" PRIx64 " %s",
			    l->at, l->version, l->unix_us, l->size, l->checksum, l->name);
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
	const char *at, *end;
	void (*take)(void *arg, const struct manifest_line *line);
	void *arg;
	char line[MAX_LINE_BYTES]; /* the one being read, with NUL */
};

/* The next line into r->line. False: there is none, or it does not end. */
static bool next_line(struct reading *r, size_t *ret_len)
{
	const size_t left = (size_t)(r->end - r->at);
	const char *newline = left ? memchr(r->at, '\n', left) : NULL;
	size_t len, kept;

	if (!newline)
		return false;
	len = (size_t)(newline - r->at);
	kept = len < MAX_LINE_BYTES ? len : 0; /* no line of ours is so long: it is damaged */
	memcpy(r->line, r->at, kept);
	r->line[kept] = '\0';
	r->at = newline + 1;
	*ret_len = kept;
	return true;
}

/* The text after the line's sum; NULL: it is not what was written. */
static char *checked_text(char *line, size_t len)
{
	char *text = line + SUM_DIGITS + 1;
	struct scan s = {line, false};

	if (len <= SUM_DIGITS + 1 || line[SUM_DIGITS] != ' ' || strlen(line) != len)
		return NULL;
	return number(&s, 16) == disk_checksum(bytes_of(text, strlen(text))) && s.at == text
		       ? text
		       : NULL;
}

/* Hand over the good lines of a block that was committed. */
static void take_block(struct reading *r, const char *start, const char *end)
{
	struct reading block = {.at = start, .end = end};
	struct manifest_line line;
	size_t len;

	while (next_line(&block, &len)) {
		char *text = checked_text(block.line, len);
		if (text && parse_line(text, &line))
			r->take(r->arg, &line);
	}
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

static void read_blocks(struct reading *r, struct manifest *m)
{
	const char *block = r->at, *start = r->at;
	struct manifest_line ignored;
	size_t len, expected, pending = 0;

	for (; next_line(r, &len); start = r->at) {
		char *text = checked_text(r->line, len);
		m->lines++;
		if (text && parse_commit(text, &m->at, &expected)) {
			take_block(r, block, start);
			/* Lines that vanished with their line ends leave no other trace. */
			m->bad_lines += pending < expected && !m->bad_lines;
			block = r->at;
			pending = 0;
		} else if (text && parse_line(text, &ignored)) {
			pending++;
		} else {
			m->bad_lines++;
		}
	}
	m->is_torn = block != r->end;
}

/* --------------------------------------------------------------- format 1 */

/* The last line has the sum of all others, and a fixed length. */
static bool is_whole(struct bytes text, const char **ret_end)
{
	enum { END_BYTES = 4 + SUM_DIGITS + 1 };
	char line[END_BYTES + 1] = "";
	size_t rest;

	if (text.size <= END_BYTES)
		return false;
	rest = text.size - END_BYTES;
	memcpy(line, text.data + rest, END_BYTES);
	*ret_end = (const char *)text.data + rest;
	return text.data[rest - 1] == '\n' && !strncmp(line, "end ", 4) &&
	       strtoull(line + 4, NULL, 16) == disk_checksum(bytes_of(text.data, rest));
}

static enum status read_first_format(struct reading *r, struct bytes text, struct manifest *m,
				     struct error *err)
{
	size_t len;

	if (!is_whole(text, &r->end))
		return error_set(err, STATUS_DATA_LOSS, "the manifest is damaged");
	while (next_line(r, &len)) {
		struct scan s = {r->line, false};
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
	return STATUS_OK;
}

enum status manifest_read(struct bytes text,
			  void (*take)(void *arg, const struct manifest_line *line), void *arg,
			  struct manifest *ret, struct error *err)
{
	struct reading r = {.at = (const char *)text.data, .take = take, .arg = arg};
	struct manifest m = {.format = 2};
	enum status status = STATUS_OK;
	size_t len;

	r.end = r.at + text.size;
	if (next_line(&r, &len) && sscanf(r.line, "collector-manifest %d", &m.format) == 1 &&
	    (m.format < 1 || m.format > 2))
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the manifest's format is %d: a newer program wrote it",
				 m.format);
	if (m.format == 1) {
		m.bad_lines = sscanf(r.line, "collector-manifest 1 %" SCNd64, &m.at) != 1;
		status = read_first_format(&r, text, &m, err);
	} else {
		m.bad_lines = strcmp(r.line, header) != 0;
		read_blocks(&r, &m);
	}
	if (status == STATUS_OK)
		*ret = m;
	return status;
}
