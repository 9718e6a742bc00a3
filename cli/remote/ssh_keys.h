/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh_keys.h - the keys of one sandbox for ssh, in the folder `ssh` of its own:
 *
 *   host_key, host_key.pub	who the sandbox is; its sshd is given it at each connection
 *   user_key, user_key.pub	who may come in; stays on this host
 *   known_hosts, config	for ssh(1): that host key and no other, and the way there
 *
 * Made when they are first asked for, by ssh-keygen(1). They go with the sandbox.
 */
#ifndef CLI_REMOTE_SSH_KEYS_H
#define CLI_REMOTE_SSH_KEYS_H
#include "cli/store/store.h"

#define SSH_DOMAIN	".sandbox"	/* after a sandbox's name, for ssh */

struct ssh_keys {
	int dir;		/* the folder; -1: not open */
	struct place path;	/* of the folder */
};

#define SSH_KEYS_NONE { .dir = -1 }

/* Open them, and make them if there are none. ssh_keys_close() in every case. */
int ssh_keys_open(struct ssh_keys *k, const struct store_box *b, struct err *e) must_check;
/*
 * Write known_hosts and config, and give the stanza (malloc, NULL: failed). @user logs in.
 */
char *ssh_keys_config(const struct ssh_keys *k, const struct store_box *b, const char *user,
		      struct err *e) must_check;
/* A file of the folder as text (malloc), or NULL. */
char *ssh_keys_read(const struct ssh_keys *k, const char *file, struct err *e) must_check;
void ssh_keys_close(struct ssh_keys *k);
#endif
