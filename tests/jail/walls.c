/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walls.c - every forbidden act, tried by a process behind the real walls (vmm/jail.h).
 *
 * The program starts itself as a child, as `sandbox` starts the monitor and the file
 * server. The child puts up walls and does one act. Each act is tried several times:
 *
 *   free         without walls: it must work, or the test would show nothing
 *   walls        behind all walls but the filter: it must fail for the reason of its wall
 *   loop, vcpu   behind all of them: it must end the process, or fail as the filter says
 *   server, fs   the same for the file server: but for the filter, and with it
 *
 * Prints `ok NAME` or `not ok NAME: why`.
 */
#include <arpa/inet.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/base/spawn.h"
#include "devices/fs/confine.h"
#include "tests/jail/walls.h"

static struct world world;
static unsigned failed;

/* ---- the child ---------------------------------------------------------------------------- */

/* errno as an exit status; 0: it worked. */
static int act(const char *name, enum mode mode)
{
	for (const struct act *a = acts; a->name; a++)
		if (!strcmp(a->name, name)) {
			if (a->prepare)
				a->prepare(&world);
			if (mode != MODE_WALLS && mode != MODE_SERVER)
				seal(mode);
			return a->run(&world) ? errno : 0;
		}
	return 255;
}

/* The stages, as vmm/main.c has them. */
static int monitor_walls(struct jail *j, struct err *e)
{
	const int keep[] = { KEPT_FD };
	int rc = jail_early(j, keep, 1, 1300, KEPT_FD, e);

	if (!rc)
		rc = jail_ids(j, KEPT_FD, e);
	memcpy(world.ns_after, spaces(), sizeof(world.ns_after));
	return rc ? rc : jail_fs(j, ".", e);
}

/* As devices/fs/main.c has them. */
static int server_walls(struct jail *j, struct err *e)
{
	const int keep[] = { KEPT_FD, SHARE_FD, READ_ONLY_FD };

	return confine(j, keep, ARRAY_LEN(keep), KEPT_FD, e);
}

static int child(char **argv)
{
	enum mode mode = (enum mode)atoi(argv[2]);
	struct jail j = { .mode = mode == MODE_FREE ? JAIL_NONE : JAIL_STRICT };
	struct err e = { 0 };
	int rc;

	world_parse(&world, argv[4]);
	memcpy(world.ns_before, spaces(), sizeof(world.ns_before));
	world.keys_before = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	prctl(PR_SET_PDEATHSIG, 0);	/* spawn_start() set it, too */
	rc = chdir(world.folder) ? -errno : 0;
	if (!rc && mode != MODE_FREE)
		rc = mode < MODE_SERVER ? monitor_walls(&j, &e) : server_walls(&j, &e);
	if (rc) {
		fprintf(stderr, "walls: %s\n", e.msg);
		return 254;
	}
	world.walls = j.walls;
	for (unsigned i = 0; i < JAIL_NWALLS; i++)
		world.missing |= j.why[i] != 0;
	return act(argv[3], mode);
}

/* ---- the parent ---------------------------------------------------------------------------- */

static int try(const char *self, const char *name, enum mode mode, const char *text)
{
	char number[8];
	union { const char *c[6]; char *v[6]; } argv = {
		.c = { self, "--child", number, name, text } };
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct spawn s = {
		.argv = argv.v, .fd = { null, null, STDERR_FILENO, null, SPAWN_PARENT, null,
					world.share[mode >= MODE_SERVER ? 1 : 0],
					world.share[mode >= MODE_SERVER ? 2 : 0] },
		.nfd = READ_ONLY_FD + 1, .no_namespace = mode == MODE_FREE,
	};
	struct err e = { 0 };
	int pidfd, status;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", mode);
	pid = spawn_start(&s, &pidfd, &e);
	if (pid < 0) {
		fprintf(stderr, "walls: %s\n", e.msg);
		return -1;
	}
	close(pidfd);
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static const char *told(int status, char buf[64])
{
	if (WIFSIGNALED(status))
		snprintf(buf, 64, "ended by %s", strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		snprintf(buf, 64, "failed: %s", strerror(WEXITSTATUS(status)));
	else
		snprintf(buf, 64, "worked");
	return buf;
}

static bool as_wanted(int status, int want)
{
	if (want == DIES)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	return WIFEXITED(status) && WEXITSTATUS(status) == want;
}

static void check(const char *self, const struct act *a, enum mode mode, int want,
		  const char *text)
{
	static const char *const modes[NMODES] = { "without walls", "walls", "filter loop",
						   "filter vcpu", "server's walls", "filter fs" };
	char got[64], wanted[64];
	int status;

	if (want == SKIP)
		return;
	if (want == NEEDS_ROOT && geteuid()) {
		printf("skip jail %s: %s: not here: it needs root\n", modes[mode], a->name);
		return;
	}
	want = want == NEEDS_ROOT ? 0 : want;
	status = try(self, a->name, mode, text);
	if (as_wanted(status, want)) {
		printf("ok jail %s: %s\n", modes[mode], a->name);
	} else {
		printf("not ok jail %s: %s: it %s, wanted: %s\n", modes[mode], a->name,
		       told(status, got),
		       want == DIES ? "death by SIGSYS" : told(want << 8, wanted));
		failed++;
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char text[256];

	if (argc == 5 && !strcmp(argv[1], "--child"))
		return child(argv);
	if (argc == 2 && !strncmp(argv[1], "--all=", 6))
		return every_call(argv[1] + 6);
	setvbuf(stdout, NULL, _IOLBF, 0);
	world_open(&world);
	world_text(&world, text, sizeof(text));
	for (const struct act *a = acts; a->name; a++)
		for (enum mode m = MODE_FREE; m < NMODES; m++)
			check(argv[0], a, m, a->want[m], text);
	world_close(&world);
	return failed ? 1 : 0;
}
