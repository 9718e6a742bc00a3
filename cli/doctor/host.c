/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c - everything that is not KVM: what the kernel allows (io_uring,
 * namespaces, landlock, seccomp, cgroups), what there is of memory and disk, and the
 * files of this program. What later versions need (passt) is a warning at most.
 *
 * A kernel facility is tried rather than looked up: policies hide in too many places.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/doctor/doctor.h"
#include "cli/base/host.h"
#include "cli/base/parse.h"
#include "cli/base/places.h"
#include "cli/base/spawn.h"
#include "cli/machine/bounds.h"
#include "cli/machine/kernel.h"

#define MEMORY_ENOUGH	(256ull << 20)
#define DISK_ENOUGH	(1ull << 30)

static void check_io_uring(struct doctor_finding *f)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	auto_fd ring = (int)syscall(SYS_io_uring_setup, 8, &p);

	if (ring >= 0)
		doctor_set(f, DOCTOR_OK, NULL, "rings can be made");
	else if (errno == EINVAL)
		doctor_set(f, DOCTOR_FAIL, "use Linux 6.1 or later",
			   "this kernel's io_uring lacks DEFER_TASKRUN");
	else if (errno == ENOMEM)
		doctor_set(f, DOCTOR_FAIL, "raise the limit with 'ulimit -l'",
			   "no ring can be made: %s", strerror(errno));
	else
		doctor_set(f, DOCTOR_FAIL, "run 'sudo sysctl kernel.io_uring_disabled=0', and in a "
			   "container allow io_uring in its seccomp profile",
			   "no ring can be made: %s", strerror(errno));
}

/* In a child, because there is no way back out of a namespace. */
static int try_namespaces(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) ?
		      errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EAGAIN;
	return WEXITSTATUS(status);
}

static void check_namespaces(struct doctor_finding *f)
{
	int code = try_namespaces();

	if (!code)
		doctor_set(f, DOCTOR_OK, NULL,
			   "user, mount, pid and network namespaces can be made");
	else
		doctor_set(f, DOCTOR_WARN, "run 'sudo sysctl user.max_user_namespaces=10000', on "
			   "Debian also kernel.unprivileged_userns_clone=1, on Ubuntu "
			   "kernel.apparmor_restrict_unprivileged_userns=0; until then the monitor "
			   "has one wall less", "no user namespace can be made: %s",
			   strerror(code));
}

static void check_landlock(struct doctor_finding *f)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi > 0)
		doctor_set(f, DOCTOR_OK, NULL, "ABI version %ld", abi);
	else
		doctor_set(f, DOCTOR_WARN, "boot with 'lsm=landlock,...' on a kernel with "
			   "CONFIG_SECURITY_LANDLOCK; until then the monitor has one wall less",
			   "not there: %s", strerror(errno));
}

static void check_seccomp(struct doctor_finding *f)
{
	uint32_t kill = SECCOMP_RET_KILL_PROCESS;

	if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill))
		doctor_set(f, DOCTOR_OK, NULL, "filters can end a process");
	else
		doctor_set(f, DOCTOR_WARN, "use a kernel with CONFIG_SECCOMP_FILTER; until then the "
			   "monitor has one wall less", "no filters: %s", strerror(errno));
}

/* sandbox-vmm puts its walls up, and tells. Returns what it said; "" for nothing. */
static const char *try_walls(char *text, size_t len)
{
	struct place vmm;
	struct err e = { 0 };
	int out[2], pidfd, status;
	union { const char *c[3]; char *v[3]; } argv = { .c = { vmm.path, "--try-jail" } };
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	text[0] = '\0';
	if (places_vmm(&vmm, &e) || pipe2(out, O_CLOEXEC))
		return text;
	pid = spawn_start(&(struct spawn){ .argv = argv.v, .fd = { -1, out[1], -1 }, .nfd = 3 },
			  &pidfd, &e);
	close(out[1]);
	while (pid > 0 && used < len - 1 && (n = read(out[0], text + used, len - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(out[0]);
	if (pid > 0) {
		waitpid(pid, &status, 0);
		close(pidfd);
	}
	return text;
}

static void check_jail(struct doctor_finding *f)
{
	char text[2048], missing[200] = "";
	const char *line = try_walls(text, sizeof(text));
	size_t used = 0;

	if (strncmp(line, "jail ", 5)) {
		doctor_set(f, DOCTOR_WARN, "see the line 'monitor'",
			   "the monitor did not tell of its walls");
		return;
	}
	while ((line = strchr(line, '\n')) && !strncmp(++line, "missing ", 8))
		used += (size_t)snprintf(missing + used, used < sizeof(missing) ?
					 sizeof(missing) - used : 0, "%s%.*s", used ? ", " : "",
					 (int)strcspn(line + 8, "\n"), line + 8);
	if (used)
		doctor_set(f, DOCTOR_WARN, "see the lines above; 'sandbox run' does without unless it is "
			   "given --jail=strict", "not every wall around the monitor can stand: %s",
			   missing);
	else
		doctor_set(f, DOCTOR_OK, NULL, "every wall around the monitor stands:%.*s",
			   (int)strcspn(text + 4, "\n"), text + 4);
}

static void check_cgroup(struct doctor_finding *f)
{
	struct place p;
	struct bounds c;
	struct err none;
	int state = places_state(&p, &none) ? -1 : open(p.path, O_PATH | O_CLOEXEC);

	bounds_make(&c, "/proc", &(struct bounds_limits){
		.memory = 1ull << 30, .pids = 100, .cpus = 1, .bps = 1ull << 30,
		.disk = { state }, .n_disks = state >= 0 });
	fd_cleanup(&state);
	if (c.n)
		doctor_set(f, DOCTOR_OK, NULL, "a limit on all of a monitor can be set: %s",
			   c.what);
	else
		doctor_set(f, DOCTOR_WARN, "run in a systemd user session, or by 'systemd-run --user "
			   "--scope sandbox ...'; until then nothing but the monitor itself bounds "
			   "what it uses beside the guest's memory",
			   "no control group is delegated to this user");
	bounds_remove(&c);
}

static void check_memory(struct doctor_finding *f)
{
	uint64_t all = host_memory(), free_now = host_memory_free();
	char a[32], b[32];

	parse_size_text(all, a);
	parse_size_text(free_now, b);
	if (free_now && free_now < MEMORY_ENOUGH)
		doctor_set(f, DOCTOR_WARN, "end other programs, or ask for less with --memory",
			   "%s, of which only %s are free", a, b);
	else
		doctor_set(f, DOCTOR_OK, NULL, "%s, of which %s are free", a, b);
}

static void check_disk(struct doctor_finding *f)
{
	struct place p;
	struct err e = { 0 };
	uint64_t free_now = 0;
	char size[32];

	if (places_cache(&p, &e) || places_space(&p, &free_now)) {
		doctor_set(f, DOCTOR_WARN, "set XDG_CACHE_HOME to a folder that you may write to",
			   "no cache folder: %s", e.msg[0] ? e.msg : strerror(errno));
		return;
	}
	parse_size_text(free_now, size);
	if (free_now < DISK_ENOUGH)
		doctor_set(f, DOCTOR_WARN, "free some, or set XDG_CACHE_HOME to a larger disk",
			   "%s are free at %.100s", size, p.path);
	else
		doctor_set(f, DOCTOR_OK, NULL, "%s are free at %.100s", size, p.path);
}

static void check_runtime(struct doctor_finding *f)
{
	struct place p;
	struct err e = { 0 };

	if (places_runtime(&p, &e))
		doctor_set(f, DOCTOR_FAIL, "set XDG_RUNTIME_DIR or XDG_STATE_HOME to a folder that you "
			   "own", "%s", e.msg);
	else
		doctor_set(f, DOCTOR_OK, NULL, "sockets go to %.200s", p.path);
}

static void check_passt(struct doctor_finding *f)
{
	if (doctor_has("passt"))
		doctor_set(f, DOCTOR_OK, NULL, "there, for guests with a network");
	else
		doctor_set(f, DOCTOR_WARN, "run 'sudo apt-get install passt'; this version has no network "
			   "and does without it", "not installed");
}

static void check_file(struct doctor_finding *f, int (*find)(struct place *, struct err *))
{
	char release[KERNEL_RELEASE_MAX];
	struct place p;
	struct err e = { 0 };

	if (find(&p, &e))
		doctor_set(f, DOCTOR_FAIL, e.msg, "not found");
	else if (find == places_kernel && !kernel_release(p.path, release))
		doctor_set(f, DOCTOR_OK, NULL, "%.200s, Linux %s", p.path, release);
	else
		doctor_set(f, DOCTOR_OK, NULL, "%.250s", p.path);
}

static void check_vmm(struct doctor_finding *f)
{
	check_file(f, places_vmm);
}

static void check_server(struct doctor_finding *f)
{
	check_file(f, places_fsd);
}

static void check_kernel(struct doctor_finding *f)
{
	check_file(f, places_kernel);
}

static void check_initrd(struct doctor_finding *f)
{
	check_file(f, places_initrd);
}

const struct doctor_check doctor_host_checks[] = {
	{ "io_uring", check_io_uring },
	{ "namespaces", check_namespaces },
	{ "landlock", check_landlock },
	{ "seccomp", check_seccomp },
	{ "jail", check_jail },
	{ "cgroup", check_cgroup },
	{ "memory", check_memory },
	{ "disk", check_disk },
	{ "runtime", check_runtime },
	{ "passt", check_passt },
	{ "images", doctor_image },
	{ "disks", doctor_mkfs },
	{ "monitor", check_vmm },
	{ "file server", check_server },
	{ "kernel", check_kernel },
	{ "initramfs", check_initrd },
	{ 0 },
};
