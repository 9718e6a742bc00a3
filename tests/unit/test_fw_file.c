/* SPDX-License-Identifier: Apache-2.0 */
/* test_fw_file.c - files that change, cannot be read, or do not fit. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "firmware/file.h"

static struct err err;
static struct fw_src src;

static void setup(void)
{
	const struct fw_file f = { memfd_create("test", MFD_CLOEXEC), "k" };

	cr_assert(f.fd >= 0);
	cr_assert_eq(write(f.fd, "0123456789", 10), 10);
	cr_assert_eq(fw_src_init(&src, &f, &err), 0);
	cr_assert_eq(src.size, 10);
}

TestSuite(fw_file, .init = setup);

Test(fw_file, reads_what_was_asked)
{
	char buf[4] = "";

	cr_assert_eq(fw_src_read(&src, 7, buf, 3, &err), 0);
	cr_assert_str_eq(buf, "789");
	cr_assert_eq(fw_src_read(&src, 10, buf, 0, &err), 0);
}

Test(fw_file, ranges_outside_the_file)
{
	static const struct { uint64_t off, len; } bad[] = {
		{ 8, 3 }, { 11, 0 }, { ~0ull, 2 }, { 1, ~0ull }, { 0, 11 },
	};
	char buf[16];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cr_expect_eq(fw_src_read(&src, bad[i].off, buf, bad[i].len, &err), -ENOEXEC);
		cr_expect(strstr(err.msg, "k is truncated: it has 10 bytes"), "%s", err.msg);
	}
}

Test(fw_file, file_that_shrinks_under_the_reader)
{
	char buf[10];

	cr_assert_eq(ftruncate(src.f.fd, 4), 0);
	cr_assert_eq(fw_src_read(&src, 0, buf, 10, &err), -ENOEXEC);
	cr_assert(strstr(err.msg, "k became shorter"), "%s", err.msg);
}

Test(fw_file, file_that_cannot_be_read)
{
	char path[64], buf[4];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", src.f.fd);
	src.f.fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(src.f.fd >= 0);
	cr_assert_eq(fw_src_read(&src, 0, buf, 4, &err), -EBADF);
	cr_assert(strstr(err.msg, "reading k: "), "%s", err.msg);
	src.f.fd = -1;
	cr_assert_eq(fw_src_init(&src, &src.f, &err), -EBADF);
}

Test(fw_file, no_ram_there)
{
	static unsigned char ram[0x1000];
	const struct gmem m = { .n = 1, .r = { { 0x10000, sizeof(ram), ram } } };

	cr_assert_eq(fw_src_load(&src, 0, &m, GPA(0x10ff6), 10, &err), 0);
	cr_assert_eq(memcmp(ram + 0xff6, "0123456789", 10), 0);
	cr_assert_eq(fw_src_load(&src, 0, &m, GPA(0x10ff7), 10, &err), -EFBIG);
	cr_assert(strstr(err.msg, "k does not fit: no RAM for 1 MiB at 0x10ff7"), "%s", err.msg);
}
