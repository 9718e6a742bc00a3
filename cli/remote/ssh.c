/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh.c - `sandbox ssh` and `sandbox ssh-config`: ssh(1) of this host with what it has to
 * know of a sandbox.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/cli.h"
#include "cli/keeper/keeper.h"
#include "cli/remote/include.h"
#include "cli/remote/remote.h"
#include "cli/store/event.h"
#include "cli/verb/named.h"

#define PASSED_MAX	32u	/* flags for ssh(1) */

struct ssh {
	const char *user;
	bool path, install, yes, dry_run;
	const char *passed[PASSED_MAX + 8];
	size_t n_passed;
};

static int pass(struct ssh *s, const char *flag, const char *value, struct err *e)
{
	if (s->n_passed + 2 > PASSED_MAX)
		return err_say(e, -E2BIG, "there are too many flags for ssh");
	s->passed[s->n_passed++] = flag;
	if (value)
		s->passed[s->n_passed++] = value;
	return 0;
}

static int opt_user(void *into, const char *value, struct err *e)
{
	((struct ssh *)into)->user = value;
	return ssh_user_check(value, e);
}

static int opt_tty(void *into, const char *value, struct err *e)
{
	return pass(into, "-t", value, e);
}

static int opt_forward(void *into, const char *value, struct err *e)
{
	return pass(into, "-L", value, e);
}

static int opt_option(void *into, const char *value, struct err *e)
{
	return pass(into, "-o", value, e);
}

/* ---- ssh -------------------------------------------------------------------- */

/* Replaces this program. */
static int become(struct ssh *s, const struct ssh_keys *k, const char *name, char **words,
		  struct err *e)
{
	char config[PLACES_MAX + 16], host[STORE_NAME_MAX + 16];
	size_t n = 0;
	const char **argv;

	while (words[n])
		n++;
	argv = calloc(n + PASSED_MAX + 8, sizeof(*argv));
	if (!argv)
		return err_set(e, -ENOMEM, "ssh");
	snprintf(config, sizeof(config), "%s/config", k->path.path);
	snprintf(host, sizeof(host), "%s" SSH_DOMAIN, name);
	n = 0;
	argv[n++] = "ssh";
	argv[n++] = "-F";
	argv[n++] = config;
	for (size_t i = 0; i < s->n_passed; i++)
		argv[n++] = s->passed[i];
	argv[n++] = host;
	argv[n] = "--";
	n += *words != NULL;
	while (*words)
		argv[n++] = *words++;
	argv[n] = NULL;
	execvp("ssh", (union { const char **c; char *const *v; }){ .c = argv }.v);
	free(argv);
	if (errno == ENOENT)
		return err_say(e, -ENOENT, "there is no ssh on this host; install it (apt-get "
			       "install openssh-client), or use 'sandbox shell %s'", name);
	return err_set(e, -errno, "run ssh");
}

/* The stanza keeps who logs in as a rule; a --user here is about this time. */
static int enter(struct ssh *s, char **argv, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct ssh_keys k = SSH_KEYS_NONE;
	struct store_state state;
	char user[SSH_USER_MAX], sshd[64];
	auto_mem char *text = NULL;
	int rc = box_running(&b, &state, argv[0], e);

	if (!rc)
		rc = s->user ? pass(s, "-l", s->user, e) : ssh_user(&b, NULL, user, e);
	if (!rc && s->user && ssh_user(&b, NULL, user, e))
		snprintf(user, sizeof(user), "root");
	if (!rc)
		rc = ssh_find(&b, &state, sshd, e);
	if (!rc)
		rc = ssh_keys_open(&k, &b, e);
	if (!rc) {
		text = ssh_keys_config(&k, &b, user, e);
		rc = text ? 0 : e->code;
	}
	if (!rc) {
		event_write(&b, "ssh", json_pack("{s:s}", "user", s->user ? s->user : user));
		rc = become(s, &k, b.name, argv + 1 + (argv[1] && !strcmp(argv[1], "--")), e);
	}
	ssh_keys_close(&k);
	store_close(&b);
	return rc;
}

static int ssh_main(const struct verb *v, int argc, char **argv)
{
	struct ssh s = { 0 };
	struct opt_end end;
	struct err e = { 0 };
	int status = cli_begin(v, argc, argv, &s, &end);

	if (status >= 0)
		return status;
	if (end.words == argc) {
		cli_say("ssh: the name of a sandbox is missing; see 'sandbox ssh --help'");
		return CLI_USAGE;
	}
	(void)enter(&s, argv + end.words, &e);
	return named_failed(v, &e);
}

static const struct opt ssh_table[] = {
	OPT("user", 'u', "USER", "log in as that user (default: the sandbox's, or root)", opt_user),
	OPT("tty", 't', NULL, "a terminal also for a command", opt_tty),
	OPT("forward", 'L', "PORT:HOST:PORT",
	    "a port of this host leads to one that the guest reaches", opt_forward),
	OPT("option", 'o', "KEY=VALUE", "an option of ssh, as of its own -o", opt_option),
	{ 0 },
};

const struct verb verb_ssh = {
	.name = "ssh", .args = "NAME [--] [CMD [ARG...]]",
	.summary = "Log in to a sandbox that runs, by the sshd of its image, with keys of its own and\n"
		   "no network. The words of a command are joined for the guest's shell, as ssh does",
	.example = "  sandbox ssh web\n  sandbox ssh web -- 'cd /srv && ls'\n"
		   "  sandbox ssh -L 8080:localhost:80 web\n",
	.table = ssh_table, .main = ssh_main, .names = true, .command = true,
};

/* ---- ssh-config -------------------------------------------------------------- */

static int print(const struct ssh *s, const char *name, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct ssh_keys k = SSH_KEYS_NONE;
	auto_mem char *text = NULL;
	char user[SSH_USER_MAX];
	int rc = store_open(&b, name, e);

	if (!rc)
		rc = ssh_user(&b, s->user, user, e);
	if (!rc)
		rc = ssh_keys_open(&k, &b, e);
	if (!rc) {
		text = ssh_keys_config(&k, &b, user, e);
		rc = text ? 0 : e->code;
	}
	if (!rc && s->path)
		printf("%s/config\n", k.path.path);
	else if (!rc && !s->install)
		fputs(text, stdout);
	ssh_keys_close(&k);
	store_close(&b);
	return rc;
}

static int install(const struct verb *v, const struct ssh *s, struct err *e)
{
	struct include in;
	int rc = include_look(&in, e);

	if (rc || in.there) {
		if (!rc)
			printf("%s has the line already\n", in.file.path);
		return rc;
	}
	if (s->dry_run) {
		printf("would put at the top of %s:\n%s", in.file.path, in.line);
		return 0;
	}
	if (!cli_confirm(v, s->yes, "put a line at the top of %s that lets ssh know every sandbox",
			   in.file.path))
		return -EPERM;
	return include_add(&in, e);
}

static int config_main(const struct verb *v, int argc, char **argv)
{
	struct ssh s = { 0 };
	struct err e = { 0 };
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n = 0, rc, status = words ? cli_begin_words(v, argc, argv, &s, words, &n) : CLI_FAILED;

	if (status >= 0)
		return status;
	if (n > 1 || (!n && !s.install)) {
		cli_say("ssh-config: name one sandbox; see 'sandbox ssh-config --help'");
		return CLI_USAGE;
	}
	rc = n ? print(&s, words[0], &e) : 0;
	if (!rc && s.install)
		rc = install(v, &s, &e);
	if (rc && *e.msg)
		return named_failed(v, &e);
	return rc ? CLI_USAGE : fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static const struct opt config_table[] = {
	OPT("user", 'u', "USER", "log in as that user (default: the sandbox's, or root)", opt_user),
	OPT_FLAG("path", 0, "print the path of a file with it, for ssh -F", struct ssh, path),
	OPT_FLAG("install", 0, "put a line into ~/.ssh/config by which ssh knows every sandbox",
		 struct ssh, install),
	OPT_FLAG("yes", 'y', "do not ask", struct ssh, yes),
	OPT_FLAG("dry-run", 0, "say what --install would do, and do nothing", struct ssh, dry_run),
	{ 0 },
};

const struct verb verb_ssh_config = {
	.name = "ssh-config", .args = "[NAME]",
	.summary = "Print what ssh, scp, sftp and editors need to reach a sandbox as NAME.sandbox: its keys,\n"
		   "and the way there over the sandbox's own channel",
	.example = "  sandbox ssh-config web >>~/.ssh/config\n"
		   "  scp -F $(sandbox ssh-config --path web) file web.sandbox:/tmp\n"
		   "  sandbox ssh-config --install && ssh web.sandbox\n",
	.table = config_table, .main = config_main, .names = true,
};
