/* SPDX-License-Identifier: Apache-2.0 */
/*
 * include.c - read, look for the line, write a new file, rename.
 *
 * The file is the person's own: it is taken as it is, of any size that is sane, its mode
 * stays, and what it links to (dotfiles are often kept elsewhere) is what is replaced.
 */
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#include "cli/remote/include.h"

#define FILE_MAX	(1u << 20)

static int locate(struct place *p, struct err *e)
{
	const char *own = getenv("SANDBOX_SSH_CONFIG");
	const struct passwd *pw = own ? NULL : getpwuid(geteuid());
	char real[PATH_MAX];
	int n;

	if (!own && (!pw || *pw->pw_dir != '/'))
		return err_say(e, -ENOENT, "this user has no home folder");
	n = own ? snprintf(p->path, sizeof(p->path), "%s", own) :
		  snprintf(p->path, sizeof(p->path), "%s/.ssh/config", pw->pw_dir);
	if (n < 0 || (size_t)n >= sizeof(p->path))
		return err_say(e, -ENAMETOOLONG, "the path of ssh's configuration is too long");
	if (realpath(p->path, real) && strlen(real) < sizeof(p->path))
		memcpy(p->path, real, strlen(real) + 1);
	return 0;
}

/* The file's text (malloc), "" if there is none. */
static char *text_of(const char *path, mode_t *mode, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_mem char *text = calloc(1, FILE_MAX + 1);
	struct stat st;
	ssize_t n = 0;

	*mode = 0600;
	if (!text || (fd < 0 && errno != ENOENT) || (fd >= 0 && fstat(fd, &st))) {
		err_set(e, text ? -errno : -ENOMEM, "%s", path);
		return NULL;
	}
	if (fd >= 0) {
		*mode = st.st_mode & 0777;
		n = st.st_size > FILE_MAX || !S_ISREG(st.st_mode) ? -1 : read(fd, text, FILE_MAX);
	}
	if (n < 0) {
		err_say(e, -EINVAL, "%s is no file that a line can be put into", path);
		return NULL;
	}
	text[n] = '\0';
	return take_ptr(&text);
}

int include_look(struct include *in, struct err *e)
{
	struct place state;
	auto_mem char *text = NULL;
	const char *at;
	mode_t mode;
	int rc = places_state(&state, e);

	if (!rc)
		rc = locate(&in->file, e);
	if (rc)
		return rc;
	if (strpbrk(state.path, "\"\\$*?[\n"))
		return err_say(e, -EINVAL, "%s has a character in its path that a configuration of "
			       "ssh cannot hold", state.path);
	snprintf(in->line, sizeof(in->line), "Include \"%s/sandboxes/*/ssh/config\"\n", state.path);
	text = text_of(in->file.path, &mode, e);
	at = text ? strstr(text, in->line) : NULL;
	in->there = at && (at == text || at[-1] == '\n');
	return text ? 0 : e->code;
}

static int write_new(const char *path, mode_t mode, const struct include *in, const char *text,
		     struct err *e)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t a = strlen(in->line), b = strlen(text);

	if (fd < 0)
		return err_set(e, -errno, "make %s", path);
	if (write(fd, in->line, a) != (ssize_t)a || (b && write(fd, text, b) != (ssize_t)b) ||
	    fchmod(fd, mode) || fsync(fd) || rename(path, in->file.path)) {
		err_set(e, -errno, "write %s", path);
		unlink(path);
		return e->code;
	}
	return 0;
}

int include_add(const struct include *in, struct err *e)
{
	char path[PLACES_MAX + 32];
	mode_t mode;
	auto_mem char *text = text_of(in->file.path, &mode, e);
	char *slash;

	if (!text)
		return e->code;
	snprintf(path, sizeof(path), "%s", in->file.path);
	slash = strrchr(path, '/');
	if (slash && slash != path) {
		*slash = '\0';
		(void)mkdir(path, 0700);	/* ~/.ssh of one who never used it */
	}
	snprintf(path, sizeof(path), "%s.sandbox-%d", in->file.path, (int)getpid());
	return write_new(path, mode, in, text, e);
}
