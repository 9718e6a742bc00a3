/* SPDX-License-Identifier: Apache-2.0 */
/* attach.h - folders that come to a sandbox and go after it was made. */
#ifndef CLI_KEEPER_ATTACH_H
#define CLI_KEEPER_ATTACH_H
#include "cli/share/share.h"
#include "cli/store/store.h"

/*
 * May @want join the folders @s of sandbox @name? *there: it is one of them already, just so.
 * -EEXIST with what to do: it is there in another way, or something else is in its place.
 */
int attach_look(struct shares *s, const char *name, const struct share *want, bool *there,
		struct err *e) must_check;
/* -EPERM with a sentence if @one overlaps with another one of @s. */
int attach_overlaps(const struct shares *s, const struct share *one, struct err *e) must_check;
/*
 * In its @file, "config" or "running": out with the volume @old, in with @new; either may
 * be NULL.
 */
int attach_config(const struct store_box *b, const char *file, const char *old, const char *new,
		  struct err *e) must_check;
/* For one that does not run and that we have locked: from its next start on. */
int attach_stopped(struct store_box *b, const char *text, bool yes, struct err *e) must_check;
int detach_stopped(struct store_box *b, const char *path, bool *there, struct err *e) must_check;
#endif
