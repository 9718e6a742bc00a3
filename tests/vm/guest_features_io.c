// SPDX-License-Identifier: Apache-2.0
/* guest_features: control groups, file systems and networks.  See guest_features.c. */
#include "tests/vm/guest_features.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The unified hierarchy, mounted where the agent mounts it or else in our own mount namespace. */
static const char *cgroup_root(void)
{
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
		return "/sys/fs/cgroup";
	features_own_mounts();
	NEED(mkdir(FEATURES_BASE "/cg", 0700) == 0);
	NEED(mount("cgroup2", FEATURES_BASE "/cg", "cgroup2", 0, NULL) == 0);
	return FEATURES_BASE "/cg";
}

static void try_cgroup(void)
{
	static const char *const want[] = { "memory", "pids", "cpu", "io", "cpuset" };
	const char *root = cgroup_root();
	char path[200], buf[256];
	int st;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
	NEED(features_slurp(path, buf, sizeof(buf)) > 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (!strstr(buf, want[i]))
			features_fail("controller %s is missing in '%s'", want[i], buf);
	snprintf(path, sizeof(path), "%s/features", root);
	NEED(mkdir(path, 0755) == 0 || errno == EEXIST);
	NEED((pid = fork()) >= 0);
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "%s/features/cgroup.procs", root);
	snprintf(buf, sizeof(buf), "%d", pid);
	features_spit(path, buf);
	snprintf(path, sizeof(path), "%s/features/cgroup.freeze", root);
	NEED(access(path, F_OK) == 0);
	snprintf(path, sizeof(path), "%s/features/cgroup.kill", root);
	features_spit(path, "1");
	NEED(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	snprintf(path, sizeof(path), "%s/features", root);
	for (int i = 0; i < 100 && rmdir(path) != 0; i++)
		usleep(10000);
	NEED(access(path, F_OK) != 0);
}

static void try_inotify(void)
{
	char buf[sizeof(struct inotify_event) + NAME_MAX + 1];
	int fd = inotify_init1(0);

	NEED(fd >= 0);
	features_own_mounts();
	NEED(inotify_add_watch(fd, FEATURES_BASE, IN_CREATE) >= 0);
	features_spit(FEATURES_BASE "/x", "");
	NEED(read(fd, buf, sizeof(buf)) > 0);
	NEED(((struct inotify_event *)(void *)buf)->mask == IN_CREATE);
}

static void try_tmpfs_xattr(void)
{
	char buf[8];

	features_own_mounts();
	features_spit(FEATURES_BASE "/x", "x");
	NEED(setxattr(FEATURES_BASE "/x", "user.a", "1", 1, 0) == 0);
	NEED(setxattr(FEATURES_BASE "/x", "trusted.a", "2", 1, 0) == 0);
	NEED(getxattr(FEATURES_BASE "/x", "trusted.a", buf, sizeof(buf)) == 1 && buf[0] == '2');
}

static void try_overlay(void)
{
	char buf[8];

	features_own_mounts();
	NEED(mkdir(FEATURES_BASE "/l", 0700) == 0 && mkdir(FEATURES_BASE "/u", 0700) == 0);
	NEED(mkdir(FEATURES_BASE "/w", 0700) == 0 && mkdir(FEATURES_BASE "/m", 0700) == 0);
	features_spit(FEATURES_BASE "/l/f", "low");
	NEED(mount("overlay", FEATURES_BASE "/m", "overlay", 0,
		   "lowerdir=" FEATURES_BASE "/l,upperdir=" FEATURES_BASE
		   "/u,workdir=" FEATURES_BASE "/w") == 0);
	features_spit(FEATURES_BASE "/m/f", "UP");
	NEED(features_slurp(FEATURES_BASE "/u/f", buf, sizeof(buf)) == 3 && !strcmp(buf, "UPw"));
	NEED(features_slurp(FEATURES_BASE "/l/f", buf, sizeof(buf)) == 3 && !strcmp(buf, "low"));
}

static void try_filesystems(void)
{
	static const char *const want[] = { "\text4\n", "\terofs\n", "\tfuse\n", "\tvirtiofs\n",
					    "\toverlay\n", "\ttmpfs\n", "\tmqueue\n" };
	char buf[2048];

	NEED(features_slurp("/proc/filesystems", buf, sizeof(buf)) > 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (!strstr(buf, want[i]))
			features_fail("no%.*s", (int)strlen(want[i]) - 1, want[i]);
	NEED(access("/dev/fuse", F_OK) == 0);
	NEED(access("/proc/swaps", F_OK) != 0);
}

static void stream_over(int family, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_storage at;
	socklen_t at_len = sizeof(at);
	int l = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0), a;
	char buf[4];

	NEED(l >= 0 && c >= 0);
	NEED(bind(l, sa, len) == 0 && listen(l, 1) == 0);
	NEED(getsockname(l, (struct sockaddr *)&at, &at_len) == 0);
	NEED(connect(c, (struct sockaddr *)&at, at_len) == 0);
	NEED((a = accept(l, NULL, NULL)) >= 0);
	NEED(write(c, "ping", 4) == 4 && read(a, buf, 4) == 4 && !memcmp(buf, "ping", 4));
}

static void try_ipv4(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };

	features_own_net();
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	stream_over(AF_INET, (struct sockaddr *)&sa, sizeof(sa));
}

static void try_ipv6(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	features_own_net();
	stream_over(AF_INET6, (struct sockaddr *)&sa, sizeof(sa));
}

static void try_unix(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = FEATURES_BASE "/s" };

	features_own_mounts();
	stream_over(AF_UNIX, (struct sockaddr *)&sa, sizeof(sa));
}

static void try_packet(void)
{
	features_own_net();
	NEED(socket(AF_PACKET, SOCK_RAW, htons(0x0003)) >= 0);
}

static void try_vsock(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	NEED(fd >= 0);
	NEED(access("/dev/vsock", F_OK) == 0);
}

static void try_tun(void)
{
	struct ifreq ifr = { .ifr_name = "t0", .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	NEED(fd >= 0);
	features_own_net();
	NEED(ioctl(fd, TUNSETIFF, &ifr) == 0);
}

/* One transaction, as nft(8) sends it: begin, new table "t" of family inet, end. */
static void try_nftables(void)
{
	struct msg {
		struct nlmsghdr h;
		struct nfgenmsg g;
	};
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	struct {
		struct msg begin, table;
		struct nlattr name;
		char text[4];
		struct msg end;
	} m = { 0 };
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[200];
	} ack;
	const uint16_t batch = NLM_F_REQUEST;
	int fd;

	features_own_net();
	NEED((fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)) >= 0);
	m.begin.h = (struct nlmsghdr){ sizeof(struct msg), NFNL_MSG_BATCH_BEGIN, batch, 1, 0 };
	m.begin.g.res_id = htons(NFNL_SUBSYS_NFTABLES);
	m.table.h = (struct nlmsghdr){ sizeof(struct msg) + sizeof(m.name) + sizeof(m.text),
				       NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE,
				       NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, 2, 0 };
	m.table.g.nfgen_family = 1;
	m.name = (struct nlattr){ sizeof(m.name) + 2, NFTA_TABLE_NAME };
	m.text[0] = 't';
	m.end.h = (struct nlmsghdr){ sizeof(struct msg), NFNL_MSG_BATCH_END, batch, 3, 0 };
	m.end.g.res_id = htons(NFNL_SUBSYS_NFTABLES);
	NEED(sendto(fd, &m, sizeof(m), 0, (struct sockaddr *)&sa, sizeof(sa)) == sizeof(m));
	NEED(recv(fd, &ack, sizeof(ack), 0) > 0);
	NEED(ack.h.nlmsg_type == NLMSG_ERROR && ack.h.nlmsg_seq == 2);
	if (ack.e.error) {
		errno = -ack.e.error;
		features_fail("the table was refused");
	}
}

const struct feature features_io[] = {
	{ "cgroup", try_cgroup },
	{ "inotify", try_inotify },
	{ "tmpfs-xattr", try_tmpfs_xattr },
	{ "overlay", try_overlay },
	{ "filesystems", try_filesystems },
	{ "ipv4", try_ipv4 },
	{ "ipv6", try_ipv6 },
	{ "unix", try_unix },
	{ "packet", try_packet },
	{ "vsock", try_vsock },
	{ "tun", try_tun },
	{ "nftables", try_nftables },
	{ 0 },
};
