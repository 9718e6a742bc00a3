/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.c - what is common, and the first two stages.
 *
 * The user namespace has no ids mapped at all: in it the process is nobody, and
 * there is nobody else that it could become. Outside it keeps the ids of whoever
 * started it, which is what lets it open /dev/kvm.
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "vmm/jail.h"

static const char *const walls[] = {
#define JAIL_NAME(name, word) [JAIL_##name] = (word),
	JAIL_WALLS(JAIL_NAME)
#undef JAIL_NAME
};

int jail_mode_parse(const char *word, enum jail_mode *mode)
{
	static const char *const words[] = {
		[JAIL_AUTO] = "auto", [JAIL_STRICT] = "strict", [JAIL_NONE] = "none",
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(word, words[i])) {
			*mode = (enum jail_mode)i;
			return 0;
		}
	return -EINVAL;
}

const char *jail_wall_name(enum jail_wall w)
{
	return walls[w];
}

int jail_note(struct jail *j, enum jail_wall w, int rc, struct err *e)
{
	if (!rc) {
		j->walls |= 1u << w;
		return 0;
	}
	j->why[w] = rc;
	if (j->mode != JAIL_STRICT)
		return 0;
	return err_set(e, rc, "the jail's wall '%s' cannot be put up on this host (--jail=auto "
		       "does without)", walls[w]);
}

const char *jail_words(const struct jail *j, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < JAIL_NWALLS && n < len; i++)
		n += (size_t)snprintf(buf + n, len - n, "%s%s%s", i ? " " : "",
				      j->walls & 1u << i ? "" : "-", walls[i]);
	return buf;
}

/* ---- early ---- */

/*
 * What looks for leaks at the end of a process attaches to it like a debugger. Behind
 * the walls it cannot, also of one that ends before the last of them stands; a monitor
 * for tests looks with --jail=none.
 */
#ifdef __SANITIZE_ADDRESS__
static bool walled;
extern int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return walled;
}
#endif

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* What lies between the descriptors that stay. */
static int close_others(const int *keep, size_t n)
{
	int sorted[64];
	unsigned from = 3;

	BUG_ON(n > ARRAY_LEN(sorted));
	memcpy(sorted, keep, n * sizeof(*keep));
	qsort(sorted, n, sizeof(*sorted), by_number);
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)sorted[i];

		if (sorted[i] < 3)
			continue;
		if (fd > from && syscall(SYS_close_range, from, fd - 1, 0))
			return -errno;
		from = fd >= from ? fd + 1 : from;
	}
	return syscall(SYS_close_range, from, ~0u, 0) ? -errno : 0;
}

static void limit(int what, rlim_t want)
{
	struct rlimit r;

	if (getrlimit(what, &r))
		return;
	r.rlim_max = r.rlim_max < want ? r.rlim_max : want;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(what, &r);	/* only ever lowers the hard one: cannot be refused */
}

/*
 * After anything that may take it away; then look whether there still is a
 * parent. By pidfd: getppid() is 0 where the parent is outside of our namespace.
 */
static int die_with(int parent)
{
	struct pollfd p = { .fd = parent, .events = POLLIN };

	if (parent < 0)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return poll(&p, 1, 0) == 1 ? -ESRCH : 0;
}

/*
 * What looks for races names the functions of both sides, by the program's own file,
 * which has no name any more behind the walls; so it has to read it now.
 */
#ifdef __SANITIZE_THREAD__
extern void __sanitizer_symbolize_pc(void *pc, const char *fmt, char *out, size_t len);

static void read_symbols(void)
{
	char line[128];

	__sanitizer_symbolize_pc(__builtin_return_address(0), "%f", line, sizeof(line));
}
#else
static void read_symbols(void) {}
#endif

int jail_early(struct jail *j, const int *keep, size_t n, unsigned nofile, int parent,
	       struct err *e)
{
	int rc = die_with(parent);

	(void)j;
#ifdef __SANITIZE_ADDRESS__
	walled = j->mode != JAIL_NONE;
#endif
	if (rc)
		return err_set(e, rc, "the parent process");
	read_symbols();
	rc = close_others(keep, n);
	if (rc)
		return err_set(e, rc, "close_range");
	umask(077);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_MSGQUEUE, 0);
	limit(RLIMIT_NOFILE, nofile);
	/* Where there are no keys there is nothing to be kept apart. */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	return 0;
}

/* ---- ids ---- */

static const struct { enum jail_wall wall; int flag; } spaces[] = {
	{ JAIL_USER, CLONE_NEWUSER }, { JAIL_MOUNT, CLONE_NEWNS }, { JAIL_IPC, CLONE_NEWIPC },
	{ JAIL_UTS, CLONE_NEWUTS }, { JAIL_NET, CLONE_NEWNET },
};

/* All at once costs least; one by one tells which are refused. */
static int namespaces(struct jail *j, struct err *e)
{
	int all = 0, rc;

	for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
		all |= spaces[i].flag;
	all = unshare(all);
	for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
		rc = all && unshare(spaces[i].flag) ? -errno : 0;
		rc = jail_note(j, spaces[i].wall, rc, e);
		if (rc)
			return rc;
	}
	return 0;
}

int jail_ids(struct jail *j, int parent, struct err *e)
{
	int rc;

	if (j->mode == JAIL_NONE)
		return 0;
	rc = namespaces(j, e);
	if (rc)
		return rc;
	rc = jail_note(j, JAIL_PID, getpid() == 1 ? 0 : -ECHILD, e);
	if (rc)
		return err_say(e, rc, "the jail's wall 'pid' must be there when the process starts: "
			       "'sandbox' does that, and so does 'unshare -rpf' (--jail=auto does "
			       "without)");
	if (prctl(PR_SET_DUMPABLE, 0))
		return err_set(e, -errno, "PR_SET_DUMPABLE");
	rc = die_with(parent);
	return rc ? err_set(e, rc, "the parent process") : 0;
}
