/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - sentences as JSON. One can have a path in it, which is any bytes, or words of a
 * guest, and can have been cut inside of a character; JSON takes none of that, and what is
 * made from it would be missing as a whole.
 */
#ifndef CLI_BASE_TEXT_H
#define CLI_BASE_TEXT_H
#include <jansson.h>

/* A new string: @s with '?' for each byte that is no text. NULL: null. */
json_t *text_json(const char *s);
#endif
