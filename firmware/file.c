/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - reading kernels and initrds, which may be anything.
 *
 * The size is taken once. Whoever can write the file can still shrink it, so a
 * read that comes back short is an error with a sentence; a mapping would have
 * been SIGBUS.
 */
#include <sys/stat.h>

#include "firmware/file.h"

int fw_src_init(struct fw_src *s, const struct fw_file *f, struct err *e)
{
	struct stat st;

	*s = (struct fw_src){ .f = *f };
	if (fstat(f->fd, &st) < 0)
		return err_set(e, -errno, "%s", f->name);
	if (!S_ISREG(st.st_mode))
		return err_say(e, -EINVAL, "%s is not a regular file", f->name);
	if (st.st_size <= 0)
		return err_say(e, -ENOEXEC, "%s is empty", f->name);
	s->size = (uint64_t)st.st_size;
	return 0;
}

int fw_src_read(const struct fw_src *s, uint64_t off, void *dst, uint64_t len, struct err *e)
{
	uint8_t *p = dst;

	if (off > s->size || len > s->size - off)
		return err_say(e, -ENOEXEC, "%s is truncated: it has %llu bytes, %llu at %llu are "
			       "missing", s->f.name, (unsigned long long)s->size,
			       (unsigned long long)len, (unsigned long long)off);
	while (len) {
		ssize_t n = pread(s->f.fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "reading %s", s->f.name);
		if (n == 0)
			return err_say(e, -ENOEXEC, "%s became shorter while it was read",
				       s->f.name);
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int fw_src_load(const struct fw_src *s, uint64_t off, const struct gmem *m, gpa_t at, uint64_t len,
		struct err *e)
{
	void *p = gmem_ptr(m, at, len);

	if (!p)
		return err_say(e, -EFBIG, "%s does not fit: no RAM for %llu MiB at 0x%llx",
			       s->f.name, (unsigned long long)fw_mib(len),
			       (unsigned long long)at.v);
	return fw_src_read(s, off, p, len, e);
}

/* What a file is called by its first bytes. Longest signatures first. */
static const struct {
	uint8_t off, len;
	const char *magic, *what;
} kinds[] = {
	{ 56, 4, "ARM\x64",             "an arm64 kernel Image" },
	{ 0, 8, "!<arch>\n",            "an ar archive" },
	{ 0, 6, "\xfd" "7zXZ\0",        "xz-compressed (unpack it first)" },
	{ 0, 6, "070701",               "a cpio archive (an initrd?)" },
	{ 0, 5, "\x7f" "ELF\x01",       "a 32-bit ELF file" },
	{ 0, 4, "\x7f" "ELF",           "an ELF file" },
	{ 0, 4, "\x28\xb5\x2f\xfd",     "zstd-compressed (unpack it first)" },
	{ 0, 4, "\x02\x21\x4c\x18",     "lz4-compressed (unpack it first)" },
	{ 0, 4, "\x04\x22\x4d\x18",     "lz4-compressed (unpack it first)" },
	{ 0, 4, "\x27\x05\x19\x56",     "a U-Boot uImage" },
	{ 0, 4, "\xd0\x0d\xfe\xed",     "a device tree or FIT image" },
	{ 0, 4, "\x89LZO",              "lzo-compressed (unpack it first)" },
	{ 0, 3, "BZh",                  "bzip2-compressed (unpack it first)" },
	{ 0, 3, "\x5d\0\0",             "lzma-compressed (unpack it first)" },
	{ 0, 2, "\x1f\x8b",             "gzip-compressed (unpack it first)" },
	{ 0, 2, "MZ",                   "a PE (EFI) program" },
	{ 0, 2, "#!",                   "a script" },
};

int fw_src_refuse(const struct fw_src *s, const char *want, struct err *e)
{
	uint8_t head[64] = { 0 };
	uint64_t len = s->size < sizeof(head) ? s->size : sizeof(head);
	const char *what = "of an unknown format";
	int rc = fw_src_read(s, 0, head, len, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!memcmp(head + kinds[i].off, kinds[i].magic, kinds[i].len)) {
			what = kinds[i].what;
			break;
		}
	}
	return err_say(e, -ENOEXEC, "%s is %s, not %s", s->f.name, what, want);
}
