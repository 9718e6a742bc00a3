/* SPDX-License-Identifier: Apache-2.0 */
/*
 * places.c - folders and files.
 *
 * An XDG variable that is not an absolute path is ignored, as its specification
 * asks. The runtime folder of another user (a shell started by su or sudo keeps
 * the variable) is not an error: the state folder takes its place.
 *
 * Installed files are found from where this program lies (../libexec, ../share), so
 * that a tree can be moved, or installed under any prefix.
 */
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "cli/base/places.h"

static int print(struct place *p, struct err *e, const char *fmt, ...) printf_like(3, 4);
static int print(struct place *p, struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->path, sizeof(p->path), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(p->path))
		return err_say(e, -ENAMETOOLONG, "the path %.40s... is too long", p->path);
	return 0;
}

static int home(struct place *p, struct err *e)
{
	const char *h = getenv("HOME");
	const struct passwd *pw;

	if (h && *h == '/')
		return print(p, e, "%s", h);
	pw = getpwuid(geteuid());
	if (pw && pw->pw_dir && *pw->pw_dir == '/')
		return print(p, e, "%s", pw->pw_dir);
	return err_say(e, -ENOENT,
		       "there is no home folder; set HOME to one that you may write to");
}

/* $var/sandbox, or ~/fallback/sandbox. */
static int xdg(struct place *p, const char *var, const char *fallback, struct err *e)
{
	const char *v = getenv(var);
	struct place h;
	int rc;

	if (v && *v == '/')
		return print(p, e, "%s/sandbox", v);
	rc = home(&h, e);
	return rc ? rc : print(p, e, "%s/%s/sandbox", h.path, fallback);
}

int places_cache(struct place *p, struct err *e)
{
	return xdg(p, "XDG_CACHE_HOME", ".cache", e);
}

/* The folder and what is missing above it. It must be ours, and nobody else's to enter. */
static int make_private(const char *path, bool parents, struct err *e)
{
	char part[PLACES_MAX];
	struct stat st;

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = part + 1; parents && (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(part, 0700) && errno != EEXIST)
			return err_set(e, -errno, "make folder %s", part);
		*p = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(e, -errno, "make folder %s", path);
	if (lstat(path, &st))
		return err_set(e, -errno, "look at folder %s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_say(e, -EPERM, "%s is not a folder of this user; remove it", path);
	if ((st.st_mode & 07777) != 0700 && chmod(path, 0700))
		return err_set(e, -errno, "make folder %s private", path);
	return 0;
}

int places_state(struct place *p, struct err *e)
{
	int rc = xdg(p, "XDG_STATE_HOME", ".local/state", e);

	return rc ? rc : make_private(p->path, true, e);
}

int places_data(struct place *p, struct err *e)
{
	return xdg(p, "XDG_DATA_HOME", ".local/share", e);
}

int places_images(struct place *p, struct err *e)
{
	struct place data;
	int rc = places_data(&data, e);

	if (!rc)
		rc = make_private(data.path, true, e);
	if (!rc)
		rc = print(p, e, "%s/images", data.path);
	return rc ? rc : make_private(p->path, false, e);
}

/* A person may have put the cache elsewhere by a link; what counts is whose folder that is. */
int places_templates(struct place *p, struct err *e)
{
	int rc = places_cache(p, e);
	auto_mem char *real = rc ? NULL : realpath(p->path, NULL);
	struct place cache;

	if (!rc && real)
		rc = print(p, e, "%s", real);
	if (!rc)
		rc = make_private(p->path, true, e);
	cache = *p;
	if (!rc)
		rc = print(p, e, "%s/templates", cache.path);
	return rc ? rc : make_private(p->path, false, e);
}

int places_config(struct place *p, struct err *e)
{
	return xdg(p, "XDG_CONFIG_HOME", ".config", e);
}

int places_runtime(struct place *p, struct err *e)
{
	const char *v = getenv("XDG_RUNTIME_DIR");
	struct err first = { 0 };
	struct place state;
	int rc;

	if (v && *v == '/' && !print(p, &first, "%s/sandbox", v) &&
	    !make_private(p->path, false, &first))
		return 0;
	rc = places_state(p, e);
	if (rc)
		return rc;
	state = *p;
	rc = print(p, e, "%s/run", state.path);
	return rc ? rc : make_private(p->path, false, e);
}

int places_self(struct place *p, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", p->path, sizeof(p->path) - 1);

	if (n < 0)
		return err_set(e, -errno, "read /proc/self/exe");
	p->path[n] = '\0';
	return 0;
}

int places_self_dir(struct place *p, struct err *e)
{
	int rc = places_self(p, e);
	char *slash = rc ? NULL : strrchr(p->path, '/');

	if (slash)
		*slash = '\0';
	return rc;
}

/* The build tree's @near, or the installed @inst; with -ENOENT *p is the former. */
static int find(struct place *p, const char *near, const char *inst, int mode, struct err *e)
{
	struct place dir;
	int rc = places_self_dir(&dir, e);

	if (rc)
		return rc;
	if (!print(p, e, "%s/%s", dir.path, near) && !access(p->path, mode))
		return 0;
	if (!print(p, e, "%s/../%s", dir.path, inst) && !access(p->path, mode))
		return 0;
	rc = print(p, e, "%s/%s", dir.path, near);
	return rc ? rc : -ENOENT;
}

/* A program that the environment names. */
static int named(struct place *p, const char *own, const char *what, const char *by, struct err *e)
{
	if (access(own, X_OK))
		return err_set(e, -errno, "run %s %s, named by %s", what, own, by);
	return print(p, e, "%s", own);
}

int places_vmm(struct place *p, struct err *e)
{
	const char *own = getenv("SANDBOX_VMM");

	if (own && *own)
		return named(p, own, "the monitor", "SANDBOX_VMM", e);
	if (!find(p, "sandbox-vmm", "libexec/sandbox/sandbox-vmm", X_OK, e))
		return 0;
	return err_say(e, -ENOENT, "the monitor sandbox-vmm is neither beside this program nor in "
		       "../libexec/sandbox; build it with 'make', or install again");
}

int places_fsd(struct place *p, struct err *e)
{
	const char *own = getenv("SANDBOX_FSD");

	if (own && *own)
		return named(p, own, "the file server", "SANDBOX_FSD", e);
	if (!find(p, "sandbox-fsd", "libexec/sandbox/sandbox-fsd", X_OK, e))
		return 0;
	return err_say(e, -ENOENT, "the file server sandbox-fsd is neither beside this program nor "
		       "in ../libexec/sandbox; build it with 'make', or install again");
}

int places_kernel(struct place *p, struct err *e)
{
	/* Not the bzImage: where guest kernels are emulated, unpacking it takes long. */
	if (!find(p, "guest/vmlinux", "share/sandbox/vmlinux", R_OK, e))
		return 0;
	return err_say(e, -ENOENT, "there is no guest kernel at %s; build it with 'make guest', or "
		       "name one with --kernel", p->path);
}

int places_initrd(struct place *p, struct err *e)
{
	if (!find(p, "guest/initramfs.cpio", "share/sandbox/initramfs.cpio", R_OK, e))
		return 0;
	return err_say(e, -ENOENT, "there is no root file system for the guest at %s; build it with "
		       "'make guest', or name one with --initrd", p->path);
}

int places_space(struct place *p, uint64_t *bytes)
{
	struct statvfs v;

	while (statvfs(p->path, &v)) {
		char *slash = strrchr(p->path, '/');

		if (errno != ENOENT || !slash || slash == p->path)
			return -errno;
		*slash = '\0';
	}
	*bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}
