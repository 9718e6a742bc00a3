/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts.c - what a taken-over monitor might try, and which wall must stop it.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <liburing.h>
#include <linux/keyctl.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include "tests/jail/walls.h"
#include "vmm/loop.h"

#define UNUSED __attribute__((unused))
#define ACT(name) static int name(UNUSED struct world *w)

/* As the call says, but errno when it is not what it should be. */
static int truth(bool yes)
{
	errno = ENOTRECOVERABLE;
	return yes ? 0 : -1;
}

static int got(long rc)
{
	return rc < 0 ? -1 : 0;
}

/* ---- files ---- */

ACT(open_a_host_file)
{
	return got(open("/etc/passwd", O_RDONLY));
}

ACT(stat_a_host_file)
{
	struct stat st;

	return stat("/etc/passwd", &st);
}

ACT(climb_out_of_the_root)
{
	struct stat st;

	return stat("../../../../etc/passwd", &st);
}

ACT(reopen_through_proc)
{
	struct stat st;

	return stat("/proc/self/exe", &st);
}

ACT(open_what_lies_in_the_root)
{
	return got(open("secret", O_RDONLY));
}

ACT(write_what_lies_in_the_root)
{
	return truncate("secret", 0);
}

ACT(make_a_file_in_the_root)
{
	int fd = open("new", O_WRONLY | O_CREAT, 0600);

	return fd < 0 ? -1 : unlink("new");
}

ACT(read_a_descriptor_that_nobody_named)
{
	return fcntl(LEAK_FD, F_GETFD) < 0 ? -1 : 0;
}

/* ---- from a shared folder, by whoever owns its server: it may use openat2 as it likes ---- */

static int open_from(int dirfd, const char *name, uint64_t flags)
{
	struct open_how how = { .flags = flags };

	return got(syscall(SYS_openat2, dirfd, name, &how, sizeof(how)));
}

ACT(open_what_lies_in_a_share)
{
	return open_from(SHARE_FD, "secret", O_RDWR) || open_from(READ_ONLY_FD, "secret", O_RDONLY);
}

ACT(climb_out_of_a_share)
{
	return open_from(SHARE_FD, "../../../../../etc/passwd", O_RDONLY);
}

ACT(leave_a_share_by_a_link)
{
	return open_from(SHARE_FD, "out", O_RDONLY);
}

ACT(write_into_a_read_only_share)
{
	return open_from(READ_ONLY_FD, "secret", O_WRONLY);
}

ACT(change_a_read_only_share)
{
	return utimensat(READ_ONLY_FD, "secret", NULL, 0);
}

ACT(execute_from_a_share)
{
	char *none[] = { (char[]){ "secret" }, NULL };

	return (int)syscall(SYS_execveat, SHARE_FD, "secret", none, none, 0);
}

/* ---- network ---- */

static int to(int type, int port, bool bind_it)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		return -1;
	return bind_it ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) :
			 connect(fd, (struct sockaddr *)&sa, sizeof(sa));
}

ACT(connect_by_tcp)
{
	return to(SOCK_STREAM, w->tcp, false);
}

ACT(listen_by_tcp)
{
	return to(SOCK_STREAM, 0, true);
}

ACT(send_by_udp)
{
	return to(SOCK_DGRAM, w->udp, false);
}

ACT(make_a_socket_of_another_family)
{
	return got(socket(AF_NETLINK, SOCK_RAW, 0));
}

/* The one thing that is left: a socket in the folder. */
ACT(connect_to_a_socket_in_the_root)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "sock" };

	return connect(w->fd, (struct sockaddr *)&sa, sizeof(sa));
}

static void a_socket(struct world *w)
{
	w->fd = socket(AF_UNIX, SOCK_STREAM, 0);
}

/* ---- processes ---- */

ACT(kill_another_process)
{
	return kill(w->target, 0);
}

ACT(signal_a_thread_of_another)
{
	return (int)syscall(SYS_tgkill, w->target, w->target, 0);
}

ACT(trace_another_process)
{
	return got(ptrace(PTRACE_SEIZE, w->target, 0, 0));
}

ACT(make_a_process)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return got(pid);
}

ACT(execute_a_program)
{
	char *argv[] = { (char[]){ "true" }, NULL };

	return execv("/bin/true", argv);
}

ACT(reach_shared_memory)
{
	return got(shmget(w->shm, 0, 0));
}

/* ---- rights ---- */

ACT(mount_something)
{
	return mount("none", "/", "tmpfs", 0, NULL);
}

ACT(make_a_user_namespace)
{
	return unshare(CLONE_NEWUSER);
}

ACT(make_another_namespace)
{
	return unshare(CLONE_NEWUTS);
}

ACT(change_the_host_name)
{
	char name[65];

	return gethostname(name, sizeof(name)) ? -1 : sethostname(name, strlen(name));
}

ACT(become_somebody_else)
{
	return setresuid(1234, 1234, 1234);
}

ACT(be_traced_by_others)
{
	return prctl(PR_SET_DUMPABLE, 1);
}

static bool at_most(int what, rlim_t most)
{
	struct rlimit r;

	return !getrlimit(what, &r) && r.rlim_cur <= most && r.rlim_max <= most;
}

ACT(leaves_no_core_file)
{
	return truth(at_most(RLIMIT_CORE, 0));
}

/* ---- memory and the rest ---- */

static void a_page(struct world *w)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	BUG_ON(p == MAP_FAILED);
	w->folder[0] = '\0';
	memcpy(w->folder + 8, &p, sizeof(p));
}

ACT(make_memory_executable)
{
	void *p;

	memcpy(&p, w->folder + 8, sizeof(p));
	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

ACT(map_executable_memory)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static struct loop ring;

static void a_ring(struct world *w)
{
	struct err e;
	unsigned n;
	const uint8_t *ops = jail_ring(JAIL_CLASS_LOOP, &n);

	(void)w;
	BUG_ON(loop_init(&ring, 8, &e) || loop_restrict(&ring, ops, n));
}

/* Its result, by io_uring. */
ACT(open_by_io_uring)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&ring.ring);
	struct io_uring_cqe *c;

	BUG_ON(!s);
	io_uring_prep_openat(s, AT_FDCWD, "secret", O_RDONLY, 0);
	io_uring_sqe_set_data64(s, 77);
	if (io_uring_submit_and_wait(&ring.ring, 1) < 0)
		return -1;
	while (!io_uring_peek_cqe(&ring.ring, &c)) {
		int res = c->res;
		bool mine = c->user_data == 77;

		io_uring_cqe_seen(&ring.ring, c);
		if (mine) {
			errno = -res;
			return res < 0 ? -1 : 0;
		}
	}
	return truth(false);
}

static void a_free_ring(struct world *w)
{
	struct err e;

	(void)w;
	BUG_ON(loop_init(&ring, 8, &e));
}

ACT(make_a_ring)
{
	struct io_uring_params p = { 0 };

	return got(syscall(SYS_io_uring_setup, 8, &p));
}

ACT(register_with_a_ring)
{
	return got(syscall(SYS_io_uring_register, ring.ring.ring_fd,
			   IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

ACT(ask_a_device_for_more)
{
	int v = 0;

	return ioctl(w->fd, FIONBIO, &v);
}

ACT(call_by_the_32_bit_door)
{
#if defined(__x86_64__)
	long rc = 20;		/* getpid */

	__asm__ volatile("int $0x80" : "+a"(rc) : : "memory");
	return truth(rc > 0);
#else
	return truth(true);
#endif
}

/* ---- what is simply so ---- */

ACT(has_namespaces_of_its_own)
{
	for (unsigned i = 0; i < NSPACES; i++)
		if (!w->ns_before[i] || w->ns_before[i] == w->ns_after[i])
			return truth(false);
	return truth(getpid() == 1);
}

ACT(has_no_privilege_left)
{
	unsigned caps = 0;

	for (unsigned i = 0; i < 41; i++)
		caps += prctl(PR_CAPBSET_READ, i) == 1;
	return truth(!caps && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
		     prctl(PR_GET_DUMPABLE) == 0 && geteuid() == 65534);
}

/* The number of descriptors is the one that walls.c asked for. */
ACT(opens_no_more_than_its_share)
{
	return truth(at_most(RLIMIT_NOFILE, 1300));
}

ACT(makes_nothing_that_others_can_open)
{
	return truth(umask(0) == 077 && at_most(RLIMIT_MSGQUEUE, 0));
}

ACT(has_keys_of_its_own)
{
	return truth(w->keys_before < 0 ||
		     syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) !=
		     w->keys_before);
}

ACT(dies_with_its_parent)
{
	int sig = 0;

	return truth(!prctl(PR_GET_PDEATHSIG, &sig) && sig == SIGKILL);
}

/* The monitor's at least; root's server has no user namespace. */
ACT(misses_no_wall)
{
	return truth(!w->missing && w->walls & 1u << JAIL_ROOT && w->walls & 1u << JAIL_CAPS);
}

ACT(says_that_every_wall_stands)
{
	uint32_t own = 1u << JAIL_SECCOMP | 1u << JAIL_RING;	/* of other hands */

	return truth(w->walls == ((1u << JAIL_NWALLS) - 1 - own));
}

const struct act acts[] = {
	/* name, before the filter, { free, monitor's walls, filters; server's walls, filter } */
#define A(name, prep, ...) { #name, prep, name, { __VA_ARGS__ } }
	A(open_what_lies_in_a_share, NULL, 0, SKIP, DIES, DIES, 0, 0),
	A(climb_out_of_a_share, NULL, 0, SKIP, DIES, DIES, ENOENT, ENOENT),
	A(leave_a_share_by_a_link, NULL, 0, SKIP, DIES, DIES, ELOOP, ELOOP),
	A(write_into_a_read_only_share, NULL, 0, SKIP, DIES, DIES, EROFS, EROFS),
	A(change_a_read_only_share, NULL, 0, SKIP, DIES, DIES, EROFS, EROFS),
	A(execute_from_a_share, NULL, 0, SKIP, DIES, DIES, EACCES, DIES),
	A(open_a_host_file, NULL, 0, ENOENT, DIES, DIES, ENOENT, DIES),
	A(stat_a_host_file, NULL, 0, ENOENT, DIES, DIES, ENOENT, ENOENT),
	A(climb_out_of_the_root, NULL, 0, ENOENT, DIES, DIES, ENOENT, ENOENT),
	A(reopen_through_proc, NULL, 0, ENOENT, DIES, DIES, ENOENT, ENOENT),
	A(open_what_lies_in_the_root, NULL, 0, EACCES, DIES, DIES, ENOENT, DIES),
	A(write_what_lies_in_the_root, NULL, 0, EROFS, DIES, DIES, ENOENT, DIES),
	A(make_a_file_in_the_root, NULL, 0, EROFS, DIES, DIES, EROFS, DIES),
	A(read_a_descriptor_that_nobody_named, NULL, 0, EBADF, DIES, DIES, EBADF, DIES),
	A(connect_by_tcp, NULL, 0, EACCES, DIES, DIES, ENETUNREACH, DIES),
	A(listen_by_tcp, NULL, 0, EACCES, DIES, DIES, 0, DIES),
	A(send_by_udp, NULL, 0, ENETUNREACH, DIES, DIES, ENETUNREACH, DIES),
	A(make_a_socket_of_another_family, NULL, 0, 0, DIES, DIES, 0, DIES),
	A(connect_to_a_socket_in_the_root, a_socket, 0, 0, 0, DIES, ENOENT, DIES),
	A(kill_another_process, NULL, 0, ESRCH, DIES, DIES, ESRCH, DIES),
	A(signal_a_thread_of_another, NULL, 0, ESRCH, DIES, DIES, ESRCH, DIES),
	A(trace_another_process, NULL, 0, ESRCH, DIES, DIES, ESRCH, DIES),
	A(make_a_process, NULL, 0, 0, DIES, DIES, 0, DIES),
	A(execute_a_program, NULL, 0, ENOENT, DIES, DIES, ENOENT, DIES),
	A(reach_shared_memory, NULL, 0, ENOENT, DIES, DIES, ENOENT, DIES),
	A(mount_something, NULL, SKIP, EPERM, DIES, DIES, EPERM, DIES),
	A(make_a_user_namespace, NULL, 0, EPERM, DIES, DIES, SKIP, DIES),
	A(make_another_namespace, NULL, NEEDS_ROOT, EPERM, DIES, DIES, EPERM, DIES),
	A(change_the_host_name, NULL, NEEDS_ROOT, EPERM, DIES, DIES, EPERM, DIES),
	A(become_somebody_else, NULL, NEEDS_ROOT, EINVAL, DIES, DIES, SKIP, DIES),
	A(be_traced_by_others, NULL, 0, 0, DIES, DIES, 0, DIES),
	A(leaves_no_core_file, NULL, SKIP, 0, DIES, DIES, 0, DIES),
	A(make_memory_executable, a_page, 0, 0, DIES, DIES, 0, DIES),
	A(map_executable_memory, NULL, 0, 0, ENOMEM, DIES, 0, ENOMEM),
	A(open_by_io_uring, a_ring, EACCES, EACCES, EACCES, DIES, SKIP, DIES),
	A(make_a_ring, NULL, 0, 0, DIES, DIES, 0, DIES),
	A(register_with_a_ring, a_free_ring, 0, 0, DIES, DIES, 0, DIES),
	A(ask_a_device_for_more, a_socket, 0, 0, DIES, DIES, 0, DIES),
	A(call_by_the_32_bit_door, NULL, 0, 0, DIES, DIES, 0, DIES),
	A(has_namespaces_of_its_own, NULL, SKIP, 0, SKIP, SKIP, SKIP, SKIP),
	A(has_no_privilege_left, NULL, SKIP, 0, SKIP, SKIP, SKIP, SKIP),
	A(opens_no_more_than_its_share, NULL, SKIP, 0, SKIP, SKIP, SKIP, SKIP),
	A(makes_nothing_that_others_can_open, NULL, SKIP, 0, SKIP, SKIP, 0, SKIP),
	A(has_keys_of_its_own, NULL, SKIP, 0, SKIP, SKIP, 0, SKIP),
	A(dies_with_its_parent, NULL, SKIP, 0, SKIP, SKIP, 0, SKIP),
	A(misses_no_wall, NULL, SKIP, 0, SKIP, SKIP, 0, SKIP),
	A(says_that_every_wall_stands, NULL, SKIP, 0, SKIP, SKIP, SKIP, SKIP),
	{ 0 },
};
