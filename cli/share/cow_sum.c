/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_sum.c - a checksum of all that a guest changed: names, kinds, modes, attributes,
 * contents. Times are not in it, nor the owner's rights to an entry, which are lent to
 * whoever copies the tree at the same moment.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/xattr.h>
#include "cli/base/crc.h"
#include "cli/share/cow.h"

#define DEPTH_MAX	200u
#define XATTRS_MAX	65536u

struct summing { uint64_t n; unsigned depth; struct err *e; };

/* The same in whatever order they are listed. */
static int add_xattrs(int fd, uint32_t *crc)
{
	auto_mem char *names = malloc(XATTRS_MAX), *value = malloc(XATTRS_MAX);
	ssize_t n = names && value ? flistxattr(fd, names, XATTRS_MAX) : -1, len;
	uint32_t all = 0;

	if (n < 0)
		return names && value ? (errno == EOPNOTSUPP ? 0 : -errno) : -ENOMEM;
	for (char *p = names; p < names + n; p += strlen(p) + 1) {
		if (strncmp(p, "user.", 5))
			continue;
		len = fgetxattr(fd, p, value, XATTRS_MAX);
		if (len < 0)
			return -errno;
		all += crc_more(crc_more(0, p, strlen(p)), value, (size_t)len);
	}
	*crc = crc_more(*crc, &all, sizeof(all));
	return 0;
}

static int add_link(int dir, const char *name, uint32_t *crc)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));

	if (n >= 0)
		*crc = crc_more(*crc, target, (size_t)n);
	return n < 0 ? -errno : 0;
}

static int sum_entries(struct summing *s, int dir, uint32_t *crc);

static int add_open(struct summing *s, int dir, const char *name, bool folder, uint32_t *crc)
{
	auto_fd fd = s->depth >= DEPTH_MAX ? -ELOOP :
		     cow_open_name(dir, name, O_RDONLY | (folder ? O_DIRECTORY : 0));
	uint32_t content = 0;
	int rc = fd < 0 ? fd : 0;

	s->depth++;
	if (!rc)
		rc = folder ? sum_entries(s, fd, &content) : crc_file(fd, &content);
	s->depth--;
	*crc = crc_more(*crc, &content, sizeof(content));
	return rc ? rc : add_xattrs(fd, crc);
}

static int sum_entry(struct summing *s, int dir, const char *name, uint32_t *crc)
{
	struct { uint64_t mode, more; } head;
	uint32_t own = crc_more(0, name, strlen(name));
	struct stat st;
	int rc;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	s->n++;
	head.mode = st.st_mode | 0700;
	head.more = S_ISREG(st.st_mode) ? (uint64_t)st.st_size :
		    S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? st.st_rdev : 0;
	own = crc_more(own, &head, sizeof(head));
	rc = S_ISLNK(st.st_mode) ? add_link(dir, name, &own) :
	     S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ?
	     add_open(s, dir, name, S_ISDIR(st.st_mode), &own) : 0;
	*crc = crc_more(*crc, &own, sizeof(own));
	return rc;
}

static int no_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") && strcmp(de->d_name, "..");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int sum_entries(struct summing *s, int dir, uint32_t *crc)
{
	struct dirent **all = NULL;
	int n = scandirat(dir, ".", &all, no_dots, by_name), rc = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		if (!rc) {
			rc = sum_entry(s, dir, all[i]->d_name, crc);
			if (rc && !s->e->code)
				err_set(s->e, rc, "read what was changed in a share: %.120s",
					all[i]->d_name);
		}
		free(all[i]);
	}
	free(all);
	return rc;
}

int cow_sum(int dir, uint64_t *n, uint32_t *crc, struct err *e)
{
	struct summing s = { .e = e };
	int rc;

	*e = (struct err){ 0 };
	*crc = 0;
	rc = sum_entries(&s, dir, crc);
	cow_restore_modes();
	*n = s.n;
	return rc && !e->code ? err_set(e, rc, "read what was changed in shares") : rc;
}
