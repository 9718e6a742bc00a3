/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - other programs' ways into a sandbox: ssh(1) and git(1) run this program as
 * their transport, which goes over the agent's own channel. There is no network in it, and
 * nothing listens.
 */
#ifndef CLI_REMOTE_REMOTE_H
#define CLI_REMOTE_REMOTE_H
#include "cli/remote/ssh_keys.h"
#include "cli/run/settings.h"

#define REMOTE_GIT_HELPER	"git-remote-sandbox"	/* this program's other name */

/* The internal verb `_ssh NAME`: an sshd in the guest on stdin and stdout. */
int ssh_serve_main(int argc, char **argv);
/* The program under the name REMOTE_GIT_HELPER, as gitremote-helpers(7) has it. */
int git_remote_main(int argc, char **argv);

/* The path of sshd in the guest. -ENOENT with a sentence if the image has none. */
int ssh_find(const struct store_box *b, const struct store_state *s, char path[static 64],
	     struct err *e) must_check;
/* The user of the sandbox's commands in *user (malloc); NULL: root. */
int remote_user(struct store_box *b, char **user, struct err *e) must_check;

#define SSH_USER_MAX	64u
/* Who logs in: @asked, or the sandbox's user, or root. -EINVAL if that is a number. */
int ssh_user(struct store_box *b, const char *asked, char user[static SSH_USER_MAX],
	     struct err *e) must_check;
int ssh_user_check(const char *name, struct err *e) must_check;
#endif
