/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_arm64.c - the arm64 Image (Linux Documentation/arch/arm64/booting.rst).
 *
 * The file is copied as it is to text_offset behind a 2 MiB boundary and entered
 * at its first byte, which doubles as a branch instruction. image_size is what
 * the kernel uses from there, bss included.
 */
#include "firmware/image.h"

enum { OFF_TEXT_OFFSET = 8, OFF_IMAGE_SIZE = 16, OFF_FLAGS = 24, OFF_MAGIC = 56, HEAD_LEN = 64 };

#define MAGIC		0x644d5241u	/* "ARM\x64" */
#define FLAG_BE		1u
#define BASE_ALIGN	0x200000ull

int image_arm64_probe(const struct fw_src *s, struct err *e)
{
	uint8_t head[HEAD_LEN];
	int rc;

	if (s->size < sizeof(head))
		return 0;
	rc = fw_src_read(s, 0, head, sizeof(head), e);
	return rc ? rc : fw_le32(head + OFF_MAGIC) == MAGIC;
}

int image_arm64_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
		     struct image *img, struct err *e)
{
	uint64_t base = (lo + BASE_ALIGN - 1) & ~(BASE_ALIGN - 1);
	uint64_t text, size, need;
	uint8_t head[HEAD_LEN];
	int rc = fw_src_read(s, 0, head, sizeof(head), e);

	BUG_ON(base >= hi);	/* the caller's limits leave room for a tree at least */
	if (rc)
		return rc;
	text = fw_le64(head + OFF_TEXT_OFFSET);
	size = fw_le64(head + OFF_IMAGE_SIZE);
	need = size > s->size ? size : s->size;
	if (fw_le64(head + OFF_FLAGS) & FLAG_BE)
		return err_say(e, -ENOEXEC, "%s is a big-endian arm64 kernel", s->f.name);
	if (!size)
		return err_say(e, -ENOEXEC, "%s does not say how much memory it needs: older than "
			       "Linux 3.17", s->f.name);
	if (text >= BASE_ALIGN || text & 0xfff)
		return err_say(e, -ENOEXEC, "%s: text_offset 0x%llx is not a page within 2 MiB",
			       s->f.name, (unsigned long long)text);
	if (text > hi - base || need > hi - base - text)
		return err_say(e, -EFBIG, "%s does not fit: it needs %llu MiB at 0x%llx, usable "
			       "RAM ends at 0x%llx", s->f.name, (unsigned long long)fw_mib(need),
			       (unsigned long long)(base + text), (unsigned long long)hi);
	rc = fw_src_load(s, 0, m, GPA(base + text), s->size, e);
	if (rc)
		return rc;
	*img = (struct image){
		.lo = base + text, .hi = base + text + need, .entry = base + text,
		.initrd_end = UINT64_MAX, .cmdline_max = 2047,
	};
	return 0;
}
