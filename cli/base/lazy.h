/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lazy.h - libraries that few commands need, loaded by those that do.
 *
 * libarchive brings thirteen other libraries along. Linked in, they took more
 * processor time than all else that `sandbox run` does in its own process.
 */
#ifndef CLI_BASE_LAZY_H
#define CLI_BASE_LAZY_H
#include "vmm/base.h"

struct lazy_call { const char *name; void *to; };	/* @to: of a pointer to that function */

/*
 * Load @library (a file name as the linker knows it) and fill in all of @calls. It stays loaded;
 * a second time is cheap. 0, or -ENOENT with a sentence.
 */
int lazy_load(const char *library, const struct lazy_call *calls, size_t n, struct err *e)
	must_check;
#endif
