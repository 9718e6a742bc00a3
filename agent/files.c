// SPDX-License-Identifier: Apache-2.0
/*
 * files.c - file requests.
 *
 * What is one system call, or one bounded chunk at a time, is done in the loop. What
 * may take long (a tree to remove, an archive) is done by a helper process, which is
 * the agent's own program in a cgroup of its own; see helper.h.
 *
 * PUT writes a new file beside the target and renames it, so that the target is
 * never half written, and nothing is left when the client vanishes. GET opens without
 * waiting, so that a FIFO or a device cannot stall the agent, and reads only regular
 * files. Paths are the guest's own, resolved as root: there is nothing to escape from.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/files.h"

#define CHUNKS 4

struct file_job {
	int fd;
	DIR *dir;
	struct proto_hdr h;
	struct file_req req;
	char path[PROTO_PATH_MAX];
	char tmp[PROTO_PATH_MAX + 32];
};

/* ---- requests ---------------------------------------------------------- */

static int path_attr(const struct proto_attr *a, const char **out)
{
	*out = proto_attr_str(a, PROTO_PATH_MAX);
	return *out && **out == '/' ? 0 : -EBADMSG;
}

static int num_attr(const struct proto_attr *a, uint64_t max, uint64_t *out)
{
	return proto_attr_u64(a, out) < 0 || *out > max ? -EBADMSG : 0;
}

static const char *one_attr(struct file_req *r, const struct proto_attr *a)
{
	switch (a->key) {
	case PROTO_K_PATH:
		return path_attr(a, &r->path) ? "the path is not absolute" : NULL;
	case PROTO_K_PATH2:
		return path_attr(a, &r->path2) ? "the new path is not absolute" : NULL;
	case PROTO_K_MODE:
		r->has_mode = true;
		return num_attr(a, 07777, &r->mode) ? "bad mode" : NULL;
	case PROTO_K_FLAGS:
		return num_attr(a, 127, &r->flags) ? "bad flags" : NULL;
	case PROTO_K_UID:
		r->has_owner = true;
		return num_attr(a, UINT32_MAX - 1, &r->uid) ? "bad user id" : NULL;
	case PROTO_K_GID:
		r->has_owner = true;
		return num_attr(a, UINT32_MAX - 1, &r->gid) ? "bad group id" : NULL;
	case PROTO_K_MTIME_NS:
		r->has_mtime = true;
		return num_attr(a, INT64_MAX, &r->mtime_ns) ? "bad time" : NULL;
	default:
		return a->flags & PROTO_ATTR_MUST ? "unknown attribute" : NULL;
	}
}

int files_decode(const struct proto_hdr *h, const uint8_t *payload, struct file_req *r,
		 const char **why)
{
	struct proto_attr a;
	struct proto_rd rd;

	memset(r, 0, sizeof(*r));
	r->mode = 0644;
	*why = NULL;
	proto_rd_init(&rd, payload, h->len);
	while (!*why && proto_rd_attr(&rd, &a))
		*why = one_attr(r, &a);
	if (!*why && rd.bad)
		*why = "truncated attribute";
	if (!*why && (!r->path || (h->type == PROTO_RENAME && !r->path2)))
		*why = "no path";
	return *why ? -EBADMSG : 0;
}

static void file_error(struct conn *c, const struct proto_hdr *h, const char *path, int err)
{
	char msg[PROTO_MSG_MAX];

	snprintf(msg, sizeof(msg), "%.400s: %s", path, strerror(err));
	conn_error(c, h, err, msg);
}

int files_make_parents(const char *path, mode_t mode, bool all)
{
	char buf[PROTO_PATH_MAX];
	struct stat st;
	char *p;

	snprintf(buf, sizeof(buf), "%s", path);
	for (p = buf + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(buf, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (!all || p[-1] == '/')
		return 0;
	if (mkdir(buf, mode) == 0)
		return chmod(buf, mode) < 0 ? -errno : 0;
	if (errno != EEXIST || stat(buf, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -EEXIST;
}

/* ---- ENTRY ------------------------------------------------------------- */

static void send_entry(struct conn *c, uint16_t tag, int dir, const char *file, const char *name,
		       const struct stat *st)
{
	char target[PROTO_PATH_MAX];
	struct proto_wr *w = conn_msg();
	ssize_t n;

	proto_wr_begin(w, PROTO_ENTRY, tag);
	proto_wr_str(w, PROTO_K_NAME, name);
	proto_wr_num(w, PROTO_K_MODE, st->st_mode);
	proto_wr_num(w, PROTO_K_SIZE, (uint64_t)st->st_size);
	proto_wr_num(w, PROTO_K_UID, st->st_uid);
	proto_wr_num(w, PROTO_K_GID, st->st_gid);
	proto_wr_num(w, PROTO_K_MTIME_NS, (uint64_t)st->st_mtim.tv_sec * 1000000000u +
					  (uint64_t)st->st_mtim.tv_nsec);
	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(dir, file, target, sizeof(target) - 1);
		if (n >= 0) {
			target[n] = 0;
			proto_wr_str(w, PROTO_K_PATH2, target);
		}
	}
	conn_send_msg(c, w);
}

static const char *last_name(const char *path)
{
	const char *p = strrchr(path, '/');

	return p && p[1] ? p + 1 : ".";
}

/* ---- jobs -------------------------------------------------------------- */

static void job_free(struct file_job *j)
{
	if (j->tmp[0])
		unlink(j->tmp);
	if (j->fd >= 0)
		close(j->fd);
	if (j->dir)
		closedir(j->dir);
	free(j);
}

static void job_gone(struct conn *c)
{
	job_free(c->job);
	conn_job_end(c);
}

/* End the job with DONE, or with an ERROR. */
static void job_finish(struct conn *c, int err)
{
	struct file_job *j = c->job;

	conn_job_end(c);
	if (err)
		file_error(c, &j->h, j->path, err);
	else
		conn_send_empty(c, PROTO_DONE, j->h.tag);
	job_free(j);
}

static void put_data(struct conn *c, const uint8_t *p, size_t n)
{
	struct file_job *j = c->job;

	conn_consumed(c, (uint32_t)n);
	while (n) {
		ssize_t k = write(j->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			job_finish(c, errno);
			return;
		}
		p += k;
		n -= (size_t)k;
	}
}

static void put_eof(struct conn *c)
{
	struct file_job *j = c->job;
	struct timespec ts[2] = { { 0, UTIME_NOW }, { 0, 0 } };
	int err = 0;

	ts[1].tv_sec = (time_t)(j->req.mtime_ns / 1000000000u);
	ts[1].tv_nsec = (long)(j->req.mtime_ns % 1000000000u);
	if ((j->req.has_owner && fchown(j->fd, (uid_t)j->req.uid, (gid_t)j->req.gid) < 0) ||
	    fchmod(j->fd, (mode_t)j->req.mode) < 0 ||
	    (j->req.has_mtime && futimens(j->fd, ts) < 0) || rename(j->tmp, j->path) < 0)
		err = errno;
	else
		j->tmp[0] = 0;
	job_finish(c, err);
}

static void get_pump(struct conn *c)
{
	struct file_job *j = c->job;

	for (int i = 0; i < CHUNKS && conn_idle(c) && c->out_credit[1]; i++) {
		size_t n = c->out_credit[1] < PROTO_PAYLOAD_MAX ? c->out_credit[1] :
								  PROTO_PAYLOAD_MAX;
		ssize_t k = read(j->fd, conn_scratch(), n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			job_finish(c, k < 0 ? errno : 0);
			return;
		}
		conn_send_data(c, PROTO_STDOUT, (size_t)k);
	}
	if (conn_idle(c) && c->out_credit[1])
		conn_pump_later(c);
}

static void get_stop(struct conn *c, unsigned int stream)
{
	if (stream == PROTO_STDOUT)
		job_finish(c, ECANCELED);
}

static void list_pump(struct conn *c)
{
	struct file_job *j = c->job;
	struct dirent *e;
	struct stat st;

	while (conn_idle(c)) {
		errno = 0;
		e = readdir(j->dir);
		if (!e) {
			job_finish(c, errno);
			return;
		}
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		/* What is gone by now was not there. */
		if (fstatat(dirfd(j->dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			send_entry(c, j->h.tag, dirfd(j->dir), e->d_name, e->d_name, &st);
	}
}

static const struct job_ops put_ops = { .data = put_data, .eof = put_eof, .gone = job_gone };
static const struct job_ops get_ops = { .pump = get_pump, .stop = get_stop, .gone = job_gone };
static const struct job_ops list_ops = { .pump = list_pump, .gone = job_gone };

/* ---- starting jobs ----------------------------------------------------- */

static int open_put(struct file_job *j)
{
	static unsigned int serial;
	size_t dir = strlen(j->path) - strlen(last_name(j->path));
	int rc;

	if (j->path[strlen(j->path) - 1] == '/')
		return -EISDIR;
	if (j->req.flags & PROTO_FILE_PARENTS) {
		rc = files_make_parents(j->path, 0755, false);
		if (rc < 0)
			return rc;
	}
	snprintf(j->tmp, sizeof(j->tmp), "%.*s.put-%d-%u", (int)dir, j->path, (int)getpid(),
		 serial++);
	j->fd = open(j->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->fd >= 0)
		return 0;
	j->tmp[0] = 0;
	return -errno;
}

static int open_get(struct conn *c, struct file_job *j)
{
	struct stat st;

	j->fd = open(j->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (j->fd < 0 || fstat(j->fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	send_entry(c, j->h.tag, AT_FDCWD, j->path, last_name(j->path), &st);
	return 0;
}

static int open_list(struct file_job *j)
{
	j->dir = opendir(j->path);
	return j->dir ? 0 : -errno;
}

static void start_job(struct conn *c, const struct proto_hdr *h, const struct file_req *r)
{
	struct file_job *j = malloc(sizeof(*j));
	const struct job_ops *ops;
	int rc;

	if (!j) {
		file_error(c, h, r->path, ENOMEM);
		return;
	}
	j->fd = -1;
	j->dir = NULL;
	j->h = *h;
	j->req = *r;
	j->tmp[0] = 0;
	snprintf(j->path, sizeof(j->path), "%s", r->path);
	if (h->type == PROTO_PUT) {
		ops = &put_ops;
		rc = open_put(j);
	} else if (h->type == PROTO_GET) {
		ops = &get_ops;
		rc = open_get(c, j);
	} else {
		ops = &list_ops;
		rc = open_list(j);
	}
	if (rc < 0) {
		file_error(c, h, j->path, -rc);
		job_free(j);
		return;
	}
	conn_job_start(c, h, ops, j);
	conn_pump_later(c);
}

/* ---- requests that are one step ---------------------------------------- */

static void simple(struct conn *c, const struct proto_hdr *h, const struct file_req *r)
{
	struct stat st;
	int rc = 0;

	if (h->type == PROTO_STAT) {
		int flags = r->flags & PROTO_FILE_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;

		rc = fstatat(AT_FDCWD, r->path, &st, flags) < 0 ? -errno : 0;
		if (rc == 0)
			send_entry(c, h->tag, AT_FDCWD, r->path, last_name(r->path), &st);
	} else if (h->type == PROTO_MKDIR) {
		mode_t mode = r->has_mode ? (mode_t)r->mode : 0755;

		if (r->flags & PROTO_FILE_PARENTS)
			rc = files_make_parents(r->path, mode, true);
		else
			rc = mkdir(r->path, mode) < 0 || chmod(r->path, mode) < 0 ? -errno : 0;
		if (rc == 0 && r->has_owner && chown(r->path, (uid_t)r->uid, (gid_t)r->gid) < 0)
			rc = -errno;
	} else if (h->type == PROTO_RENAME) {
		rc = rename(r->path, r->path2) < 0 ? -errno : 0;
	} else {
		rc = remove(r->path) < 0 ? -errno : 0;
		if (rc == -ENOENT && (r->flags & PROTO_FILE_FORCE))
			rc = 0;
	}
	if (rc < 0)
		file_error(c, h, r->path, -rc);
	else
		conn_send_empty(c, PROTO_DONE, h->tag);
}

void files_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct file_req r;
	char flags[24];
	const char *argv[5] = { NULL }, *why;

	if (files_decode(h, payload, &r, &why) < 0) {
		conn_error(c, h, EINVAL, why);
		return;
	}
	snprintf(flags, sizeof(flags), "%llu", (unsigned long long)r.flags);
	argv[2] = r.path;
	argv[3] = flags;
	if (h->type == PROTO_TAR_IN) {
		argv[1] = "--helper-unpack";
		exec_helper(c, h, argv, true);
	} else if (h->type == PROTO_TAR_OUT) {
		argv[1] = "--helper-pack";
		exec_helper(c, h, argv, false);
	} else if (h->type == PROTO_REMOVE && (r.flags & PROTO_FILE_RECURSIVE)) {
		argv[1] = "--helper-remove";
		exec_helper(c, h, argv, false);
	} else if (h->type == PROTO_PUT || h->type == PROTO_GET || h->type == PROTO_LIST) {
		start_job(c, h, &r);
	} else {
		simple(c, h, &r);
	}
}
