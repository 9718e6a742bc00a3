// SPDX-License-Identifier: Apache-2.0
/* The keys by which a person leaves a terminal. */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/client/client.h"

TestSuite(client_keys, .timeout = 30);

/* Type `in`, `step` bytes at a time; what comes out, and whether the keys were complete. */
static bool type(const char *keys, const char *in, size_t step, char *out)
{
	struct client_keys k = { .n = (uint8_t)strlen(keys) };
	uint8_t room[256 + CLIENT_KEYS_MAX], *from = room + CLIENT_KEYS_MAX;
	bool hit = false;

	memcpy(k.seq, keys, k.n);
	*out = 0;
	for (size_t len = strlen(in), at = 0; at < len && !hit; at += step) {
		size_t n = len - at < step ? len - at : step, m;

		memcpy(from, in + at, n);
		hit = client_keys_pass(&k, from, n, room, &m);
		cr_assert_leq(m, n + CLIENT_KEYS_MAX - 1);
		strncat(out, (char *)room, m);
	}
	return hit;
}

Test(client_keys, found_wherever_they_are_cut)
{
	char out[256];

	for (size_t step = 1; step < 9; step++) {
		cr_expect(type("\x10\x11", "ab\x10\x11yz", step, out));
		cr_expect_str_eq(out, "ab");
		cr_expect(type("\x10\x11", "\x10\x10\x11", step, out));
		cr_expect_str_eq(out, "\x10");
		cr_expect(!type("\x10\x11", "a\x10zb\x11", step, out));
		cr_expect_str_eq(out, "a\x10zb\x11");
		cr_expect(type("d", "abcd", step, out));
		cr_expect_str_eq(out, "abc");
	}
}

/* Keys that begin again within themselves: nothing is lost, nothing is missed. */
Test(client_keys, overlapping_beginnings)
{
	char out[256];

	for (size_t step = 1; step < 9; step++) {
		cr_expect(type("aab", "aaab", step, out));
		cr_expect_str_eq(out, "a");
		cr_expect(type("ababac", "abababac", step, out));
		cr_expect_str_eq(out, "ab");
		cr_expect(!type("aabaac", "aabaabx", step, out));
		cr_expect_str_eq(out, "aabaabx");
	}
}
