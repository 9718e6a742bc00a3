// SPDX-License-Identifier: Apache-2.0
/* What the agent accepts as a MOUNT; mounting itself is tested in guests. */
#include "agent/share.h"
#include "tests/unit/agent_live.h"

static uint8_t buf[PROTO_PAYLOAD_MAX];
static struct proto_wr w;
static struct share_req req[PROTO_SHARES_MAX];
static const char *why;

static void begin(void)
{
	proto_wr_init(&w, buf, sizeof(buf));
	proto_wr_begin(&w, PROTO_MOUNT, 1);
}

static int decode(void)
{
	int n = proto_wr_end(&w);

	cr_assert_gt(n, 0);
	return share_decode(buf + PROTO_HDR_LEN, (size_t)n - PROTO_HDR_LEN, req, &why);
}

static void refused(const char *reason)
{
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, reason);
}

static void share(uint64_t id, const char *path)
{
	proto_wr_num(&w, PROTO_K_SHARE, id);
	if (path)
		proto_wr_str(&w, PROTO_K_PATH, path);
}

Test(agent_share, all_of_them_in_order)
{
	char path[32];

	begin();
	for (unsigned i = 0; i < PROTO_SHARES_MAX; i++) {
		snprintf(path, sizeof(path), "/mnt/%u", i);
		share(PROTO_SHARES_MAX - 1 - i, path);
		if (i == 1)
			proto_wr_num(&w, PROTO_K_FLAGS, PROTO_SHARE_RO);
	}
	cr_assert_eq(decode(), PROTO_SHARES_MAX);
	for (unsigned i = 0; i < PROTO_SHARES_MAX; i++) {
		snprintf(path, sizeof(path), "/mnt/%u", i);
		cr_expect_eq(req[i].id, PROTO_SHARES_MAX - 1 - i);
		cr_expect_str_eq(req[i].path, path);
		cr_expect_eq(req[i].read_only, i == 1);
	}
}

Test(agent_share, what_is_no_mount_is_refused)
{
	begin();
	refused("no share");
	begin();
	share(0, NULL);
	refused("a share without a path");
	begin();
	share(0, NULL);
	share(1, "/b");
	refused("a share without a path");
	begin();
	share(PROTO_SHARES_MAX, "/a");
	refused("bad number of a share");
	begin();
	proto_wr_str(&w, PROTO_K_PATH, "/a");
	refused("an attribute before the share that it belongs to");
	begin();
	share(0, "a");
	refused("the path is not absolute, or it is /");
	begin();
	share(0, "///");
	refused("the path is not absolute, or it is /");
	begin();
	share(0, "/a");
	proto_wr_num(&w, PROTO_K_FLAGS, 2);
	refused("bad flags");
	begin();
	share(0, "/a");
	proto_wr_str(&w, PROTO_K_HOSTNAME, "x");
	refused("unknown attribute");
	begin();
	for (unsigned i = 0; i <= PROTO_SHARES_MAX; i++)
		share(0, "/a");
	refused("too many shares");
}

Test(agent_share, only_the_init_of_a_guest_mounts, .init = live_start, .fini = live_stop,
     .timeout = 60)
{
	const struct client_share s = { .id = 0, .path = "/nonexistent/a" };
	struct client *c = live_client();
	struct client_err e = { 0 };

	cr_assert_eq(client_mount(c, &s, 1, 10000, &e), -EPERM);
	cr_assert_str_eq(e.msg, "the agent is not the init of a guest");
	cr_assert_eq(client_umount(c, "/nonexistent/a", 10000, &e), -EPERM);
	cr_assert_neq(access("/nonexistent", F_OK), 0);
	client_close(c);
}
