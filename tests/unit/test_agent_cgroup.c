/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.c: the group that is made ahead. In a plain folder with the one file that
 * cgroup_setup() looks for, so without limits; those are tested in guests.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/cgroup.h"
#include "agent/proto.h"

static char top[64];
static const struct cgroup_limits none;

static bool there(unsigned id)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/exec/x%u", top, id);
	return !access(path, F_OK);
}

static void init(void)
{
	char path[128];

	snprintf(top, sizeof(top), "/tmp/agent-cgroup-XXXXXX");
	cr_assert(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/exec", top);
	cr_assert(!mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/exec/cgroup.kill", top);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	cr_assert_eq(cgroup_setup(top), PROTO_F_CGROUP);
}

static void fini(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	cr_assert_eq(system(command), 0);
}

TestSuite(agent_cgroup, .init = init, .fini = fini);

Test(agent_cgroup, the_next_command_gets_the_group_that_was_made_ahead)
{
	struct stat before, after;
	char path[128];
	int fd = cgroup_new(1, &none);

	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert(!there(2));
	cgroup_prepare();
	snprintf(path, sizeof(path), "%s/exec/x2", top);
	cr_assert(!stat(path, &before));
	cgroup_prepare();
	cr_assert(!there(3), "one is enough");
	fd = cgroup_new(2, &none);
	cr_assert_geq(fd, 0);
	cr_assert(!fstat(fd, &after) && after.st_ino == before.st_ino);
	close(fd);
	cr_assert_eq(cgroup_remove(2), 0);
	cr_assert(!there(2));
}

/* A command that failed before it had a group took a number, too. */
Test(agent_cgroup, a_group_that_nobody_took_does_not_stay)
{
	int fd;

	cgroup_prepare();
	cr_assert(there(1));
	fd = cgroup_new(3, &none);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert(there(3));
	cr_assert(!there(1));
	cgroup_prepare();
	cr_assert(there(4));
}
