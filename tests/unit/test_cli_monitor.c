/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's side is a shell script here: it gets the options that sandbox-vmm
 * gets and says what that would say on descriptor 3.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/machine/monitor.h"

static char script[64];
static struct monitor m = MONITOR_NONE;
static struct err e;

static void fini(void)
{
	monitor_stop(&m);
	if (script[0])
		unlink(script);
}

TestSuite(cli_monitor, .fini = fini);

static const char *jail;

static void start(const char *body)
{
	struct monitor_conf c = { .vmm = script, .kernel = "k", .initrd = "i", .vsock = "v",
				  .memory = 64u << 20, .cpus = 2, .boot_timeout_s = 9,
				  .jail = jail };
	int fd;

	snprintf(script, sizeof(script), "/tmp/monitor-XXXXXX");
	fd = mkstemp(script);
	cr_assert_geq(fd, 0);
	cr_assert_gt(dprintf(fd, "#!/bin/sh\n%s\n", body), 0);
	cr_assert_eq(fchmod(fd, 0700), 0);
	close(fd);
	cr_assert_eq(monitor_start(&m, &c, &e), 0, "%s", e.msg);
}

static const char *explain(const char *body)
{
	start(body);
	cr_assert(monitor_ended(&m, 20000));
	monitor_explain(&m, "today", &e);
	return e.msg;
}

static const char *tail(const char *text, unsigned lines)
{
	static char buf[4096];

	m.tail_len = strlen(text);
	cr_assert_leq(m.tail_len, sizeof(m.tail));
	memcpy(m.tail, text, m.tail_len);
	return monitor_tail(&m, lines, buf, sizeof(buf));
}

Test(cli_monitor, ends_are_told_apart)
{
	cr_assert_str_eq(explain("echo run 1 >&3; echo end panic x >&3; exit 11"),
			 "the guest's kernel panicked today");
	cr_assert(m.running);
}

Test(cli_monitor, an_error_is_passed_on)
{
	cr_assert_str_eq(explain("echo 'end error open k: no' >&3; exit 1"),
			 "the machine failed today: open k: no");
	cr_assert_not(m.running);
}

Test(cli_monitor, only_the_first_end_counts)
{
	cr_assert_str_eq(explain("printf 'end reset\\nend panic\\n' >&3"),
			 "the guest reset itself today");
}

Test(cli_monitor, an_end_without_a_word)
{
	cr_assert_str_eq(explain("echo 'end poweroff' >&2; exit 3"),
			 "the monitor sandbox-vmm ended with status 3 today");
}

Test(cli_monitor, an_end_by_a_signal)
{
	/* From outside: in its pid namespace nobody can kill the first process. */
	start("while :; do sleep 1; done");
	cr_assert_eq(kill(m.pid, SIGKILL), 0);
	cr_assert(monitor_ended(&m, 20000));
	monitor_explain(&m, "today", &e);
	cr_assert_str_eq(e.msg, "the monitor sandbox-vmm was killed by signal 9 (Killed) today");
}

Test(cli_monitor, an_end_by_its_own_jail)
{
	jail = "none";		/* so that the shell can send itself a signal */
	cr_assert(strstr(explain("kill -SYS $$"), "was killed today for a system call that its "
			 "jail forbids"), "%s", e.msg);
}

Test(cli_monitor, it_is_the_first_in_a_pid_namespace)
{
	start("test $$ = 1 && echo end reset >&3");
	cr_assert(monitor_ended(&m, 20000));
	cr_assert_str_eq(m.end, "reset");
	monitor_stop(&m);
	jail = "none";
	start("test $$ = 1 || echo end reset >&3");
	cr_assert(monitor_ended(&m, 20000));
	cr_assert_str_eq(m.end, "reset");
}

/* A shell that says it is jailed, and is not. */
Test(cli_monitor, a_jail_that_is_not_there_is_noticed)
{
	start("echo jail user seccomp caps >&3; echo run 1 >&3; while :; do sleep 1; done");
	for (int i = 0; i < 2000 && !m.running; i++)
		cr_assert_not(monitor_ended(&m, 10));
	cr_assert_eq(monitor_verify(&m, "auto", &e), -EPERM);
	cr_assert(strstr(e.msg, "is without a seccomp filter, although it said otherwise"), "%s",
		  e.msg);
}

Test(cli_monitor, strict_wants_every_wall)
{
	start("echo jail user -pid caps >&3; echo run 1 >&3; while :; do sleep 1; done");
	for (int i = 0; i < 2000 && !m.running; i++)
		cr_assert_not(monitor_ended(&m, 10));
	cr_assert_eq(monitor_verify(&m, "auto", &e), 0);
	cr_assert_eq(monitor_verify(&m, "strict", &e), -EPERM);
	cr_assert_str_eq(e.msg, "the monitor has not all of its walls: user -pid caps");
	cr_assert(monitor_wall(&m, "user") && monitor_wall(&m, "caps"));
	cr_assert_not(monitor_wall(&m, "pid") || monitor_wall(&m, "use"));
}

Test(cli_monitor, a_program_that_cannot_be_executed)
{
	struct monitor_conf c = { .vmm = "/no/such", .kernel = "k", .initrd = "i", .vsock = "v" };

	cr_assert_eq(monitor_start(&m, &c, &e), 0);
	cr_assert(monitor_ended(&m, 20000));
	monitor_explain(&m, "today", &e);
	cr_assert_str_eq(e.msg, "the machine failed today: sandbox-vmm could not be executed");
}

Test(cli_monitor, it_gets_its_options_and_no_descriptor_too_many)
{
	char text[2048];
	int leak = open("/dev/null", O_RDONLY);	/* not close-on-exec */

	cr_assert_geq(leak, 0);
	start("echo \"$*\" >&2; ls /proc/self/fd | tr '\\n' ' ' >&2");
	close(leak);
	cr_assert(monitor_ended(&m, 20000));
	monitor_tail(&m, 9, text, sizeof(text));
	cr_assert(strstr(text, "--vsock v"), "%s", text);
	cr_assert(strstr(text, "--kernel k --initrd i --memory 65536k --cpus 2"), "%s", text);
	cr_assert(strstr(text, "--boot-timeout 9"), "%s", text);
	/* 5 is what ls reads. */
	cr_assert(strstr(text, "| 0 1 2 3 4 5 \n"), "%s", text);
}

Test(cli_monitor, it_is_killed_and_reaped)
{
	pid_t pid;

	start("trap '' TERM INT HUP; echo run 1 >&3; while :; do sleep 1; done");
	pid = m.pid;
	for (int i = 0; i < 2000 && !m.running; i++)
		cr_assert_not(monitor_ended(&m, 10));
	cr_assert(m.running);
	cr_assert_neq(getsid(pid), getsid(0));
	monitor_stop(&m);
	cr_assert_eq(kill(pid, 0), -1);
	cr_assert_eq(waitpid(pid, NULL, 0), -1);
}

Test(cli_monitor, a_flood_on_both_pipes_is_bounded)
{
	char text[2048];

	start("i=0; while [ $i -lt 3000 ]; do echo 'a line of forty characters, more or less' >&2; "
	      "echo noise >&3; i=$((i+1)); done; echo the very last >&2; head -c 5000 /dev/zero >&3; "
	      "echo >&3; echo end hang >&3");
	cr_assert(monitor_ended(&m, 30000));
	monitor_explain(&m, "today", &e);
	cr_assert_str_eq(e.msg, "the guest gave no sign of life today");
	cr_assert_leq(m.tail_len, sizeof(m.tail));
	cr_assert_str_eq(monitor_tail(&m, 1, text, sizeof(text)), "  | the very last\n");
}

Test(cli_monitor, the_tail_is_whole_lines_and_harmless)
{
	cr_assert_str_eq(tail("", 3), "");
	cr_assert_str_eq(tail("one", 3), "  | one\n");
	cr_assert_str_eq(tail("one\ntwo\n", 3), "  | one\n  | two\n");
	cr_assert_str_eq(tail("one\r\ntwo\r\n\r\n\n", 1), "  | two\n");
	cr_assert_str_eq(tail("a\nb\nc\nd\n", 2), "  | c\n  | d\n");
	cr_assert_str_eq(tail("\x1b]0;x\x07\t\xff\x7f", 2), "  | ?]0;x?\t??\n");
}

Test(cli_monitor, the_tail_fits_its_buffer)
{
	char small[32], text[sizeof(m.tail)];

	memset(text, '\n', sizeof(text));
	memset(text, 'x', 100);
	memset(text + 101, 'y', 100);
	m.tail_len = 201;
	memcpy(m.tail, text, m.tail_len);
	monitor_tail(&m, 5, small, sizeof(small));
	cr_assert_lt(strlen(small), sizeof(small));
	for (size_t i = 0; i < 400; i++)
		text[i] = i % 2 ? '\n' : 'z';
	m.tail_len = 400;
	memcpy(m.tail, text, m.tail_len);
	monitor_tail(&m, 500, small, sizeof(small));
	cr_assert_lt(strlen(small), sizeof(small));
}
