/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounds.c - where is this process, above which folder may this user make one, and
 * which controllers work there.
 *
 * In v2 a group that holds processes cannot have limited groups in it, so the nearest
 * group above our own is taken that hands its controllers on and is ours to
 * write. In v1 each controller has a tree of its own, and a group is made in ours.
 *
 * A folder is named after the process that made it; one of a process that is gone is
 * removed by the next.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "cli/machine/bounds.h"

#define PREFIX	"sandbox-"
#define PERIOD_US 100000u	/* of processor time, and what v1 has without being told */

static ssize_t read_text(const char *dir, const char *name, char *buf, size_t len)
{
	char path[PLACES_MAX + 64];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	{
		auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

		n = fd < 0 ? -1 : read(fd, buf, len - 1);
	}
	buf[n < 0 ? 0 : n] = '\0';
	return n;
}

static bool write_text(const char *dir, const char *name, const char *text)
{
	char path[PLACES_MAX + 64];
	size_t n = strlen(text);

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	{
		auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

		return fd >= 0 && write(fd, text, n) == (ssize_t)n;
	}
}

static bool write_number(const char *dir, const char *name, uint64_t v)
{
	char text[48];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	/* What v2 has in one file: time in each period. */
	if (!strcmp(name, "cpu.max"))
		snprintf(text, sizeof(text), "%llu %u", (unsigned long long)v, PERIOD_US);
	return write_text(dir, name, text);
}

/* ---- disks --------------------------------------------------------------- */

/*
 * "MAJOR:MINOR" of the disk that the file is on, or is: of the whole one, as limits are of
 * those. Some file systems do not tell.
 */
static bool disk_of(int fd, char name[static 32])
{
	char dir[64];
	struct stat st;
	dev_t dev;
	ssize_t n;

	if (fstat(fd, &st))
		return false;
	dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = read_text(dir, "partition", name, 32) > 0 ? read_text(dir, "../dev", name, 32) :
							 read_text(dir, "dev", name, 32);
	if (n > 0)
		name[strcspn(name, "\n")] = '\0';
	return n > 0;
}

/* Of v2. */
static bool limit_disk(const char *dir, const char *disk, const struct bounds_limits *l)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "%s", disk);

	if (l->bps)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " rbps=%llu wbps=%llu",
			      (unsigned long long)l->bps, (unsigned long long)l->bps);
	if (l->iops)
		snprintf(text + n, sizeof(text) - (size_t)n, " riops=%llu wiops=%llu",
			 (unsigned long long)l->iops, (unsigned long long)l->iops);
	return write_text(dir, "io.max", text);
}

static bool limit_disk_v1(const char *dir, const char *disk, const struct bounds_limits *l)
{
	const struct { const char *file; uint64_t v; } all[] = {
		{ "blkio.throttle.read_bps_device", l->bps },
		{ "blkio.throttle.write_bps_device", l->bps },
		{ "blkio.throttle.read_iops_device", l->iops },
		{ "blkio.throttle.write_iops_device", l->iops },
	};
	char text[64];
	bool done = true;

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		snprintf(text, sizeof(text), "%s %llu", disk, (unsigned long long)all[i].v);
		done &= !all[i].v || write_text(dir, all[i].file, text);
	}
	return done;
}

/* Every disk of the machine's: true if each of them has the limit. */
static bool limit_disks(const char *dir, const struct bounds_limits *l,
			bool (*limit)(const char *, const char *, const struct bounds_limits *))
{
	char disk[32];
	bool done = l->n_disks;

	for (unsigned i = 0; i < l->n_disks; i++)
		done &= disk_of(l->disk[i], disk) && limit(dir, disk, l);
	return done;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || strchr(" ,\n", p[-1])) && (!p[len] || strchr(" ,\n", p[len])))
			return true;
	return false;
}

/* What the kernel tells of our groups; it costs more to ask than all that is done with it. */
struct told { char cgroup[8192], mountinfo[32768]; };

/*
 * The folder of our group: the line of self/cgroup whose second field is
 * @controller ("" is v2), below the mount point of that tree.
 */
static bool own_folder(struct place *p, struct place *top, const struct told *told,
		       const char *controller)
{
	struct told copy;
	char *const text = strcpy(copy.cgroup, told->cgroup);
	char *const mounts = strcpy(copy.mountinfo, told->mountinfo);
	char root[512], at[512], tail[512], *own = NULL;

	for (char *line = strtok(text, "\n"); line && !own; line = strtok(NULL, "\n")) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		*second = '\0';
		if (*controller ? has_word(first + 1, controller) : !first[1])
			own = second + 1;
	}
	for (char *line = strtok(mounts, "\n"); own && line; line = strtok(NULL, "\n")) {
		size_t n;

		/* ... ROOT MOUNT-POINT OPTIONS... - TYPE SOURCE OPTIONS */
		if (sscanf(line, "%*s %*s %*s %511s %511s %*[^-]- %511[^\n]", root, at,
			   tail) != 3 ||
		    strncmp(tail, *controller ? "cgroup " : "cgroup2 ", *controller ? 7 : 8) ||
		    (*controller && !has_word(tail, controller)))
			continue;
		n = strcmp(root, "/") && !strncmp(own, root, strlen(root)) ? strlen(root) : 0;
		snprintf(top->path, sizeof(top->path), "%s", at);
		snprintf(p->path, sizeof(p->path), "%s%s", at, strcmp(own + n, "/") ? own + n : "");
		return true;
	}
	return false;
}

/* Folders of processes that are gone. */
static void sweep(const char *dir)
{
	DIR *d = opendir(dir);
	char path[PLACES_MAX + 300];

	for (const struct dirent *de; d && (de = readdir(d));) {
		long pid;

		if (strncmp(de->d_name, PREFIX, sizeof(PREFIX) - 1))
			continue;
		pid = strtol(de->d_name + sizeof(PREFIX) - 1, NULL, 10);
		if (pid <= 0 || !kill((pid_t)pid, 0) || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		(void)rmdir(path);	/* not while there is anybody in it */
	}
	if (d)
		closedir(d);
}

/* A new folder in @parent; nothing happens where that is not allowed. */
static bool add(struct bounds *c, const struct place *parent)
{
	static unsigned number;
	struct place *p = &c->dir[c->n];

	sweep(parent->path);
	if ((size_t)snprintf(p->path, sizeof(p->path), "%.*s/" PREFIX "%d-%u",
			     (int)sizeof(p->path) - 40, parent->path, (int)getpid(), number++) >=
	    sizeof(p->path) || mkdir(p->path, 0700))
		return false;
	c->n++;
	return true;
}

static void limited(struct bounds *c, bool done, const char *what)
{
	size_t n = strlen(c->what);

	if (done)
		snprintf(c->what + n, sizeof(c->what) - n, "%s%s", n ? " " : "", what);
}

/* A folder without a limit is of no use. */
static void drop_if_idle(struct bounds *c, const char *before)
{
	if (!strcmp(c->what, before))
		(void)rmdir(c->dir[--c->n].path);
}

static void make_v2(struct bounds *c, const struct told *told, const struct bounds_limits *l)
{
	struct place at, top;
	char text[1024];

	if (!own_folder(&at, &top, told, ""))
		return;
	for (;;) {
		if (read_text(at.path, "cgroup.subtree_control", text, sizeof(text)) > 0 &&
		    (has_word(text, "memory") || has_word(text, "pids")) && add(c, &at))
			break;
		if (!strcmp(at.path, top.path) || !strrchr(at.path, '/'))
			return;
		*strrchr(at.path, '/') = '\0';
	}
	limited(c, write_number(c->dir[0].path, "memory.max", l->memory), "memory");
	limited(c, write_number(c->dir[0].path, "pids.max", l->pids), "pids");
	if (l->cpus)
		limited(c, write_number(c->dir[0].path, "cpu.max", l->cpus * PERIOD_US), "cpu");
	if (l->bps || l->iops)
		limited(c, limit_disks(c->dir[0].path, l, limit_disk), "io");
	drop_if_idle(c, "");
}

static void make_v1(struct bounds *c, const struct told *told, const char *controller,
		    const char *file, uint64_t value)
{
	struct place at, top;
	char before[sizeof(c->what)];

	if (!own_folder(&at, &top, told, controller) || !add(c, &at))
		return;
	memcpy(before, c->what, sizeof(before));
	limited(c, write_number(c->dir[c->n - 1].path, file, value), controller);
	drop_if_idle(c, before);
}

static void make_v1_io(struct bounds *c, const struct told *told, const struct bounds_limits *l)
{
	struct place at, top;
	char before[sizeof(c->what)];

	if (!own_folder(&at, &top, told, "blkio") || !add(c, &at))
		return;
	memcpy(before, c->what, sizeof(before));
	limited(c, limit_disks(c->dir[c->n - 1].path, l, limit_disk_v1), "io");
	drop_if_idle(c, before);
}

void bounds_make(struct bounds *c, const char *proc, const struct bounds_limits *l)
{
	struct told told;

	*c = (struct bounds)BOUNDS_NONE;
	if (read_text(proc, "self/cgroup", told.cgroup, sizeof(told.cgroup)) <= 0 ||
	    read_text(proc, "self/mountinfo", told.mountinfo, sizeof(told.mountinfo)) <= 0)
		return;
	make_v2(c, &told, l);
	if (c->n)
		return;
	make_v1(c, &told, "memory", "memory.limit_in_bytes", l->memory);
	make_v1(c, &told, "pids", "pids.max", l->pids);
	if (l->cpus)
		make_v1(c, &told, "cpu", "cpu.cfs_quota_us", l->cpus * PERIOD_US);
	if (l->bps || l->iops)
		make_v1_io(c, &told, l);
}

unsigned bounds_doors(const struct bounds *c, int fd[BOUNDS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++) {
		char path[PLACES_MAX + 64];

		snprintf(path, sizeof(path), "%s/cgroup.procs", c->dir[i].path);
		fd[n] = open(path, O_WRONLY | O_CLOEXEC);
		n += fd[n] >= 0;
	}
	return n;
}

void bounds_enter(const struct bounds *c, pid_t pid)
{
	BUG_ON(pid <= 0);	/* 0 would be this process */
	/* What cannot be had is told by whoever looks (bounds_has). */
	for (unsigned i = 0; i < c->n; i++)
		(void)!write_number(c->dir[i].path, "cgroup.procs", (uint64_t)pid);
}

bool bounds_has(const struct bounds *c, pid_t pid)
{
	char text[4096], word[16];

	snprintf(word, sizeof(word), "%d", (int)pid);
	for (unsigned i = 0; i < c->n; i++)
		if (read_text(c->dir[i].path, "cgroup.procs", text, sizeof(text)) <= 0 ||
		    !has_word(text, word))
			return false;
	return c->n;
}

void bounds_remove(struct bounds *c)
{
	while (c->n && (!rmdir(c->dir[c->n - 1].path) || errno != EBUSY))
		c->n--;
}
