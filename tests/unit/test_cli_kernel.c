/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include "cli/machine/kernel.h"

static char release[KERNEL_RELEASE_MAX];

/* A file of @len bytes with "HdrS", the version's place @at, and @text there. */
static int probe(size_t len, unsigned at, const char *text)
{
	static unsigned char image[4096];
	int fd = memfd_create("kernel", 0), rc;
	char path[32];

	memset(image, 0xff, sizeof(image));
	memcpy(image + 0x202, "HdrS", 4);
	image[0x20e] = (unsigned char)at;
	image[0x20f] = (unsigned char)(at >> 8);
	if (0x200 + at + strlen(text) < sizeof(image))
		memcpy(image + 0x200 + at, text, strlen(text) + 1);
	cr_assert_eq(write(fd, image, len), (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = kernel_release(path, release);
	close(fd);
	return rc;
}

Test(cli_kernel, release_of_a_kernel)
{
	cr_assert_eq(probe(4096, 0x300, "6.12.48 (somebody@somewhere) #1"), 0);
	cr_assert_str_eq(release, "6.12.48");
}

Test(cli_kernel, files_that_do_not_tell)
{
	cr_assert_eq(probe(4096, 0, "6.12"), -EINVAL);
	cr_assert_eq(probe(4096, 0xffff, "6.12"), -EINVAL);
	cr_assert_eq(probe(4096, 0x300, "\x1b[31m6.12"), -EINVAL);
	cr_assert_eq(probe(0x20f, 0x300, "6.12"), -EINVAL);
	cr_assert_eq(probe(0x100, 0x300, "6.12"), -EINVAL);
	cr_assert_eq(kernel_release("/no/such", release), -EINVAL);
	cr_assert_eq(kernel_release("/dev/zero", release), -EINVAL);
}

Test(cli_kernel, a_text_without_an_end)
{
	char text[200];

	memset(text, '6', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_eq(probe(4096, 0x300, text), 0);
	cr_assert_eq(strlen(release), KERNEL_RELEASE_MAX - 1);
}
