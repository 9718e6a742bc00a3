/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_loader_arm64.c - any bytes as an arm64 Image. */
#include "tests/fuzz/loader.h"
#include "firmware/layout_arm64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct gmem m = loader_mem(FW_ARM64_RAM);
	struct fw_conf c = { .ncpus = 1, .cmdline = "", .kernel = { .name = "kernel" },
			     .initrd = { .fd = -1, .name = "initrd" } };
	struct fw_entry_arm64 at;
	struct err e = { 0 };
	int rc;

	loader_file(data, len, 0);
	c.kernel.fd = loader_fd;
	rc = fw_load_arm64(&m, &c, &at, &e);
	BUG_ON(rc && (!e.msg[0] || e.code != rc));
	BUG_ON(!rc && !gmem_ptr(&m, GPA(at.pc), 64));
	return 0;
}
