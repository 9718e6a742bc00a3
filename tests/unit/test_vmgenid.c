/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/vmgenid.h"

static unsigned char ram[0x2000];
static const struct gmem mem = { .n = 1, .r = { { 0x1000, sizeof(ram), ram } }, .fd = -1 };

static int round_trip(uint64_t at, uint64_t *back, struct err *e)
{
	struct vmgenid g = { .at = GPA(at) }, loaded = { 0 };
	struct blob b;
	int rc;

	blob_init(&b);
	vmgenid_save(&g, &b);
	rc = vmgenid_load(&loaded, &mem, &b, e);
	*back = loaded.at.v;
	blob_free(&b);
	return rc;
}

Test(vmgenid, its_address_comes_back)
{
	struct err e = { 0 };
	uint64_t at;

	cr_assert_eq(round_trip(0x2ff0, &at, &e), 0, "%s", e.msg);
	cr_assert_eq(at, 0x2ff0);
	cr_assert_eq(round_trip(0, &at, &e), 0, "%s", e.msg);
	cr_assert_eq(at, 0);
}

/* threat-model.md 9: an address of a state is checked before it is written to. */
Test(vmgenid, an_address_outside_memory_is_refused)
{
	static const uint64_t bad[] = { 0xff8, 0x2ff1, 0x3000, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = { 0 };
		uint64_t at;

		cr_assert_eq(round_trip(bad[i], &at, &e), -EBADMSG, "%#lx", bad[i]);
		cr_assert(strstr(e.msg, "not in memory"), "%s", e.msg);
		cr_assert_eq(at, 0);
	}
}

Test(vmgenid, a_state_without_it_is_refused)
{
	struct vmgenid g = { 0 };
	struct err e = { 0 };
	struct blob b;

	blob_init(&b);
	cr_assert_eq(vmgenid_load(&g, &mem, &b, &e), -EBADMSG);
	cr_assert(strstr(e.msg, "VGEN"), "%s", e.msg);
	blob_free(&b);
}

Test(vmgenid, two_ids_differ)
{
	uint8_t a[VMGENID_LEN], b[VMGENID_LEN];
	struct err e;

	cr_assert_eq(vmgenid_draw(a, &e) | vmgenid_draw(b, &e), 0);
	cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
}
