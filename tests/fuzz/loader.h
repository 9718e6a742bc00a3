/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader.h - what the loader fuzzers share: a small guest whose memory the
 * loaders may write, and a canary region they may not.
 *
 * After a load that succeeded, the entry point must lie in guest RAM and above
 * the boot data, whatever the file said.
 */
#ifndef TESTS_FUZZ_LOADER_H
#define TESTS_FUZZ_LOADER_H
#include <sys/mman.h>

#include "firmware/firmware.h"

#define LOADER_RAM (32ull << 20)

static int loader_fd = -1;

static inline struct gmem loader_mem(uint64_t base)
{
	static unsigned char *ram;

	if (!ram) {
		/* Unmapped pages on both sides: one byte beyond RAM is a crash. */
		unsigned char *p = mmap(NULL, LOADER_RAM + 0x2000, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		BUG_ON(p == MAP_FAILED);
		ram = p + 0x1000;
		BUG_ON(mprotect(ram, LOADER_RAM, PROT_READ | PROT_WRITE));
		loader_fd = memfd_create("kernel", MFD_CLOEXEC);
		BUG_ON(loader_fd < 0);
	}
	BUG_ON(madvise(ram, LOADER_RAM, MADV_DONTNEED));
	return (struct gmem){ .n = 1, .r = { { base, LOADER_RAM, ram } } };
}

/* The input becomes the file; a kernel that claims to be larger is padded with zeros by @size. */
static inline void loader_file(const uint8_t *data, size_t len, size_t size)
{
	BUG_ON(ftruncate(loader_fd, 0) || ftruncate(loader_fd, (off_t)(len > size ? len : size)));
	BUG_ON(pwrite(loader_fd, data, len, 0) != (ssize_t)len);
}

static inline int loader_x86(const uint8_t *data, size_t len, size_t size)
{
	struct gmem m = loader_mem(0);
	struct fw_entry_x86 at;
	struct fw_conf c = { .ncpus = 1, .cmdline = "", .kernel = { .name = "kernel" },
			     .initrd = { .fd = -1, .name = "initrd" }, .vmgenid = true };
	struct err e = { 0 };
	int rc;

	loader_file(data, len, size);
	c.kernel.fd = loader_fd;
	rc = fw_load_x86(&m, &c, &at, &e);
	BUG_ON(rc && (!e.msg[0] || e.code != rc));
	BUG_ON(!rc && (at.rip < 0x100000 || !gmem_ptr(&m, GPA(at.rip), 1)));
	return 0;
}
#endif
