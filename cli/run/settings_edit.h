/* SPDX-License-Identifier: Apache-2.0 */
/* settings_edit.h - change one key in the text of a person's file, and nothing else of it. */
#ifndef CLI_RUN_SETTINGS_EDIT_H
#define CLI_RUN_SETTINGS_EDIT_H
#include "vmm/base.h"

/*
 * @text (which settings_parse() takes) with @key set to @value in @section: comments, blank
 * lines, order and all other lines stay. A key that was there keeps its line; of a list
 * (settings_is_list()), the entry for the same thing does, or there is one more. "" removes the
 * key. malloc'ed; NULL: out of memory.
 */
char *settings_edit(const char *text, const char *section, const char *key, const char *value);
#endif
