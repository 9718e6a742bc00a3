/* SPDX-License-Identifier: Apache-2.0 */
/* test_fw_arm64.c - arm64 Images into guest memory; the code is the same on every host. */
#include <criterion/criterion.h>
#include <libfdt.h>
#include <sys/mman.h>

#include "firmware/firmware.h"
#include "firmware/layout_arm64.h"

#define MIB	0x100000ull
#define RAM_LEN	(64 * MIB)
#define LEN	0x5000u

static struct gmem mem;
static struct fw_conf conf;
static struct fw_entry_arm64 at;
static struct err err;
static uint8_t file[LEN];

static int memfd(const void *p, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, p, len), (ssize_t)len);
	return fd;
}

static void put64(size_t off, uint64_t v) { memcpy(file + off, &v, sizeof(v)); }

static void make_image(void)
{
	for (size_t i = 0; i < LEN; i++)
		file[i] = (uint8_t)(i * 3 + 1);
	put64(8, 0);
	put64(16, 8 * MIB);
	put64(24, 0xa);
	memcpy(file + 56, "ARM\x64", 4);
}

static void setup(void)
{
	void *p = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	mem = (struct gmem){ .n = 1, .r = { { FW_ARM64_RAM, RAM_LEN, p } } };
	conf = (struct fw_conf){ .ncpus = 2, .cmdline = "x", .kernel = { -1, "Image" },
		.initrd = { -1, "root.cpio" }, .vmgenid = true, .vmgenid_gsi = 9 };
	memset(conf.vmgenid_value, 0xa5, sizeof(conf.vmgenid_value));
	make_image();
}

TestSuite(fw_arm64, .init = setup);

static int load(size_t len)
{
	if (conf.kernel.fd < 0)
		conf.kernel.fd = memfd(file, len);
	return fw_load_arm64(&mem, &conf, &at, &err);
}

static void refused(size_t len, int code, const char *why)
{
	int rc = load(len);

	cr_expect_eq(rc, code, "%s: %d (%s)", why, rc, rc ? err.msg : "accepted");
	if (rc)
		cr_expect(strstr(err.msg, why), "\"%s\" is not in \"%s\"", why, err.msg);
	close(conf.kernel.fd);
	conf.kernel.fd = -1;
}

Test(fw_arm64, image_tree_and_id)
{
	const void *tree;

	cr_assert_eq(load(LEN), 0, "%s", err.msg);
	cr_assert_eq(at.pc, FW_ARM64_RAM);
	cr_assert_eq(memcmp(gmem_ptr(&mem, GPA(at.pc), LEN), file, LEN), 0);
	cr_assert_eq(at.x0, FW_ARM64_RAM + RAM_LEN - 0x20000);
	tree = gmem_ptr(&mem, GPA(at.x0), FW_ARM64_FDT_LEN);
	cr_assert_eq(fdt_check_full(tree, FW_ARM64_FDT_LEN), 0);
	cr_assert_eq(at.vmgenid.v, FW_ARM64_RAM + RAM_LEN - 0x1000);
	cr_assert_eq(memcmp(gmem_ptr(&mem, at.vmgenid, 16), conf.vmgenid_value, 16), 0);
}

Test(fw_arm64, text_offset_counts_from_2_mib)
{
	put64(8, 0x80000);
	cr_assert_eq(load(LEN), 0, "%s", err.msg);
	cr_assert_eq(at.pc, FW_ARM64_RAM + 0x80000);
}

Test(fw_arm64, initrd_lies_below_the_tree)
{
	conf.initrd.fd = memfd(file, 0x1001);
	cr_assert_eq(load(LEN), 0, "%s", err.msg);
	cr_assert_eq(memcmp(gmem_ptr(&mem, GPA(at.x0 - 0x2000), 0x1001), file, 0x1001), 0);
}

Test(fw_arm64, initrd_that_does_not_fit)
{
	conf.initrd.fd = memfd(file, LEN);
	cr_assert_eq(ftruncate(conf.initrd.fd, RAM_LEN - 8 * MIB), 0);
	refused(LEN, -EFBIG, "needs 56 MiB, the guest has 64 and the kernel leaves 55");
}

Test(fw_arm64, refusals)
{
	static const struct { unsigned off; uint64_t v; int code; const char *why; } bad[] = {
		{ 24, 0xb, -ENOEXEC, "big-endian" },
		{ 16, 0, -ENOEXEC, "older than Linux 3.17" },
		{ 16, RAM_LEN, -EFBIG,
		  "needs 64 MiB at 0x40000000, usable RAM ends at 0x43fe0000" },
		{ 16, ~0ull, -EFBIG, "does not fit" },
		{ 8, 0x200000, -ENOEXEC, "text_offset 0x200000" },
		{ 8, ~0xfffull, -ENOEXEC, "text_offset" },
		{ 8, 0x80004, -ENOEXEC, "text_offset 0x80004" },
		{ 56, 0, -ENOEXEC, "unknown format, not an arm64 Image" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		make_image();
		put64(bad[i].off, bad[i].v);
		refused(LEN, bad[i].code, bad[i].why);
	}
	make_image();
	refused(63, -ENOEXEC, "not an arm64 Image");
	memcpy(file, "\x1f\x8b", 2);
	memset(file + 56, 0, 4);
	refused(LEN, -ENOEXEC, "gzip-compressed (unpack it first), not an arm64 Image");
	memcpy(file, "\x7f" "ELF\x02", 5);
	refused(LEN, -ENOEXEC, "an ELF file, not an arm64 Image");
}

Test(fw_arm64, configuration_refusals)
{
	static const struct fw_slot far = { FW_ARM64_VIRTIO, 0x1000, 988 };
	static char longer[2049];

	conf.ncpus = 0;
	refused(LEN, -EINVAL, "0 CPUs");
	conf.ncpus = 256;
	refused(LEN, -EINVAL, "256 CPUs");
	conf.ncpus = 1;
	conf.slots = &far;
	conf.nslots = 257;
	refused(LEN, -EINVAL, "257 virtio slots");
	conf.nslots = 1;
	refused(LEN, -EINVAL, "the GIC has no SPI 988");
	conf.nslots = 0;
	memset(longer, 'x', 2048);
	conf.cmdline = longer;
	refused(LEN, -EINVAL, "command line has 2048 bytes");
	conf.cmdline = "";
	mem.r[0].base = 0;
	refused(LEN, -EINVAL, "has to start at 0x40000000");
	mem.r[0].base = FW_ARM64_RAM;
	mem.r[0].len = 0x3ffff;
	refused(LEN, -EINVAL, "has to start at 0x40000000");
	mem.r[0].len = RAM_LEN;
	mem.n = 0;
	refused(LEN, -EINVAL, "has to start at 0x40000000");
}

Test(fw_arm64, guests_too_small_for_the_image)
{
	/* usable: 128 KiB less than RAM; the image begins behind that, or does not end there */
	put64(8, 0x80000);
	put64(16, 0x10000);
	mem.r[0].len = 0x80000;
	refused(LEN, -EFBIG, "it needs 1 MiB at 0x40080000, usable RAM ends at 0x40060000");
	mem.r[0].len = 0xa0000;
	refused(LEN, -EFBIG, "it needs 1 MiB at 0x40080000, usable RAM ends at 0x40080000");
	mem.r[0].len = 0xb0000;
	cr_assert_eq(load(LEN), 0, "%s", err.msg);
}
