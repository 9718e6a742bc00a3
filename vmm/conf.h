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
	int fs_window, fs_socket;	/* fs: memfd and socket of its server; 0: there is none */
};

struct conf {
	const char *kernel, *initrd;	/* initrd may be NULL; kernel is, with restore */
	const char *restore;		/* snapshot folder to go on from, or NULL */
	const char *cmdline;		/* added at the end of the built-in command line */
	uint64_t mem;			/* bytes, a multiple of 2 MiB */
	unsigned cpus;
	enum jail_mode jail;
	bool console;			/* copy the guest's console to stderr */
	int status_fd;			/* life-cycle lines; -1: none */
	int control_fd;			/* requests (control.h); -1: none */
	int parent_fd;			/* end when this pidfd does; -1: none */
	uint64_t boot_timeout_ns;	/* without a ready guest by then: "hang"; 0: never */
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
#endif
