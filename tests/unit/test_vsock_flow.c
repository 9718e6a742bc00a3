/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "devices/vsock.h"

Test(vsock_flow, credit_is_what_is_free_and_no_byte_more)
{
	struct vcredit c = { .alloc = 1000 };

	cr_assert(!vcredit_take(&c, 1001));
	cr_assert(vcredit_take(&c, 600));
	cr_assert(!vcredit_take(&c, 401));
	cr_assert(!vcredit_take(&c, UINT32_MAX));
	cr_assert(vcredit_take(&c, 400));
	cr_assert(!vcredit_take(&c, 1));
	c.fwd += 1;
	cr_assert(vcredit_take(&c, 1));
	cr_assert(vcredit_take(&c, 0));
}

Test(vsock_flow, counters_wrap)
{
	struct vcredit c = { .alloc = 1000, .got = 0xfffffff0, .fwd = 0xfffffff0,
			     .told = 0xfffffff0, .peer_alloc = 500, .peer_fwd = 0xffffff00,
			     .sent = 0xffffff10 };

	cr_assert(vcredit_take(&c, 1000));
	cr_assert_eq(c.got, 984);
	cr_assert(!vcredit_take(&c, 1));
	cr_assert(!vcredit_due(&c));
	c.fwd += 900;
	cr_assert(vcredit_due(&c));
	cr_assert(vcredit_take(&c, 900));

	cr_assert_eq(vcredit_peer_free(&c), 500 - 16);
	c.sent += 484;
	cr_assert_eq(vcredit_peer_free(&c), 0);
	cr_assert_eq(vcredit_peer(&c, 500, 0x10), VCREDIT_OK);
	cr_assert_eq(vcredit_peer_free(&c), 500 - (c.sent - 0x10));
}

Test(vsock_flow, the_guest_hears_of_space_only_when_it_runs_short)
{
	struct vcredit c = { .alloc = 1000 };

	cr_assert(vcredit_take(&c, 400));
	c.fwd = 400;
	cr_assert(!vcredit_due(&c), "it still knows of 600");
	cr_assert(vcredit_take(&c, 101));
	cr_assert(vcredit_due(&c), "it knows of 499");
	c.told = c.fwd;
	cr_assert(!vcredit_due(&c), "nothing new to say");
	cr_assert(vcredit_take(&c, 899));
	cr_assert(!vcredit_due(&c), "a full buffer is no news");
	c.fwd += 900;
	cr_assert(vcredit_take(&c, 800), "there is room, though it was not told so");
	cr_assert(vcredit_due(&c));
}

Test(vsock_flow, a_guest_cannot_acknowledge_what_it_was_not_sent)
{
	struct vcredit c = { .peer_alloc = 100, .peer_fwd = 50, .sent = 100 };

	cr_assert_eq(vcredit_peer(&c, 1 << 20, 101), VCREDIT_LIE);
	cr_assert_eq(c.peer_alloc, 100);
	cr_assert_eq(c.peer_fwd, 50);
	cr_assert_eq(vcredit_peer(&c, 1 << 20, 49), VCREDIT_STALE);
	cr_assert_eq(c.peer_alloc, 100);
	cr_assert_eq(vcredit_peer(&c, 200, 100), VCREDIT_OK);
	cr_assert_eq(vcredit_peer_free(&c), 200);
}

Test(vsock_flow, a_shrunken_buffer_is_full_and_not_huge)
{
	struct vcredit c = { .peer_alloc = 1000, .sent = 800 };

	cr_assert_eq(vcredit_peer_free(&c), 200);
	cr_assert_eq(vcredit_peer(&c, 100, 0), VCREDIT_OK);
	cr_assert_eq(vcredit_peer_free(&c), 0);
	cr_assert_eq(vcredit_peer(&c, 0, 0), VCREDIT_OK);
	cr_assert_eq(vcredit_peer_free(&c), 0);
}

/* Against a counter: byte k of the stream is (k * 7 + k / 256). */
static unsigned char nth(uint32_t k)
{
	return (unsigned char)(k * 7 + k / 256);
}

Test(vsock_flow, buffer_keeps_order_over_growth_and_wrap)
{
	const uint32_t max = 64 << 10;
	uint32_t in = 0, out = 0, seed = 1;
	unsigned char a[5000], b[3000];
	struct vbuf buf = { 0 };

	for (int round = 0; round < 3000; round++) {
		struct iovec v[2] = { { a, sizeof(a) }, { b, sizeof(b) } }, got[2];
		uint32_t skip = seed % 700, len = seed / 700 % 7000, n;

		seed = seed * 1103515245 + 12345;
		len = len < max - buf.used ? len : max - buf.used;
		for (uint32_t i = 0; i < len; i++)
			*(skip + i < sizeof(a) ? &a[skip + i] : &b[skip + i - sizeof(a)]) =
				nth(in + i);
		cr_assert_eq(vbuf_put(&buf, v, 2, skip, len, max), 0);
		in += len;
		cr_assert_eq(buf.used, in - out);
		n = vbuf_peek(&buf, got);
		for (uint32_t p = 0, k = out; p < n; p++)
			for (uint32_t i = 0; i < got[p].iov_len; i++, k++)
				cr_assert_eq(((unsigned char *)got[p].iov_base)[i], nth(k));
		n = round % 3 ? seed % 6000 : 0;
		n = n < buf.used ? n : buf.used;
		vbuf_drop(&buf, n);
		out += n;
	}
	cr_assert_gt(in, 2u << 20);
	cr_assert_leq(buf.cap, max);
	vbuf_free(&buf);
}

/* threat-model.md 8: what was buffered once is not held for ever. */
Test(vsock_flow, an_emptied_buffer_gives_its_memory_back)
{
	static unsigned char big[VSOCK_BUF_MAX];
	struct iovec v = { big, sizeof(big) };
	struct vbuf buf = { 0 };

	cr_assert_eq(vbuf_put(&buf, &v, 1, 0, sizeof(big), sizeof(big)), 0);
	cr_assert_eq(buf.cap, sizeof(big));
	vbuf_drop(&buf, sizeof(big) - 1);
	cr_assert_not_null(buf.p);
	vbuf_drop(&buf, 1);
	cr_assert_null(buf.p);
	cr_assert_eq(buf.cap, 0);
}

Test(vsock_flow, slices)
{
	char a[10], b[10], c[10];
	struct iovec in[3] = { { a, 10 }, { b, 10 }, { c, 10 } }, out[3];

	cr_assert_eq(viov_slice(in, 3, 0, 30, out, 3), 3);
	cr_assert_eq(viov_slice(in, 3, 10, 10, out, 3), 1);
	cr_assert(out[0].iov_base == b && out[0].iov_len == 10);
	cr_assert_eq(viov_slice(in, 3, 9, 12, out, 3), 3);
	cr_assert(out[0].iov_base == a + 9 && out[0].iov_len == 1);
	cr_assert(out[2].iov_base == c && out[2].iov_len == 1);
	cr_assert_eq(viov_slice(in, 3, 30, 5, out, 3), 0);
	cr_assert_eq(viov_slice(in, 3, 0, 0, out, 3), 0);
	cr_assert_eq(viov_slice(in, 3, 0, 30, out, 2), 2);
}
