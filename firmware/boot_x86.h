/* SPDX-License-Identifier: Apache-2.0 */
/* boot_x86.h - the entry state that the kernel and the CPUID probe share. */
#ifndef FIRMWARE_BOOT_X86_H
#define FIRMWARE_BOOT_X86_H
#include "firmware/firmware.h"

/*
 * boot_x86_cpu_state - write GDT and page tables, and name them in @out (all but
 * rip and rsi). Returns 0, or -errno with @e when there is no RAM below 1 MiB.
 */
int boot_x86_cpu_state(const struct gmem *m, struct fw_entry_x86 *out,
		       struct err *e) must_check;
#endif
