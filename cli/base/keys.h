/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h - keys on the command line, as in `ctrl-p,ctrl-q`.
 */
#ifndef CLI_BASE_KEYS_H
#define CLI_BASE_KEYS_H
#include "agent/client/client.h"
#include "vmm/base.h"

#define KEYS_DEFAULT "ctrl-p,ctrl-q"	/* as people know it from docker */

/*
 * Keys with commas between: a character, or ctrl- and one of a-z [ \ ] ^ _; an empty
 * text means no keys. 0, or -EINVAL with a sentence.
 */
int keys_parse(const char *s, struct client_keys *k, struct err *e) must_check;
#endif
