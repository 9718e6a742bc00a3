/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:fs recvmsg sendto close
 */
#include <sys/socket.h>
#include "devices/fs/confine.h"
#include "devices/fs/control.h"
#include "devices/fs/state.h"

#define FDS_MAX 2

static const char *const mode_name[] = { [FS_RO] = "ro", [FS_RW] = "rw", [FS_COW] = "cow" };
static const char *const cache_name[] = { [FS_CACHE_NONE] = "none", [FS_CACHE_AUTO] = "auto",
					  [FS_CACHE_ALWAYS] = "always" };

int control_mode(const char *word, enum fs_mode *mode)
{
	for (unsigned i = 0; i < ARRAY_LEN(mode_name); i++) {
		if (!strcmp(word, mode_name[i])) {
			*mode = i;
			return 0;
		}
	}
	return -EINVAL;
}

int control_cache(const char *word, enum fs_cache *cache)
{
	for (unsigned i = 0; i < ARRAY_LEN(cache_name); i++) {
		if (!strcmp(word, cache_name[i])) {
			*cache = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* A request's descriptors; what is not taken is closed at the end. */
struct fds { int fd[FDS_MAX]; unsigned n; };

static int share(struct fs *fs, const char *words, struct fds *f, struct err *e)
{
	unsigned id, uid = 0, gid = 0;
	char mode_word[8], cache_word[8];
	enum fs_mode mode;
	enum fs_cache cache;
	int n = sscanf(words, "share %u %7s %7s %u %u", &id, mode_word, cache_word, &uid, &gid);

	if (n < 3 || control_mode(mode_word, &mode) || control_cache(cache_word, &cache))
		return err_say(e, -EINVAL, "share ID ro|rw|cow none|auto|always [UID GID]");
	if (f->n != (mode == FS_COW ? 2 : 1))
		return err_say(e, -EINVAL, "a share comes with its folder, cow with two");
	f->n = 0;
	return share_add(fs, id, mode, cache, uid, gid, f->fd[0],
			 mode == FS_COW ? f->fd[1] : -1, e);
}

static int state(struct fs *fs, struct transport *t, bool save, const struct fds *f,
		 struct err *e)
{
	if (f->n != 1)
		return err_say(e, -EINVAL, "it comes with one descriptor");
	if (atomic_load(&t->in_flight))
		return err_say(e, -EBUSY, "requests are in flight");
	return save ? state_save(fs, f->fd[0], e) : state_restore(fs, f->fd[0], e);
}

static int run(struct fs *fs, struct transport *t, const char *words, struct fds *f,
	       char *text, size_t len, struct err *e)
{
	unsigned id;

	*text = 0;
	if (!strncmp(words, "share ", 6))
		return share(fs, words, f, e);
	if (sscanf(words, "unshare %u", &id) == 1) {
		int rc = share_remove(fs, id);

		return rc ? err_say(e, rc, "there is no share %u", id) : 0;
	}
	if (!strcmp(words, "lock"))
		return confine_lock(fs, e);
	if (!strcmp(words, "jail")) {
		confine_words(t->pool.jail, text, len);
		return 0;
	}
	if (!strcmp(words, "save") || !strcmp(words, "restore"))
		return state(fs, t, *words == 's', f, e);
	if (!strcmp(words, "stats")) {
		pthread_mutex_lock(&fs->lock);
		snprintf(text, len, "requests %llu inodes %zu handles %u descriptors %u",
			 (unsigned long long)atomic_load(&fs->requests), fs->inodes, fs->handles,
			 fs->dirfds);
		pthread_mutex_unlock(&fs->lock);
		return 0;
	}
	return err_say(e, -EINVAL, "no such request");
}

static void take_fds(struct msghdr *m, struct fds *f)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
		return;
	f->n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	if (f->n > FDS_MAX)
		f->n = FDS_MAX;
	memcpy(f->fd, CMSG_DATA(h), f->n * sizeof(int));
}

int control_serve(struct fs *fs, struct transport *t, int fd)
{
	union { struct cmsghdr align; char buf[CMSG_SPACE(FDS_MAX * sizeof(int))]; } u;
	char words[FS_CONTROL_MAX + 1], text[FS_CONTROL_MAX - 64], line[FS_CONTROL_MAX];
	struct iovec v = { .iov_base = words, .iov_len = sizeof(words) - 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	struct err e = { 0 };
	struct fds f = { .n = 0 };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	int rc;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return -EPIPE;
	words[n] = 0;
	take_fds(&m, &f);
	rc = run(fs, t, words, &f, text, sizeof(text), &e);
	for (unsigned i = 0; i < f.n; i++)
		close(f.fd[i]);
	if (rc)
		n = snprintf(line, sizeof(line), "error %s", e.msg);
	else
		n = snprintf(line, sizeof(line), *text ? "ok %s" : "ok", text);
	return send(fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}
