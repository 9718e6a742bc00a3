/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - everything the monitor was asked to do. It is parsed and checked as a
 * whole before the first resource is opened, and const from then on.
 *
 * Devices sit in slots of fixed order, so that every machine of one shape is the
 * same to its guest; what backs a slot is the part that differs.
 */
#ifndef VMM_CONF_H
#define VMM_CONF_H
#include "vmm/base.h"
#include "vmm/jail.h"

#define CONF_SLOTS_MAX	16
#define CONF_CPUS_MAX	32
#define CONF_MEM_MIN	(16ull << 20)

/* One device slot. Strings belong to the configuration and outlive the device. */
struct conf_dev {
	const char *dev;		/* virtio_ops.name; NULL ends the list */
	const char *path;		/* vsock: Unix socket to listen on */
	uint64_t cid;			/* vsock: the guest's context id, 3 or more */
	int fs_window, fs_socket;	/* fs: memfd and socket of its server, kept open; 0: none */
	/* blk: @path or @fd back it; without either it has no sectors. */
	int fd;				/* 3 or more; the device's from its open() on */
	bool ro, direct;		/* direct: O_DIRECT */
	uint64_t bps, iops;		/* bytes and requests per second; 0: no limit */
	const char *id;			/* what it tells the guest, 20 bytes of it at most */
};

/* What backs one of the two disks. Without a path or a descriptor: nothing. */
struct conf_disk {
	const char *path;		/* in @text, or NULL */
	int fd;				/* or 0 */
	bool ro, direct;
	uint64_t bps, iops;
	char id[21];			/* "": the slot's name */
	char text[4096];		/* as it was written */
};

struct conf {
	const char *kernel, *initrd;	/* initrd may be NULL; kernel is, with restore */
	const char *restore;		/* snapshot folder to go on from, or NULL */
	const char *inspect;		/* snapshot folder to describe instead; or NULL */
	bool verify;			/* with inspect: read all of it */
	const char *cmdline;		/* added at the end of the built-in command line */
	uint64_t mem;			/* bytes, a multiple of 2 MiB */
	unsigned cpus;
	uint32_t cpu_milli;		/* CPU time, in thousandths of a CPU; 0: no limit */
	enum jail_mode jail;
	bool try_jail;			/* only put the walls up, say which stand, and end */
	bool console;			/* copy the guest's console to stderr */
	int status_fd;			/* life-cycle lines; -1: none */
	int control_fd;			/* requests (control.h); -1: none */
	int parent_fd;			/* end when this pidfd does; -1: none */
	uint64_t boot_timeout_ns;	/* without a ready guest by then: "hang"; 0: never */
	struct conf_disk root, disk;	/* the two slots of "blk", in this order */
	struct conf_dev slot[CONF_SLOTS_MAX];
};

/*
 * Fill @c from the command line. 0; 1 when --help or --version was answered on
 * stdout; -EINVAL with a sentence. Strings point into @argv. Opens nothing.
 */
int conf_parse(struct conf *c, int argc, char **argv, struct err *e) must_check;

/* The descriptors that @c names, into @fd, which has room for CONF_FDS_MAX; returns how many. */
#define CONF_FDS_MAX	64u
unsigned conf_fds(const struct conf *c, int fd[CONF_FDS_MAX]) must_check;

/* One disk from its words on the command line (conf_disk.c). 0 or -errno with a sentence. */
int conf_disk_parse(struct conf_disk *d, const char *s, struct err *e) must_check;
/* Its slot; strings are @d's and @name. */
struct conf_dev conf_disk_slot(const struct conf_disk *d, const char *name);
#endif
