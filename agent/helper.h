/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.h - file requests that may take long, each as a process of its own.
 *
 * The agent runs its own program again for them (exec_helper). They block, they
 * recurse, and they may be killed at any time; the loop goes on. Each returns its exit
 * status: 0 or an errno value, after one sentence on stderr.
 */
#ifndef AGENT_HELPER_H
#define AGENT_HELPER_H

/* How deep a tree may be: every level is an open folder. */
#define HELPER_DEPTH_MAX 200

/* rm -rf; a path that is not there is an error only without FORCE. */
int helper_remove(const char *path, unsigned long flags);
/* Pack path as a tar stream to stdout. flags: PROTO_FILE_CONTENTS, PROTO_FILE_SPARSE. */
int helper_pack(const char *path, unsigned long flags);
/* The same with @name in the archive in place of the path's last component. */
int helper_pack_as(const char *path, const char *name, unsigned long flags);
/* Unpack the tar stream on stdin below path, which exists. flags: PROTO_FILE_OWNER. */
int helper_unpack(const char *path, unsigned long flags);

/* Write "name: reason" to stderr and return err as an exit status. */
int helper_fail(const char *name, int err);
#endif
