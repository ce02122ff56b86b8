/* SHA-256 against the digests that FIPS 180-4's examples and others publish. */
#include "common/base/sha256.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "tests/support/suite.h"

static const char *digest(const void *data, size_t size, size_t piece)
{
	static char text[2 * SHA256_BYTES + 1];
	uint8_t out[SHA256_BYTES];
	struct sha256 s;

	sha256_init(&s);
	for (size_t at = 0; at < size; at += piece)
		sha256_add(&s, (const char *)data + at, size - at < piece ? size - at : piece);
	sha256_end(&s, out);
	for (int i = 0; i < SHA256_BYTES; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", out[i]);
	return text;
}

START_TEST(published_digests)
{
	static const struct {
		const char *text, *digest;
	} cases[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmn"
		 "o"
		 "pqklmnopqrlmnopqrsmnopqrstnopqrstu",
		 "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(digest(cases[i].text, strlen(cases[i].text), 4096),
				 cases[i].digest);
}
END_TEST

START_TEST(a_million_bytes_in_pieces_of_any_size)
{
	AUTO_FREE char *data = xmalloc(1000000);

	memset(data, 'a', 1000000);
	for (size_t piece = 1; piece < 1000000; piece = piece * 3 + 1)
		ck_assert_str_eq(
			digest(data, 1000000, piece),
			"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

int main(void)
{
	return suite_run("sha256", NULL, NULL,
			 (const TTest *const[]){published_digests,
						a_million_bytes_in_pieces_of_any_size, NULL});
}
