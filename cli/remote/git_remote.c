/* SPDX-License-Identifier: Apache-2.0 */
/*
 * git_remote.c - this program as git-remote-sandbox, which git runs for URLs
 * sandbox::NAME:PATH and sandbox://NAME/PATH: git's own programs in the guest, on our stdin and
 * stdout (gitremote-helpers(7), the capability `connect`).
 *
 * Requests are read a byte at a time: what follows the one that connects is the guest's.
 */
#include <fcntl.h>
#include "cli/cli.h"
#include "cli/remote/remote.h"
#include "cli/verb/attached.h"
#include "cli/verb/cp_path.h"

#define LINE 256u

/* Without its newline. False at the end. */
static bool read_line(char line[static LINE])
{
	size_t n = 0;
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1) {
		if (c == '\n') {
			line[n] = '\0';
			return true;
		}
		if (n + 1 < LINE)
			line[n++] = c;
	}
	return false;
}

static bool answer(const char *text)
{
	size_t len = strlen(text);

	return write(STDOUT_FILENO, text, len) == (ssize_t)len;
}

static int parse(struct cp_path *p, const char *url, struct err *e)
{
	static const char scheme[] = "sandbox://";
	char word[sizeof(p->path)];
	const char *slash;
	int rc;

	if (!strncmp(url, scheme, sizeof(scheme) - 1)) {
		url += sizeof(scheme) - 1;
		slash = strchrnul(url, '/');
		snprintf(word, sizeof(word), "%.*s:%s", (int)(slash - url), url, slash);
	} else {
		snprintf(word, sizeof(word), "%s", url);
	}
	rc = cp_path_parse(p, word, e);
	if (!rc && (!p->guest || !strcmp(p->path, "/")))
		rc = err_say(e, -EINVAL, "'%.100s' names no folder of a sandbox; write it as "
			     "sandbox::NAME:PATH", url);
	return rc;
}

/* The whole life of the connection. */
static int serve(const char *service, const char *url)
{
	char program[32];
	struct attached a = ATTACHED_NONE;
	struct cp_path p;
	struct run_conf c;
	char *argv[] = { program, p.path, NULL };
	int status = CLI_SANDBOX;

	snprintf(program, sizeof(program), "%s", service);
	run_conf_init(&c);
	c.interactive = true;
	c.workdir = "/";
	c.argv = argv;
	a.x.conf = &c;
	if (!parse(&p, url, &a.x.e) && !attached_open(&a, p.box, &c, &a.x.e)) {
		env_free(&c.secrets);
		status = answer("\n") ? attached_run(&a, "git", &c) : CLI_SANDBOX;
	}
	if (status == 127)
		cli_say("git: the image of sandbox '%s' has no git; put it into the image", p.box);
	else if (*a.x.e.msg)
		cli_say("git: %s", a.x.e.msg);
	attached_close(&a);
	run_conf_free(&c);
	return status;
}

int git_remote_main(int argc, char **argv)
{
	static const char connect[] = "connect ";
	static const char *const services[] = { "git-upload-pack", "git-receive-pack",
						"git-upload-archive" };
	char line[LINE];

	if (argc != 3) {
		cli_say(REMOTE_GIT_HELPER " is run by git, for URLs sandbox::NAME:PATH");
		return CLI_USAGE;
	}
	while (read_line(line) && *line) {
		if (!strcmp(line, "capabilities")) {
			if (!answer("connect\n\n"))
				return CLI_FAILED;
			continue;
		}
		for (size_t i = 0; i < ARRAY_LEN(services); i++)
			if (!strncmp(line, connect, sizeof(connect) - 1) &&
			    !strcmp(line + sizeof(connect) - 1, services[i]))
				return serve(services[i], argv[2]);
		cli_say("git: git asked for '%s', which is not known here", line);
		return CLI_FAILED;
	}
	return CLI_OK;
}
