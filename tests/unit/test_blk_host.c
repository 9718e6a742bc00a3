/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a disk is. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/file.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"

TestSuite(blk_host, .timeout = 30);

static struct rig r;

static struct conf_dev again(int disk)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	return (struct conf_dev){ .fd = open(path, O_RDWR | O_CLOEXEC) };
}

static int a_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	return fd;
}

/* The ring has the file, too, but not for longer than the device is there. */
Test(blk_host, a_disk_is_free_when_its_device_is_gone)
{
	auto_fd disk = a_disk();

	for (unsigned i = 0; i < 20; i++) {
		struct conf_dev c = again(disk);

		rig_open(&r, virtio_ops_find("blk"), &c);
		rig_close(&r);
	}
}

static void *let_go(void *fd)
{
	usleep(50000);
	close(*(int *)fd);
	return NULL;
}

/* What a killed machine leaves to the kernel takes a moment. */
Test(blk_host, a_disk_that_is_about_to_be_free_is_waited_for)
{
	auto_fd disk = a_disk();
	struct conf_dev c = again(disk), other = again(disk);
	pthread_t t;

	cr_assert_eq(flock(other.fd, LOCK_EX), 0);
	cr_assert_eq(pthread_create(&t, NULL, let_go, &other.fd), 0);
	rig_open(&r, virtio_ops_find("blk"), &c);
	pthread_join(t, NULL);
	rig_close(&r);
}
