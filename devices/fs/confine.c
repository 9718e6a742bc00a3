/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:fs prctl(PR_SET_NO_NEW_PRIVS)?
 * #syscalls:fs brk mmap!ENOMEM mremap!ENOMEM munmap!EINVAL madvise?
 */
#include <cap-ng.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "devices/fs/confine.h"
#include "vmm/landlock.h"

#define NEVER (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_IOCTL_DEV)

static atomic_int ruleset = -1;

/* ---- namespaces, root, capabilities ------------------------------------------------------- */

static int write_file(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -errno;
	return 0;
}

/* Nobody but ourselves, by the same number. */
static int own_user(uid_t uid, gid_t gid)
{
	char map[64];
	int rc;

	if (unshare(CLONE_NEWUSER))
		return -errno;
	rc = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (!rc)
		rc = write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return rc ? rc : write_file("/proc/self/gid_map", map);
}

static int own_mounts(void)
{
	if (unshare(CLONE_NEWNS))
		return -errno;
	/* What happens to ours must not happen to the host's. */
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0;
}

static int namespaces(struct jail *j, struct err *e)
{
	static const struct { enum jail_wall wall; int flag; } more[] = {
		{ JAIL_IPC, CLONE_NEWIPC }, { JAIL_UTS, CLONE_NEWUTS }, { JAIL_NET, CLONE_NEWNET },
	};
	int rc = 0;

	/* Root without its capabilities could not use other users' files. */
	if (geteuid())
		rc = jail_note(j, JAIL_USER, own_user(geteuid(), getegid()), e);
	if (!rc)
		rc = jail_note(j, JAIL_MOUNT, own_mounts(), e);
	for (size_t i = 0; !rc && i < ARRAY_LEN(more); i++)
		rc = jail_note(j, more[i].wall, unshare(more[i].flag) ? -errno : 0, e);
	return rc;
}

static int drop_caps(bool root)
{
	static const unsigned keep[] = { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER };
	int rc;

	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; root && i < ARRAY_LEN(keep); i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep[i]))
			return -EPERM;
	rc = capng_apply(CAPNG_SELECT_ALL);
	if (rc && capng_get_caps_process())
		return -EPERM;
	return capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) ? -EPERM : 0;
}

int confine(struct jail *j, const int *keep, size_t n, int parent, struct err *e)
{
	bool root = geteuid() == 0;
	int rc = jail_early(j, keep, n, 1u << 14, parent, e);

	if (rc || j->mode == JAIL_NONE)
		return rc;
	rc = namespaces(j, e);
	if (!rc)
		rc = jail_note(j, JAIL_PID, getpid() == 1 ? 0 : -ECHILD, e);
	if (!rc)
		rc = jail_root(j, NULL, e);
	if (!rc)
		rc = jail_note(j, JAIL_CAPS, drop_caps(root), e);
	if (!rc && prctl(PR_SET_DUMPABLE, 0))
		rc = err_set(e, -errno, "PR_SET_DUMPABLE");
	/* A change of rights forgets it. */
	if (!rc && parent >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL))
		rc = err_set(e, -errno, "PR_SET_PDEATHSIG");
	return rc;
}

void confine_words(const struct jail *j, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned w = 0; w < JAIL_NWALLS && n < len; w++)
		if (j->walls & 1u << w || j->why[w])
			n += (size_t)snprintf(buf + n, len - n, "%s%s%s", n ? " " : "",
					      j->walls & 1u << w ? "" : "-", jail_wall_name(w));
}

/* ---- landlock ----------------------------------------------------------------------------- */

static int add_share(int fd, const struct share *s, uint64_t all)
{
	uint64_t writes = all & ~NEVER;
	int rc;

	/* Whiteouts are devices, if only by name. */
	if (s->mode != FS_COW)
		writes &= ~(uint64_t)LANDLOCK_ACCESS_FS_MAKE_CHAR;
	rc = landlock_allow(fd, s->root[FS_UPPER], s->mode == FS_RO ? LANDLOCK_READS : writes);
	if (!rc)
		rc = landlock_allow(fd, s->root[FS_LOWER], LANDLOCK_READS);
	return rc ? rc : landlock_allow(fd, s->wip, writes);
}

static int make_ruleset(struct fs *fs)
{
	uint64_t files = 0;
	auto_fd fd = landlock_ruleset(&files);

	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < FS_SHARES; i++) {
		int rc = fs->share[i] ? add_share(fd, fs->share[i], files) : 0;

		if (rc)
			return rc;
	}
	return take_fd(&fd);
}

int confine_lock(struct fs *fs, struct err *e)
{
	int fd;

	if (fs->locked)
		return 0;
	fd = make_ruleset(fs);
	if (fd < 0)
		return err_set(e, fd, "Landlock");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		close(fd);
		return err_set(e, -EPERM, "PR_SET_NO_NEW_PRIVS");
	}
	fs->locked = true;
	atomic_store(&ruleset, fd);
	return confine_thread() ? 0 : err_say(e, -EPERM, "Landlock binds no thread");
}

bool confine_thread(void)
{
	static __thread bool bound;
	int fd = atomic_load(&ruleset);

	if (bound || fd < 0)
		return true;
	bound = !landlock_enter(fd);
	return bound;
}
