/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.c - `sandbox exec ls|attach|wait|signal|kill`: what runs in a sandbox, whoever
 * started it. All of it is asked of the agent; nothing about it is kept on the host.
 */
#include <signal.h>
#include "cli/base/parse.h"
#include "cli/store/event.h"
#include "cli/verb/attached.h"
#include "cli/verb/jobs.h"

#define JOBS_MAX	1024u	/* that a guest can make us list; its agent has fewer */
#define ASK_MS		30000

struct jobs {
	struct run_conf conf;	/* first: rows of run are given the same pointer */
	bool json, all, fresh, take;
	const char *signal;
	struct store_box box;
	struct store_state state;
	struct client *client;
	struct proto_job *list;
	size_t n;
	struct err e;
};

/* ---- flags ---------------------------------------------------------------- */

static const struct opt ls_own[] = {
	OPT_FLAG("all", 'a', "also detached commands that have ended", struct jobs, all),
	OPT_FLAG("json", 0, "print JSON", struct jobs, json),
	{ 0 },
};
static const struct opt attach_own[] = {
	OPT_FLAG("new", 0, "only what nobody has seen yet, not all that is kept", struct jobs,
		 fresh),
	OPT_FLAG("take", 0, "take it from another command that is attached to it", struct jobs,
		 take),
	{ 0 },
};
static const struct opt signal_own[] = {
	OPT_TEXT("signal", 's', "SIGNAL", "name or number (default TERM)",
		 "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP", struct jobs, signal),
	{ 0 },
};

static struct opt attach_table[NAMED_ROWS_MAX], wait_table[NAMED_ROWS_MAX];

__attribute__((constructor)) static void make_tables(void)
{
	named_rows(attach_table, "interactive detach-keys json-status-fd", attach_own);
	named_rows(wait_table, "timeout json json-status-fd", NULL);
}

/* ---- the list ------------------------------------------------------------- */

static void take(const struct proto_job *j, void *arg)
{
	struct jobs *k = arg;

	if (k->n < JOBS_MAX)
		k->list[k->n++] = *j;	/* but for j->command, which is its text */
}

static int by_id(const void *a, const void *b)
{
	const struct proto_job *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int connect_to(struct jobs *k)
{
	client_close(k->client);
	k->client = box_client(&k->state, &k->e);
	return k->client ? 0 : k->e.code;
}

static int agent_said(struct jobs *k, int rc, const struct client_err *ce)
{
	return rc < 0 ? err_say(&k->e, rc, "%.250s", ce->msg) : 0;
}

static int load(struct jobs *k, const char *name)
{
	struct client_err ce = { 0 };
	int rc = box_running(&k->box, &k->state, name, &k->e);

	k->list = calloc(JOBS_MAX, sizeof(*k->list));
	if (!rc)
		rc = k->list ? connect_to(k) : err_set(&k->e, -ENOMEM, "list");
	if (!rc)
		rc = agent_said(k, client_jobs(k->client, take, k, ASK_MS, &ce), &ce);
	if (!rc)
		qsort(k->list, k->n, sizeof(*k->list), by_id);
	return rc;
}

static const char *state_of(const struct proto_job *j, char buf[static 32])
{
	if (j->flags & PROTO_JOB_RUNNING)
		return j->flags & PROTO_JOB_ATTACHED ? "attached" : "running";
	if (j->res.signal)
		snprintf(buf, 32, "signal %d", j->res.signal);
	else
		snprintf(buf, 32, "exit %d", j->res.code);
	return j->flags & PROTO_JOB_BACKGROUND ? "background" : buf;
}

static json_t *json_of(const struct proto_job *j)
{
	bool runs = j->flags & PROTO_JOB_RUNNING;
	json_t *command = json_string(j->text);

	return json_pack("{s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:b, s:b, s:I, s:I, s:I, s:o}",
		"id", (json_int_t)j->id, "pid", (json_int_t)j->pid, "running", (int)runs,
		"background", (int)!!(j->flags & PROTO_JOB_BACKGROUND),
		"detached", (int)!!(j->flags & PROTO_JOB_KEPT),
		"attached", (int)!!(j->flags & PROTO_JOB_ATTACHED),
		"tty", (int)!!(j->flags & PROTO_JOB_TTY),
		"exit_code", runs || j->res.signal ? json_null() : json_integer(j->res.code),
		"signal", j->res.signal ? json_integer(j->res.signal) : json_null(),
		"timed_out", (int)!!(j->res.result & PROTO_R_TIMED_OUT),
		"truncated",
		(int)!!(j->res.result & (PROTO_R_TRUNC_STDOUT | PROTO_R_TRUNC_STDERR)),
		"ms", (json_int_t)(j->res.wall_ns / 1000000),
		"stdout_bytes", (json_int_t)j->res.out_bytes,
		"stderr_bytes", (json_int_t)j->res.err_bytes,
		"command", command ? command : json_null());
}

static int print_list(const struct jobs *k)
{
	json_t *array = k->json ? json_array() : NULL;
	char buf[32];

	if (!k->json)
		printf("%-6s%-12s%-10s%-9s%s\n", "ID", "STATE", "TIME", "OUTPUT", "COMMAND");
	for (size_t i = 0; i < k->n; i++) {
		const struct proto_job *j = &k->list[i];
		bool alive = j->flags & (PROTO_JOB_RUNNING | PROTO_JOB_BACKGROUND);
		char size[32];

		if (!alive && !k->all)
			continue;
		if (k->json)
			json_array_append_new(array, json_of(j));
		else
			printf("%-6llu%-12s%-10.1f%-9s%s\n", (unsigned long long)j->id,
			       state_of(j, buf), (double)j->res.wall_ns / 1e9,
			       parse_size_text(j->res.out_bytes + j->res.err_bytes, size),
			       j->text);
	}
	if (k->json)
		return named_print_json(array);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* ---- which one ------------------------------------------------------------- */

/*
 * The execution that a person means: by its number, or the only one that can be meant, a
 * detached one that runs. NULL with a sentence.
 */
static const struct proto_job *choose(struct jobs *k, const char *word)
{
	const struct proto_job *found = NULL;
	unsigned n = 0;
	uint64_t id;

	if (word && parse_number(word, 1, UINT64_MAX, &id, &k->e))
		return NULL;
	for (size_t i = 0; i < k->n; i++) {
		const struct proto_job *j = &k->list[i];

		if (word ? j->id == id :
			   (j->flags & PROTO_JOB_KEPT) && (j->flags & PROTO_JOB_RUNNING)) {
			found = j;
			n++;
		}
	}
	if (n == 1)
		return found;
	if (word)
		err_say(&k->e, -ENOENT, "there is no execution %.20s in sandbox '%s'; see 'sandbox "
			"exec ls --all %s'", word, k->box.name, k->box.name);
	else if (!n)
		err_say(&k->e, -ENOENT, "no detached command runs in sandbox '%s'; see 'sandbox "
			"exec ls --all %s'", k->box.name, k->box.name);
	else
		err_say(&k->e, -EINVAL, "%u detached commands run in sandbox '%s'; say which, by its "
			"ID of 'sandbox exec ls %s'", n, k->box.name, k->box.name);
	return NULL;
}

/* ---- attach, wait ---------------------------------------------------------- */

static int follow(struct jobs *k, const struct proto_job *j)
{
	bool tty = j->flags & PROTO_JOB_TTY;
	struct attached a = ATTACHED_NONE;
	int status = CLI_SANDBOX;

	a.x.conf = &k->conf;
	if (tty && !isatty(STDIN_FILENO) && k->conf.interactive) {
		err_say(&a.x.e, -ENOTTY, "execution %llu has a terminal, and stdin is none; leave -i "
			"out to see its output only", (unsigned long long)j->id);
	} else if (!attached_open(&a, k->box.name, &k->conf, &a.x.e)) {
		k->conf.tty = tty && isatty(STDIN_FILENO);
		a.x.follow = j->id;
		a.x.feed = k->conf.tty || (k->conf.interactive && (j->flags & PROTO_JOB_STDIN));
		/* What a screen showed before is no use on another one, and may ask it things. */
		a.x.follow_flags = (k->fresh || tty ? 0 : PROTO_ATTACH_REPLAY) |
				   (k->take ? PROTO_ATTACH_TAKE : 0);
		status = attached_run(&a, "exec attach", &k->conf);
		if (a.x.dropped)
			cli_say("the first %llu bytes of its output are not kept any more",
				(unsigned long long)a.x.dropped);
	}
	execution_remark(&a.x);
	status = execution_report(&a.x, status);
	attached_close(&a);
	return status;
}

static int await(struct jobs *k, const struct proto_job *j)
{
	struct attached a = ATTACHED_NONE;
	int status = CLI_SANDBOX;

	a.x.conf = &k->conf;
	a.x.follow = j->id;
	a.x.wait = true;
	k->conf.limit_output = false;
	if (!attached_open(&a, k->box.name, &k->conf, &a.x.e))
		status = attached_run(&a, "exec wait", &k->conf);
	execution_remark(&a.x);
	status = execution_report(&a.x, status);
	attached_close(&a);
	return status;
}

/* ---- signals --------------------------------------------------------------- */

static int signal_number(const char *s, int *signo, struct err *e)
{
	uint64_t n;

	if (*s >= '0' && *s <= '9') {
		int rc = parse_number(s, 1, 64, &n, e);

		*signo = (int)n;
		return rc;
	}
	if (!strncasecmp(s, "SIG", 3))
		s += 3;
	for (*signo = 1; *signo < 32; ++*signo)
		if (sigabbrev_np(*signo) && !strcasecmp(s, sigabbrev_np(*signo)))
			return 0;
	return err_say(e, -EINVAL, "'%.40s' is no signal; give a name such as TERM, or a number "
		       "from 1 to 64", s);
}

static int send_one(struct jobs *k, const struct proto_job *j, int signo, bool tree)
{
	struct client_err ce = { 0 };
	int rc = client_job_signal(k->client, j->id, signo,
				   tree ? PROTO_SCOPE_TREE : PROTO_SCOPE_GROUP, ASK_MS, &ce);

	if (!rc)
		event_write(&k->box, "exec-signal", json_pack("{s:I, s:i, s:i}", "id",
			    (json_int_t)j->id, "signal", signo, "by", (int)getpid()));
	return agent_said(k, rc, &ce);
}

static int send_all(struct jobs *k, char **ids, int signo, bool tree)
{
	int worst = 0;

	for (; *ids; ids++) {
		const struct proto_job *j = choose(k, *ids);
		int rc = j ? send_one(k, j, signo, tree) : k->e.code;

		if (rc) {
			cli_say("exec %s: %s", tree ? "kill" : "signal", k->e.msg);
			worst = rc;
		}
		k->e = (struct err){ 0 };
	}
	return worst ? (int)cli_status_of(worst) : CLI_OK;
}

/* ---- all of it -------------------------------------------------------------- */

static int act(const struct verb *v, struct jobs *k, char **words)
{
	const char *what = v->name + strlen("exec ");
	const struct proto_job *j;
	int signo = SIGKILL;

	if (!strcmp(what, "ls"))
		return print_list(k);
	if (!strcmp(what, "signal") || !strcmp(what, "kill")) {
		if (k->signal && signal_number(k->signal, &signo, &k->e))
			return named_failed(v, &k->e);
		if (!k->signal && !strcmp(what, "signal"))
			signo = SIGTERM;
		return send_all(k, words + 1, signo, !strcmp(what, "kill"));
	}
	j = choose(k, words[1]);
	if (!j) {
		cli_say("%s: %s", v->name, k->e.msg);
		return CLI_SANDBOX;
	}
	return !strcmp(what, "attach") ? follow(k, j) : await(k, j);
}

/* `exec attach` and `exec wait` end as the command does: what fails of themselves is 125. */
static int failed(const struct verb *v, const struct err *e)
{
	int status = named_failed(v, e);

	return v->command ? CLI_SANDBOX : status;
}

static int jobs_run(const struct verb *v, int argc, char **argv)
{
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct jobs k = { .box = STORE_BOX_NONE };
	bool many = !strcmp(v->name, "exec signal") || !strcmp(v->name, "exec kill");
	int n, status;

	run_conf_init(&k.conf);
	status = words ? cli_begin_words(v, argc, argv, &k, words, &n) : CLI_FAILED;
	if (status < 0 && n < 1 + many) {
		cli_say("%s: the %s is missing; see 'sandbox %s --help'", v->name,
			n ? "ID of a command" : "name of a sandbox", v->name);
		status = CLI_USAGE;
	} else if (status < 0 && !many && n > (strcmp(v->name, "exec ls") ? 2 : 1)) {
		cli_say("%s: '%.100s' is one word too many", v->name, words[n - 1]);
		status = CLI_USAGE;
	}
	if (status == CLI_USAGE && v->command)
		status = CLI_SANDBOX;
	if (status < 0)
		status = load(&k, words[0]) ? failed(v, &k.e) : act(v, &k, words);
	client_close(k.client);
	free(k.list);
	store_close(&k.box);
	run_conf_free(&k.conf);
	return status;
}

static const struct verb verbs[] = {
	{ .name = "exec ls", .args = "NAME", .summary = "List the commands that run in a sandbox",
	  .example = "  sandbox exec ls web\n  sandbox exec ls --all --json web\n",
	  .table = ls_own, .main = jobs_run },
	{ .name = "exec attach", .args = "NAME [ID]",
	  .summary = "Show what a detached command has written, and follow it to its end",
	  .example = "  sandbox exec attach web 7\n  sandbox exec attach --new --take web\n\n"
		     "Ctrl-C ends the showing, not the command; a terminal is left by its keys.\n",
	  .table = attach_table, .main = jobs_run, .command = true },
	{ .name = "exec wait", .args = "NAME [ID]",
	  .summary = "Wait for a command, and exit as it did",
	  .example = "  sandbox exec wait web 7\n  sandbox exec wait --json --timeout 1m web 7\n",
	  .table = wait_table, .main = jobs_run, .command = true },
	{ .name = "exec signal", .args = "NAME ID...",
	  .summary = "Send a signal to commands, as a terminal would",
	  .example = "  sandbox exec signal -s HUP web 7\n", .table = signal_own,
	  .main = jobs_run },
	{ .name = "exec kill", .args = "NAME ID...",
	  .summary = "Kill commands with all that they started",
	  .example = "  sandbox exec kill web 7\n", .main = jobs_run },
};

const struct verb *jobs_verb(const char *word)
{
	for (size_t i = 0; word && i < ARRAY_LEN(verbs); i++)
		if (!strcmp(verbs[i].name + strlen("exec "), word))
			return &verbs[i];
	return NULL;
}
