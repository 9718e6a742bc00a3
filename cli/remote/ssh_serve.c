/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh_serve.c - what the ProxyCommand of a sandbox is: put its host key and the one public
 * key that may come in where an sshd finds them, then run that sshd on our stdin and stdout.
 *
 * All of it lies in /run, which is memory of the guest's own, is written anew for each
 * connection (the sandbox may be a copy of another one, whose keys would be there), and
 * names no password. The image's own configuration of sshd plays no part.
 */
#include <sys/mman.h>
#include "cli/cli.h"
#include "cli/remote/remote.h"
#include "cli/verb/attached.h"

#define DIR		"/run/sandbox-ssh"
#define SHORT_MS	60000

int ssh_find(const struct store_box *b, const struct store_state *s, char path[static 64],
	     struct err *e)
{
	static const char *const known[] = { "/usr/sbin/sshd", "/usr/bin/sshd",
					     "/usr/local/sbin/sshd", "/sbin/sshd" };
	struct client *c = box_client(s, e);
	struct client_err ce = { 0 };
	struct client_stat st;
	int rc = c ? -ENOENT : e->code;

	for (size_t i = 0; c && rc == -ENOENT && i < ARRAY_LEN(known); i++) {
		rc = client_stat(c, known[i], 0, &st, SHORT_MS, &ce);
		if (!rc)
			snprintf(path, 64, "%s", known[i]);
	}
	client_close(c);
	if (c && rc == -ENOENT)
		return err_say(e, rc, "the image of sandbox '%s' has no sshd; put one into it "
			       "(Debian's openssh-server), or use 'sandbox shell %s'", b->name,
			       b->name);
	return rc && c ? err_say(e, rc, "look for sshd: %.150s", ce.msg) : rc;
}

/* ---- its files ------------------------------------------------------------- */

static int put(struct client *c, const char *path, uint32_t mode, const char *text, struct err *e)
{
	auto_fd fd = memfd_create("ssh", MFD_CLOEXEC);
	size_t len = strlen(text);
	struct client_err ce = { 0 };
	int rc;

	if (fd < 0 || write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
		return err_set(e, -errno, "memfd");
	rc = client_put(c, fd, path, mode, 0, SHORT_MS, &ce);
	return rc ? err_say(e, rc, "write %s in the guest: %.150s", path, ce.msg) : 0;
}

/* In double quotes, as sshd_config(5) has them. */
static void quoted(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		putc(*s, f);
	}
	putc('"', f);
}

/* What a sandbox gives its commands, a login gets as well; only one line of SetEnv counts. */
static char *sshd_config(const struct env *env)
{
	char *text = NULL;
	bool first = true;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs("HostKey " DIR "/host_key\nAuthorizedKeysFile " DIR "/authorized_keys\n"
	      "AuthenticationMethods publickey\nPasswordAuthentication no\n"
	      "PermitRootLogin prohibit-password\nStrictModes no\nUseDNS no\nPidFile none\n"
	      "LogLevel ERROR\nLoginGraceTime 0\nPrintMotd no\nAcceptEnv LANG LC_* COLORTERM\n"
	      "Subsystem sftp internal-sftp\n", f);
	for (size_t i = 0; i < env->n; i++) {
		if (strchr(env->v[i], '\n'))
			continue;
		fputs(first ? "SetEnv " : " ", f);
		quoted(f, env->v[i]);
		first = false;
	}
	putc('\n', f);
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

static int put_all(struct attached *a, const struct env *env, struct err *e)
{
	struct ssh_keys k = SSH_KEYS_NONE;
	int rc = ssh_keys_open(&k, &a->box, e);
	auto_mem char *host = rc ? NULL : ssh_keys_read(&k, "host_key", e);
	auto_mem char *user = host ? ssh_keys_read(&k, "user_key.pub", e) : NULL;
	auto_mem char *conf = sshd_config(env);
	struct client *c = user ? box_client(&a->state, e) : NULL;
	struct client_err ce = { 0 };

	ssh_keys_close(&k);
	if (!c)
		return e->code;
	rc = conf ? 0 : err_set(e, -ENOMEM, "configuration of sshd");
	/* The first is Debian's place for a process of sshd's without rights. */
	if (!rc && (client_mkdir(c, "/run/sshd", 0755, PROTO_FILE_PARENTS, SHORT_MS, &ce) ||
		    client_mkdir(c, DIR, 0755, PROTO_FILE_PARENTS, SHORT_MS, &ce)))
		rc = err_say(e, -ce.code, "make folders in the guest: %.150s", ce.msg);
	if (!rc)
		rc = put(c, DIR "/host_key", 0600, host, e);
	if (!rc)
		rc = put(c, DIR "/authorized_keys", 0644, user, e);
	if (!rc)
		rc = put(c, DIR "/config", 0644, conf, e);
	client_close(c);
	return rc;
}

/* ---- the verb -------------------------------------------------------------- */

static int serve(struct attached *a, struct run_conf *c, const char *name, char sshd[static 64])
{
	struct err *e = &a->x.e;

	c->user = strdup("0");
	c->workdir = "/";
	c->interactive = true;
	if (!c->user || attached_open(a, name, c, e) || ssh_find(&a->box, &a->state, sshd, e) ||
	    put_all(a, &c->env, e))
		return CLI_SANDBOX;
	/* sshd itself needs none of it, and a secret is for the processes of exec alone. */
	env_free(&c->env);
	env_free(&c->secrets);
	return attached_run(a, "ssh", c);
}

int ssh_serve_main(int argc, char **argv)
{
	static char dash_i[] = "-i", dash_e[] = "-e", dash_f[] = "-f", conf[] = DIR "/config";
	struct attached a = ATTACHED_NONE;
	struct run_conf c;
	char sshd[64] = "";
	char *words[] = { sshd, dash_i, dash_e, dash_f, conf, NULL };
	int status = CLI_SANDBOX;

	run_conf_init(&c);
	c.argv = words;
	a.x.conf = &c;
	if (argc == 2)
		status = serve(&a, &c, argv[1], sshd);
	if (*a.x.e.msg)
		cli_say("ssh: %s", a.x.e.msg);
	attached_close(&a);
	run_conf_free(&c);
	return status;
}
