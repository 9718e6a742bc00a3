/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.c - find, make, drop.
 *
 * A template appears by rename(2) of a finished folder, and goes by rename to a
 * name that nobody looks up; so whoever opens one gets a whole one, and whoever
 * has one open keeps it. Makers hold a lock on a file beside it; a maker that
 * dies leaves a folder `tmp-*`, which the next maker of that template removes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include "cli/machine/machine.h"
#include "cli/machine/settle.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/template.h"
#include "cli/base/term.h"

#define FORMAT		2u		/* of the folder; the state file has its own version */
#define WARM_MS		120000
#define SETTLE_MS	10000
#define KEEP		8u		/* templates; the least recently used beyond that go */

static int add_file(struct template_key *k, const char *what, const char *path, struct err *e)
{
	size_t n = strlen(k->text);
	struct stat st;

	if (stat(path, &st))
		return err_set(e, -errno, "%s %s", what, path);
	snprintf(k->text + n, sizeof(k->text) - n,
		 "%s %llu:%llu %lld %lld.%09ld %lld.%09ld\n", what,
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return 0;
}

/* Processor and KVM, as far as their names tell: folders are shared between hosts, too. */
static void add_host(struct template_key *k)
{
	size_t n = strlen(k->text);
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256], model[200] = "?";
	struct utsname u;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %199[^\n]", model) == 1)
			break;
	if (f)
		fclose(f);
	if (!uname(&u))
		snprintf(k->text + n, sizeof(k->text) - n, "host %s %s %s\n", u.machine, u.release,
			 model);
}

int template_key(struct template_key *k, const struct monitor_conf *c, struct err *e)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */
	int rc;

	snprintf(k->text, sizeof(k->text), "format %u\nmemory %llu\ncpus %u\n", FORMAT,
		 (unsigned long long)c->memory, c->cpus);
	add_host(k);
	rc = add_file(k, "monitor", c->vmm, e);
	if (!rc)
		rc = add_file(k, "kernel", c->kernel, e);
	if (!rc)
		rc = add_file(k, "initrd", c->initrd, e);
	if (!rc && c->root && c->root->ref && !rootfs_whole(c->root)) {
		size_t n = strlen(k->text);

		snprintf(k->text + n, sizeof(k->text) - n, "image %s\n", c->root->image.id);
	}
	if (rc)
		return rc;
	for (const char *p = k->text; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
	snprintf(k->name, sizeof(k->name), "%016llx", (unsigned long long)hash);
	return 0;
}

int template_root(struct place *p, struct err *e)
{
	int rc = places_templates(p, e);
	int fd = rc ? -1 : open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (rc)
		return rc;
	return fd < 0 ? err_set(e, -errno, "open the folder of templates %s", p->path) : fd;
}

/* True if the template is there and was made from @k. Marks it as used. */
static bool present(int root, const struct template_key *k)
{
	char have[TEMPLATE_KEY_MAX];
	auto_fd dir = openat(root, k->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd fd = dir < 0 ? -1 : openat(dir, "key", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof(have));

	if (n < 0 || (size_t)n != strlen(k->text) || memcmp(have, k->text, (size_t)n))
		return false;
	(void)futimens(dir, NULL);
	return true;
}

void template_drop(const struct place *dir)
{
	struct place p = *dir;
	char *slash = strrchr(p.path, '/');
	auto_fd root = -1;

	BUG_ON(!slash);
	*slash = '\0';
	root = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0)
		snapdir_remove(root, slash + 1);
}

bool template_is(const char *name)
{
	return strlen(name) == 16 && strspn(name, "0123456789abcdef") == 16;
}

/* Keep the KEEP most recently used; called with a lock of ours only, so others may do the same. */
static void prune(int root, const char *mine)
{
	for (;;) {
		int copy = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = copy < 0 ? NULL : fdopendir(copy);
		char oldest[17] = "";
		time_t when = 0;
		unsigned n = 0;

		if (!d) {
			if (copy >= 0)
				close(copy);
			return;
		}
		for (const struct dirent *de; (de = readdir(d));) {
			struct stat st;

			if (!template_is(de->d_name) || fstatat(root, de->d_name, &st, 0))
				continue;
			n++;
			if (strcmp(de->d_name, mine) && (!oldest[0] || st.st_mtime < when)) {
				memcpy(oldest, de->d_name, sizeof(oldest));
				when = st.st_mtime;
			}
		}
		closedir(d);
		if (n <= KEEP || !oldest[0])
			return;
		snapdir_remove(root, oldest);
	}
}

/* ---- making ---- */

/* One command before the save, so that what every command touches is in the guest's caches. */
static int warm_up(struct machine *m, struct err *e)
{
	static const char *const argv[] = { "true", NULL };
	struct client_exec x = { .argv = argv, .fd = { -1, -1, -1 },
				 .timeout_ns = WARM_MS * 1000000ull };
	struct client_result res;
	struct client_err ce = { 0 };
	int rc = client_exec_run(m->client, &x, NULL, 0, &res, &ce);

	client_close(m->client);	/* a template has no connection into it */
	m->client = NULL;
	return rc ? err_say(e, rc, "the first command in the guest: %.200s", ce.msg) : 0;
}

static int save(struct machine *m, int dir, const struct template_key *k, struct err *e)
{
	auto_fd key = openat(dir, "key", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n = strlen(k->text);

	if (key < 0 || write(key, k->text, n) != (ssize_t)n || fsync(key))
		return err_set(e, -errno, "write the template");
	return snapdir_write(&(struct snapdir_what){ .control_fd = m->mon.control_fd,
						     .pump = &m->mon, .disk = -1 }, dir, NULL, e);
}

/* In a folder of its own, which becomes the template by its last step. */
static int make_in(int root, const char *tmp, const struct monitor_conf *c,
		   const struct template_key *k, int sigfd, struct err *e)
{
	auto_fd dir = openat(root, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct monitor_conf boot = *c;
	struct machine m;
	int rc;

	if (dir < 0)
		return err_set(e, -errno, "open the template's folder");
	boot.control = true;
	boot.cpu_milli = 0;	/* it is everybody's */
	boot.hostname = NULL;
	boot.identity = true;	/* its files are there, then, for clones to write over */
	boot.shares = NULL;
	boot.root_bare = true;
	boot.keep_sockets = false;
	boot.progress = "making a template of the booted guest, once";
	rc = machine_start(&m, &boot, sigfd, e);
	if (!rc)
		rc = warm_up(&m, e);
	if (!rc)
		rc = machine_settle(&m, sigfd, SETTLE_MS);
	if (!rc)
		rc = save(&m, dir, k, e);
	machine_stop(&m);
	if (rc)
		return rc;
	snapdir_remove(root, k->name);	/* another key with the same hash */
	rc = snapdir_publish(root, tmp, k->name);
	return rc ? err_set(e, rc, "put the template in its place") : 0;
}

/* Wait for the lock of a maker, but not deaf to signals. 0, a signal's number, or -errno. */
static int take_lock(int fd, int sigfd, struct err *e)
{
	uint64_t since = term_now_ns();

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		struct pollfd p = { .fd = sigfd, .events = POLLIN };
		int signo;

		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set(e, -errno, "lock the template");
		if (poll(&p, 1, 50) > 0) {
			signo = machine_signal(sigfd);
			if (signo)
				return signo;
		}
		term_progress("waiting for another process to make the template", since);
	}
	term_progress_end();
	return 0;
}

/*
 * The lock of the makers of this template, which is no file that somebody has removed meanwhile.
 * 0 and *fd, a signal's number, or -errno.
 */
static int lock_maker(int root, const char *name, int sigfd, int *fd, struct err *e)
{
	struct stat mine, there;
	int rc;

	do {
		fd_cleanup(fd);
		*fd = openat(root, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (*fd < 0 || fstat(*fd, &mine))
			return err_set(e, -errno, "make the template's lock");
		rc = take_lock(*fd, sigfd, e);
	} while (!rc && (fstatat(root, name, &there, AT_SYMLINK_NOFOLLOW) ||
			 there.st_ino != mine.st_ino));
	return rc;
}

/* The lock is ours. */
static int make_locked(int root, const struct monitor_conf *c, const struct template_key *k,
		       int sigfd, struct err *e)
{
	char tmp[40];
	int rc;

	snprintf(tmp, sizeof(tmp), "tmp-%s", k->name);
	snapdir_remove(root, tmp);	/* of a maker that died: its lock was free */
	if (mkdirat(root, tmp, 0700))
		return err_set(e, -errno, "make the template's folder");
	rc = make_in(root, tmp, c, k, sigfd, e);
	if (rc)
		snapdir_remove(root, tmp);
	else
		prune(root, k->name);
	return rc;
}

static int make(int root, const struct monitor_conf *c, const struct template_key *k, int sigfd,
		struct err *e)
{
	char name[40];
	auto_fd lock = -1;
	int rc;

	snprintf(name, sizeof(name), "%s.lock", k->name);
	rc = lock_maker(root, name, sigfd, &lock, e);
	if (rc)
		return rc;
	if (!present(root, k))
		rc = make_locked(root, c, k, sigfd, e);
	(void)unlinkat(root, name, 0);	/* who waits for it looks again, and finds the result */
	return rc;
}

int template_get(const struct monitor_conf *c, int sigfd, struct place *dir, struct err *e)
{
	struct template_key k;
	int rc = template_key(&k, c, e);
	auto_fd root = rc ? -1 : template_root(dir, e);
	size_t n;

	if (root < 0)
		return rc ? rc : root;
	n = strlen(dir->path);
	if (n + sizeof(k.name) + 1 > sizeof(dir->path))
		return err_say(e, -ENAMETOOLONG, "the cache folder's path is too long");
	snprintf(dir->path + n, sizeof(dir->path) - n, "/%s", k.name);
	return present(root, &k) ? 0 : make(root, c, &k, sigfd, e);
}
