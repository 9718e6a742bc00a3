/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - one child process, two pipes from it.
 *
 * The status pipe carries lines of ours: `jail WALL...`, `run NS` and `end WORD
 * [TEXT]`. The other one is the child's stderr, on which the guest's console is always
 * copied, so that a failed boot can be explained; with --console it is passed
 * on, otherwise only its newest bytes are kept. The guest writes what it likes
 * there, so it is never parsed, and control characters are taken out before it
 * is quoted.
 *
 * Both pipes are read whenever the program waits for anything, because a full
 * one would stop the machine.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include "cli/machine/monitor.h"
#include "cli/base/spawn.h"
#include "cli/base/term.h"

#define CHILD_STATUS_FD	3
#define CHILD_PARENT_FD	4
#define CHILD_CONTROL_FD 5
#define CHILD_WINDOW_FD	6
#define CHILD_SERVER_FD	7
#define CHILD_ROOT_FD	8
#define CHILD_DISK_FD	9
#define CHILD_FDS	10	/* the first that no child of ours has */
#define GROUP_MEMORY	(192ull << 20)	/* beside the guest's: its own, page tables, files */
#define GROUP_THREADS	64u		/* beside vCPUs: the loop, io_uring's and KVM's workers */
#define SERVER_MEMORY	(128ull << 20)	/* of the server of folders: what it knows of files */
#define SERVER_THREADS	32u
#define TURN_READS	16	/* of 4 KiB per pipe and call: the rest comes with the next one */

_Static_assert(sizeof(((struct spawn *)0)->door) >= BOUNDS_MAX * sizeof(int), "a door each");

/* Of the machine's disks; -1: there is none. A template has no disk but its image. */
static int image_of(const struct monitor_conf *c)
{
	return c->root && !rootfs_whole(c->root) ? c->root->image.fd : -1;
}

static int disk_of(const struct monitor_conf *c)
{
	return c->root && !c->root_bare ? c->root->disk_fd : -1;
}

struct disk_args { char root[96], disk[96]; };

static void describe(char *out, size_t len, int fd, const char *how, const struct monitor_conf *c)
{
	int n = snprintf(out, len, "fd:%d%s", fd, how);

	if (c->root->bps && !c->root_bare)
		n += snprintf(out + n, len - (size_t)n, ",bps=%llu",
			      (unsigned long long)c->root->bps);
	if (c->root->iops && !c->root_bare)
		snprintf(out + n, len - (size_t)n, ",iops=%llu",
			 (unsigned long long)c->root->iops);
}

static int add_disks(const char **argv, int n, struct disk_args *a, const struct monitor_conf *c)
{
	if (image_of(c) >= 0) {
		describe(a->root, sizeof(a->root), CHILD_ROOT_FD, ",ro", c);
		argv[n++] = "--root";
		argv[n++] = a->root;
	}
	if (disk_of(c) >= 0) {
		describe(a->disk, sizeof(a->disk), CHILD_DISK_FD,
			 c->root->direct ? ",direct" : "", c);
		argv[n++] = "--disk";
		argv[n++] = a->disk;
	}
	return n;
}

/* On all that the machine's processes do. */
static void limit(struct monitor *m, const struct monitor_conf *c)
{
	struct bounds_limits l = {
		.memory = c->memory + c->memory / 8 + GROUP_MEMORY,
		.pids = c->cpus + GROUP_THREADS,
		/* Processors for its vCPUs, and one for all of its other threads. */
		.cpus = c->cpus + 1u,
	};

	if (c->server[1]) {
		l.memory += SERVER_MEMORY;
		l.pids += SERVER_THREADS;
	}
	if (image_of(c) >= 0)
		l.disk[l.n_disks++] = image_of(c);
	if (disk_of(c) >= 0)
		l.disk[l.n_disks++] = disk_of(c);
	if (l.n_disks && !c->root_bare) {
		l.bps = l.n_disks * c->root->bps;
		l.iops = l.n_disks * c->root->iops;
	}
	bounds_make(&m->group, "/proc", &l);
}

static int start(struct monitor *m, char **argv, int control, const struct monitor_conf *c,
		 struct err *e)
{
	int log[2] = { -1, -1 }, status[2] = { -1, -1 };
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int rc = null < 0 || pipe2(log, O_CLOEXEC) || pipe2(status, O_CLOEXEC) ? -errno : 0;
	auto_fd log_r = log[0];
	auto_fd log_w = log[1];
	auto_fd status_r = status[0];
	auto_fd status_w = status[1];
	bool fs = c->server[1];
	struct spawn s = {
		.argv = argv,
		.fd = { null, null, log_w, [CHILD_STATUS_FD] = status_w,
			[CHILD_PARENT_FD] = SPAWN_PARENT, [CHILD_CONTROL_FD] = control,
			[CHILD_WINDOW_FD] = fs ? c->server[0] : -1,
			[CHILD_SERVER_FD] = fs ? c->server[1] : -1,
			[CHILD_ROOT_FD] = image_of(c), [CHILD_DISK_FD] = disk_of(c) },
		.nfd = CHILD_FDS, .no_namespace = c->jail && !strcmp(c->jail, "none"),
		.lost = "end error sandbox-vmm could not be executed\n",
		.lost_fd = CHILD_STATUS_FD,
	};

	if (rc || fcntl(log_r, F_SETFL, O_NONBLOCK) || fcntl(status_r, F_SETFL, O_NONBLOCK))
		return err_set(e, rc ? rc : -errno, "make pipes for the monitor");
	if (!s.no_namespace)
		limit(m, c);
	s.ndoors = bounds_doors(&m->group, s.door);
	m->pid = spawn_start(&s, &m->pidfd, e);
	while (s.ndoors)
		close(s.door[--s.ndoors]);
	if (m->pid < 0) {
		bounds_remove(&m->group);
		return m->pid;
	}
	m->log_fd = take_fd(&log_r);
	m->status_fd = take_fd(&status_r);
	return 0;
}

int monitor_start(struct monitor *m, const struct monitor_conf *c, struct err *e)
{
	char memory[32], cpus[16], limit[16], boot[16], status[16], parent[16], control[16],
		server[32];
	const char *jail = c->jail ? c->jail : "auto";
	union { const char *c[32]; char *v[32]; } argv = { .c = {
		c->vmm, "--jail", jail, "--vsock", c->vsock, "--cid", "3", "--boot-timeout", boot,
		"--status-fd", status, "--parent-fd", parent, "--console",
	} };
	struct disk_args disks;
	int pair[2] = { -1, -1 }, n = 14, rc;

	*m = (struct monitor)MONITOR_NONE;
	m->console = c->console;
	snprintf(memory, sizeof(memory), "%lluk", (unsigned long long)(c->memory >> 10));
	snprintf(cpus, sizeof(cpus), "%u", c->cpus);
	snprintf(boot, sizeof(boot), "%u", c->restore ? 0 : c->boot_timeout_s);
	snprintf(status, sizeof(status), "%d", CHILD_STATUS_FD);
	snprintf(parent, sizeof(parent), "%d", CHILD_PARENT_FD);
	snprintf(control, sizeof(control), "%d", CHILD_CONTROL_FD);
	if (c->control) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
			return err_set(e, -errno, "make a socket to the monitor");
		argv.c[n++] = "--control-fd";
		argv.c[n++] = control;
	}
	if (c->cpu_milli) {
		snprintf(limit, sizeof(limit), "%u", c->cpu_milli);
		argv.c[n++] = "--cpu-limit";
		argv.c[n++] = limit;
	}
	if (c->server[1]) {
		snprintf(server, sizeof(server), "%d,%d", CHILD_WINDOW_FD, CHILD_SERVER_FD);
		argv.c[n++] = "--fs";
		argv.c[n++] = server;
	}
	n = add_disks(argv.c, n, &disks, c);
	if (c->restore) {
		argv.c[n++] = "--restore";
		argv.c[n++] = c->restore;
	} else {
		const char *const boot_from[] = { "--kernel", c->kernel, "--initrd", c->initrd,
						  "--memory", memory, "--cpus", cpus };

		for (size_t i = 0; i < ARRAY_LEN(boot_from); i++)
			argv.c[n++] = boot_from[i];
	}
	m->control_fd = pair[0];
	rc = start(m, argv.v, pair[1], c, e);
	if (pair[1] >= 0)
		close(pair[1]);
	return rc;
}

const char *monitor_limits(const struct monitor *m)
{
	return m->pidfd >= 0 && bounds_has(&m->group, m->pid) ? m->group.what : "";
}

bool monitor_wall(const struct monitor *m, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = m->walls; (p = strstr(p, name)); p += len)
		if ((p == m->walls || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

int monitor_verify(const struct monitor *m, const char *jail, struct err *e)
{
	if (jail && !strcmp(jail, "strict") && (!m->walls[0] || strchr(m->walls, '-')))
		return err_say(e, -EPERM, "the monitor has not all of its walls: %s",
			       m->walls[0] ? m->walls : "none");
	if (!monitor_wall(m, "seccomp") || !monitor_wall(m, "caps"))
		return 0;
	return spawn_verify(m->pid, 0, e);
}

static void status_line(struct monitor *m)
{
	char word[16], text[400] = "";

	m->line[m->line_len] = '\0';
	if (!strncmp(m->line, "run ", 4))
		m->running = true;
	if (!m->running && !strncmp(m->line, "jail ", 5))
		snprintf(m->walls, sizeof(m->walls), "%s", m->line + 5);
	if (sscanf(m->line, "end %15s %399[^\n]", word, text) >= 1 && !m->end[0]) {
		memcpy(m->end, word, sizeof(m->end));
		memcpy(m->why, text, sizeof(m->why));
	}
	m->line_len = 0;
}

static void status_bytes(struct monitor *m, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			status_line(m);
		else if (m->line_len < sizeof(m->line) - 1)
			m->line[m->line_len++] = p[i];
	}
}

static void log_bytes(struct monitor *m, const char *p, size_t n)
{
	size_t keep = MONITOR_TAIL_MAX / 2;

	if (m->console)
		for (size_t off = 0; off < n;) {
			ssize_t w = write(STDERR_FILENO, p + off, n - off);

			if (w < 0 && errno != EINTR)
				break;
			off += w > 0 ? (size_t)w : 0;
		}
	if (m->tail_len + n > MONITOR_TAIL_MAX && m->tail_len > keep) {
		memmove(m->tail, m->tail + m->tail_len - keep, keep);
		m->tail_len = keep;
	}
	BUG_ON(m->tail_len + n > MONITOR_TAIL_MAX);
	memcpy(m->tail + m->tail_len, p, n);
	m->tail_len += n;
}

static void take_pipe(struct monitor *m, int *fd,
		      void (*bytes)(struct monitor *m, const char *p, size_t n))
{
	char buf[4096];

	for (int i = 0; *fd >= 0 && i < TURN_READS; i++) {
		ssize_t n = read(*fd, buf, sizeof(buf));

		if (n > 0) {
			bytes(m, buf, (size_t)n);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(*fd);
			*fd = -1;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

void monitor_read(struct monitor *m)
{
	take_pipe(m, &m->log_fd, log_bytes);
	take_pipe(m, &m->status_fd, status_bytes);
}

/*
 * When the last of its threads ends, this process is woken before that thread has taken its
 * names in /proc away (those that monitor_verify() looked up), and on a loaded host it takes
 * that thread's processor. wait4(2) would then look at them again and again, running, until the
 * scheduler steps in, for four milliseconds; one yield hands the processor to anybody. The
 * thread needs a tenth of this nap.
 */
#define NAP_NS 200000

static void reap(struct monitor *m)
{
	struct pollfd p = { .fd = m->pidfd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
	while (waitpid(m->pid, &m->wstatus, 0) < 0 && errno == EINTR)
		;
	close(m->pidfd);
	m->pidfd = -1;
	bounds_remove(&m->group);
	monitor_read(m);
}

bool monitor_ended(struct monitor *m, int timeout_ms)
{
	uint64_t until = term_now_ns() + (uint64_t)timeout_ms * 1000000u;

	while (m->pidfd >= 0) {
		struct pollfd p[] = {
			{ .fd = m->pidfd, .events = POLLIN }, { .fd = m->log_fd, .events = POLLIN },
			{ .fd = m->status_fd, .events = POLLIN },
		};
		uint64_t now = term_now_ns();
		int left = now < until ? (int)((until - now) / 1000000u) + 1 : 0;

		if (poll(p, ARRAY_LEN(p), left) < 0 && errno != EINTR)
			break;
		monitor_read(m);
		if (p[0].revents)
			reap(m);
		else if (!left)
			break;
	}
	return m->pidfd < 0;
}

void monitor_stop(struct monitor *m)
{
	if (m->pidfd >= 0) {
		m->killed = true;
		kill(m->pid, SIGKILL);
		reap(m);
	}
	if (m->log_fd >= 0)
		close(m->log_fd);
	if (m->status_fd >= 0)
		close(m->status_fd);
	if (m->control_fd >= 0)
		close(m->control_fd);
	m->log_fd = m->status_fd = m->control_fd = -1;
}

void monitor_explain(const struct monitor *m, const char *when, struct err *e)
{
	static const struct { const char *word, *what; } ends[] = {
		{ "poweroff", "the guest powered itself off" },
		{ "reset", "the guest reset itself" },
		{ "panic", "the guest's kernel panicked" },
		{ "hang", "the guest gave no sign of life" },
		{ "stopped", "the monitor was told to stop" },
	};
	const char *colon = m->why[0] ? ": " : "";

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (!strcmp(m->end, ends[i].word)) {
			err_say(e, -EIO, "%s %s", ends[i].what, when);
			return;
		}
	if (m->end[0])
		err_say(e, -EIO, "the machine failed %s%s%s", when, colon, m->why);
	else if (WIFSIGNALED(m->wstatus) && WTERMSIG(m->wstatus) == SIGSYS)
		err_say(e, -EIO, "the monitor sandbox-vmm was killed %s for a system call that its "
			"jail forbids: a fault in it, or a guest that has taken it over (the "
			"kernel's log names the call: dmesg | grep type=1326)", when);
	else if (WIFSIGNALED(m->wstatus))
		err_say(e, -EIO, "the monitor sandbox-vmm was killed by signal %d (%s) %s",
			WTERMSIG(m->wstatus), strsignal(WTERMSIG(m->wstatus)), when);
	else
		err_say(e, -EIO, "the monitor sandbox-vmm ended with status %d %s",
			WEXITSTATUS(m->wstatus), when);
}

const char *monitor_tail(const struct monitor *m, unsigned lines, char *buf, size_t len)
{
	size_t end = m->tail_len, out = 0, from;
	bool start = true;

	while (end && (m->tail[end - 1] == '\n' || m->tail[end - 1] == '\r'))
		end--;
	for (from = end; from; from--)
		if (m->tail[from - 1] == '\n' && !--lines)
			break;
	buf[0] = '\0';
	for (size_t i = from; i < end && out + 8 < len; i++) {
		char c = m->tail[i];

		if (c == '\r')
			continue;
		if (start)
			out += (size_t)snprintf(buf + out, len - out, "  | ");
		start = c == '\n';
		buf[out++] = c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f) ? c : '?';
	}
	if (out && !start)
		buf[out++] = '\n';
	buf[out] = '\0';
	return buf;
}
