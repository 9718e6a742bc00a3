/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestctl.c - the agent's client as a command, for tests and benchmarks: no VM is
 * started or looked for, SOCKET is the one of `sandbox-vmm --vsock`.
 *
 * Exit status: that of the command for `exec` (124 on a timeout, 128 + N for a
 * signal), 0 or 1 for the rest, 2 when called wrongly, 125 when the agent could
 * not be talked to.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/client/client.h"

#define ENV_MAX 64
#define DEFAULT_WAIT_MS 60000

struct args {
	const char *socket;
	uint32_t port;
	int wait_ms;		/* for everything but the command itself */
	int status_fd;		/* exec: one line of JSON */
	struct client_exec x;
	const char *env[ENV_MAX + 1];
};

static const char usage[] =
	"usage: guestctl SOCKET [OPTION...] VERB [ARG...]\n"
	"  exec [--] CMD [ARG...]   run a command with this stdin, stdout and stderr\n"
	"  put FILE PATH [MODE]     copy a file into the guest (mode in octal, default 755)\n"
	"  get PATH                 copy a file of the guest to stdout\n"
	"  ping | poweroff | reboot\n"
	"  ready                    wait for the agent's report; start it before the monitor.\n"
	"                           Prints `listening`, then `ready BOOT_NS FEATURES`\n"
	"  --port N       the agent's vsock port (52; 0: the socket is the agent's own)\n"
	"  --wait S       seconds to wait for the agent (60)\n"
	"  -t             exec: a terminal (24 x 80)\n"
	"  -n             exec: no stdin\n"
	"  -e K=V, -u USER, -w DIR, --timeout S, --memory BYTES, --pids N, --max-output BYTES\n"
	"  --kill-tree    exec: end background processes with the command\n"
	"  --status-fd N  exec: write the result to descriptor N as a line of JSON\n";

enum { O_PORT = 256, O_WAIT, O_TIMEOUT, O_MEMORY, O_PIDS, O_MAX_OUTPUT, O_KILL_TREE, O_STATUS };

static const struct option options[] = {
	{ "port", 1, NULL, O_PORT }, { "wait", 1, NULL, O_WAIT },
	{ "timeout", 1, NULL, O_TIMEOUT }, { "memory", 1, NULL, O_MEMORY },
	{ "pids", 1, NULL, O_PIDS }, { "max-output", 1, NULL, O_MAX_OUTPUT },
	{ "kill-tree", 0, NULL, O_KILL_TREE }, { "status-fd", 1, NULL, O_STATUS }, { 0 },
};

static _Noreturn void wrong(void)
{
	fputs(usage, stderr);
	exit(2);
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno || end == s || *end || *s == '-')
		wrong();
	return n;
}

static int fail(const char *what, const struct client_err *e)
{
	fprintf(stderr, "guestctl: %s: %s\n", what, e->msg);
	return 125;
}

/* ---- exec ------------------------------------------------------------------------------- */

static void print_result(int fd, const struct client_result *r)
{
	dprintf(fd, "{\"code\": %d, \"signal\": %d, \"timed_out\": %d, \"oom\": %d, "
		"\"oom_kills\": %" PRIu64 ", \"not_started\": %d, \"left_running\": %d, "
		"\"trunc_stdout\": %d, \"trunc_stderr\": %d, \"wall_ns\": %" PRIu64 ", "
		"\"user_ns\": %" PRIu64 ", \"sys_ns\": %" PRIu64 ", \"mem_peak\": %" PRIu64 ", "
		"\"out_bytes\": %" PRIu64 ", \"err_bytes\": %" PRIu64 "}\n",
		r->code, r->signal, r->timed_out, r->oom, r->oom_kills, r->not_started,
		r->left_running, r->trunc_stdout, r->trunc_stderr, r->wall_ns, r->user_ns,
		r->sys_ns, r->mem_peak, r->out_bytes, r->err_bytes);
}

static int do_exec(struct client *c, struct args *a, char **argv)
{
	struct client_result res = { 0 };
	struct client_err e = { 0 };
	int rc;

	if (!argv[0])
		wrong();
	a->x.argv = (const char *const *)argv;
	a->x.envp = a->env;
	a->x.fd[1] = STDOUT_FILENO;
	a->x.fd[2] = STDERR_FILENO;
	rc = client_exec_run(c, &a->x, NULL, 0, &res, &e);
	if (rc)
		return fail("exec", &e);
	if (res.not_started)
		fprintf(stderr, "guestctl: %s\n", res.msg);
	if (a->status_fd >= 0)
		print_result(a->status_fd, &res);
	return client_result_status(&res);
}

/* ---- the others ------------------------------------------------------------------------- */

static int do_put(struct client *c, const struct args *a, char **argv)
{
	struct client_err e = { 0 };
	int fd, rc;

	if (!argv[0] || !argv[1])
		wrong();
	fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "guestctl: %s: %s\n", argv[0], strerror(errno));
		return 1;
	}
	rc = client_put(c, fd, argv[1], (uint32_t)strtoul(argv[2] ? argv[2] : "755", NULL, 8),
			PROTO_FILE_PARENTS, a->wait_ms, &e);
	close(fd);
	return rc ? fail(argv[1], &e) : 0;
}

static int do_get(struct client *c, const struct args *a, char **argv)
{
	struct client_err e = { 0 };

	if (!argv[0])
		wrong();
	if (client_get(c, argv[0], STDOUT_FILENO, NULL, a->wait_ms, &e))
		return fail(argv[0], &e);
	return 0;
}

static int do_control(struct client *c, const struct args *a, const char *verb)
{
	struct client_err e = { 0 };
	int rc;

	if (!strcmp(verb, "ping"))
		rc = client_ping(c, a->wait_ms, &e);
	else if (!strcmp(verb, "poweroff") || !strcmp(verb, "reboot"))
		rc = client_poweroff(c, *verb == 'r', a->wait_ms, &e);
	else
		wrong();
	return rc ? fail(verb, &e) : 0;
}

static int do_ready(const struct args *a)
{
	struct client_ready r;
	struct client_err e = { 0 };
	int fd = client_ready_listen(a->socket, &e);
	int rc;

	if (fd < 0)
		return fail(a->socket, &e);
	puts("listening");
	fflush(stdout);
	rc = client_ready_accept(fd, a->wait_ms, &r, &e);
	close(fd);
	if (rc)
		return fail("ready", &e);
	printf("ready %" PRIu64 " %" PRIu64 "\n", r.boot_ns, r.features);
	return 0;
}

/* ---- command line ----------------------------------------------------------------------- */

static void parse_option(struct args *a, int o)
{
	size_t n = 0;

	switch (o) {
	case O_PORT: a->port = (uint32_t)number(optarg); break;
	case O_WAIT: a->wait_ms = (int)number(optarg) * 1000; break;
	case O_TIMEOUT: a->x.timeout_ns = number(optarg) * 1000000000; break;
	case O_MEMORY: a->x.memory_max = number(optarg); break;
	case O_PIDS: a->x.pids_max = number(optarg); break;
	case O_MAX_OUTPUT:
		a->x.limit_output = true;
		a->x.max_output = number(optarg);
		break;
	case O_KILL_TREE: a->x.kill_tree = true; break;
	case O_STATUS: a->status_fd = (int)number(optarg); break;
	case 't': a->x.tty = true; break;
	case 'n': a->x.fd[0] = -1; break;
	case 'u': a->x.user = optarg; break;
	case 'w': a->x.cwd = optarg; break;
	case 'e':
		while (a->env[n])
			n++;
		if (n == ENV_MAX)
			wrong();
		a->env[n] = optarg;
		break;
	default: wrong();
	}
}

int main(int argc, char **argv)
{
	struct args a = { .port = PROTO_AGENT_PORT, .wait_ms = DEFAULT_WAIT_MS, .status_fd = -1 };
	struct client_err e = { 0 };
	struct client *c;
	const char *verb;
	int o, rc;

	if (argc < 3)
		wrong();
	signal(SIGPIPE, SIG_IGN);
	a.socket = argv[1];
	argc--;
	argv++;
	/* "+": options end at the verb, and once more at the command of `exec`. */
	while ((o = getopt_long(argc, argv, "+tne:u:w:", options, NULL)) != -1)
		parse_option(&a, o);
	verb = argv[optind++];
	if (!verb)
		wrong();
	argc -= optind - 1;
	argv += optind - 1;
	optind = 0;
	while ((o = getopt_long(argc, argv, "+tne:u:w:", options, NULL)) != -1)
		parse_option(&a, o);
	argv += optind;
	if (!strcmp(verb, "ready"))
		return do_ready(&a);
	c = client_open(a.socket, a.port, a.wait_ms, &e);
	if (!c)
		return fail(a.socket, &e);
	if (!strcmp(verb, "exec"))
		rc = do_exec(c, &a, argv);
	else if (!strcmp(verb, "put"))
		rc = do_put(c, &a, argv);
	else if (!strcmp(verb, "get"))
		rc = do_get(c, &a, argv);
	else
		rc = do_control(c, &a, verb);
	client_close(c);
	return rc;
}
