/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_loader_elf.c - any bytes as an ELF vmlinux. */
#include "tests/fuzz/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return loader_x86(data, len, 0);
}
