#include "services/registry/manifest.h"

#include <inttypes.h>
#include <stdlib.h>

#include "services/registry/disk.h"
#include "tests/support/suite.h"

static struct strbuf text, seen;
static struct manifest manifest;
static struct error err;

static void setup(void)
{
	text = seen = STRBUF_INIT;
}

static void teardown(void)
{
	strbuf_release(&text);
	strbuf_release(&seen);
}

static void take(void *arg, const struct manifest_line *l)
{
	(void)arg;
	switch (l->kind) {
	case MANIFEST_FILE:
		strbuf_addf(&seen,
			    "file %s@%" PRId64 ":%" PRId64 " %zu %" PRIx64 " %" PRId64 "\n",
			    l->name, l->version, l->at, l->size, l->checksum, l->unix_us);
		break;
	case MANIFEST_BYTES:
		strbuf_addf(&seen, "bytes %s@%" PRId64 ":%" PRId64 " ", l->name, l->version,
			    l->at);
		strbuf_add(&seen, l->bytes.data, l->bytes.size);
		strbuf_addch(&seen, '\n');
		break;
	case MANIFEST_GONE:
		strbuf_addf(&seen, "gone %s:%" PRId64 " %" PRId64 "\n", l->name, l->at,
			    l->unix_us);
		break;
	case MANIFEST_POLICY:
		strbuf_addf(&seen, "policy %s:%" PRId64 "\n", policy_name(l->policy), l->at);
		break;
	case MANIFEST_FORGOTTEN:
		strbuf_addf(&seen, "forgotten:%" PRId64 "\n", l->at);
		break;
	}
}

static enum status read_text(void)
{
	AUTO_STRBUF copy = STRBUF_INIT; /* reading writes in it */

	strbuf_reset(&seen);
	strbuf_add(&copy, strbuf_str(&text), text.len);
	return manifest_read(&copy, take, NULL, &manifest, &err);
}

static void put_file(const char *name, int64_t version, int64_t at)
{
	manifest_add(&text, &(struct manifest_line){.kind = MANIFEST_FILE,
						    .at = at,
						    .version = version,
						    .unix_us = 1000 * at,
						    .size = 7,
						    .checksum = 0xfeed,
						    .name = name});
}

#define A1 "file a b/x.proto@1:1 7 feed 1000\n"
#define B1 "file y.proto@1:2 7 feed 2000\n"
#define A2 "file a b/x.proto@2:2 7 feed 2000\n"

/* Two commits, of one line and of two. */
static void put_two_commits(void)
{
	manifest_begin(&text);
	put_file("a b/x.proto", 1, 1);
	manifest_commit(&text, 1, 1);
	put_file("y.proto", 1, 2);
	put_file("a b/x.proto", 2, 2);
	manifest_commit(&text, 2, 2);
}

/* Where the @n-th line starts, from 0. */
static char *line(size_t n)
{
	char *p = text.buf;

	while (n--)
		p = strchr(p, '\n') + 1;
	return p;
}

START_TEST(what_was_written_is_read)
{
	put_two_commits();
	manifest_add(&text,
		     &(struct manifest_line){
			     .kind = MANIFEST_GONE, .at = 3, .unix_us = 5, .name = "y.proto"});
	manifest_add(&text, &(struct manifest_line){
				    .kind = MANIFEST_POLICY, .at = 3, .policy = POLICY_SOURCE});
	manifest_add(&text, &(struct manifest_line){.kind = MANIFEST_FORGOTTEN, .at = 2});
	manifest_add(&text, &(struct manifest_line){.kind = MANIFEST_BYTES,
						    .at = 3,
						    .version = 2,
						    .bytes = bytes_of("\xff\0z", 3),
						    .name = "y.proto"});
	manifest_add(&text,
		     &(struct manifest_line){
			     .kind = MANIFEST_BYTES, .at = 3, .version = 4, .name = "e"});
	manifest_commit(&text, 3, 5);
	ck_assert_int_eq(read_text(), STATUS_OK);
	static const char expected[] =
		A1 B1 A2 "gone y.proto:3 5\npolicy SOURCE:3\nforgotten:2\n"
			 "bytes y.proto@2:3 \xff\0z\nbytes e@4:3 \n";
	ck_assert_uint_eq(seen.len, sizeof(expected) - 1);
	ck_assert_int_eq(memcmp(seen.buf, expected, seen.len), 0);
	ck_assert_int_eq(manifest.format, 2);
	ck_assert_int_eq(manifest.at, 3);
	ck_assert_uint_eq(manifest.lines, 11);
	ck_assert_uint_eq(manifest.bad_lines, 0);
	ck_assert(!manifest.is_torn);
}
END_TEST

/* Cut anywhere, a manifest is what it was after the last whole commit, and not damaged. */
START_TEST(a_cut_end_never_happened)
{
	size_t first, whole;

	put_two_commits();
	first = (size_t)(line(3) - text.buf);
	whole = text.len;
	for (size_t len = first; len < whole; len++) {
		text.len = len;
		ck_assert_int_eq(read_text(), STATUS_OK);
		ck_assert_str_eq(strbuf_str(&seen), A1);
		ck_assert_int_eq(manifest.at, 1);
		ck_assert_uint_eq(manifest.bad_lines, 0);
		ck_assert_int_eq(manifest.is_torn, len > first);
	}
}
END_TEST

/* Any changed byte is noticed, and costs its own line and no other file's. */
START_TEST(a_damaged_line_loses_itself_alone)
{
	put_two_commits();
	for (size_t i = 0; i < text.len; i++) {
		const char kept = text.buf[i];
		text.buf[i] = (char)(kept ^ 1);
		if (read_text() == STATUS_OK) {
			bool lost_a1 = !strstr(strbuf_str(&seen), A1);
			bool lost_b1 = !strstr(strbuf_str(&seen), B1);
			/* Without its line end the last line is one that was cut. */
			ck_assert_msg(manifest.bad_lines > 0 ||
					      (manifest.is_torn && i == text.len - 1),
				      "byte %zu", i);
			ck_assert_msg(!lost_a1 || &text.buf[i] < line(3) ||
					      &text.buf[i] >= line(5),
				      "byte %zu", i);
			ck_assert_msg(!lost_b1 || &text.buf[i] >= line(2), "byte %zu", i);
		} else { /* the format's number, in the first line */
			ck_assert_int_eq(err.status, STATUS_FAILED_PRECONDITION);
			ck_assert_uint_lt(i, 21);
		}
		text.buf[i] = kept;
	}
}
END_TEST

START_TEST(a_lost_line_is_noticed)
{
	char *b1;
	size_t rest;

	put_two_commits();
	b1 = line(3);
	rest = text.len - (size_t)(line(4) - text.buf);
	text.len -= (size_t)(line(4) - b1);
	memmove(b1, line(4), rest);
	ck_assert_int_eq(read_text(), STATUS_OK);
	ck_assert_str_eq(strbuf_str(&seen), A1 A2);
	ck_assert_uint_eq(manifest.bad_lines, 1);
}
END_TEST

START_TEST(a_newer_format_is_left_alone)
{
	strbuf_addstr(&text, "collector-manifest 3\nwhatever\n");
	ck_assert_int_eq(read_text(), STATUS_FAILED_PRECONDITION);
}
END_TEST

static void put_first_format(const char *body)
{
	strbuf_addf(&text, "collector-manifest 1 4\n%s", body);
	strbuf_addf(&text, "end %016" PRIx64 "\n", disk_checksum(bytes_of(text.buf, text.len)));
}

START_TEST(the_first_format_is_read)
{
	put_first_format("3 1000 2000 7 000000000000feed a b/x.proto\n");
	ck_assert_int_eq(read_text(), STATUS_OK);
	ck_assert_str_eq(strbuf_str(&seen), "file a b/x.proto@3:4 7 feed 2000\n");
	ck_assert_int_eq(manifest.format, 1);
	ck_assert_int_eq(manifest.at, 4);
	text.buf[30] ^= 1;
	ck_assert_int_eq(read_text(), STATUS_DATA_LOSS);
}
END_TEST

START_TEST(nothing_and_nonsense)
{
	ck_assert_int_eq(read_text(), STATUS_OK);
	ck_assert_uint_eq(manifest.bad_lines, 1);
	for (int i = 0; i < 5000; i++)
		strbuf_addch(&text, 'x');
	strbuf_addstr(&text, "\n\n \n0123456789abcdef file -1 x\n");
	ck_assert_int_eq(read_text(), STATUS_OK);
	ck_assert_str_eq(strbuf_str(&seen), "");
	ck_assert_uint_gt(manifest.bad_lines, 1);
}
END_TEST

int main(void)
{
	return suite_run("manifest", setup, teardown,
			 (const TTest *const[]){
				 what_was_written_is_read,
				 a_cut_end_never_happened,
				 a_damaged_line_loses_itself_alone,
				 a_lost_line_is_noticed,
				 a_newer_format_is_left_alone,
				 the_first_format_is_read,
				 nothing_and_nonsense,
				 NULL,
			 });
}
