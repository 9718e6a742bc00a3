/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_loader_bzimage.c - any bytes as a bzImage. The first byte, times 64 KiB, is
 * the size of the file, so that large kernels need no large inputs; the two
 * magic words are filled in, which leaves the fuzzer the fields behind them.
 */
#include "tests/fuzz/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t head[0x400];
	size_t n;

	if (len < 0x210)
		return 0;
	n = len - 1 < sizeof(head) ? len - 1 : sizeof(head);
	memcpy(head, data + 1, n);
	memcpy(head + 0x1fe, "\x55\xaa", 2);
	memcpy(head + 0x202, "HdrS", 4);
	return loader_x86(head, n, data[0] * 0x10000u);
}
