/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.c - a bzImage names its release in its header: the field at 0x20e, plus
 * 0x200, is where the text lies in the file's first 64 KiB. A vmlinux has only the
 * banner that it prints, somewhere.
 */
#include <fcntl.h>
#include "cli/machine/kernel.h"

#define MAGIC_AT	0x202u
#define VERSION_AT	0x20eu
#define VERSION_BASE	0x200u
#define CHUNK		(1u << 20)
#define CHUNKS_MAX	64u

static bool in_header(int fd, char release[static KERNEL_RELEASE_MAX])
{
	unsigned char head[4], at[2];

	return pread(fd, head, 4, MAGIC_AT) == 4 && !memcmp(head, "HdrS", 4) &&
	       pread(fd, at, 2, VERSION_AT) == 2 && (at[0] | at[1]) &&
	       pread(fd, release, KERNEL_RELEASE_MAX, VERSION_BASE + at[0] + 256 * at[1]) ==
		       (ssize_t)KERNEL_RELEASE_MAX;
}

static bool in_banner(int fd, char release[static KERNEL_RELEASE_MAX])
{
	static const char banner[] = "Linux version ";
	const size_t need = sizeof(banner) - 1 + KERNEL_RELEASE_MAX;
	auto_mem char *buf = malloc(CHUNK + need);
	ssize_t n = 1;

	for (unsigned i = 0; buf && n > 0 && i < CHUNKS_MAX; i++) {
		const char *at;

		/* Chunks overlap by @need. */
		n = pread(fd, buf, CHUNK + need, (off_t)i * CHUNK);
		at = n > (ssize_t)need ? memmem(buf, (size_t)n - need, banner, sizeof(banner) - 1) :
					 NULL;
		if (!at)
			continue;
		memcpy(release, at + sizeof(banner) - 1, KERNEL_RELEASE_MAX);
		return true;
	}
	return false;
}

int kernel_release(const char *path, char release[static KERNEL_RELEASE_MAX])
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	if (fd < 0 || (!in_header(fd, release) && !in_banner(fd, release)))
		return -EINVAL;
	while (n < KERNEL_RELEASE_MAX - 1 && release[n] > ' ' && release[n] < 0x7f)
		n++;
	release[n] = '\0';
	return n ? 0 : -EINVAL;
}
