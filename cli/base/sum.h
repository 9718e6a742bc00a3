/* SPDX-License-Identifier: Apache-2.0 */
/* sum.h - SHA-256. */
#ifndef CLI_BASE_SUM_H
#define CLI_BASE_SUM_H
#include "vmm/base.h"

#define SUM_HEX 65u	/* with NUL */

/* Of the whole file, from its start; its position is not used. 0 or -errno. */
int sum_file(int fd, char hex[static SUM_HEX]) must_check;
int sum_bytes(const void *p, size_t len, char hex[static SUM_HEX]) must_check;
/* 64 lower-case hexadecimal digits and nothing more. */
bool sum_valid(const char *hex) must_check;
#endif
