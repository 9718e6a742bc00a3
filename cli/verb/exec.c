/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - `sandbox exec` and `sandbox shell`.
 */
#include "cli/verb/attached.h"
#include "cli/verb/jobs.h"

#define ROWS "env env-file secret workdir user interactive tty timeout pids-limit max-output " \
	     "json json-status-fd detach detach-keys record"

static struct opt exec_table[NAMED_ROWS_MAX], shell_table[NAMED_ROWS_MAX];

static int opt_session(void *into, const char *value, struct err *e)
{
	((struct named *)into)->session = value;
	return store_name_check(value, e);
}

/*
 * A session is what a shell leaves when it ends: its folder and its exported variables, in
 * a file of the guest's. One word is a line for the shell, several are a command.
 */
static char session_script[] =
	"d=/tmp/.sandbox-session-$(id -u); f=$d/$1; shift\n"
	"mkdir -p -m 700 \"$d\"; [ -O \"$d\" ] || exit 126\n"
	"if [ -f \"$f\" ]; then . \"$f\"; cd \"$PWD\" || exit; fi\n"
	"trap 'rc=$?; export PWD; export -p >\"$f.$$\" && mv \"$f.$$\" \"$f\"; exit $rc' EXIT\n"
	"if [ $# = 1 ]; then eval \"$1\"; else \"$@\"; fi\n";

static const struct opt exec_own[] = {
	OPT("session", 0, "NAME", "keep the shell's folder and variables from one call to the next",
	    opt_session),
	{ 0 },
};

static const struct opt shell_own[] = {
	OPT_FLAG("tmux", 0, "in the guest's tmux: what runs in it stays when the terminal is lost",
		 struct named, tmux),
	{ 0 },
};

__attribute__((constructor)) static void make_tables(void)
{
	named_rows(exec_table, ROWS, exec_own);
	named_rows(shell_table, "env env-file secret workdir user detach-keys record", shell_own);
}

/* Open, run, report. */
static int run_in(const struct verb *v, struct named *n, const char *name, struct attached *a)
{
	struct err *e = &a->x.e;
	int status = CLI_SANDBOX;

	a->x.conf = &n->conf;
	if (!run_conf_check_command(&n->conf, e) && !attached_open(a, name, &n->conf, e)) {
		if (n->session && n->conf.secrets.n)
			err_say(e, -EINVAL, "a session keeps its environment in the guest, where a "
				"secret must not be kept; leave --session or the secret out");
		else
			status = attached_run(a, v->name, &n->conf);
	}
	execution_remark(&a->x);
	if (status == CLI_OK && n->conf.detach)
		return attached_print(a, false);
	return execution_report(&a->x, status);
}

/* Flags end at the sandbox's name: what comes after it is the command's own. */
static int parse(const struct verb *v, int argc, char **argv, struct named *n, int *at)
{
	struct opt_end end;
	struct err e = { 0 };

	*n = (struct named){ 0 };
	run_conf_init(&n->conf);
	if (opt_parse(v->table, v->name, argc, argv, 1, n, &end, &e)) {
		cli_say("%s: %s", v->name, e.msg);
		return CLI_SANDBOX;
	}
	if (end.help) {
		cli_verb_help(v, stdout);
		return fflush(stdout) ? CLI_SANDBOX : CLI_OK;
	}
	if (end.words == argc) {
		cli_say("%s: the name of a sandbox is missing; see 'sandbox %s --help'", v->name,
			v->name);
		return CLI_SANDBOX;
	}
	*at = end.words;
	return -1;
}

/* The command as the session's shell runs it (malloc); NULL: out of memory. */
static char **in_session(const struct named *n, char **cmd)
{
	static char sh[] = "/bin/sh", dash_c[] = "-c", zero[] = "sh";
	size_t count = 0;
	char **argv;

	while (cmd[count])
		count++;
	argv = calloc(count + 6, sizeof(*argv));
	if (!argv)
		return NULL;
	argv[0] = sh;
	argv[1] = dash_c;
	argv[2] = session_script;
	argv[3] = zero;
	argv[4] = strdup(n->session);
	memcpy(argv + 5, cmd, count * sizeof(*cmd));
	return argv;
}

static int exec_main(const struct verb *v, int argc, char **argv)
{
	const struct verb *job = jobs_verb(argv[1]);
	struct attached a = ATTACHED_NONE;
	char **made = NULL;
	struct named n;
	int at = 0, status;

	if (job)
		return job->main(job, argc - 1, argv + 1);
	status = parse(v, argc, argv, &n, &at);

	if (status < 0) {
		char **cmd = argv + at + 1;
		bool dashes = *cmd && !strcmp(*cmd, "--");

		cmd += dashes;
		made = n.session && *cmd ? in_session(&n, cmd) : NULL;
		n.conf.argv = made ? made : cmd;
		if (!*cmd) {
			cli_say("exec: there is no command; give one, as in 'sandbox exec %s -- "
				"uname -a', or use 'sandbox shell %s'", argv[at], argv[at]);
			status = CLI_SANDBOX;
		} else if (!dashes && **cmd == '-') {
			cli_say("exec: '%.64s' comes after the name, where the command begins; put flags "
				"before '%s', or -- before such a command", *cmd, argv[at]);
			status = CLI_SANDBOX;
		} else {
			status = run_in(v, &n, argv[at], &a);
		}
	}
	attached_close(&a);
	named_end(&n);
	if (made)
		free(made[4]);
	free(made);
	return status;
}

const struct verb verb_exec = {
	.name = "exec", .args = "NAME [--] CMD [ARG...], or ls|attach|wait|signal|kill NAME [ID]",
	.summary = "Run a command in a sandbox that runs",
	.example = "  sandbox exec web -- uname -a\n"
		   "  sandbox exec --session s web -- 'cd /tmp && export A=1'\n"
		   "  sandbox exec -t web -- vi /etc/motd\n"
		   "  id=$(sandbox exec -d web -- make test); sandbox exec wait web $id\n"
		   "  sandbox exec ls web; sandbox exec attach web 7; sandbox exec kill web 7\n"
		   "  sandbox exec -u 1000 -w /tmp --timeout 1m web -- sh -c 'echo $PWD'\n",
	.table = exec_table, .main = exec_main, .names = true, .command = true,
};

/*
 * The server of tmux must not be a process of this command, which ends with its terminal: it
 * is started as a command of its own, which leaves it in the background.
 */
static int start_tmux(const struct verb *v, struct named *n, const char *name)
{
	static char sh[] = "/bin/sh", dash_c[] = "-c";
	static char script[] = "command -v tmux >/dev/null || exit 127\n"
			       "tmux has-session -t =sandbox 2>/dev/null || "
			       "exec tmux new-session -d -s sandbox >/dev/null 2>&1 </dev/null";
	char *cmd[] = { sh, dash_c, script, NULL };
	struct attached a = ATTACHED_NONE;
	int status = CLI_SANDBOX;

	n->conf.argv = cmd;
	a.x.conf = &n->conf;
	if (!run_conf_check_command(&n->conf, &a.x.e) &&
	    !attached_open(&a, name, &n->conf, &a.x.e))
		status = attached_run(&a, v->name, &n->conf);
	if (status == 127)
		err_say(&a.x.e, -ENOENT, "there is no tmux in sandbox '%.64s'; install it in its "
			"image, or leave --tmux out", name);
	else if (status && !a.x.e.msg[0])
		err_say(&a.x.e, -EIO, "tmux could not be started in sandbox '%.64s'", name);
	execution_remark(&a.x);
	attached_close(&a);
	return status;
}

static int shell_main(const struct verb *v, int argc, char **argv)
{
	static char sh[] = "/bin/sh", dash_c[] = "-c";
	static char script[] = "[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l";
	static char attach[] = "exec tmux attach-session -t =sandbox";
	char *cmd[] = { sh, dash_c, script, NULL }, *tmux[] = { sh, dash_c, attach, NULL };
	struct attached a = ATTACHED_NONE;
	struct named n;
	int at = 0, status = parse(v, argc, argv, &n, &at);

	if (status < 0 && at + 1 < argc) {
		cli_say("shell: '%.100s' is one word too many; to run a command there is 'sandbox "
			"exec %s -- ...'", argv[at + 1], argv[at]);
		status = CLI_SANDBOX;
	}
	if (status < 0 && n.tmux && !isatty(STDIN_FILENO)) {
		cli_say("shell: --tmux needs a terminal, and stdin is none");
		status = CLI_SANDBOX;
	}
	if (status < 0 && n.tmux && start_tmux(v, &n, argv[at]))
		status = CLI_SANDBOX;
	if (status < 0) {
		n.conf.tty = isatty(STDIN_FILENO);
		n.conf.interactive = true;
		n.conf.argv = n.tmux ? tmux : cmd;
		status = run_in(v, &n, argv[at], &a);
	}
	attached_close(&a);
	named_end(&n);
	return status;
}

const struct verb verb_shell = {
	.name = "shell", .args = "NAME", .summary = "Open a login shell in a sandbox that runs",
	.example = "  sandbox shell web\n  sandbox shell -u 1000 --record web\n"
		   "  sandbox shell --tmux web\n",
	.table = shell_table, .main = shell_main, .names = true,
};
