/* SPDX-License-Identifier: Apache-2.0 */
/*
 * git.h - a repository of this host and one in a guest, which only exchange commits: a way
 * to work on files together without sharing them.
 */
#ifndef CLI_REMOTE_GIT_H
#define CLI_REMOTE_GIT_H
#include "cli/store/store.h"

/*
 * Make a repository at DST in the running sandbox, one that takes pushes into what is checked
 * out, let the repository @text (DIR[:DST]) know it as the remote sandbox-NAME, and push
 * the current branch. Doing it again pushes again. *done: what for (malloc). 0 or -errno with
 * a sentence.
 */
int git_attach(struct store_box *b, const char *text, bool dry_run, char **done,
	       struct err *e) must_check;
/* The remote goes, if there is one; the guest's repository stays. */
int git_detach(const struct store_box *b, const char *dir, bool dry_run, char **done,
	       struct err *e) must_check;
#endif
