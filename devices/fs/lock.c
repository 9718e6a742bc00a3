/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c - file locks that hold on the host too.
 *
 * flock() is on the description that the handle has. POSIX locks belong to an owner
 * (a process of the guest, by its number), and the kernel keeps one set of them for each
 * open description (F_OFD_SETLK): so each owner gets a description of its own for each
 * file that it locks, closed when it flushes. At most fs.locks_max of them. (An owner can also
 * be an open description of the guest, which never flushes: its handle's release ends it.)
 *
 * Who has to wait takes no thread: the request is put aside, and one thread tries again
 * when a guest gives a lock back, and every RETRY_NS, as the host's programs may hold it.
 * At most FS_LOCK_WAITS wait. An interrupt that comes before its request is remembered.
 *
 * #syscalls:fs fcntl(F_OFD_SETLK)? fcntl(F_OFD_GETLK)? flock?
 */
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include "devices/fs/lock.h"
#include "devices/fs/place.h"

#define RETRY_NS	20000000l
#define EARLY		16u

struct owner {
	struct owner *next;
	struct inode *n;		/* held */
	uint64_t id, fh;		/* @fh: by which handle it came */
	int fd;
	bool writable;
};

struct wait {
	struct wait *next;
	struct inode *n;		/* held */
	struct fuse_lk_in in;
	uint64_t unique;
	uint32_t token;
};

struct locks {
	pthread_mutex_t lock;		/* before fs.lock */
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stop, tried;
	struct owner *owners;
	struct wait *waits;
	unsigned nowners, nwaits;
	uint64_t early[EARLY];
	unsigned next_early;
};

static void *waiter(void *arg);

int locks_init(struct fs *fs)
{
	struct locks *l = calloc(1, sizeof(*l));
	pthread_condattr_t a;

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &a);
	pthread_condattr_destroy(&a);
	fs->locks = l;
	/* Before the filters: no thread can be made behind them. */
	if (fs->remote_locks)
		l->started = !pthread_create(&l->thread, NULL, waiter, fs);
	return fs->remote_locks && !l->started ? -EAGAIN : 0;
}

static void owner_drop(struct fs *fs, struct owner **at)
{
	struct owner *o = *at;

	*at = o->next;
	close(o->fd);
	inode_put(fs, o->n);
	free(o);
	fs->locks->nowners--;
}

void locks_exit(struct fs *fs)
{
	struct locks *l = fs->locks;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	if (l->started)
		pthread_join(l->thread, NULL);
	while (l->owners)
		owner_drop(fs, &l->owners);
	while (l->waits) {
		struct wait *w = l->waits;

		l->waits = w->next;
		inode_put(fs, w->n);
		free(w);
	}
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
	fs->locks = NULL;
}

void locks_wake(struct fs *fs)
{
	pthread_mutex_lock(&fs->locks->lock);
	fs->locks->tried = false;
	pthread_cond_broadcast(&fs->locks->wake);
	pthread_mutex_unlock(&fs->locks->lock);
}

/* Those of an owner, or (@fh not 0) those that came by a handle. */
static void drop(struct fs *fs, const struct inode *n, uint64_t owner, uint64_t fh)
{
	struct locks *l = fs->locks;
	bool any = false;

	pthread_mutex_lock(&l->lock);
	for (struct owner **at = &l->owners; *at;) {
		if ((*at)->n == n && (fh ? (*at)->fh == fh : (*at)->id == owner)) {
			owner_drop(fs, at);
			any = true;
		} else {
			at = &(*at)->next;
		}
	}
	pthread_mutex_unlock(&l->lock);
	if (any)
		locks_wake(fs);
}

void locks_flush(struct fs *fs, struct inode *n, uint64_t owner)
{
	drop(fs, n, owner, 0);
}

void locks_release(struct fs *fs, struct inode *n, uint64_t fh)
{
	drop(fs, n, 0, fh);
}

void locks_drop_share(struct fs *fs, const struct share *s)
{
	struct locks *l = fs->locks;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	for (struct owner **at = &l->owners; *at;) {
		if ((*at)->n->share == s)
			owner_drop(fs, at);
		else
			at = &(*at)->next;
	}
	pthread_mutex_unlock(&l->lock);
	locks_wake(fs);		/* who waits there gets ESTALE */
}

/* ---- trying; locks.lock held -------------------------------------------------------------- */

static struct owner *owner_find(struct locks *l, const struct inode *n, uint64_t id)
{
	struct owner *o = l->owners;

	while (o && !(o->n == n && o->id == id))
		o = o->next;
	return o;
}

static int owner_new(struct fs *fs, struct inode *n, const struct fuse_lk_in *in,
		     struct owner **out)
{
	struct locks *l = fs->locks;
	struct place p;
	struct owner *o;
	int fd, rc;

	if (l->nowners >= fs->locks_max)
		return -ENOLCK;
	rc = place_by_name(fs, n, &p);
	if (rc)
		return rc == -ESTALE ? -ENOLCK : rc;
	fd = n->share->mode == FS_RO || !(n->layers & 1u << FS_UPPER) ? -EACCES :
		place_open(n, &p, O_RDWR);
	rc = fd < 0;
	if (fd < 0)
		fd = place_open(n, &p, O_RDONLY);
	place_put(fs, &p);
	if (fd < 0)
		return fd;
	o = malloc(sizeof(*o));
	if (!o) {
		close(fd);
		return -ENOMEM;
	}
	*o = (struct owner){ l->owners, n, in->owner, in->fh, fd, !rc };
	inode_hold(fs, n);
	l->owners = o;
	l->nowners++;
	*out = o;
	return 0;
}

static int to_flock(const struct fuse_file_lock *k, struct flock *f)
{
	if (k->type != F_RDLCK && k->type != F_WRLCK && k->type != F_UNLCK)
		return -EINVAL;
	if (k->start > INT64_MAX || k->end < k->start)
		return -EINVAL;
	*f = (struct flock){ .l_type = (short)k->type, .l_whence = SEEK_SET,
			     .l_start = (off_t)k->start };
	if (k->end < INT64_MAX)		/* else to the end: 0 */
		f->l_len = (off_t)(k->end - k->start + 1);
	return 0;
}

static int try_posix(struct fs *fs, struct inode *n, const struct fuse_lk_in *in)
{
	struct owner *o = owner_find(fs->locks, n, in->owner);
	struct flock f;
	int rc = to_flock(&in->lk, &f);

	if (rc)
		return rc;
	if (!o && f.l_type == F_UNLCK)
		return 0;
	rc = o ? 0 : owner_new(fs, n, in, &o);
	if (rc)
		return rc;
	if (f.l_type == F_WRLCK && !o->writable)
		return -EBADF;
	return fcntl(o->fd, F_OFD_SETLK, &f) ? -errno : 0;
}

static int try_flock(struct fs *fs, struct inode *n, const struct fuse_lk_in *in)
{
	struct handle *h = handle_get(fs, in->fh, n, false);
	int op = in->lk.type == F_RDLCK ? LOCK_SH : in->lk.type == F_WRLCK ? LOCK_EX : LOCK_UN;
	int rc;

	if (!h)
		return -EBADF;
	rc = flock(h->fd, op | LOCK_NB) ? -errno : 0;
	if (!rc) {
		h->flocked = op != LOCK_UN;
		h->flock_type = (short)op;
	}
	handle_put(fs, h);
	return rc;
}

static int try_lock(struct fs *fs, struct inode *n, const struct fuse_lk_in *in)
{
	int rc;

	if (!share_enter(fs, n->share))
		return -ESTALE;
	rc = in->lk_flags & FUSE_LK_FLOCK ? try_flock(fs, n, in) : try_posix(fs, n, in);
	share_leave(fs, n->share);
	return rc == -EACCES ? -EAGAIN : rc;
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void answer(struct fs *fs, struct wait *w, int rc)
{
	struct fuse_out_header h = { .len = sizeof(h), .error = rc, .unique = w->unique };

	fs->transport->reply(fs->transport, w->token, &h, sizeof(h));
	inode_put(fs, w->n);
	free(w);
}

static void *waiter(void *arg)
{
	struct fs *fs = arg;
	struct locks *l = fs->locks;

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		struct timespec t;

		for (struct wait **at = &l->waits; *at;) {
			struct wait *w = *at;
			int rc = try_lock(fs, w->n, &w->in);

			if (rc == -EAGAIN) {
				at = &w->next;
				continue;
			}
			*at = w->next;
			l->nwaits--;
			answer(fs, w, rc);
		}
		if (!l->waits) {
			pthread_cond_wait(&l->wake, &l->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_nsec += RETRY_NS;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&l->wake, &l->lock, &t);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int wait_for(struct req *r, const struct fuse_lk_in *in)
{
	struct locks *l = r->fs->locks;
	struct wait *w, **at = &l->waits;

	for (unsigned i = 0; i < EARLY; i++) {
		if (l->early[i] == r->h.unique) {
			l->early[i] = 0;
			return -EINTR;
		}
	}
	if (l->nwaits >= FS_LOCK_WAITS || !l->started || !r->fs->transport)
		return -ENOLCK;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct wait){ NULL, r->node, *in, r->h.unique, r->token };
	inode_hold(r->fs, r->node);
	while (*at)		/* first come, first served */
		at = &(*at)->next;
	*at = w;
	l->nwaits++;
	pthread_cond_signal(&l->wake);
	return REQ_LATER;
}

/* ---- handlers ----------------------------------------------------------------------------- */

int op_setlk(struct req *r)
{
	struct locks *l = r->fs->locks;
	struct fuse_lk_in in;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (!r->fs->remote_locks)
		return -ENOSYS;
	if (r->node->type != S_IFREG)
		return -EINVAL;
	pthread_mutex_lock(&l->lock);
	rc = try_lock(r->fs, r->node, &in);
	if (rc == -EAGAIN && r->h.opcode == FUSE_SETLKW)
		rc = wait_for(r, &in);
	if (!rc && in.lk.type == F_UNLCK)
		pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int op_getlk(struct req *r)
{
	struct locks *l = r->fs->locks;
	struct fuse_lk_in in;
	struct fuse_lk_out out;
	struct owner *o;
	struct flock f;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = to_flock(&in.lk, &f);
	if (rc)
		return rc;
	if (!r->fs->remote_locks)
		return -ENOSYS;
	if (r->node->type != S_IFREG)
		return -EINVAL;
	pthread_mutex_lock(&l->lock);
	o = owner_find(l, r->node, in.owner);
	rc = o ? 0 : owner_new(r->fs, r->node, &in, &o);
	if (!rc && fcntl(o->fd, F_OFD_GETLK, &f))
		rc = -errno;
	pthread_mutex_unlock(&l->lock);
	if (rc)
		return rc;
	out.lk = in.lk;
	out.lk.type = (uint32_t)f.l_type;
	out.lk.pid = 0;			/* of the host, or of an owner without a number */
	if (f.l_type != F_UNLCK) {
		out.lk.start = (uint64_t)f.l_start;
		out.lk.end = f.l_len ? (uint64_t)(f.l_start + f.l_len - 1) : INT64_MAX;
	}
	return req_put(r, &out, sizeof(out));
}

int op_interrupt(struct req *r)
{
	struct locks *l = r->fs->locks;
	struct fuse_interrupt_in in;

	if (cursor_get(&r->in, &in, sizeof(in)))
		return REQ_NO_REPLY;
	pthread_mutex_lock(&l->lock);
	for (struct wait **at = &l->waits; *at; at = &(*at)->next) {
		struct wait *w = *at;

		if (w->unique == in.unique) {
			*at = w->next;
			l->nwaits--;
			answer(r->fs, w, -EINTR);
			pthread_mutex_unlock(&l->lock);
			return REQ_NO_REPLY;
		}
	}
	l->early[l->next_early++ % EARLY] = in.unique;
	pthread_mutex_unlock(&l->lock);
	return REQ_NO_REPLY;
}
