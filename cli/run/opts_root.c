/* SPDX-License-Identifier: Apache-2.0 */
/* opts_root.c - the flags of `sandbox run` about the root file system and its disks. */
#include "cli/base/parse.h"
#include "cli/run/conf.h"

int run_opt_image(void *into, const char *value, struct err *e)
{
	((struct run_conf *)into)->root.ref = value;
	return *value ? 0 : err_say(e, -EINVAL, "its name is empty");
}

int run_opt_disk(void *into, const char *value, struct err *e)
{
	return rootfs_disk_flag(&((struct run_conf *)into)->root, value, e);
}

int run_opt_disk_bps(void *into, const char *value, struct err *e)
{
	uint64_t *bps = &((struct run_conf *)into)->root.bps;
	int rc = parse_size(value, bps, e);

	if (!rc && (!*bps || *bps > ROOTFS_RATE_MAX))
		return err_say(e, -EINVAL, "'%.50s' is not from 1 byte to 1 TiB per second", value);
	return rc;
}

int run_opt_disk_iops(void *into, const char *value, struct err *e)
{
	return parse_number(value, 1, ROOTFS_RATE_MAX, &((struct run_conf *)into)->root.iops, e);
}

int run_opt_tmpfs(void *into, const char *value, struct err *e)
{
	return rootfs_tmpfs_flag(&((struct run_conf *)into)->root, value, e);
}
