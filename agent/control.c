// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - RESUME, POWEROFF, REBOOT.
 *
 * RESUME gives a restored guest what a snapshot must not share with its clones:
 * time, randomness, name, machine id, hardware address. Each part is applied in that
 * order; the first that fails ends the request with an ERROR that names it, and
 * the host does not let the guest go on.
 *
 * The entropy is credited and then the generator is reseeded at once; otherwise clones
 * would draw the same numbers until the next reseed, minutes later.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>

#include "agent/control.h"

#ifndef RNDRESEEDCRNG
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

#define SEED_MIN 16u
#define SEED_MAX 512u
#define HALT_NS	 100000000u

static bool is_init;
static struct timer halt_timer;
static bool halt_restart;

/* ---- parts of RESUME --------------------------------------------------- */

static int set_time(const struct proto_attr *a)
{
	struct timespec ts;
	uint64_t ns;

	if (proto_attr_u64(a, &ns) < 0 || ns > INT64_MAX)
		return -EINVAL;
	ts.tv_sec = (time_t)(ns / 1000000000u);
	ts.tv_nsec = (long)(ns % 1000000000u);
	return clock_settime(CLOCK_REALTIME, &ts) < 0 ? -errno : 0;
}

static int add_seed(const struct proto_attr *a)
{
	union {
		struct rand_pool_info info;
		uint8_t room[sizeof(struct rand_pool_info) + SEED_MAX];
	} u;
	int fd, rc = 0;

	if (a->len < SEED_MIN || a->len > SEED_MAX)
		return -EINVAL;
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	u.info.entropy_count = (int)a->len * 8;
	u.info.buf_size = (int)a->len;
	memcpy(u.room + offsetof(struct rand_pool_info, buf), a->val, a->len);
	if (ioctl(fd, RNDADDENTROPY, &u.info) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		rc = -errno;
	explicit_bzero(&u, sizeof(u));
	close(fd);
	return rc;
}

static int set_hostname(const struct proto_attr *a)
{
	const char *s = proto_attr_str(a, 65);

	if (!s || !*s)
		return -EINVAL;
	return sethostname(s, strlen(s)) < 0 ? -errno : 0;
}

/* The image need not have the file or be writable; /run always is. */
static int set_machine_id(const struct proto_attr *a)
{
	const char *s = proto_attr_str(a, 33);
	char line[34];
	int fd, rc = 0;

	if (!s || strspn(s, "0123456789abcdef") != 32)
		return -EINVAL;
	memcpy(line, s, 32);
	line[32] = '\n';
	fd = open("/run/machine-id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
	if (fd < 0 || write(fd, line, 33) != 33)
		rc = errno ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
	fd = open("/etc/machine-id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (fd >= 0) {
		if (write(fd, line, 33) != 33)
			rc = -EIO;
		close(fd);
	}
	return rc;
}

/* The first Ethernet interface, taken down for the moment if it is up. */
static int set_mac(const struct proto_attr *a)
{
	struct if_nameindex *ifs, *i;
	struct ifreq ifr;
	short flags;
	int fd, rc = -ENODEV;

	if (a->len != 6 || (a->val[0] & 1))
		return -EINVAL;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ifs = if_nameindex();
	for (i = ifs; i && i->if_index && rc == -ENODEV; i++) {
		memset(&ifr, 0, sizeof(ifr));
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", i->if_name);
		if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0 || ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
			continue;
		if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
			continue;
		flags = ifr.ifr_flags;
		ifr.ifr_flags = (short)(flags & ~IFF_UP);
		(void)ioctl(fd, SIOCSIFFLAGS, &ifr);
		ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(ifr.ifr_hwaddr.sa_data, a->val, 6);
		rc = ioctl(fd, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
		ifr.ifr_flags = flags;
		(void)ioctl(fd, SIOCSIFFLAGS, &ifr);
	}
	if (ifs)
		if_freenameindex(ifs);
	close(fd);
	return rc;
}

static const struct {
	uint16_t key;
	const char *name;
	int (*apply)(const struct proto_attr *a);
} parts[] = {
	{ PROTO_K_TIME_NS, "wall clock", set_time },
	{ PROTO_K_SEED, "entropy", add_seed },
	{ PROTO_K_HOSTNAME, "hostname", set_hostname },
	{ PROTO_K_MACHINE_ID, "machine id", set_machine_id },
	{ PROTO_K_MAC, "hardware address", set_mac },
};

#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

static void resume(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_attr a, got[N_PARTS] = { 0 };
	struct proto_rd r;
	char why[128];
	int rc = 0;

	proto_rd_init(&r, payload, h->len);
	while (proto_rd_attr(&r, &a)) {
		bool known = false;

		for (size_t i = 0; i < N_PARTS; i++)
			if (a.key == parts[i].key) {
				got[i] = a;
				known = true;
			}
		if (!known && (a.flags & PROTO_ATTR_MUST))
			r.bad = true;
	}
	if (r.bad) {
		conn_error(c, h, EINVAL, "RESUME: bad or unknown attribute");
		return;
	}
	for (size_t i = 0; i < N_PARTS && rc == 0; i++) {
		if (!got[i].key)
			continue;
		rc = parts[i].apply(&got[i]);
		if (rc < 0) {
			snprintf(why, sizeof(why), "RESUME: %s: %s", parts[i].name, strerror(-rc));
			conn_error(c, h, -rc, why);
		}
	}
	if (rc == 0)
		conn_send_empty(c, PROTO_DONE, h->tag);
}

/* ---- power ------------------------------------------------------------- */

void control_halt(bool restart)
{
	sync();
	reboot(restart ? RB_AUTOBOOT : RB_POWER_OFF);
	/* A machine without power management stays here, for its monitor to end. */
	for (;;)
		pause();
}

static void on_halt(struct timer *t)
{
	(void)t;
	control_halt(halt_restart);
}

void control_init(bool init)
{
	is_init = init;
	halt_timer.fn = on_halt;
}

void control_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	if (!is_init) {
		conn_error(c, h, EPERM, "the agent is not the init of a guest");
		return;
	}
	if (h->type == PROTO_RESUME) {
		resume(c, h, payload);
		return;
	}
	/* The answer gets a moment to leave. */
	conn_send_empty(c, PROTO_DONE, h->tag);
	halt_restart = h->type == PROTO_REBOOT;
	evloop_timer(&halt_timer, evloop_now() + HALT_NS);
}
