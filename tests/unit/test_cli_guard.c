/* SPDX-License-Identifier: Apache-2.0 */
/* The guards on sharing, on a host that exists only here. */
#include <criterion/criterion.h>
#include "cli/share/guard.h"
#include "tests/unit/host.h"

/* ~/.ssh leads to a disk of its own, /home/ann to /data/ann, /etc is in place. */
static char *leads(const char *path)
{
	static const struct { const char *from, *to; } links[] = {
		{ "/home/ann/.ssh", "/vault/keys" }, { "/home/ann", "/data/ann" },
		{ "/", "/" }, { "/etc", "/etc" }, { "/root", "/root" },
		{ "/home/ann/.config/gh", "/data/ann/.config/gh" },
	};

	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (!strcmp(links[i].from, path))
			return strdup(links[i].to);
	return NULL;
}

static const struct guard_host ann = {
	.homes = (const char *const[]){ "/home/ann", NULL },
	.own = (const char *const[]){ "/home/ann/.local/state/sandbox", NULL }, .resolve = leads,
};

static struct err e;

static void refused(const char *src, const struct guard_host *host, const char *why)
{
	e = (struct err){ 0 };
	cr_expect_eq(guard_check(src, host, &e), -EPERM, "%s", src);
	cr_expect(strstr(e.msg, why), "%s: %s", src, e.msg);
	cr_expect(strstr(e.msg, "--yes"), "%s: %s", src, e.msg);
}

Test(cli_guard, each_guarded_place_its_parents_and_what_is_in_it)
{
	static const char *const names[] = {
		".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gh",
		".config/gcloud", ".config/op", ".config/sops", ".password-store", ".netrc",
		".pypirc", ".npmrc", ".local/state/sandbox",
	};
	char path[128], in[160];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "/home/ann/%s", names[i]);
		snprintf(in, sizeof(in), "%s/deep/er", path);
		refused(path, &ann, "is guarded");
		refused(in, &ann, "lies in /home/ann/");
	}
	refused("/home/ann/.config", &ann, "contains /home/ann/.config/");
	refused("/home/ann/.local", &ann, "contains /home/ann/.local/state/sandbox");
	refused("/etc", &ann, "/etc is guarded");
	refused("/etc/ssl", &ann, "lies in /etc");
	refused("/root", &ann, "/root is guarded");
	refused("/root/work", &ann, "lies in /root");
	refused("/proc", &ann, "/proc is guarded");
	refused("/sys/fs", &ann, "lies in /sys");
}

Test(cli_guard, a_home_and_the_whole_tree)
{
	refused("/", &ann, "/ is guarded");
	refused("/home/ann", &ann, "/home/ann is guarded");
	refused("/home", &ann, "contains /home/ann");
}

Test(cli_guard, links_are_no_way_round)
{
	refused("/vault/keys", &ann, "/vault/keys is guarded as /home/ann/.ssh");
	refused("/vault/keys/old", &ann, "lies in /home/ann/.ssh");
	refused("/vault", &ann, "contains /home/ann/.ssh");
	refused("/data/ann", &ann, "is guarded as /home/ann");
	refused("/data", &ann, "contains /home/ann");
	refused("/data/ann/.config", &ann, "contains /home/ann/.config/gh");
}

/* It may be there by the time that the guest looks. */
Test(cli_guard, a_place_that_is_not_there_yet_is_guarded_where_it_would_be)
{
	refused("/data/ann/.aws", &ann, "is guarded as /home/ann/.aws");
	refused("/data/ann/.config/gcloud/x", &ann, "lies in /home/ann/.config/gcloud");
	refused("/vault/keys", &ann, "is guarded as");
}

Test(cli_guard, the_home_of_who_became_root)
{
	if (geteuid())
		not_here("only root became that");
	setenv("SUDO_USER", "nobody", 1);	/* whose home is /nonexistent */
	cr_expect_eq(guard_check_here("/nonexistent/.ssh/x", &e), -EPERM);
	cr_expect(strstr(e.msg, "lies in /nonexistent/.ssh"), "%s", e.msg);
	cr_expect_eq(guard_check_here("/nonexistent/project", &e), 0, "%s", e.msg);
	unsetenv("SUDO_USER");
}

Test(cli_guard, work_is_not_guarded)
{
	static const char *const fine[] = {
		"/home/ann/project", "/data/ann/project", "/home/ann/.sshd", "/srv", "/etcetera",
		"/home/ann/.config/git", "/tmp/x", "/home/annabel", "/rooted",
	};

	for (size_t i = 0; i < ARRAY_LEN(fine); i++)
		cr_expect_eq(guard_check(fine[i], &ann, &e), 0, "%s: %s", fine[i], e.msg);
}

Test(cli_guard, roots_home_is_a_home)
{
	const struct guard_host root = { .homes = (const char *const[]){ "/root", NULL },
					 .own = (const char *const[]){ NULL }, .resolve = leads };

	cr_expect_eq(guard_check("/root/project", &root, &e), 0, "%s", e.msg);
	refused("/root", &root, "/root is guarded");
	refused("/root/.ssh", &root, "is guarded");
}
