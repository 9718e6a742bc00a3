/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.c - requests through the monitor's window.
 *
 * The header and the arguments of a request are copied before they are looked at, each
 * byte once; file data stays where it is, and replies are built in the slot, which nothing
 * is read back from.
 *
 * #syscalls:fs recvfrom sendto shutdown? read? write? poll? clock_gettime?
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "devices/fs/confine.h"
#include "devices/fs/transport.h"
#include "vmm/log.h"

static void ended(struct pool *p)
{
	struct transport *t = container_of(p, struct transport, pool);
	uint64_t one = 1;

	(void)!write(t->done, &one, sizeof(one));
}

static int answer(struct transport *t, uint32_t slot, size_t len)
{
	struct fs_packet p = { .slot = slot, .len = (uint32_t)len };

	atomic_store(&t->busy[slot], false);
	atomic_fetch_sub(&t->in_flight, 1);
	return send(t->fd, &p, sizeof(p), MSG_NOSIGNAL) == sizeof(p) ? 0 : -EPIPE;
}

static void answer_later(struct fs_transport *later, uint32_t slot, const void *buf, size_t len)
{
	struct transport *t = container_of(later, struct transport, later);

	memcpy(t->window + (size_t)slot * FS_SLOT_BYTES, buf, len);
	(void)!answer(t, slot, len);
}

static int fault(struct transport *t, const char *what)
{
	log_say(LOG_LEVEL_ERROR, "the monitor sent %s", what);
	shutdown(t->fd, SHUT_RDWR);
	return -EPROTO;
}

static int serve_slot(struct transport *t, const struct fs_packet *k, uint8_t *own)
{
	uint8_t *slot = t->window + (size_t)k->slot * FS_SLOT_BYTES;
	struct fuse_in_header *h = (void *)own;
	struct fs_call c = { .head = own, .out = slot, .room = k->room, .token = k->slot };
	size_t len;

	memcpy(h, slot, sizeof(*h));
	c.head_len = fs_head_len(h);
	if (c.head_len > k->len)
		c.head_len = k->len;
	if (c.head_len < sizeof(*h))
		c.head_len = sizeof(*h);
	memcpy(own + sizeof(*h), slot + sizeof(*h), c.head_len - sizeof(*h));
	c.data = slot + c.head_len;
	c.data_len = k->len - c.head_len;
	len = fs_serve(t->fs, &c);
	return len == FS_LATER ? 0 : answer(t, k->slot, len);
}

static int next(struct pool *pool, void *own)
{
	struct transport *t = container_of(pool, struct transport, pool);
	struct fs_packet k;
	ssize_t n;

	do {
		n = recv(t->fd, &k, sizeof(k), 0);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -EPIPE;
	if (n != sizeof(k))
		return fault(t, "a packet of another length");
	if (k.slot >= FS_SLOTS)
		return fault(t, "a slot that there is not");
	if (k.len < sizeof(struct fuse_in_header) || k.len > FS_SLOT_BYTES ||
	    k.room > FS_SLOT_BYTES)
		return fault(t, "a length that no slot has");
	if (atomic_exchange(&t->busy[k.slot], true))
		return fault(t, "a slot that is in use");
	if (!confine_thread())
		return fault(t, "a request to a thread that could not be bound");
	atomic_fetch_add(&t->in_flight, 1);
	return serve_slot(t, &k, own);
}

static int map_window(struct transport *t, int fd, struct err *e)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return err_set(e, -errno, "window");
	if (st.st_size != (off_t)FS_WINDOW_BYTES)
		return err_say(e, -EINVAL, "the window has not %zu bytes", FS_WINDOW_BYTES);
	if ((fcntl(fd, F_GET_SEALS) & seals) != seals)
		return err_say(e, -EPERM, "the window's size is not sealed");
	p = mmap(NULL, FS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_set(e, -errno, "map the window");
	t->window = p;
	return 0;
}

static int start(struct transport *t, struct fs *fs, struct err *e)
{
	int rc;

	t->fs = fs;
	t->pool.ended = ended;
	t->done = eventfd(0, EFD_CLOEXEC);
	if (t->done < 0)
		return err_set(e, -errno, "eventfd");
	fs->transport = &t->later;
	rc = pool_start(&t->pool);
	return rc ? err_set(e, rc, "start a thread") : 0;
}

int transport_window(struct transport *t, struct fs *fs, int window_fd, int socket_fd,
		     const struct jail *jail, struct err *e)
{
	auto_fd window = window_fd;
	int rc;

	*t = (struct transport){ .later = { answer_later }, .fd = socket_fd, .done = -1,
				 .pool = { .next = next, .own_bytes = FS_SLOT_BYTES,
					   .jail = jail } };
	rc = map_window(t, window, e);
	if (!rc)
		rc = start(t, fs, e);
	if (rc)
		transport_close(t);
	return rc;
}

void transport_stop(struct transport *t)
{
	if (t->mounted)
		dev_unmount(t->mounted);
	else
		shutdown(t->fd, SHUT_RDWR);
}

void transport_close(struct transport *t)
{
	if (t->pool.started)
		pool_join(&t->pool);
	if (t->window)
		munmap(t->window, FS_WINDOW_BYTES);
	if (t->done >= 0)
		close(t->done);
	close(t->fd);
	if (t->fs)
		t->fs->transport = NULL;
}

/* ---- /dev/fuse ---------------------------------------------------------------------------- */

/* A thread's memory: a request, and a reply. */
struct dev_own {
	_Alignas(8) uint8_t in[FS_SLOT_BYTES];
	uint8_t out[FS_SLOT_BYTES];
};

static void dev_later(struct fs_transport *later, uint32_t token, const void *buf, size_t len)
{
	struct transport *t = container_of(later, struct transport, later);

	(void)token;
	(void)!write(t->fd, buf, len);
}

static int dev_next(struct pool *pool, void *own)
{
	struct transport *t = container_of(pool, struct transport, pool);
	struct dev_own *o = own;
	struct fuse_in_header h;
	struct fs_call c = { .head = o->in, .out = o->out, .room = sizeof(o->out) };
	ssize_t n;
	size_t len;

	do {		/* ENOENT: it was interrupted before it was read */
		n = read(t->fd, o->in, sizeof(o->in));
	} while (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN));
	if (n < (ssize_t)sizeof(h))
		return -ENODEV;
	memcpy(&h, o->in, sizeof(h));
	c.head_len = fs_head_len(&h);
	if (c.head_len > (size_t)n)
		c.head_len = (size_t)n;
	c.data = o->in + c.head_len;
	c.data_len = (size_t)n - c.head_len;
	len = fs_serve(t->fs, &c);
	/* An error here is an interrupted request's: nobody waits for it any more. */
	if (len && len != FS_LATER)
		(void)!write(t->fd, o->out, len);
	return 0;
}

int transport_dev(struct transport *t, struct fs *fs, const char *dir, const struct jail *jail,
		  struct err *e)
{
	int rc;

	*t = (struct transport){ .later = { dev_later }, .done = -1, .mounted = dir,
				 .pool = { .next = dev_next, .jail = jail,
					   .own_bytes = sizeof(struct dev_own) } };
	t->fd = dev_mount(dir, e);
	if (t->fd < 0)
		return t->fd;
	rc = start(t, fs, e);
	if (rc) {
		dev_unmount(dir);
		transport_close(t);
	}
	return rc;
}
