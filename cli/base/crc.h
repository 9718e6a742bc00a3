/* SPDX-License-Identifier: Apache-2.0 */
/* crc.h - CRC-32C of what is in files: it tells damage, and no forgery. */
#ifndef CLI_BASE_CRC_H
#define CLI_BASE_CRC_H
#include "vmm/base.h"

/* The sum of what @crc is of (0: nothing) and then @len bytes. */
uint32_t crc_more(uint32_t crc, const void *p, size_t len) must_check;
/*
 * Of the file @fd, from its start. Holes are not read: blocks of zeroes count for nothing,
 * whether they take room or not, so a file's length has to be compared, too. Moves @fd's
 * offset. 0 or -errno. Any thread.
 */
int crc_file(int fd, uint32_t *crc) must_check;
#endif
