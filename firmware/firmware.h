/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firmware.h - what is put into guest memory before the first instruction.
 *
 * The monitor fills a struct fw_conf, calls the loader of its architecture
 * once on fresh guest memory (every byte still reads as zero) and gets back the
 * registers that the boot CPU starts with. Nothing here touches KVM, starts a
 * thread, or keeps a pointer after it returned: these are functions over
 * struct gmem, called from the main thread before any vCPU runs.
 *
 * Kernel and initrd are untrusted files. They are read with pread() straight
 * into guest memory after every size in them was checked against the file and
 * the memory, so a file that shrinks meanwhile is an error, never a signal.
 */
#ifndef FIRMWARE_FIRMWARE_H
#define FIRMWARE_FIRMWARE_H
#include "vmm/base.h"
#include "vmm/gmem.h"

#define FW_MAX_CPUS	255u	/* xAPIC ids; the monitor's own limit is lower */
#define FW_MAX_SLOTS	256u

/*
 * The power register: one 32-bit little-endian word at fw_conf.power_base. The
 * guest writes one of these; the word must read as zero (Linux's syscon
 * drivers read, modify and write).
 */
#define FW_POWER_OFF	1u
#define FW_POWER_RESET	2u

/* A file borrowed from the caller. fd < 0: there is none. name: for messages. */
struct fw_file { int fd; const char *name; };

/* One virtio-mmio window. x86: gsi = I/O APIC pin; arm64: gsi = SPI number (INTID - 32). */
struct fw_slot { uint64_t base, len; uint32_t gsi; };

struct fw_conf {
	unsigned ncpus;			/* 1..FW_MAX_CPUS; APIC id / MPIDR affinity = index */
	const char *cmdline;		/* whole kernel command line, not NULL */
	struct fw_file kernel, initrd;
	const struct fw_slot *slots;
	unsigned nslots;		/* 0..FW_MAX_SLOTS */
	uint8_t rng_seed[32];		/* from getrandom(); the guest kernel credits it */
	uint64_t power_base;		/* 0: none. A page: see FW_POWER_OFF */
	uint64_t pvpanic_base;		/* 0: none. A page: the pvpanic event byte at offset 0 */
	bool vmgenid;			/* offer a VM generation id (out: entry.vmgenid) */
	uint8_t vmgenid_value[16];
	uint32_t vmgenid_gsi;		/* raised by the monitor when the id changed */
};

/*
 * Registers of the boot CPU, Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst):
 * long mode, CPL 0, paging on with cr3, flat segments, interrupts off; every
 * general register that is not named is zero.
 */
struct fw_entry_x86 {
	uint64_t rip, rsi, rsp, cr3;
	uint64_t gdt_base;
	uint16_t gdt_limit, cs, ds;	/* ds also for es and ss */
	gpa_t vmgenid;			/* 16 bytes; 0 when not asked for */
};

/* arm64: EL1, MMU and caches off, DAIF masked (Documentation/arch/arm64/booting.rst). */
struct fw_entry_arm64 {
	uint64_t pc, x0;		/* x1..x3 are zero */
	gpa_t vmgenid;
};

/*
 * fw_load_x86 - load a bzImage or an ELF vmlinux with all that it is told.
 * @m: RAM from address 0 (up to FW_X86_HOLE), more from 4 GiB; reads as zero.
 * Returns 0 and fills @out, or -errno with a sentence in @e: -ENOEXEC for a file
 * that is not a usable kernel, -EFBIG for what does not fit, -EINVAL for a
 * configuration that cannot be expressed, or what pread/fstat said. Guest
 * memory may be partly written after a failure.
 */
int fw_load_x86(const struct gmem *m, const struct fw_conf *c, struct fw_entry_x86 *out,
		struct err *e) must_check;

/* fw_load_arm64 - the same for an arm64 Image; RAM starts at FW_ARM64_RAM. */
int fw_load_arm64(const struct gmem *m, const struct fw_conf *c, struct fw_entry_arm64 *out,
		  struct err *e) must_check;
#endif
