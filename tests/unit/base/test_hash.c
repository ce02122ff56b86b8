#include "common/base/hash.h"

#include "tests/support/suite.h"

/* The first vectors of the SipHash-2-4 reference: key 00..0f, input 00..n-1. */
START_TEST(matches_the_reference_vectors)
{
	static const uint64_t expected[] = {0x726fdb47dd0e0e31u, 0x74f839c593dc67fdu,
					    0x0d6c8009d9a94f5au, 0x85676696d7fb7e2du,
					    0xcf2794e0277187b7u, 0x18765564cd99a68du,
					    0xcbc9466e58fee3ceu, 0xab0200f58b01d137u,
					    0x93f5f5799a932462u, 0x9e0082df0ba9e4b0u};
	uint8_t key[HASH_KEY_BYTES], in[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = in[i] = i;
	for (size_t n = 0; n < sizeof(expected) / sizeof(expected[0]); n++)
		ck_assert_uint_eq(hash_siphash(key, in, n), expected[n]);
}
END_TEST

START_TEST(process_hash_is_stable_within_the_process)
{
	ck_assert_uint_eq(hash_bytes("abc", 3), hash_bytes("abc", 3));
	ck_assert_uint_ne(hash_bytes("abc", 3), hash_bytes("abd", 3));
}
END_TEST

int main(void)
{
	return suite_run("hash", NULL, NULL,
			 (const TTest *const[]){matches_the_reference_vectors,
						process_hash_is_stable_within_the_process,
						NULL});
}
