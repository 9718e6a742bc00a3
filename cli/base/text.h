/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - what is printed: JSON, and moments.
 *
 * A sentence can have a path in it, which is any bytes, or words of a guest, and can have been
 * cut inside of a character; JSON takes none of that, and what is made from it would be
 * missing as a whole.
 */
#ifndef CLI_BASE_TEXT_H
#define CLI_BASE_TEXT_H
#include <jansson.h>
#include "vmm/base.h"

/* A new string: @s with '?' for each byte that is no text. NULL: null. */
json_t *text_json(const char *s);
/* To stdout, over several lines; @o is released. 0, or -EIO; so it is for NULL. */
int text_print_json(json_t *o) must_check;
/* A moment in seconds since 1970 as "2026-03-01 10:15:02", here. Into buf, which is returned. */
const char *text_when(int64_t s, char buf[static 32]);
#endif
