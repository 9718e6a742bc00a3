/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.h - what reads a stranger's image gives away what it does not need for that.
 */
#ifndef CLI_IMAGE_CONFINE_H
#define CLI_IMAGE_CONFINE_H
#include "vmm/base.h"

/*
 * From here on this process, and for good, opens nothing but what lies in the folder @store and,
 * to read, in @from (-1: none); what is open stays. It starts no program and makes no socket. The
 * libraries that it needs are loaded before. Walls that the host's kernel does not have are
 * missing without a word. 0, or -errno with a sentence if a library cannot be had.
 */
int image_confine(int store, int from, struct err *e) must_check;
#endif
