/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.c - something to be reached for each kind of act, so that an act without
 * walls succeeds; and the filter, on all calls.
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "cli/share/enclose.h"
#include "tests/jail/walls.h"

#define NR_MAX 500

/* A socket bound to a port of 127.0.0.1. */
static int local(int type, int *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	BUG_ON(fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)));
	BUG_ON(getsockname(fd, (struct sockaddr *)&sa, &len));
	*port = ntohs(sa.sin_port);
	return fd;
}

void world_open(struct world *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[128];
	int fd;

	snprintf(w->folder, sizeof(w->folder), "/tmp/walls-XXXXXX");
	BUG_ON(!mkdtemp(w->folder));
	snprintf(path, sizeof(path), "%s/secret", w->folder);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	BUG_ON(fd < 0 || write(fd, "#!/bin/true\n", 12) != 12);
	close(fd);
	snprintf(path, sizeof(path), "%s/out", w->folder);
	BUG_ON(symlink("/etc/passwd", path));
	w->share[0] = open(w->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	w->share[1] = enclose(w->share[0], false);
	w->share[2] = enclose(w->share[0], true);
	BUG_ON(w->share[0] < 0 || w->share[1] < 0 || w->share[2] < 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sock", w->folder);
	w->unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	BUG_ON(w->unix_fd < 0 || bind(w->unix_fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	       listen(w->unix_fd, 64));
	w->tcp_fd = local(SOCK_STREAM, &w->tcp);
	BUG_ON(listen(w->tcp_fd, 64));
	w->udp_fd = local(SOCK_DGRAM, &w->udp);
	w->shm = 0x10000 + getpid();
	w->shm_id = shmget(w->shm, 4096, IPC_CREAT | IPC_EXCL | 0600);
	BUG_ON(w->shm_id < 0);
	w->target = fork();
	if (!w->target) {
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

void world_close(struct world *w)
{
	char path[128];

	kill(w->target, SIGKILL);
	waitpid(w->target, NULL, 0);
	shmctl(w->shm_id, IPC_RMID, NULL);
	snprintf(path, sizeof(path), "%s/secret", w->folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/sock", w->folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/out", w->folder);
	unlink(path);
	rmdir(w->folder);
}

void world_text(const struct world *w, char *buf, size_t len)
{
	snprintf(buf, len, "%s %d %d %d %d", w->folder, w->tcp, w->udp, w->shm, w->target);
}

void world_parse(struct world *w, const char *text)
{
	BUG_ON(sscanf(text, "%63s %d %d %d %d", w->folder, &w->tcp, &w->udp, &w->shm,
		      &w->target) != 5);
}

const uint64_t *spaces(void)
{
	static const char *const names[NSPACES] = { "user", "mnt", "ipc", "uts", "net" };
	static uint64_t inode[NSPACES];
	char path[64];
	struct stat st;

	for (unsigned i = 0; i < NSPACES; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		inode[i] = stat(path, &st) ? 0 : st.st_ino;
	}
	return inode;
}

void seal(enum mode mode)
{
	struct jail j = { .mode = JAIL_STRICT };

	if (mode != MODE_FREE)
		BUG_ON(jail_seal(&j, mode == MODE_LOOP ? JAIL_CLASS_LOOP :
				     mode == MODE_VCPU ? JAIL_CLASS_VCPU : JAIL_CLASS_FS));
}

/*
 * All arguments are -1, which no call can do anything with. What comes back, with
 * any result, was let through; what takes part in that itself is known to be.
 */
int every_call(const char *cls)
{
	struct jail j = { .mode = JAIL_STRICT };
	enum jail_class c = !strcmp(cls, "vcpu") ? JAIL_CLASS_VCPU :
			    !strcmp(cls, "fs") ? JAIL_CLASS_FS : JAIL_CLASS_LOOP;

	for (long nr = 0; nr < NR_MAX; nr++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			BUG_ON(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
			alarm(10);
			BUG_ON(jail_seal(&j, c));
			syscall(nr, -1l, -1l, -1l, -1l, -1l, -1l);
			/* A call that ends the process, whatever it returned. */
			__builtin_trap();
		}
		BUG_ON(pid < 0 || waitpid(pid, &status, 0) != pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			printf("%ld\n", nr);
	}
	return 0;
}
