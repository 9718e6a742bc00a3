/* SPDX-License-Identifier: Apache-2.0 */
/* crc.c - a sum of sums, of each block that is not all zeroes. */
#include <sys/stat.h>
#include "cli/base/crc.h"
#include "vmm/blob.h"

#define BLOCK	65536
#define PIECE	(16 * BLOCK)		/* read at once */

uint32_t crc_more(uint32_t crc, const void *p, size_t len)
{
	const uint32_t both[] = { crc, blob_crc(p, len) };

	return blob_crc(both, sizeof(both));
}

static uint32_t add_blocks(uint32_t crc, off_t at, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += BLOCK) {
		size_t n = len - i < BLOCK ? len - i : BLOCK;
		uint64_t where = (uint64_t)at + i;

		if (!p[i] && !memcmp(p + i, p + i + 1, n - 1))
			continue;
		crc = crc_more(crc, &where, sizeof(where));
		crc = crc_more(crc, p + i, n);
	}
	return crc;
}

static int read_at(int fd, uint8_t *p, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pread(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int crc_file(int fd, uint32_t *crc)
{
	auto_mem uint8_t *buf = malloc(PIECE);
	struct stat st;

	*crc = 0;
	if (!buf || fstat(fd, &st))
		return buf ? -errno : -ENOMEM;
	for (off_t at = 0, end; at < st.st_size; at = end) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (data > at)
			at = data - data % BLOCK;
		end = hole < at ? st.st_size : hole + (BLOCK - hole % BLOCK) % BLOCK;
		if (end > st.st_size)
			end = st.st_size;
		while (at < end) {
			size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
			int rc = read_at(fd, buf, n, at);

			if (rc)
				return rc;
			*crc = add_blocks(*crc, at, buf, n);
			at += (off_t)n;
		}
	}
	return 0;
}
