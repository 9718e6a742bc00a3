/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host may lack. A test that needs it ends here, with a line that tests/run.sh counts and
 * shows: Criterion itself tells of a skipped test only when it is asked.
 *
 *	if (!attach(512))
 *		not_here("no loop device can be had");
 */
#ifndef TESTS_HOST_H
#define TESTS_HOST_H

#include <criterion/criterion.h>
#include <stdio.h>

#define not_here(why) do { \
	fprintf(stderr, "skip unit: %s: not here: %s\n", __func__, (why)); \
	cr_skip_test(why); \
} while (0)

#endif
