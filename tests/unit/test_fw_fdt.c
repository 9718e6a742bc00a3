/* SPDX-License-Identifier: Apache-2.0 */
/* test_fw_fdt.c - both device trees, read back with libfdt's other half. */
#include <criterion/criterion.h>
#include <libfdt.h>

#include "firmware/fdt.h"
#include "firmware/layout_arm64.h"
#include "firmware/layout_x86.h"
#include "vmm/machine.h"

static const struct fw_slot slots[] = {
	{ 0xd0000000, 0x1000, 5 }, { 0xd0001000, 0x1000, 6 }, { 0x123400000000, 0x200, 7 },
};
static struct fw_conf conf;
static struct err err;
static unsigned char tree[0x10000] __attribute__((aligned(8)));

static void setup(void)
{
	conf = (struct fw_conf){ .ncpus = 3, .cmdline = "a=b c", .kernel = { -1, "k" },
		.initrd = { -1, "i" }, .slots = slots, .nslots = ARRAY_LEN(slots),
		.power_base = MACHINE_POWER, .pvpanic_base = MACHINE_PVPANIC, .vmgenid = true,
		.vmgenid_gsi = 20 };
	memset(conf.rng_seed, 0x77, sizeof(conf.rng_seed));
}

TestSuite(fw_fdt, .init = setup);

static void build_x86(void)
{
	int n = fdt_x86_build(&conf, GPA(0x3fff000), tree, sizeof(tree), &err);

	cr_assert(n > 0, "%s", err.msg);
	cr_assert_eq(fdt_check_full(tree, (size_t)n), 0);
}

static void build_arm64(const struct gmem *m, const struct initrd *rd)
{
	int n = fdt_arm64_build(&conf, m, rd, GPA(0x43fff000), tree, sizeof(tree), &err);

	cr_assert(n > 0, "%s", err.msg);
	cr_assert_eq(fdt_check_full(tree, (size_t)n), 0);
}

static int node(const char *path)
{
	int n = fdt_path_offset(tree, path);

	cr_assert(n >= 0, "no node %s", path);
	return n;
}

static void is_cells(const char *path, const char *name, const uint32_t *want, size_t n)
{
	int len;
	const fdt32_t *p = fdt_getprop(tree, node(path), name, &len);

	cr_assert(p, "%s has no %s", path, name);
	cr_assert_eq(len, (int)(n * 4), "%s/%s: %d bytes", path, name, len);
	for (size_t i = 0; i < n; i++)
		cr_expect_eq(fdt32_ld(p + i), want[i], "%s/%s[%zu]", path, name, i);
}
#define IS(path, name, ...) is_cells(path, name, (const uint32_t []){ __VA_ARGS__ }, \
				     sizeof((const uint32_t []){ __VA_ARGS__ }) / 4)

static void is_str(const char *path, const char *name, const char *want)
{
	const char *p = fdt_getprop(tree, node(path), name, NULL);

	cr_assert(p, "%s has no %s", path, name);
	cr_expect_str_eq(p, want);
}

static void has_flag(const char *path, const char *name)
{
	cr_expect(fdt_getprop(tree, node(path), name, NULL), "%s has no %s", path, name);
}

Test(fw_fdt, x86_cpus_and_apics)
{
	build_x86();
	IS("/", "#address-cells", 2);
	IS("/", "#size-cells", 2);
	IS("/", "interrupt-parent", FDTW_PHANDLE_INTC);
	IS("/cpus/cpu@0", "reg", 0);
	IS("/cpus/cpu@2", "reg", 2);
	is_str("/cpus/cpu@2", "device_type", "cpu");
	cr_expect_lt(fdt_path_offset(tree, "/cpus/cpu@3"), 0);
	is_str("/lapic@fee00000", "compatible", "intel,ce4100-lapic");
	IS("/lapic@fee00000", "reg", 0, 0xfee00000, 0, 0x1000);
	is_str("/ioapic@fec00000", "compatible", "intel,ce4100-ioapic");
	IS("/ioapic@fec00000", "#interrupt-cells", 2);
	IS("/ioapic@fec00000", "phandle", FDTW_PHANDLE_INTC);
	has_flag("/ioapic@fec00000", "interrupt-controller");
}

Test(fw_fdt, x86_devices)
{
	build_x86();
	is_str("/virtio_mmio@d0001000", "compatible", "virtio,mmio");
	IS("/virtio_mmio@d0001000", "reg", 0, 0xd0001000, 0, 0x1000);
	IS("/virtio_mmio@d0001000", "interrupts", 6, 3);
	has_flag("/virtio_mmio@d0001000", "dma-coherent");
	IS("/virtio_mmio@123400000000", "reg", 0x1234, 0, 0, 0x200);
	is_str("/power@d0100000", "compatible", "syscon");
	IS("/power@d0100000", "phandle", FDTW_PHANDLE_POWER);
	is_str("/poweroff", "compatible", "syscon-poweroff");
	IS("/poweroff", "regmap", FDTW_PHANDLE_POWER);
	IS("/poweroff", "offset", 0);
	IS("/poweroff", "value", FW_POWER_OFF);
	is_str("/reboot", "compatible", "syscon-reboot");
	IS("/reboot", "value", FW_POWER_RESET);
	is_str("/pvpanic@d0101000", "compatible", "qemu,pvpanic-mmio");
	is_str("/vmgenid@3fff000", "compatible", "microsoft,vmgenid");
	IS("/vmgenid@3fff000", "reg", 0, 0x3fff000, 0, 0x1000);
	IS("/vmgenid@3fff000", "interrupts", 20, 3);
}

Test(fw_fdt, what_is_not_configured_is_not_there)
{
	conf.power_base = conf.pvpanic_base = conf.nslots = 0;
	cr_assert_gt(fdt_x86_build(&conf, GPA(0), tree, sizeof(tree), &err), 0);
	cr_expect_lt(fdt_path_offset(tree, "/poweroff"), 0);
	cr_expect_lt(fdt_path_offset(tree, "/reboot"), 0);
	cr_expect_lt(fdt_node_offset_by_compatible(tree, -1, "syscon"), 0);
	cr_expect_lt(fdt_node_offset_by_compatible(tree, -1, "qemu,pvpanic-mmio"), 0);
	cr_expect_lt(fdt_node_offset_by_compatible(tree, -1, "microsoft,vmgenid"), 0);
	cr_expect_lt(fdt_node_offset_by_compatible(tree, -1, "virtio,mmio"), 0);
}

Test(fw_fdt, no_room_is_a_sentence)
{
	for (size_t len = 0; len < 0x600; len += 0x40) {
		cr_assert_eq(fdt_x86_build(&conf, GPA(0x3fff000), tree, len, &err), -EFBIG);
		cr_assert(strstr(err.msg, "device tree: "), "%s", err.msg);
	}
}

Test(fw_fdt, arm64_platform)
{
	const struct gmem m = { .n = 1, .r = { { FW_ARM64_RAM, 0x4000000, NULL } } };
	const struct initrd rd = { .at = 0x43000000, .len = 0x1234 };
	int len;

	conf.ncpus = 18;
	build_arm64(&m, &rd);
	IS("/cpus/cpu@f", "reg", 0xf);
	IS("/cpus/cpu@100", "reg", 0x100);
	IS("/cpus/cpu@101", "reg", 0x101);
	is_str("/cpus/cpu@101", "enable-method", "psci");
	is_str("/psci", "compatible", "arm,psci-1.0");
	cr_expect_gt(fdt_stringlist_search(tree, node("/psci"), "compatible", "arm,psci-0.2"), 0);
	is_str("/psci", "method", "hvc");
	IS("/memory@40000000", "reg", 0, 0x40000000, 0, 0x4000000);
	IS("/reserved-memory/vmgenid@43fff000", "reg", 0, 0x43fff000, 0, 0x1000);
	has_flag("/reserved-memory/vmgenid@43fff000", "no-map");
	is_str("/chosen", "bootargs", "a=b c");
	IS("/chosen", "linux,initrd-start", 0, 0x43000000);
	IS("/chosen", "linux,initrd-end", 0, 0x43001234);
	cr_expect_eq(memcmp(fdt_getprop(tree, node("/chosen"), "rng-seed", &len), conf.rng_seed,
			    32), 0);
	cr_expect_eq(len, 32);
	is_str("/interrupt-controller@8000000", "compatible", "arm,gic-v3");
	IS("/interrupt-controller@8000000", "reg", 0, 0x08000000, 0, 0x10000,
	   0, 0x080a0000, 0, 18 * 0x20000);
	IS("/interrupt-controller@8000000", "#interrupt-cells", 3);
	IS("/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	IS("/virtio_mmio@d0000000", "interrupts", 0, 5, 1);
	IS("/vmgenid@43fff000", "interrupts", 0, 20, 1);
}

Test(fw_fdt, arm64_without_initrd)
{
	const struct gmem m = { .n = 1, .r = { { FW_ARM64_RAM, 0x4000000, NULL } } };
	const struct initrd none = { 0 };

	build_arm64(&m, &none);
	cr_expect_null(fdt_getprop(tree, node("/chosen"), "linux,initrd-start", NULL));
}
