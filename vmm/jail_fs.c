/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail_fs.c - no file of the host has a name any more.
 *
 * The new root is a detached mount (open_tree or fsmount), read-only before it
 * is attached anywhere; pivot_root puts it on top of the old root, which is then
 * unmounted whole. Descriptors that are open stay open: that is the point.
 *
 * A folder of sockets rather than a directory descriptor: names relative to a
 * descriptor that leads outside of the root could climb out of it by "..".
 *
 * Landlock is the second wall: with no rule at all it denies opening, executing,
 * making and removing of everything, TCP, signals to and abstract sockets of processes
 * outside. Which of them it knows depends on the kernel; the file rights of 6.1
 * are what has to be there.
 */
#include <cap-ng.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "vmm/jail.h"
#include "vmm/landlock.h"

/* <sys/mount.h> and <linux/mount.h> do not go together in glibc 2.36. */
extern int umount2(const char *target, int flags);
#define DETACH 2	/* MNT_DETACH */

/* ---- root ---- */

static int empty_mount(unsigned flags)
{
	auto_fd fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "4096", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, flags);
}

static int new_root(const char *folder)
{
	struct mount_attr ro = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    MOUNT_ATTR_NOEXEC,
	};
	auto_fd fd = folder ? (int)syscall(SYS_open_tree, AT_FDCWD, folder,
					   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) :
			      empty_mount((unsigned)ro.attr_set);

	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &ro, sizeof(ro)))
		return -errno;
	/* Where it is attached does not matter, and nobody else sees it: any folder that exists. */
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, folder ? folder : "/dev",
		    MOVE_MOUNT_F_EMPTY_PATH))
		return -errno;
	if (fchdir(fd) || syscall(SYS_pivot_root, ".", ".") || umount2(".", DETACH) || chdir("/"))
		return -errno;
	return 0;
}

/* ---- landlock ---- */

static int landlock(void)
{
	auto_fd fd = landlock_ruleset(NULL);

	return fd < 0 ? fd : landlock_enter(fd);
}

/* ---- capabilities ---- */

static int drop_caps(void)
{
	int rc;

	capng_clear(CAPNG_SELECT_ALL);
	rc = capng_apply(CAPNG_SELECT_ALL);
	/*
	 * A process that never had a capability may not empty its bounding set. It has
	 * none to gain either: no_new_privs.
	 */
	if (rc && capng_get_caps_process())
		return -EPERM;
	return capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE ? 0 : -EPERM;
}

int jail_root(struct jail *j, const char *folder, struct err *e)
{
	int rc;

	rc = j->walls & 1u << JAIL_MOUNT ? new_root(folder) : -EPERM;
	rc = jail_note(j, JAIL_ROOT, rc, e);
	if (rc)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, -errno, "PR_SET_NO_NEW_PRIVS");
	return 0;
}

int jail_fs(struct jail *j, const char *folder, struct err *e)
{
	int rc;

	if (j->mode == JAIL_NONE)
		return 0;
	rc = jail_root(j, folder, e);
	if (rc)
		return rc;
	rc = jail_note(j, JAIL_LANDLOCK, landlock(), e);
	if (rc)
		return rc;
	return jail_note(j, JAIL_CAPS, drop_caps(), e);
}
