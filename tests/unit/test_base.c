/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include "vmm/base.h"

static int opener(const char *path, int *out, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	*out = take_fd(&fd);
	return 0;
}

Test(base, error_is_a_sentence_built_from_the_inside)
{
	struct err e = { 0 };
	int fd = -1;

	cr_assert_eq(opener("/nonexistent", &fd, &e), -ENOENT);
	cr_assert_eq(fd, -1);
	cr_assert_eq(err_wrap(&e, "disk '%s'", "root"), -ENOENT);
	cr_assert_str_eq(e.msg, "disk 'root': open /nonexistent: No such file or directory");
}

Test(base, a_taken_descriptor_stays_open)
{
	struct err e = { 0 };
	int fd = -1;

	cr_assert_eq(opener("/dev/zero", &fd, &e), 0);
	cr_assert_neq(fcntl(fd, F_GETFD), -1);
	close(fd);
}
