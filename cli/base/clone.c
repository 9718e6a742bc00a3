/* SPDX-License-Identifier: Apache-2.0 */
/* clone.c - share, else copy what is data. */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "cli/base/clone.h"

#define BUFFER (1u << 20)

static int write_all(int to, const char *p, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pwrite(to, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		p += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* Where the kernel cannot copy between these two. */
static int copy_by_hand(int from, int to, off_t at, off_t end)
{
	auto_mem char *buf = malloc(BUFFER);
	int rc = buf ? 0 : -ENOMEM;

	while (!rc && at < end) {
		off_t left = end - at;
		ssize_t n = pread(from, buf, left < BUFFER ? (size_t)left : BUFFER, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)		/* cut short meanwhile: the rest reads as zeroes */
			return n ? -errno : 0;
		rc = write_all(to, buf, (size_t)n, at);
		at += n;
	}
	return rc;
}

static int copy_data(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0 && errno == ENOSPC)
			return -errno;
		if (n <= 0)
			return copy_by_hand(from, to, at, end);
		at += n;
	}
	return 0;
}

int clone_file(int from, int to)
{
	struct stat st;
	int rc = 0;

	if (!ioctl(to, FICLONE, from))
		return 0;
	if (fstat(from, &st) || ftruncate(to, st.st_size))
		return -errno;
	for (off_t at = 0; !rc && at < st.st_size;) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)		/* a file system that knows no holes */
			return copy_data(from, to, at, st.st_size);
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		rc = copy_data(from, to, data, hole);
		at = hole;
	}
	return rc;
}
