/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.h - the jail of the file server (vmm/jail.h, docs/jail.md).
 *
 * It differs from the monitor's: files are made in the name of the user, so that user's id
 * stays mapped, and root keeps the capabilities by which it may use other users' files;
 * the shares' own descriptors lead to the host, so that Landlock, with a rule for each of
 * them, is what says which files there are. As no rule can be added later, it comes when all
 * shares are there: confine_lock().
 */
#ifndef DEVICES_FS_CONFINE_H
#define DEVICES_FS_CONFINE_H
#include "devices/fs/server.h"
#include "vmm/jail.h"

/* Before the first thread: all but the filter. @keep: descriptors that stay open. */
int confine(struct jail *j, const int *keep, size_t n, int parent, struct err *e) must_check;
/*
 * As jail_words(), of the walls that were tried: root's has no user namespace, and Landlock
 * is what confine_lock() is for.
 */
void confine_words(const struct jail *j, char *buf, size_t len);
/*
 * From now on nothing but the shares can be opened, and no share can be added. The
 * calling thread is bound at once, the others by confine_thread(). -ENOSYS: this kernel
 * has no Landlock of use.
 */
int confine_lock(struct fs *fs, struct err *e) must_check;
/* A thread, before each request. False: it could not be bound, and must not go on. */
bool confine_thread(void) must_check;
#endif
