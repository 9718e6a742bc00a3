/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - folders come and go by rename(2), and are owned by who holds their lock.
 *
 * A maker prepares `.new-XXXXXXXX`, locks it, and renames it to the sandbox's name with
 * RENAME_NOREPLACE, which lets one of several through. A remover locks the folder,
 * renames it to `.gone-XXXXXXXX` and deletes that. Either can be killed anywhere: what
 * it leaves has a name with a dot and a free lock, and goes with the next sweep.
 *
 * Whoever got a lock looks whether the name still leads to what it locked: between its
 * open and its flock the folder may have been removed, and another one made.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <linux/fs.h>
#include "cli/base/opt.h"
#include "cli/base/rmtree.h"
#include "cli/store/store.h"

#define NEW		".new-"
#define GONE		".gone-"
#define TRIES		32u
#define LETTERS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

int store_name_check(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (!len)
		return err_say(e, -EINVAL, "the name of a sandbox cannot be empty");
	if (len >= STORE_NAME_MAX)
		return err_say(e, -EINVAL, "the name '%.20s...' has %zu characters; at most %u are "
			       "allowed", name, len, STORE_NAME_MAX - 1);
	if (strspn(name, LETTERS "_.-") != len || !strspn(name, LETTERS))
		return err_say(e, -EINVAL, "'%s' is no name for a sandbox: it must begin with a "
			       "letter or a digit and go on with those, '.', '_' and '-'", name);
	return 0;
}

int store_name_new(const char *name, struct err *e)
{
	static const char *const words[] = { "ls", "attach", "wait", "signal", "kill" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(name, words[i]))
			return err_say(e, -EINVAL, "'%s' cannot be the name of a sandbox, as 'sandbox "
				       "exec %s' means something else", name, name);
	return store_name_check(name, e);
}

void store_name_make(char name[static STORE_NAME_MAX])
{
	static const char *const how[] = { "calm", "bold", "keen", "mild", "warm", "wise", "deft",
					   "glad", "kind", "neat", "pure", "sage", "fair", "fond",
					   "pert", "spry" };
	static const char *const who[] = { "otter", "heron", "finch", "lynx", "mole", "wren",
					   "hare", "crane", "stoat", "robin", "newt", "swift",
					   "egret", "viper", "marten", "plover" };
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		r = (uint32_t)getpid();
	snprintf(name, STORE_NAME_MAX, "%s-%s-%04x", how[r & 15], who[r >> 4 & 15],
		 r >> 8 & 0xffff);
}

/* ---- folders ----------------------------------------------------------- */

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static DIR *list(int dir)
{
	int copy = open_dir(dir, ".");
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d && copy >= 0)
		close(copy);
	return d;
}

int store_delete_tree(int dir, const char *name)
{
	return rmtree(dir, name);
}

static void random_name(char *out, size_t len, const char *prefix)
{
	uint32_t id = 0;

	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		id = (uint32_t)getpid();
	snprintf(out, len, "%s%08x", prefix, id);
}

/* The folder of all sandboxes, made if need be; its path in *p. */
static int open_root(struct place *p, struct err *e)
{
	static const char sub[] = "/sandboxes";
	int rc = places_state(p, e), fd;
	size_t n;

	if (rc)
		return rc;
	n = strlen(p->path);
	if (n + sizeof(sub) + STORE_NAME_MAX + 1 > sizeof(p->path))
		return err_say(e, -ENAMETOOLONG, "the state folder's path is too long");
	memcpy(p->path + n, sub, sizeof(sub));
	(void)mkdir(p->path, 0700);
	fd = open_dir(AT_FDCWD, p->path);
	return fd < 0 ? err_set(e, -errno, "open the folder of sandboxes %s", p->path) : fd;
}

static bool same(int at, const char *name, int dir)
{
	struct stat a, b;

	return !fstat(dir, &a) && !fstatat(at, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* What dead makers and removers left. */
static void sweep(int root)
{
	DIR *d = list(root);

	for (const struct dirent *de; d && (de = readdir(d));) {
		bool ours = !strncmp(de->d_name, NEW, strlen(NEW)) ||
			    !strncmp(de->d_name, GONE, strlen(GONE));
		auto_fd dir = ours ? open_dir(root, de->d_name) : -1;

		if (dir >= 0 && !flock(dir, LOCK_EX | LOCK_NB) && same(root, de->d_name, dir) &&
		    store_delete_tree(root, de->d_name))
			continue;	/* the next sweep tries again */
	}
	if (d)
		closedir(d);
}

static void set_box(struct store_box *b, const char *name, const struct place *root)
{
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->path = *root;
	snprintf(b->path.path + strlen(b->path.path),
		 sizeof(b->path.path) - strlen(b->path.path), "/%s", name);
}

static int exists(const char *name, struct err *e)
{
	return err_say(e, -EEXIST, "there is already a sandbox named '%s'; choose another name, or "
		       "remove it with 'sandbox rm %s'", name, name);
}

/* A folder of our own, locked. If a sweep gets between mkdir and flock, another one. */
static int make_folder(int root, char *tmp, size_t len, struct err *e)
{
	for (unsigned i = 0; i < TRIES; i++) {
		auto_fd dir = -1;

		random_name(tmp, len, NEW);
		if (mkdirat(root, tmp, 0700)) {
			if (errno == EEXIST)
				continue;
			return err_set(e, -errno, "make a folder for the sandbox");
		}
		dir = open_dir(root, tmp);
		if (dir < 0 && errno != ENOENT) {
			int rc = err_set(e, -errno, "open the folder made for the sandbox");

			(void)unlinkat(root, tmp, AT_REMOVEDIR);
			return rc;
		}
		if (dir >= 0 && !flock(dir, LOCK_EX | LOCK_NB) && same(root, tmp, dir))
			return take_fd(&dir);
	}
	return err_say(e, -EAGAIN, "no folder for the sandbox could be made and locked");
}

static int prepare(struct store_box *b, const char *config, struct err *e)
{
	struct store_state s = { .life = STORE_CREATED };
	struct timespec now;
	int rc;

	clock_gettime(CLOCK_REALTIME, &now);
	s.created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	rc = store_write(b, "config", config, strlen(config), e);
	return rc ? rc : store_state_write(b, &s, e);
}

int store_create(struct store_box *b, const char *name, const char *config, bool lock,
		 struct err *e)
{
	char tmp[32];
	struct place p;
	auto_fd root = -1;
	int rc;

	*b = (struct store_box)STORE_BOX_NONE;
	rc = store_name_new(name, e);
	root = rc ? -1 : open_root(&p, e);
	if (root < 0)
		return rc ? rc : root;
	if (!faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return exists(name, e);
	sweep(root);
	set_box(b, name, &p);
	b->dir = make_folder(root, tmp, sizeof(tmp), e);
	if (b->dir < 0)
		return b->dir;
	rc = prepare(b, config, e);
	if (!rc && syscall(SYS_renameat2, root, tmp, root, name, RENAME_NOREPLACE))
		rc = errno == EEXIST ? exists(name, e) :
				       err_set(e, -errno, "put the sandbox's folder in place");
	if (rc) {
		if (store_delete_tree(root, tmp))
			sweep(root);
		store_close(b);
		return rc;
	}
	b->locked = true;
	if (!lock)
		store_unlock(b);
	return 0;
}

int store_open(struct store_box *b, const char *name, struct err *e)
{
	const char *best = NULL;
	struct place p;
	unsigned d = 0;
	auto_fd root = -1;
	char **names;
	size_t n;
	int rc;

	*b = (struct store_box)STORE_BOX_NONE;
	rc = store_name_check(name, e);
	root = rc ? -1 : open_root(&p, e);
	if (root < 0)
		return rc ? rc : root;
	b->dir = open_dir(root, name);
	if (b->dir >= 0) {
		set_box(b, name, &p);
		return 0;
	}
	if (errno != ENOENT)
		return err_set(e, -errno, "open the folder of sandbox '%s'", name);
	names = store_names(&n, e);
	for (size_t i = 0; names && i < n; i++)
		best = opt_nearer(name, names[i], best, &d);
	if (best && d <= opt_distance_max(name))
		rc = err_say(e, -ENOENT, "there is no sandbox named '%s'; did you mean '%s'?", name,
			     best);
	else
		rc = err_say(e, -ENOENT, "there is no sandbox named '%s'; 'sandbox ls' lists them",
			     name);
	store_names_free(names);
	return rc;
}

int store_lock(struct store_box *b, struct err *e)
{
	struct place p;
	auto_fd root = -1;

	if (flock(b->dir, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY :
			err_set(e, -errno, "lock the folder of sandbox '%s'", b->name);
	root = open_root(&p, e);
	if (root < 0) {
		store_unlock(b);
		return root;
	}
	if (!same(root, b->name, b->dir)) {
		store_unlock(b);
		return err_say(e, -ENOENT, "sandbox '%s' has just been removed", b->name);
	}
	b->locked = true;
	return 0;
}

void store_unlock(struct store_box *b)
{
	(void)flock(b->dir, LOCK_UN);
	b->locked = false;
}

void store_close(struct store_box *b)
{
	if (b->dir >= 0)
		close(b->dir);
	*b = (struct store_box)STORE_BOX_NONE;
}

int store_remove(struct store_box *b, struct err *e)
{
	char gone[32];
	struct place p;
	auto_fd root = open_root(&p, e);
	int rc;

	BUG_ON(!b->locked);
	if (root < 0)
		return root;
	random_name(gone, sizeof(gone), GONE);
	if (syscall(SYS_renameat2, root, b->name, root, gone, RENAME_NOREPLACE))
		return err_set(e, -errno, "remove sandbox '%s'", b->name);
	rc = store_delete_tree(root, gone);
	if (rc)
		return err_set(e, rc, "delete what was left of sandbox '%s' in %s/%s", b->name,
			       p.path, gone);
	store_close(b);
	return 0;
}

/* ---- names ------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void store_names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

/* Append; false when out of memory. */
static bool append(char ***names, size_t *n, const char *name)
{
	char **grown = realloc(*names, (*n + 2) * sizeof(*grown));

	if (!grown)
		return false;
	*names = grown;
	grown[*n] = strdup(name);
	grown[*n + 1] = NULL;
	*n += !!grown[*n];
	return grown[*n - 1];
}

char **store_names(size_t *n, struct err *e)
{
	char **names = malloc(sizeof(*names));
	struct err quiet = { 0 };
	struct place p;
	auto_fd root = open_root(&p, e);
	DIR *d = root < 0 ? NULL : list(root);
	bool ok = names && d;

	*n = 0;
	if (names)
		*names = NULL;
	if (root >= 0 && !d)
		err_set(e, -errno, "list the sandboxes in %s", p.path);
	if (d)
		sweep(root);
	for (const struct dirent *de; ok && (de = readdir(d));)
		if (!store_name_check(de->d_name, &quiet))
			ok = append(&names, n, de->d_name);
	if (d)
		closedir(d);
	if (!ok) {
		if (d)
			err_set(e, -ENOMEM, "list the sandboxes");
		store_names_free(names);
		return NULL;
	}
	qsort(names, *n, sizeof(*names), by_name);
	return names;
}
