/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "vmm/gmem.h"

static unsigned char low[0x3000], high[0x1000];
static const struct gmem two = { .n = 2, .fd = -1, .r = {
	{ 0x1000, sizeof(low), low },
	{ 0xfffffffffffff000u, sizeof(high), high },	/* its end is 2^64 */
} };

/* threat-model.md 5: no range that wraps, and none that leaves its region. */
Test(gmem, only_ranges_inside_one_region_have_an_address)
{
	static const struct { uint64_t at, len; const void *want; } t[] = {
		{ 0x1000, 1, low }, { 0x1000, 0x3000, low }, { 0x3fff, 1, low + 0x2fff },
		{ 0x1000, 0, low }, { 0x3fff, 0, low + 0x2fff },
		{ 0xfff, 1, NULL }, { 0xfff, 2, NULL }, { 0x1000, 0x3001, NULL },
		{ 0x3fff, 2, NULL }, { 0x4000, 0, NULL }, { 0x4000, 1, NULL }, { 0, 0, NULL },
		{ 0x1001, UINT64_MAX, NULL }, { 0x1000, UINT64_MAX - 0xfff, NULL },
		{ UINT64_MAX, 1, high + 0xfff }, { UINT64_MAX, 2, NULL },
		{ UINT64_MAX - 0xfff, 0x1000, high }, { UINT64_MAX - 0xfff, 0x1001, NULL },
		{ UINT64_MAX - 0x1000, 1, NULL }, { UINT64_MAX, UINT64_MAX, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		cr_expect_eq(gmem_ptr(&two, GPA(t[i].at), t[i].len), t[i].want,
			     "at %#lx len %#lx", t[i].at, t[i].len);
}

/* Two regions that touch are still two: no access may rely on how they were mapped. */
Test(gmem, a_range_over_two_regions_is_refused)
{
	unsigned char *p = malloc(0x2000);
	struct gmem m = { .n = 2, .fd = -1,
			  .r = { { 0, 0x1000, p }, { 0x1000, 0x1000, p + 0x1000 } } };

	cr_assert_eq(gmem_ptr(&m, GPA(0xfff), 2), NULL);
	cr_assert_eq(gmem_ptr(&m, GPA(0x1000), 0x1000), p + 0x1000);
	free(p);
}

Test(gmem, copies_are_whole_or_nothing)
{
	unsigned char src[4] = { 1, 2, 3, 4 };

	cr_assert_eq(gmem_write(&two, GPA(0x3ffc), src, 4), 0);
	cr_assert_arr_eq(gmem_ptr(&two, GPA(0x3ffc), 4), src, 4);
	cr_assert_eq(gmem_write(&two, GPA(0x3ffd), "xxxx", 4), -EFAULT);
	cr_assert_eq(low[0x2ffd], 2);
}

Test(gmem, regions_are_one_sealed_memfd_in_order)
{
	struct gmem m = { .n = 2, .r = { { .base = 0, .len = 0x10000 },
					 { .base = 0x100000000u, .len = 0x8000 } } };
	struct err e = { 0 };
	struct stat st;
	char c = 0;

	cr_assert_eq(gmem_open(&m, &e), 0, "%s", e.msg);
	cr_assert_eq(fstat(m.fd, &st), 0);
	cr_assert_eq(st.st_size, 0x18000);
	cr_assert_eq(gmem_write(&m, GPA(0x100000000u), "x", 1), 0);
	cr_assert_eq(pread(m.fd, &c, 1, 0x10000), 1);
	cr_assert_eq(c, 'x');
	/* A file that shrinks under a mapping is a SIGBUS away from ending the machine. */
	cr_assert_eq(ftruncate(m.fd, 0), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(ftruncate(m.fd, 1 << 20), -1);
	cr_assert_eq(fcntl(m.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	cr_assert(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
	gmem_close(&m);
	cr_assert_eq(m.fd, -1);
	cr_assert_eq(gmem_ptr(&m, GPA(0), 1), NULL);
}

Test(gmem, more_than_the_host_can_map_is_a_sentence)
{
	struct gmem m = { .n = 2, .r = { { .base = 0, .len = 1 << 20 },
					 { .base = 1ull << 40, .len = 1ull << 60 } } };
	struct err e = { 0 };

	cr_assert_lt(gmem_open(&m, &e), 0);
	cr_assert(strstr(e.msg, "guest memory"), "%s", e.msg);
}

static void two_pages(struct gmem *m)
{
	*m = (struct gmem){ .n = 1, .r = { { .base = 0, .len = 0x4000 } } };
}

Test(gmem, what_is_discarded_of_a_memfd_is_gone_from_it)
{
	struct err e = { 0 };
	struct stat st;
	struct gmem m;

	two_pages(&m);
	cr_assert_eq(gmem_open(&m, &e), 0, "%s", e.msg);
	memset(m.r[0].hva, 0x55, 0x4000);
	gmem_discard(&m, m.r[0].hva + 0xfff, 0x2002);	/* two whole pages of it */
	cr_assert_eq(m.r[0].hva[0xfff], 0x55);
	cr_assert_eq(m.r[0].hva[0x1000], 0);
	cr_assert_eq(m.r[0].hva[0x2fff], 0);
	cr_assert_eq(m.r[0].hva[0x3000], 0x55);
	gmem_discard(&m, m.r[0].hva, 0x4000);
	cr_assert_eq(fstat(m.fd, &st), 0);
	cr_assert_eq(st.st_blocks, 0, "%ld blocks are still held", (long)st.st_blocks);
	gmem_close(&m);
}

Test(gmem, what_is_discarded_of_private_memory_is_the_files_again)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	struct err e = { 0 };
	struct gmem m;

	two_pages(&m);
	cr_assert_eq(ftruncate(fd, 0x4000), 0);
	cr_assert_eq(pwrite(fd, "file", 4, 0x1000), 4);
	cr_assert_eq(gmem_open_private(&m, fd, &e), 0, "%s", e.msg);
	memset(m.r[0].hva, 0x55, 0x4000);
	gmem_discard(&m, m.r[0].hva + 0x1000, 0x1000);
	cr_assert_eq(memcmp(m.r[0].hva + 0x1000, "file", 4), 0);
	cr_assert_eq(m.r[0].hva[0x2000], 0x55);
	gmem_close(&m);
	close(fd);
}
