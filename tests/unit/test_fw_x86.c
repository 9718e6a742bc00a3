/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fw_x86.c - x86 kernels, good and malformed, into guest memory.
 *
 * Kernels are made here, byte by byte, in memfds; each refusal is one change to
 * a good one and has to name its reason.
 */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <elf.h>
#include <fcntl.h>
#include <libfdt.h>
#include <sys/mman.h>

#include "firmware/firmware.h"
#include "firmware/layout_x86.h"
#include "vmm/machine.h"

#define MIB		0x100000ull
#define RAM_LEN		(64 * MIB)
#define HIGH_LEN	(8 * MIB)
#define SETUP_SECTS	3u
#define PAYLOAD		0x3000u
#define BZ_LEN		((SETUP_SECTS + 1) * 512 + PAYLOAD)
#define ELF_LEN		0x3000u

static struct gmem mem;
static struct fw_conf conf;
static struct fw_entry_x86 at;
static struct err err;
static uint8_t file[0x10000];
static const struct fw_slot slots[] = {
	{ MACHINE_VIRTIO, 0x1000, 5 }, { MACHINE_VIRTIO + 0x1000, 0x1000, 6 },
};

static void *ram(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	return p;
}

static int memfd(const void *p, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, p, len), (ssize_t)len);
	return fd;
}

static void put16(size_t off, uint16_t v) { memcpy(file + off, &v, sizeof(v)); }
static void put32(size_t off, uint32_t v) { memcpy(file + off, &v, sizeof(v)); }
static void put64(size_t off, uint64_t v) { memcpy(file + off, &v, sizeof(v)); }

/* A bzImage with a recognizable payload. */
static void make_bzimage(void)
{
	memset(file, 0, sizeof(file));
	file[0x1f1] = SETUP_SECTS;
	put32(0x1f4, PAYLOAD / 16);
	put16(0x1fe, 0xaa55);
	file[0x200] = 0xeb;
	file[0x201] = 0x6a;
	memcpy(file + 0x202, "HdrS", 4);
	put16(0x206, 0x020f);
	file[0x211] = 1;
	put32(0x22c, 0x7fffffff);
	put32(0x230, 0x200000);
	file[0x234] = 1;
	put16(0x236, 3);
	put32(0x238, 2047);
	put64(0x258, 16 * MIB);
	put32(0x260, 4 * MIB);
	for (size_t i = 0; i < PAYLOAD; i++)
		file[(SETUP_SECTS + 1) * 512 + i] = (uint8_t)(i * 7 + 1);
}

static Elf64_Phdr *phdr(unsigned i)
{
	return (void *)(file + sizeof(Elf64_Ehdr) + i * sizeof(Elf64_Phdr));
}

static Elf64_Ehdr *ehdr(void)
{
	return (void *)file;
}

/* A vmlinux: text at 16 MiB, data with bss at 18 MiB, a note. */
static void make_elf(void)
{
	memset(file, 0, sizeof(file));
	*ehdr() = (Elf64_Ehdr){
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_entry = 16 * MIB + 0x40, .e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3,
	};
	*phdr(0) = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = 0x1000,
		.p_vaddr = 0xffffffff81000000, .p_paddr = 16 * MIB,
		.p_filesz = 0x1000, .p_memsz = 0x1000 };
	*phdr(1) = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = 0x2000,
		.p_vaddr = 0xffffffff81200000, .p_paddr = 18 * MIB,
		.p_filesz = 0x800, .p_memsz = 0x2000 };
	*phdr(2) = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = ~0ull, .p_filesz = ~0ull };
	for (size_t i = 0x1000; i < ELF_LEN; i++)
		file[i] = (uint8_t)(i * 5 + 3);
}

static void setup(void)
{
	mem = (struct gmem){ .n = 2, .r = { { 0, RAM_LEN, ram(RAM_LEN) },
					    { FW_X86_RAM2, HIGH_LEN, ram(HIGH_LEN) } } };
	conf = (struct fw_conf){ .ncpus = 2, .cmdline = "console=ttyS0 quiet",
		.kernel = { -1, "bzImage" }, .initrd = { -1, "root.cpio" },
		.slots = slots, .nslots = ARRAY_LEN(slots), .power_base = MACHINE_POWER,
		.pvpanic_base = MACHINE_PVPANIC, .vmgenid = true, .vmgenid_gsi = 20 };
	memset(conf.rng_seed, 0x5a, sizeof(conf.rng_seed));
	memset(conf.vmgenid_value, 0xa5, sizeof(conf.vmgenid_value));
	make_bzimage();
}

TestSuite(fw_x86, .init = setup);

static int load(size_t len)
{
	if (conf.kernel.fd < 0)
		conf.kernel.fd = memfd(file, len);
	return fw_load_x86(&mem, &conf, &at, &err);
}

static const struct boot_params *params(void)
{
	return gmem_ptr(&mem, GPA(at.rsi), sizeof(struct boot_params));
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

/* ---- what a good kernel gets ---- */
Test(fw_x86, bzimage_goes_where_it_likes)
{
	const struct boot_params *bp;

	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(at.rip, 16 * MIB + 0x200);
	cr_assert_eq(memcmp(gmem_ptr(&mem, GPA(16 * MIB), PAYLOAD), file + (SETUP_SECTS + 1) * 512,
			    PAYLOAD), 0);
	bp = params();
	cr_assert_eq(bp->hdr.header, 0x53726448);
	cr_assert_eq(bp->hdr.init_size, 4 * MIB, "the header is the kernel's own");
	cr_assert_eq(bp->hdr.type_of_loader, 0xff);
	cr_assert_eq(bp->sentinel, 0);
	cr_assert_str_eq(gmem_ptr(&mem, GPA(bp->hdr.cmd_line_ptr), 64), conf.cmdline);
	cr_assert_eq(bp->hdr.ramdisk_size, 0);
}

Test(fw_x86, small_guest_takes_a_relocatable_kernel_lower)
{
	mem.r[0].len = 8 * MIB;
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(at.rip, 2 * MIB + 0x200, "1 MiB, aligned up to kernel_alignment");
}

Test(fw_x86, elf_segments_and_bss)
{
	const uint8_t *data;

	make_elf();
	cr_assert_eq(load(ELF_LEN), 0, "%s", err.msg);
	cr_assert_eq(at.rip, 16 * MIB + 0x40);
	cr_assert_eq(memcmp(gmem_ptr(&mem, GPA(16 * MIB), 0x1000), file + 0x1000, 0x1000), 0);
	data = gmem_ptr(&mem, GPA(18 * MIB), 0x2000);
	cr_assert_eq(memcmp(data, file + 0x2000, 0x800), 0);
	for (size_t i = 0x800; i < 0x2000; i++)
		cr_assert_eq(data[i], 0, "bss at %zu", i);
	cr_assert_eq(params()->hdr.boot_flag, 0xaa55);
	cr_assert_eq(params()->hdr.header, 0x53726448);
	cr_assert_geq(params()->hdr.version, 0x20c);
}

Test(fw_x86, memory_map)
{
	static const struct boot_e820_entry want[] = {
		{ 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { MIB, RAM_LEN - MIB - 0x1000, 1 },
		{ RAM_LEN - 0x1000, 0x1000, 2 }, { FW_X86_RAM2, HIGH_LEN, 1 },
	};

	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(params()->e820_entries, ARRAY_LEN(want));
	cr_assert_eq(memcmp(params()->e820_table, want, sizeof(want)), 0);
	cr_assert_eq(at.vmgenid.v, RAM_LEN - 0x1000);
	cr_assert_eq(memcmp(gmem_ptr(&mem, at.vmgenid, 16), conf.vmgenid_value, 16), 0);
}

Test(fw_x86, without_vmgenid_nothing_is_reserved_at_the_top)
{
	conf.vmgenid = false;
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(at.vmgenid.v, 0);
	cr_assert_eq(params()->e820_entries, 4);
	cr_assert_eq(params()->e820_table[2].size, RAM_LEN - MIB);
}

Test(fw_x86, setup_data_chain)
{
	const struct setup_data *seed, *dtb;

	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	seed = gmem_ptr(&mem, GPA(params()->hdr.setup_data), 64);
	cr_assert_eq(seed->type, SETUP_RNG_SEED);
	cr_assert_eq(seed->len, sizeof(conf.rng_seed));
	cr_assert_eq(memcmp(seed->data, conf.rng_seed, seed->len), 0);
	dtb = gmem_ptr(&mem, GPA(seed->next), 64);
	cr_assert_eq(dtb->type, SETUP_DTB);
	cr_assert_eq(dtb->next, 0);
	cr_assert_eq(fdt_check_full(dtb->data, dtb->len), 0);
}

Test(fw_x86, entry_state_is_flat_long_mode)
{
	const uint64_t *gdt, *t;

	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	gdt = gmem_ptr(&mem, GPA(at.gdt_base), at.gdt_limit + 1ull);
	cr_assert(gdt);
	cr_assert_eq(at.cs, 0x10);
	cr_assert_eq(at.ds, 0x18);
	cr_assert_eq(gdt[2] >> 53 & 3, 1, "L set, D clear");
	cr_assert_eq(gdt[2] >> 40 & 0xff, 0x9b, "present code, DPL 0");
	cr_assert_eq(gdt[3] >> 40 & 0xff, 0x93, "present data, DPL 0");
	for (uint64_t v = 0; v < FW_X86_MAPPED; v += 0x1ff123) {
		t = gmem_ptr(&mem, GPA(at.cr3), 4096);
		t = gmem_ptr(&mem, GPA(t[v >> 39] & ~0xfffull), 4096);
		t = gmem_ptr(&mem, GPA(t[v >> 30 & 511] & ~0xfffull), 4096);
		cr_assert_eq(t[v >> 21 & 511], (v & ~0x1fffffull) | 0x83);
	}
}

Test(fw_x86, initrd_is_at_the_top)
{
	uint64_t where = RAM_LEN - 0x1000 - 0x4000;

	conf.initrd.fd = memfd(file, 0x3001);
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(params()->hdr.ramdisk_image, where);
	cr_assert_eq(params()->hdr.ramdisk_size, 0x3001);
	cr_assert_eq(memcmp(gmem_ptr(&mem, GPA(where), 0x3001), file, 0x3001), 0);
}

Test(fw_x86, initrd_respects_the_kernels_limit)
{
	put16(0x236, 1);			/* no XLF_CAN_BE_LOADED_ABOVE_4G */
	put32(0x22c, 40 * MIB - 1);
	conf.initrd.fd = memfd(file, 0x1000);
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(params()->hdr.ramdisk_image, 40 * MIB - 0x1000);
}

Test(fw_x86, initrd_and_kernel_may_touch_but_not_overlap)
{
	int fd = memfd(file, 1);

	/* The kernel ends at 20 MiB; memory at 24 MiB and a page for the vmgenid. */
	mem.r[0].len = 24 * MIB + 0x1000;
	conf.initrd.fd = fd;
	cr_assert_eq(ftruncate(fd, 4 * MIB), 0);
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
	cr_assert_eq(params()->hdr.ramdisk_image, 20 * MIB);
	cr_assert_eq(ftruncate(fd, 4 * MIB + 1), 0);
	refused(BZ_LEN, -EFBIG, "needs 5 MiB, the guest has 24 and the kernel leaves 4");
}

/* ---- refusals: one change each ---- */
Test(fw_x86, other_files_are_named)
{
	static const struct { const char *head; size_t len, off; const char *why; } other[] = {
		{ "\x1f\x8b\x08", 3, 0, "gzip-compressed (unpack it first), not a bzImage or" },
		{ "\x28\xb5\x2f\xfd", 4, 0, "zstd-compressed" },
		{ "\xfd" "7zXZ\0", 6, 0, "xz-compressed" },
		{ "\x02\x21\x4c\x18", 4, 0, "lz4-compressed" },
		{ "BZh9", 4, 0, "bzip2-compressed" },
		{ "MZ", 2, 0, "a PE (EFI) program" },
		{ "ARM\x64", 4, 56, "an arm64 kernel Image" },
		{ "#!/bin/sh", 9, 0, "a script" },
		{ "070701", 6, 0, "a cpio archive" },
		{ "\xd0\x0d\xfe\xed", 4, 0, "a device tree" },
		{ "hello", 5, 0, "of an unknown format" },
	};

	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		memset(file, 0, sizeof(file));
		memcpy(file + other[i].off, other[i].head, other[i].len);
		refused(0x4000, -ENOEXEC, other[i].why);
		refused(other[i].off + other[i].len, -ENOEXEC, i == 6 ? "arm64" : other[i].why);
	}
	refused(0, -ENOEXEC, "is empty");
	conf.kernel.fd = open("/", O_RDONLY);
	refused(0, -EINVAL, "not a regular file");
}

Test(fw_x86, bzimage_refusals)
{
	static const struct { unsigned off, len; uint64_t v; int code; const char *why; } bad[] = {
		{ 0x206, 2, 0x20b, -ENOEXEC, "boot protocol 2.11; 2.12 is the least" },
		{ 0x211, 1, 0, -ENOEXEC, "a zImage" },
		{ 0x236, 2, 2, -ENOEXEC, "no 64-bit entry point" },
		{ 0x201, 1, 0x61, -ENOEXEC, "setup header ends at 0x263" },
		{ 0x201, 1, 0x8f, -ENOEXEC, "setup header ends at 0x291" },
		{ 0x230, 4, 0, -ENOEXEC, "not a power of two" },
		{ 0x230, 4, 3 * MIB, -ENOEXEC, "not a power of two" },
		{ 0x260, 4, 64 * MIB, -EFBIG,
		  "needs 64 MiB at 0x200000, usable RAM ends at 0x3fff000" },
		{ 0x1f4, 4, PAYLOAD / 16 + 1, -ENOEXEC, "truncated" },
		{ 0x1f4, 4, ~0u, -ENOEXEC, "truncated" },
		{ 0x1f1, 1, 0xff, -ENOEXEC, "truncated" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		make_bzimage();
		memcpy(file + bad[i].off, &bad[i].v, bad[i].len);
		refused(BZ_LEN, bad[i].code, bad[i].why);
	}
	make_bzimage();
	refused(BZ_LEN - 16, -ENOEXEC, "truncated");
	make_bzimage();
	put32(0x1f4, 0);
	refused((SETUP_SECTS + 1) * 512 + 0x200, -ENOEXEC, "before the 64-bit entry point");
	make_bzimage();
	file[0x234] = 0;
	put64(0x258, 0);
	refused(BZ_LEN, -EFBIG, "needs 4 MiB at 0x0");
}

Test(fw_x86, elf_header_refusals)
{
	make_elf();
	ehdr()->e_ident[EI_CLASS] = ELFCLASS32;
	refused(ELF_LEN, -ENOEXEC, "32-bit ELF");
	make_elf();
	ehdr()->e_ident[EI_DATA] = ELFDATA2MSB;
	refused(ELF_LEN, -ENOEXEC, "big-endian ELF");
	make_elf();
	ehdr()->e_machine = EM_AARCH64;
	refused(ELF_LEN, -ENOEXEC, "machine 183 (arm64), not x86-64");
	make_elf();
	ehdr()->e_type = ET_DYN;
	refused(ELF_LEN, -ENOEXEC, "type 3, not an executable kernel");
	make_elf();
	ehdr()->e_phentsize = 32;
	refused(ELF_LEN, -ENOEXEC, "program headers of 32 bytes instead of 56");
	make_elf();
	ehdr()->e_phnum = 0;
	refused(ELF_LEN, -ENOEXEC, "0 ELF program headers");
	make_elf();
	ehdr()->e_phnum = 65;
	refused(ELF_LEN, -ENOEXEC, "65 ELF program headers");
	make_elf();
	ehdr()->e_phoff = ~0ull - 8;
	refused(ELF_LEN, -ENOEXEC, "truncated");
	make_elf();
	refused(40, -ENOEXEC, "truncated");
	make_elf();
	ehdr()->e_phnum = 0;
	ehdr()->e_phnum = 1;
	phdr(0)->p_type = PT_NOTE;
	refused(ELF_LEN, -ENOEXEC, "nothing to load");
}

Test(fw_x86, elf_segment_refusals)
{
	make_elf();
	phdr(1)->p_filesz = 0x2001;
	refused(ELF_LEN, -ENOEXEC, "larger in the file than in memory");
	make_elf();
	phdr(1)->p_memsz = 0;
	phdr(1)->p_paddr = FW_X86_ZERO_PAGE;
	refused(ELF_LEN, -ENOEXEC, "larger in the file than in memory");
	make_elf();
	phdr(1)->p_offset = ~0ull - 0x100;
	refused(ELF_LEN, -ENOEXEC, "ends behind the file");
	make_elf();
	refused(0x2700, -ENOEXEC, "ends behind the file");
	make_elf();
	phdr(0)->p_paddr = FW_X86_ZERO_PAGE;
	refused(ELF_LEN, -ENOEXEC, "overlaps the boot data below 0x100000");
	make_elf();
	phdr(1)->p_paddr = RAM_LEN - 0x2000;
	refused(ELF_LEN, -EFBIG, "usable RAM ends at 0x3fff000");
	make_elf();
	phdr(1)->p_paddr = ~0ull - 0xfff;
	refused(ELF_LEN, -EFBIG, "usable RAM ends at");
	make_elf();
	phdr(1)->p_memsz = ~0ull;
	refused(ELF_LEN, -EFBIG, "usable RAM ends at");
	make_elf();
	phdr(1)->p_paddr = 16 * MIB + 0xfff;
	refused(ELF_LEN, -ENOEXEC, "segments 0 and 1 overlap");
	make_elf();
	ehdr()->e_entry = 18 * MIB;
	refused(ELF_LEN, -ENOEXEC, "entry point 0x1200000 is in no executable segment");
	make_elf();
	ehdr()->e_entry = 16 * MIB + 0x1000;
	refused(ELF_LEN, -ENOEXEC, "in no executable segment");
	make_elf();
	ehdr()->e_entry = 0xffffffff81000000;
	refused(ELF_LEN, -ENOEXEC, "in no executable segment");
}

Test(fw_x86, configuration_refusals)
{
	static const struct fw_slot far = { MACHINE_VIRTIO, 0x1000, 24 };
	static char longer[4096];

	conf.ncpus = 0;
	refused(BZ_LEN, -EINVAL, "0 CPUs");
	conf.ncpus = 256;
	refused(BZ_LEN, -EINVAL, "256 CPUs");
	conf.ncpus = 1;
	conf.slots = &far;
	conf.nslots = 1;
	refused(BZ_LEN, -EINVAL, "the I/O APIC has no pin 24");
	conf.nslots = 257;
	refused(BZ_LEN, -EINVAL, "257 virtio slots");
	conf.nslots = 0;
	memset(longer, 'x', 2048);
	conf.cmdline = longer;
	refused(BZ_LEN, -EINVAL, "command line has 2048 bytes, bzImage takes 2047");
	longer[2047] = 0;
	cr_assert_eq(load(BZ_LEN), 0);
	conf.cmdline = "";
	conf.initrd.fd = memfd("", 0);
	refused(BZ_LEN, -ENOEXEC, "root.cpio is empty");
}

Test(fw_x86, memory_that_cannot_be_described)
{
	static const struct { unsigned n; uint64_t base, len; } bad[] = {
		{ 0, 0, RAM_LEN }, { 1, 0x1000, RAM_LEN }, { 1, 0, FW_X86_HOLE + 0x1000 },
		{ 1, 0, 2 * MIB - 0x1000 }, { 1, 0, RAM_LEN - 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		mem.n = bad[i].n;
		mem.r[0].base = bad[i].base;
		mem.r[0].len = bad[i].len;
		refused(BZ_LEN, -EINVAL, "guest memory has to start at 0");
	}
}

Test(fw_x86, many_cpus_and_slots_fit_the_tree)
{
	struct fw_slot many[FW_MAX_SLOTS];

	for (unsigned i = 0; i < FW_MAX_SLOTS; i++)
		many[i] = (struct fw_slot){ MACHINE_VIRTIO + i * 0x1000, 0x1000, 5 + i % 16 };
	conf.slots = many;
	conf.nslots = FW_MAX_SLOTS;
	conf.ncpus = FW_MAX_CPUS;
	cr_assert_eq(load(BZ_LEN), 0, "%s", err.msg);
}
