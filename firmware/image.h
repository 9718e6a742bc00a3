/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - the kernel loaders: what the boot code needs to know of each format.
 */
#ifndef FIRMWARE_IMAGE_H
#define FIRMWARE_IMAGE_H
#include "firmware/file.h"

#define IMAGE_X86_HDR_OFF	0x1f1u	/* of struct setup_header, in file and zero page */
#define IMAGE_X86_HDR_MAX	(0x290u - IMAGE_X86_HDR_OFF)

/* A kernel in guest memory. */
struct image {
	uint64_t lo, hi;	/* guest physical range it occupies while it starts: [lo, hi) */
	uint64_t entry;		/* guest physical address of its first instruction */
	uint64_t initrd_end;	/* the initrd has to end at or below this address */
	uint32_t cmdline_max;	/* bytes, without the terminator */
	unsigned hdr_len;	/* bzImage: setup_header as in the file; else 0 */
	uint8_t hdr[IMAGE_X86_HDR_MAX];
};

/* Each: does the file look like this format? 1 yes, 0 no, -errno with @e. */
int elf_probe(const struct fw_src *s, struct err *e) must_check;
int bzimage_probe(const struct fw_src *s, struct err *e) must_check;
int image_arm64_probe(const struct fw_src *s, struct err *e) must_check;

/*
 * Each: check the file, copy it into the part of @m that lies in [@lo, @hi) and
 * fill @img. -ENOEXEC: malformed or unusable; -EFBIG: does not fit. Memory that
 * a format wants zeroed (bss) is not written: guest memory is fresh.
 */
int elf_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
	     struct image *img, struct err *e) must_check;
int bzimage_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
		 struct image *img, struct err *e) must_check;
int image_arm64_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
		     struct image *img, struct err *e) must_check;

/* An initrd in guest memory; len 0: none. */
struct initrd { uint64_t at, len; };

/*
 * initrd_load - copy @f (fd < 0: nothing to do) between the kernel's end and @end.
 * -EFBIG with how much there is and how much it needs when it does not fit.
 */
int initrd_load(const struct gmem *m, const struct fw_file *f, const struct image *img,
		uint64_t end, struct initrd *out, struct err *e) must_check;
#endif
