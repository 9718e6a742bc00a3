// SPDX-License-Identifier: Apache-2.0
/* What the agent accepts as a ROOT; what it does then is tested in guests. */
#include "agent/root.h"
#include "tests/unit/agent_live.h"

static uint8_t buf[PROTO_PAYLOAD_MAX];
static struct proto_wr w;
static struct root_req req;
static const char *why;

static void begin(void)
{
	proto_wr_init(&w, buf, sizeof(buf));
	proto_wr_begin(&w, PROTO_ROOT, 1);
}

static int decode(void)
{
	int n = proto_wr_end(&w);

	cr_assert_gt(n, 0);
	return root_decode(buf + PROTO_HDR_LEN, (size_t)n - PROTO_HDR_LEN, &req, &why);
}

Test(agent_root, all_of_it)
{
	begin();
	cr_assert_eq(decode(), 0);
	cr_assert(!req.type && req.upper == PROTO_ROOT_TMPFS && !req.n_tmpfs);
	begin();
	proto_wr_str(&w, PROTO_K_ROOT_TYPE, "erofs");
	proto_wr_num(&w, PROTO_K_ROOT_UPPER, PROTO_ROOT_DISK);
	proto_wr_num(&w, PROTO_K_ROOT_FLAGS, PROTO_ROOT_DISCARD);
	proto_wr_num(&w, PROTO_K_ROOT_SIZE, 4096);
	proto_wr_str(&w, PROTO_K_ROOT_WORKDIR, "/srv/er");
	for (unsigned i = 0; i < PROTO_TMPFS_MAX; i++)
		proto_wr_str(&w, PROTO_K_TMPFS, i ? "0:/a/b" : "65536:/c");
	cr_assert_eq(decode(), 0);
	cr_assert_str_eq(req.type, "erofs");
	cr_assert_str_eq(req.workdir, "/srv/er");
	cr_assert(req.upper == PROTO_ROOT_DISK && req.flags == PROTO_ROOT_DISCARD &&
		  req.size == 4096);
	cr_assert_eq(req.n_tmpfs, PROTO_TMPFS_MAX);
	cr_assert_str_eq(req.tmpfs[0].path, "/c");
	cr_assert(req.tmpfs[0].size == 65536 && req.tmpfs[1].size == 0);
}

Test(agent_root, a_disk_that_is_the_root)
{
	begin();
	proto_wr_num(&w, PROTO_K_ROOT_UPPER, PROTO_ROOT_WHOLE);
	proto_wr_num(&w, PROTO_K_ROOT_FLAGS, PROTO_ROOT_DISCARD);
	cr_assert_eq(decode(), 0);
	cr_assert(!req.type && req.upper == PROTO_ROOT_WHOLE && req.flags == PROTO_ROOT_DISCARD);
}

Test(agent_root, what_is_none_is_refused)
{
	static const struct { uint16_t key; const char *value, *reason; } bad[] = {
		{ PROTO_K_ROOT_TYPE, "xfs", "the image's file system is neither erofs nor ext4" },
		{ PROTO_K_ROOT_TYPE, "", "the image's file system is neither erofs nor ext4" },
		{ PROTO_K_ROOT_UPPER, "disk", "bad kind of root" },
		{ PROTO_K_ROOT_SIZE, "1", "bad size" },
		{ PROTO_K_TMPFS, "/a", "the path of a tmpfs is not absolute, or it is /" },
		{ PROTO_K_TMPFS, "1:a", "the path of a tmpfs is not absolute, or it is /" },
		{ PROTO_K_TMPFS, "1:///", "the path of a tmpfs is not absolute, or it is /" },
		{ PROTO_K_TMPFS, "", "the path of a tmpfs is not absolute, or it is /" },
		{ PROTO_K_TMPFS, "99999999999999999999:/a", "bad size of a tmpfs" },
		{ PROTO_K_ROOT_WORKDIR, "work", "the folder to make is not absolute" },
		{ PROTO_K_ROOT_WORKDIR, "", "the folder to make is not absolute" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin();
		proto_wr_str(&w, bad[i].key, bad[i].value);
		cr_expect_eq(decode(), -EBADMSG, "%zu", i);
		cr_expect_str_eq(why, bad[i].reason, "%zu", i);
	}
	begin();
	proto_wr_num(&w, PROTO_K_ROOT_UPPER, 4);
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, "bad kind of root");
	begin();
	proto_wr_num(&w, PROTO_K_ROOT_FLAGS, 2);
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, "bad flags of a root");
	begin();
	proto_wr_num(&w, PROTO_K_ROOT_FLAGS, 1);
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, "flags of a disk without one");
	begin();
	proto_wr_str(&w, PROTO_K_ROOT_TYPE, "ext4");
	proto_wr_num(&w, PROTO_K_ROOT_UPPER, PROTO_ROOT_WHOLE);
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, "an image below a disk that is the root");
	begin();
	for (unsigned i = 0; i <= PROTO_TMPFS_MAX; i++)
		proto_wr_str(&w, PROTO_K_TMPFS, "0:/a");
	cr_assert_eq(decode(), -EBADMSG);
	cr_assert_str_eq(why, "too many tmpfs");
	begin();
	proto_wr_str(&w, PROTO_K_ROOT_TYPE, "erofs");
	cr_assert_gt(proto_wr_end(&w), 0);
	cr_assert_eq(root_decode(buf + PROTO_HDR_LEN, PROTO_ATTR_LEN + 3, &req, &why), -EBADMSG);
	cr_assert_str_eq(why, "truncated attribute");
}
