/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.c - reads a few bytes of a kernel's header. The field at 0x20e, plus
 * 0x200, is where the text lies in the file's first 64 KiB.
 */
#include <fcntl.h>
#include "cli/kernel.h"

#define MAGIC_AT	0x202u
#define VERSION_AT	0x20eu
#define VERSION_BASE	0x200u

int kernel_release(const char *path, char release[static KERNEL_RELEASE_MAX])
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char head[4], at[2];
	size_t n = 0;

	if (fd < 0 || pread(fd, head, 4, MAGIC_AT) != 4 || memcmp(head, "HdrS", 4) ||
	    pread(fd, at, 2, VERSION_AT) != 2 || !(at[0] | at[1]))
		return -EINVAL;
	if (pread(fd, release, KERNEL_RELEASE_MAX, VERSION_BASE + at[0] + 256 * at[1]) !=
	    (ssize_t)KERNEL_RELEASE_MAX)
		return -EINVAL;
	while (n < KERNEL_RELEASE_MAX - 1 && release[n] > ' ' && release[n] < 0x7f)
		n++;
	release[n] = '\0';
	return n ? 0 : -EINVAL;
}
