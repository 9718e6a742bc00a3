/* SPDX-License-Identifier: Apache-2.0 */
/* threat-model.md 9: snapshot sizes trusted. Nothing of a damaged file may be believed. */
#include <criterion/criterion.h>
#include "vmm/blob.h"

#define TAG BLOB_TAG('T', 'E', 'S', 'T')

static struct blob sealed(void)
{
	struct blob b;

	blob_init(&b);
	blob_put(&b, TAG, 0, "first", 5);
	blob_put(&b, TAG, 1, "second section", 14);
	blob_put(&b, TAG, 2, NULL, 0);
	cr_assert_eq(blob_seal(&b), 0);
	return b;
}

static int reopened(const struct blob *b, size_t len, struct blob *out, struct err *e)
{
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, b->p, len);
	return blob_open(out, copy, len, e);
}

/* After a change that is not damage: the checksum is made right again. */
static void reseal(struct blob *b)
{
	uint32_t crc = blob_crc(b->p + 16, b->len - 16);

	memcpy(b->p + 12, &crc, 4);
}

Test(blob, sections_come_back_as_they_were_put)
{
	struct blob b = sealed(), r;
	struct err e = { 0 };
	char text[14];
	size_t len;

	cr_assert_eq(reopened(&b, b.len, &r, &e), 0, "%s", e.msg);
	cr_assert_eq(blob_get(&r, TAG, 1, text, sizeof(text), &e), 0, "%s", e.msg);
	cr_assert_eq(memcmp(text, "second section", 14), 0);
	cr_assert_not_null(blob_find(&r, TAG, 2, &len));
	cr_assert_eq(len, 0);
	cr_assert_null(blob_find(&r, TAG, 3, &len));
	blob_free(&b);
	blob_free(&r);
}

Test(blob, the_checksum_is_crc32c)
{
	cr_assert_eq(blob_crc("123456789", 9), 0xe3069283u);
}

Test(blob, get_names_the_section_that_is_missing_or_has_another_size)
{
	struct blob b = sealed(), r;
	struct err e = { 0 };
	char text[16];

	cr_assert_eq(reopened(&b, b.len, &r, &e), 0);
	cr_assert_eq(blob_get(&r, TAG, 9, text, 5, &e), -EBADMSG);
	cr_assert(strstr(e.msg, "no section TEST.9"), "%s", e.msg);
	cr_assert_eq(blob_get(&r, TAG, 0, text, 6, &e), -EBADMSG);
	cr_assert(strstr(e.msg, "section TEST.0 of the state has 5 bytes, not 6"), "%s", e.msg);
	blob_free(&b);
	blob_free(&r);
}

Test(blob, every_flipped_bit_is_found)
{
	struct blob b = sealed(), r;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		struct err e = { 0 };

		b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_neq(reopened(&b, b.len, &r, &e), 0, "bit %zu", bit);
		cr_assert(e.msg[0]);
		blob_free(&r);
		b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	blob_free(&b);
}

Test(blob, every_truncation_is_refused_with_a_reason)
{
	struct blob b = sealed(), r;

	for (size_t len = 0; len < b.len; len++) {
		struct err e = { 0 };

		cr_assert_eq(reopened(&b, len, &r, &e), -EBADMSG, "%zu bytes", len);
		cr_assert(strstr(e.msg, len < 24 ? "not a saved state" : "truncated"), "%s", e.msg);
		blob_free(&r);
	}
	blob_free(&b);
}

Test(blob, another_version_says_what_to_do)
{
	struct blob b = sealed(), r;
	struct err e = { 0 };

	b.p[8]++;
	cr_assert_eq(reopened(&b, b.len, &r, &e), -EPROTO);
	cr_assert(strstr(e.msg, "make it again"), "%s", e.msg);
	blob_free(&b);
	blob_free(&r);
}

Test(blob, a_section_length_is_not_trusted_even_with_a_right_checksum)
{
	static const uint64_t lies[] = { 6 + 8, 1000, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7,
					 UINT64_MAX - 15, 1ull << 63 };

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct blob b = sealed(), r;
		struct err e = { 0 };

		memcpy(b.p + b.len - 16 + 8, &lies[i], 8);	/* the last section has no bytes */
		reseal(&b);
		cr_assert_eq(reopened(&b, b.len, &r, &e), -EBADMSG, "%#llx",
			     (unsigned long long)lies[i]);
		cr_assert(strstr(e.msg, "runs past the end"), "%s", e.msg);
		blob_free(&b);
		blob_free(&r);
	}
}

Test(blob, more_than_a_state_can_need_fails_when_sealed)
{
	struct blob b;

	blob_init(&b);
	blob_put(&b, TAG, 0, "x", BLOB_MAX);
	cr_assert_eq(blob_seal(&b), -ENOMEM);
	blob_free(&b);
}
