/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "cli/machine/rootfs.h"

static struct rootfs r = ROOTFS_NONE;
static struct err e;

Test(rootfs, disks)
{
	cr_assert_eq(rootfs_disk_flag(&r, "8G", &e), 0);
	cr_assert_eq(r.disk, 8ull << 30);
	cr_assert_eq(rootfs_disk_flag(&r, "16777217b", &e), 0);
	cr_assert_eq(r.disk, (16ull << 20) + 4096);
	cr_assert_eq(rootfs_disk_flag(&r, "15M", &e), -EINVAL);
	cr_assert(strstr(e.msg, "from 16 MiB to"), "%s", e.msg);
	cr_assert_eq(rootfs_disk_flag(&r, "99999G", &e), -EINVAL);
	cr_assert_eq(rootfs_disk_flag(&r, "x", &e), -EINVAL);
}

Test(rootfs, tmpfs)
{
	static const char *const bad[] = { "", "a", "/", "//", "/a:64M", "/a:size=x", "/a:size=",
					   ":size=1M" };

	cr_assert_eq(rootfs_tmpfs_flag(&r, "/a/b", &e), 0);
	cr_assert_eq(rootfs_tmpfs_flag(&r, "/c:size=64k", &e), 0);
	cr_assert_str_eq(r.tmpfs[0], "0:/a/b");
	cr_assert_str_eq(r.tmpfs[1], "65536:/c");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(rootfs_tmpfs_flag(&r, bad[i], &e), -EINVAL, "%s", bad[i]);
	while (r.n_tmpfs < PROTO_TMPFS_MAX)
		cr_assert_eq(rootfs_tmpfs_flag(&r, "/x", &e), 0);
	cr_assert_eq(rootfs_tmpfs_flag(&r, "/x", &e), -EINVAL);
	rootfs_free(&r);
	cr_assert_eq(r.n_tmpfs, 0);
}

Test(rootfs, a_disk_and_a_read_only_root_do_not_go_together)
{
	r.read_only = true;
	cr_assert_eq(rootfs_open(&r, &e), 0);
	r.disk = 1 << 30;
	cr_assert_eq(rootfs_open(&r, &e), -EINVAL);
	cr_assert(strstr(e.msg, "leave one out"), "%s", e.msg);
}

Test(rootfs, only_an_ext4_image_with_a_disk_is_copied)
{
	cr_assert(!rootfs_whole(&r));
	r.ref = "image";
	strcpy(r.image.type, "ext4");
	cr_assert(!rootfs_whole(&r));
	r.disk = 1 << 30;
	cr_assert(rootfs_whole(&r));
	strcpy(r.image.type, "erofs");
	cr_assert(!rootfs_whole(&r));
}

Test(rootfs, a_copy_is_no_smaller_than_its_image)
{
	r.ref = "image";
	strcpy(r.image.type, "ext4");
	r.image.fd = 0;		/* open */
	r.image.size = r.disk = 32 << 20;
	cr_assert_eq(rootfs_open(&r, &e), 0);
	r.image.size++;
	cr_assert_eq(rootfs_open(&r, &e), -EINVAL);
	cr_assert(strstr(e.msg, "ask for more"), "%s", e.msg);
	strcpy(r.image.type, "erofs");
	cr_assert_eq(rootfs_open(&r, &e), 0);
}
