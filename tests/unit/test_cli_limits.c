/* SPDX-License-Identifier: Apache-2.0 */
/* What of a host a sandbox asks for, and what starts it by itself. */
#include <criterion/criterion.h>
#include "cli/base/host.h"
#include "cli/run/limits.h"
#include "cli/store/autostart.h"

static struct err e;

Test(cli_limits, lists_of_cpus_come_back)
{
	static const struct { const char *list, *text; } good[] = {
		{ "0", "0" }, { "2-3", "2-3" }, { "0,2-3", "0,2-3" }, { "3,2,1", "1-3" },
		{ "5-5", "5" }, { "0-0,1023", "0,1023" },
	};
	static const char *const bad[] = { "", ",", "1,", ",1", "1-", "-1", "3-2", "a", "1 ", "1;2",
					   "1024", "0-1024", "1--2" };
	char text[64];
	cpu_set_t set;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_expect_eq(limits_parse_cpus(good[i].list, &set), 0, "%s", good[i].list);
		cr_expect_str_eq(limits_cpus_text(&set, text, sizeof(text)), good[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(limits_parse_cpus(bad[i], &set), -EINVAL, "'%s'", bad[i]);
}

Test(cli_limits, text_of_cpus_never_leaves_its_buffer)
{
	char text[8] = "xxxxxxx";
	cpu_set_t set;

	cr_assert_eq(limits_parse_cpus("1,3,5,7,9,11", &set), 0);
	limits_cpus_text(&set, text, 6);
	cr_expect_str_eq(text, "1,3,5");
	cr_expect_eq(text[6], 'x');
}

Test(cli_limits, fractions_are_whole_cpus_with_less_time)
{
	struct run_conf c = { 0 };
	char text[16];

	cr_assert_eq(run_opt_cpus(&c, "0.5", &e), 0);
	cr_expect(c.cpus == 1 && c.cpu_milli == 500);
	cr_expect_str_eq(run_cpus_text(&c, text), "0.5");
	cr_assert_eq(run_opt_cpus(&c, "1", &e), 0);
	cr_expect(c.cpus == 1 && c.cpu_milli == 0);
	cr_expect_str_eq(run_cpus_text(&c, text), "1");
	if (host_cpus() > 1) {
		cr_assert_eq(run_opt_cpus(&c, "1.25", &e), 0);
		cr_expect(c.cpus == 2 && c.cpu_milli == 1250);
	}
}

Test(cli_limits, refusals_name_what_was_asked_for_and_what_there_is)
{
	struct run_conf c = { 0 };
	char want[64];

	cr_expect_eq(run_opt_cpus(&c, "0.001", &e), -EINVAL);
	cr_expect_str_eq(e.msg, "0.001 asked for, but a guest needs at least 0.01");
	cr_expect_eq(run_opt_cpus(&c, "1.0001", &e), -EINVAL);
	cr_expect(strstr(e.msg, "at most three digits after the point"), "%s", e.msg);
	if (host_cpus() < RUN_CPUS_MAX) {
		snprintf(want, sizeof(want), "%u.5 asked for, but this host has %u", host_cpus(),
			 host_cpus());
		snprintf(e.msg, sizeof(e.msg), "%u.5", host_cpus());
		cr_expect_eq(run_opt_cpus(&c, strdupa(e.msg), &e), -EINVAL);
		cr_expect_str_eq(e.msg, want);
	}
	cr_expect_eq(run_opt_pin(&c, "1023", &e), -EINVAL);
	cr_expect(strstr(e.msg, "1023 asked for, but this process may use "), "%s", e.msg);
	cr_expect_eq(run_opt_pin(&c, "x", &e), -EINVAL);
	cr_expect(strstr(e.msg, "'x' is not a list of CPUs"), "%s", e.msg);
	cr_expect_null(c.pin);
}

Test(cli_limits, units_quote_what_systemd_would_read_otherwise)
{
	char var[] = "V=a \"b\\%$\n", *vars[] = { var, NULL };
	char *text = autostart_unit("web", "/p q/$x%", vars);

	cr_assert_not_null(text);
	cr_expect(strstr(text, "\nExecStart=\"/p q/$$x%%\" start web\n"), "%s", text);
	cr_expect(strstr(text, "\nExecStop=\"/p q/$$x%%\" stop web\n"), "%s", text);
	cr_expect(strstr(text, "\nEnvironment=\"V=a \\\"b\\\\%%$\\x0a\"\n"), "%s", text);
	free(text);
}
