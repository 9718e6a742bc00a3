/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - reading kernels and initrds, which may be anything.
 */
#ifndef FIRMWARE_FILE_H
#define FIRMWARE_FILE_H
#include "firmware/firmware.h"

/* A file that was measured once; its size is a promise that reads have to check. */
struct fw_src { struct fw_file f; uint64_t size; };

/*
 * fw_src_init - measure @f. -EINVAL unless it is a regular file (a memfd is one)
 * with at least one byte; else what fstat() said.
 */
int fw_src_init(struct fw_src *s, const struct fw_file *f, struct err *e) must_check;

/*
 * fw_src_read - exactly @len bytes from @off to @dst. -ENOEXEC when the range is
 * not inside the measured size or the file ended early; else what pread() said.
 */
int fw_src_read(const struct fw_src *s, uint64_t off, void *dst, uint64_t len,
		struct err *e) must_check;

/* fw_src_load - the same into guest memory; -EFBIG when @at + @len is not in RAM. */
int fw_src_load(const struct fw_src *s, uint64_t off, const struct gmem *m, gpa_t at,
		uint64_t len, struct err *e) must_check;

/*
 * fw_src_refuse - say what the file is, by its first bytes, instead of a kernel
 * that @want names ("a bzImage or an x86-64 ELF vmlinux"). Returns -ENOEXEC.
 */
int fw_src_refuse(const struct fw_src *s, const char *want, struct err *e);

/* Little-endian fields at any alignment. */
static inline uint16_t fw_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t fw_le32(const uint8_t *p)
{
	return fw_le16(p) | (uint32_t)fw_le16(p + 2) << 16;
}

static inline uint64_t fw_le64(const uint8_t *p)
{
	return fw_le32(p) | (uint64_t)fw_le32(p + 4) << 32;
}

/* MiB, rounded up, for messages. */
static inline uint64_t fw_mib(uint64_t len)
{
	return (len >> 20) + !!(len & 0xfffff);
}
#endif
