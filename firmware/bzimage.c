/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzimage.c - the x86 bzImage (Linux Documentation/arch/x86/boot.rst).
 *
 * The file is a real-mode part, (setup_sects + 1) * 512 bytes that are not
 * used here except for the header at 0x1f1, and the protected-mode part, which
 * is copied to its load address. The 64-bit entry is 0x200 behind that. The
 * kernel says how much memory from there on it uses before it reads the
 * memory map (init_size), where it would like to be (pref_address), and
 * whether it can be elsewhere (relocatable_kernel, kernel_alignment).
 */
#include "firmware/image.h"

#define HDR_MAGIC	0x53726448u	/* "HdrS" */
#define BOOT_FLAG	0xaa55u
#define MIN_VERSION	0x020cu		/* 2.12: xloadflags */
#define XLOAD_64	0x0001u		/* has the 64-bit entry point */
#define XLOAD_ABOVE_4G	0x0002u		/* initrd and the rest may be anywhere */

/* File offsets of fields of struct setup_header. */
enum {
	OFF_SETUP_SECTS = 0x1f1, OFF_SYSSIZE = 0x1f4, OFF_BOOT_FLAG = 0x1fe, OFF_JUMP = 0x201,
	OFF_MAGIC = 0x202, OFF_VERSION = 0x206, OFF_LOADFLAGS = 0x211, OFF_INITRD_MAX = 0x22c,
	OFF_ALIGNMENT = 0x230, OFF_RELOCATABLE = 0x234, OFF_XLOADFLAGS = 0x236,
	OFF_CMDLINE_SIZE = 0x238, OFF_PREF_ADDRESS = 0x258, OFF_INIT_SIZE = 0x260,
	HDR_END_MIN = 0x264, HEAD_LEN = 0x290,
};

int bzimage_probe(const struct fw_src *s, struct err *e)
{
	uint8_t head[HEAD_LEN];
	int rc;

	if (s->size < sizeof(head))
		return 0;
	rc = fw_src_read(s, 0, head, sizeof(head), e);
	if (rc)
		return rc;
	return fw_le16(head + OFF_BOOT_FLAG) == BOOT_FLAG && fw_le32(head + OFF_MAGIC) == HDR_MAGIC;
}

static int check_header(const struct fw_src *s, const uint8_t *head, struct err *e)
{
	unsigned version = fw_le16(head + OFF_VERSION);
	unsigned hdr_end = OFF_MAGIC + head[OFF_JUMP];

	if (version < MIN_VERSION)
		return err_say(e, -ENOEXEC, "%s speaks boot protocol %u.%u; 2.12 is the least",
			       s->f.name, version >> 8, version & 0xff);
	if (!(head[OFF_LOADFLAGS] & 1))
		return err_say(e, -ENOEXEC, "%s is a zImage (it loads below 1 MiB), not a bzImage",
			       s->f.name);
	if (!(fw_le16(head + OFF_XLOADFLAGS) & XLOAD_64))
		return err_say(e, -ENOEXEC, "%s has no 64-bit entry point: a 32-bit kernel?",
			       s->f.name);
	if (hdr_end < HDR_END_MIN || hdr_end > HEAD_LEN)
		return err_say(e, -ENOEXEC, "%s: the setup header ends at 0x%x", s->f.name,
			       hdr_end);
	return 0;
}

/* Where it goes: [*at, *at + need) in [lo, hi). */
static int choose_address(const struct fw_src *s, const uint8_t *head, uint64_t need, uint64_t lo,
			  uint64_t hi, uint64_t *at, struct err *e)
{
	uint64_t pref = fw_le64(head + OFF_PREF_ADDRESS);
	uint64_t align = fw_le32(head + OFF_ALIGNMENT);
	uint64_t up;

	if (!align || (align & (align - 1)))
		return err_say(e, -ENOEXEC, "%s: kernel_alignment 0x%llx is not a power of two",
			       s->f.name, (unsigned long long)align);
	if (pref >= lo && pref < hi && need <= hi - pref && !(pref & (align - 1))) {
		*at = pref;
		return 0;
	}
	up = (lo + align - 1) & ~(align - 1);
	if (head[OFF_RELOCATABLE] && up < hi && need <= hi - up) {
		*at = up;
		return 0;
	}
	return err_say(e, -EFBIG, "%s does not fit: it needs %llu MiB at 0x%llx, usable RAM "
		       "ends at 0x%llx",
		       s->f.name, (unsigned long long)fw_mib(need),
		       (unsigned long long)(head[OFF_RELOCATABLE] ? up : pref),
		       (unsigned long long)hi);
}

int bzimage_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
		 struct image *img, struct err *e)
{
	uint64_t off, len, declared, need, at = 0;
	uint8_t head[HEAD_LEN];
	int rc = fw_src_read(s, 0, head, sizeof(head), e);

	if (!rc)
		rc = check_header(s, head, e);
	if (rc)
		return rc;
	off = ((head[OFF_SETUP_SECTS] ? head[OFF_SETUP_SECTS] : 4u) + 1u) * 512u;
	declared = fw_le32(head + OFF_SYSSIZE) * 16ull;
	/* syssize counts paragraphs, rounded up. */
	if (off >= s->size || declared > s->size - off + 15)
		return err_say(e, -ENOEXEC, "%s is truncated: it has %llu bytes, its header says "
			       "%llu", s->f.name, (unsigned long long)s->size,
			       (unsigned long long)(off + declared));
	len = s->size - off;
	if (len <= 0x200)
		return err_say(e, -ENOEXEC, "%s is truncated: it ends before the 64-bit entry "
			       "point", s->f.name);
	need = fw_le32(head + OFF_INIT_SIZE);
	if (need < len)
		need = len;
	rc = choose_address(s, head, need, lo, hi, &at, e);
	if (!rc)
		rc = fw_src_load(s, off, m, GPA(at), len, e);
	if (rc)
		return rc;
	img->lo = at;
	img->hi = at + need;
	img->entry = at + 0x200;
	img->initrd_end = fw_le16(head + OFF_XLOADFLAGS) & XLOAD_ABOVE_4G ?
		UINT64_MAX : fw_le32(head + OFF_INITRD_MAX) + 1ull;
	img->cmdline_max = fw_le32(head + OFF_CMDLINE_SIZE);
	img->hdr_len = OFF_MAGIC + head[OFF_JUMP] - IMAGE_X86_HDR_OFF;
	memcpy(img->hdr, head + IMAGE_X86_HDR_OFF, img->hdr_len);
	return 0;
}
