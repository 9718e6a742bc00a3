/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - sandbox-fsd: the file server of one virtual machine, or of a mount on the host.
 *
 * The main thread serves the control socket and waits for the end: of the transport, of
 * the parent, or a signal.
 *
 * A poll(2) with a time limit that was stopped (SIGSTOP, a host that sleeps) is gone on with by a
 * call of its own.
 *
 * #syscalls:fs poll restart_syscall?
 */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include "devices/fs/confine.h"
#include "devices/fs/control.h"
#include "vmm/log.h"

#define DESCRIPTORS_MAX 16384u
#define DESCRIPTORS_MIN 256u
#define STOP_MS		1000

struct options {
	int window, socket, control, parent;
	enum jail_mode jail;
	const char *mount;
	const char *share[FS_SHARES];
	unsigned nshares;
	enum fs_cache cache;
	uint32_t uid, gid;
};

static const char help[] =
	"Usage: sandbox-fsd --window-fd N --socket-fd N --control-fd N [--parent-fd N]\n"
	"       sandbox-fsd --mount DIR --share ID:MODE:FOLDER[:UPPER] ...\n"
	"\n"
	"Serves folders to a virtual machine, or at DIR on this host. MODE is ro, rw, or cow with\n"
	"a folder UPPER for the changes. Each share is a folder of its own, named by its ID.\n"
	"\n"
	"  --cache none|auto|always   how long a client may believe what it was told (auto)\n"
	"  --owner UID:GID            whom this user's files belong to, in the client's eyes (the same)\n"
	"  --jail auto|strict|none    how much this process must be kept in (auto; at a\n"
	"                             mount only its threads are)\n"
	"\n"
	"Example: sandbox-fsd --mount /mnt --share 0:ro:/usr/share\n";

enum { OPT_WINDOW = 1, OPT_SOCKET, OPT_CONTROL, OPT_PARENT, OPT_MOUNT, OPT_SHARE, OPT_CACHE,
       OPT_OWNER, OPT_JAIL, OPT_HELP };

static const struct option longs[] = {
	{ "window-fd", 1, NULL, OPT_WINDOW }, { "socket-fd", 1, NULL, OPT_SOCKET },
	{ "control-fd", 1, NULL, OPT_CONTROL }, { "parent-fd", 1, NULL, OPT_PARENT },
	{ "mount", 1, NULL, OPT_MOUNT }, { "share", 1, NULL, OPT_SHARE },
	{ "cache", 1, NULL, OPT_CACHE }, { "owner", 1, NULL, OPT_OWNER },
	{ "jail", 1, NULL, OPT_JAIL },
	{ "help", 0, NULL, OPT_HELP }, { NULL, 0, NULL, 0 },
};

static int take_fd_number(const char *word, int *fd, struct err *e)
{
	char *end;
	long n = strtol(word, &end, 10);

	if (*end || end == word || n < 0 || n > INT32_MAX || fcntl((int)n, F_GETFD) < 0)
		return err_say(e, -EINVAL, "'%s' is no open descriptor", word);
	*fd = (int)n;
	return fcntl(*fd, F_SETFD, FD_CLOEXEC) ? err_set(e, -errno, "descriptor %s", word) : 0;
}

static int take_option(struct options *o, int c, struct err *e)
{
	switch (c) {
	case OPT_WINDOW: return take_fd_number(optarg, &o->window, e);
	case OPT_SOCKET: return take_fd_number(optarg, &o->socket, e);
	case OPT_CONTROL: return take_fd_number(optarg, &o->control, e);
	case OPT_PARENT: return take_fd_number(optarg, &o->parent, e);
	case OPT_MOUNT: o->mount = optarg; return 0;
	case OPT_SHARE:
		if (o->nshares == FS_SHARES)
			return err_say(e, -EINVAL, "more than %u shares", FS_SHARES);
		o->share[o->nshares++] = optarg;
		return 0;
	case OPT_CACHE:
		return control_cache(optarg, &o->cache) ?
			err_say(e, -EINVAL, "--cache is none, auto or always") :
			0;
	case OPT_OWNER:
		return sscanf(optarg, "%u:%u", &o->uid, &o->gid) == 2 ? 0 :
			err_say(e, -EINVAL, "--owner is UID:GID");
	case OPT_JAIL:
		return jail_mode_parse(optarg, &o->jail) ?
			err_say(e, -EINVAL, "--jail is auto, strict or none") : 0;
	case OPT_HELP:
		fputs(help, stdout);
		return 1;
	}
	return err_say(e, -EINVAL, "unknown option; see --help");
}

static int parse(struct options *o, int argc, char **argv, struct err *e)
{
	int c, rc;

	*o = (struct options){ .window = -1, .socket = -1, .control = -1, .parent = -1,
			       .cache = FS_CACHE_AUTO, .uid = geteuid(), .gid = getegid() };
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		rc = take_option(o, c, e);
		if (rc)
			return rc;
	}
	if (optind < argc)
		return err_say(e, -EINVAL, "'%s' is no option", argv[optind]);
	if (!o->mount == (o->window < 0 || o->socket < 0))
		return err_say(e, -EINVAL, "either --mount, or --window-fd and --socket-fd");
	return 0;
}

/* ID:MODE:FOLDER[:UPPER] */
static int add_share(struct fs *fs, const struct options *o, const char *text, struct err *e)
{
	auto_mem char *copy = strdup(text);
	char *at = copy, *id = strsep(&at, ":"), *mode_word = strsep(&at, ":");
	char *folder = strsep(&at, ":"), *end;
	enum fs_mode mode;
	unsigned long number = id ? strtoul(id, &end, 10) : 0;
	int root, upper = -1;

	if (!id || !folder || !*id || *end || control_mode(mode_word, &mode))
		return err_say(e, -EINVAL, "--share is ID:ro|rw|cow:FOLDER[:UPPER], not '%s'",
			       text);
	root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(e, -errno, "%s", folder);
	if (at)
		upper = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at && upper < 0) {
		int rc = -errno;

		close(root);
		return err_set(e, rc, "%s", at);
	}
	return share_add(fs, (unsigned)number, mode, o->cache, o->uid, o->gid, root, upper, e);
}

/* As many descriptors as we may have; how many we have use for. */
static unsigned descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return DESCRIPTORS_MIN;
	l.rlim_cur = l.rlim_max;
	(void)!setrlimit(RLIMIT_NOFILE, &l);
	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur < DESCRIPTORS_MIN)
		return DESCRIPTORS_MIN;
	return l.rlim_cur < DESCRIPTORS_MAX ? (unsigned)l.rlim_cur : DESCRIPTORS_MAX;
}

static int start(struct fs *fs, struct transport *t, const struct options *o, struct jail *j,
		 struct err *e)
{
	for (unsigned i = 0; i < o->nshares; i++) {
		int rc = add_share(fs, o, o->share[i], e);

		if (rc)
			return rc;
	}
	if (o->mount)
		return transport_dev(t, fs, o->mount, j, e);
	return transport_window(t, fs, o->window, o->socket, j, e);
}

static int signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/*
 * False: it has been told to stop and does not, as somebody still has the mount (a process
 * in it, another namespace): the end of this process ends it for them too.
 */
static bool serve(struct fs *fs, struct transport *t, const struct options *o, int signal_fd)
{
	struct pollfd p[] = { { .fd = t->done, .events = POLLIN },
			      { .fd = signal_fd, .events = POLLIN },
			      { .fd = o->parent, .events = POLLIN },
			      { .fd = o->control, .events = POLLIN } };
	int wait = -1;

	while (!p[0].revents) {
		int n = poll(p, ARRAY_LEN(p), wait);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (p[1].revents || p[2].revents) {
			transport_stop(t);
			p[1].fd = p[2].fd = -1;
			wait = STOP_MS;
		}
		/* Who asked may be gone before the machine is. */
		if (p[3].revents && control_serve(fs, t, p[3].fd))
			p[3].fd = -1;
	}
	return true;
}

/* Everything but the filters, which are each thread's own. */
static int into_jail(const struct options *o, struct jail *j, struct err *e)
{
	const int keep[] = { o->window, o->socket, o->control, o->parent };
	int given[ARRAY_LEN(keep)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(keep); i++)
		if (keep[i] >= 0)
			given[n++] = keep[i];
	return confine(j, given, n, o->parent, e);
}

/* The last thread, after the others. A host's own mount is served by threads of this one alone. */
static int seal(const struct transport *t, const struct options *o, struct jail *j, struct err *e)
{
	int rc = t->pool.sealed;

	if (j->mode == JAIL_NONE)
		return 0;
	if (!rc && !o->mount)
		rc = jail_seal(j, JAIL_CLASS_FS);
	rc = jail_note(j, JAIL_SECCOMP, rc, e);
	/* It has no ring, and its filter lets it make none. */
	return rc ? rc : jail_note(j, JAIL_RING, j->walls & 1u << JAIL_SECCOMP ? 0 : -EPERM, e);
}

int main(int argc, char **argv)
{
	static struct fs fs;
	static struct transport t;
	struct err e = { 0 };
	struct options o;
	struct jail jail = { 0 };
	int rc, signal_fd;

	log_name("sandbox-fsd");
	rc = parse(&o, argc, argv, &e);
	if (rc == 1)
		return 0;
	if (rc) {
		log_say(LOG_LEVEL_ERROR, "%s", e.msg);
		return 2;
	}
	jail.mode = o.jail;
	/* Memory comes from brk(2) alone: no filter has to tell one mmap() from another. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	rc = o.mount ? 0 : into_jail(&o, &jail, &e);
	umask(0);
	signal_fd = signals();
	if (!rc)
		rc = fs_open(&fs, descriptors(), o.mount != NULL);
	if (rc && !*e.msg)
		err_set(&e, rc, "start");
	if (!rc)
		rc = start(&fs, &t, &o, &jail, &e);
	if (!rc)
		rc = seal(&t, &o, &jail, &e);
	if (rc) {
		log_say(LOG_LEVEL_ERROR, "%s", e.msg);
		return 1;
	}
	if (!serve(&fs, &t, &o, signal_fd))
		return 0;
	transport_close(&t);
	fs_close(&fs);
	return 0;
}
