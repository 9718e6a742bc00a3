/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h - two ways for requests to come: the monitor's window (wire.h), and the host
 * kernel's own client (/dev/fuse).
 */
#ifndef DEVICES_FS_TRANSPORT_H
#define DEVICES_FS_TRANSPORT_H
#include <stdatomic.h>
#include "devices/fs/pool.h"
#include "devices/fs/server.h"

struct transport {
	struct fs_transport later;
	struct pool pool;
	struct fs *fs;
	int fd;				/* the socket, or /dev/fuse; owned */
	int done;			/* eventfd: no thread is left; owned */
	uint8_t *window;		/* of the monitor */
	atomic_bool busy[FS_SLOTS];
	atomic_uint in_flight;
	const char *mounted;		/* folder; borrowed */
};

/*
 * Take both descriptors: the window's size and seals are checked. Serving begins, by
 * threads that are sealed with @jail (NULL: not).
 */
int transport_window(struct transport *t, struct fs *fs, int window_fd, int socket_fd,
		     const struct jail *jail, struct err *e) must_check;
/*
 * Mount at @dir: as root or in a user namespace by mount(2), else by fusermount3. Its
 * threads are sealed with @jail as well, though the process is in none.
 */
int transport_dev(struct transport *t, struct fs *fs, const char *dir, const struct jail *jail,
		  struct err *e) must_check;
/* End it, whatever it waits for. */
void transport_stop(struct transport *t);
/* After it has ended: free it. */
void transport_close(struct transport *t);

/* dev_mount.c: the descriptor of a new mount. -errno. */
int dev_mount(const char *dir, struct err *e) must_check;
void dev_unmount(const char *dir);
#endif
