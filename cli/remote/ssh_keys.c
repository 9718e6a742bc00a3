/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ssh_keys.c - both pairs are made in a folder of another name, which then gets its own
 * by rename(2): nobody sees half of them, and of two makers one wins.
 *
 * What ssh(1) reads is written anew each time it is asked for: this program may have moved. The
 * stanza leaves nothing to other stanzas that would let the guest at something of this host's:
 * no agent, no X11, no key but its own, no key of the host's taken without asking.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"
#include "cli/base/tool.h"
#include "cli/remote/ssh_keys.h"

#define FILE_MAX	65536u

static int make_pair(const char *dir, const char *name, const char *of, struct err *e)
{
	char file[PLACES_MAX + 32], comment[STORE_NAME_MAX + 32];
	const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f",
			       file, NULL };
	struct tool t = { .argv = argv, .package = "openssh-client" };

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	snprintf(comment, sizeof(comment), "%s" SSH_DOMAIN, of);
	return tool_run(&t, e);
}

static int make(const struct store_box *b, struct err *e)
{
	char dir[PLACES_MAX + 32];
	int rc = 0;

	snprintf(dir, sizeof(dir), "%s/.ssh-XXXXXX", b->path.path);
	if (!mkdtemp(dir))
		return err_set(e, -errno, "make folder %s", dir);
	rc = make_pair(dir, "host_key", b->name, e);
	if (!rc)
		rc = make_pair(dir, "user_key", b->name, e);
	if (rc > 0)
		rc = -EIO;
	if (!rc && renameat(AT_FDCWD, dir, b->dir, "ssh") && errno != EEXIST &&
	    errno != ENOTEMPTY)
		rc = err_set(e, -errno, "name the folder of keys");
	if (rmtree(b->dir, strrchr(dir, '/') + 1) && !rc)
		rc = err_say(e, -EIO, "%s cannot be removed", dir);
	return rc;
}

static int open_dir(const struct store_box *b)
{
	return openat(b->dir, "ssh", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int ssh_keys_open(struct ssh_keys *k, const struct store_box *b, struct err *e)
{
	int n, rc = 0;

	k->dir = open_dir(b);
	if (k->dir < 0 && errno == ENOENT) {
		rc = make(b, e);
		k->dir = rc ? -1 : open_dir(b);
	}
	if (!rc && k->dir < 0)
		rc = err_set(e, -errno, "open the folder of keys of sandbox '%s'", b->name);
	if (rc)
		return rc;
	n = snprintf(k->path.path, sizeof(k->path.path), "%s/ssh", b->path.path);
	if (n < 0 || (size_t)n >= sizeof(k->path.path))
		return err_say(e, -ENAMETOOLONG, "the path of the keys is too long");
	return 0;
}

char *ssh_keys_read(const struct ssh_keys *k, const char *file, struct err *e)
{
	auto_fd fd = openat(k->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_mem char *text = malloc(FILE_MAX + 1);
	ssize_t n = fd < 0 || !text ? -1 : read(fd, text, FILE_MAX);

	if (n < 0) {
		err_set(e, text ? -errno : -ENOMEM, "%s/%s", k->path.path, file);
		return NULL;
	}
	text[n] = '\0';
	return take_ptr(&text);
}

/* ---- what ssh(1) reads ------------------------------------------------------ */

/* In single quotes for a shell, each % doubled for ssh. */
static void shell_word(FILE *f, const char *s)
{
	putc('\'', f);
	for (; *s; s++)
		if (*s == '\'')
			fputs("'\\''", f);
		else if (*s == '%')
			fputs("%%", f);
		else
			putc(*s, f);
	putc('\'', f);
}

static void path_line(FILE *f, const char *key, const struct place *dir, const char *file)
{
	fprintf(f, "\t%s \"", key);
	for (const char *s = dir->path; *s; s++)
		fputs(*s == '%' ? "%%" : (char[]){ *s, '\0' }, f);
	fprintf(f, "/%s\"\n", file);
}

/* Who is started by an editor's menu does not have the variables of this shell. */
static void proxy_line(FILE *f, const struct place *self, const char *name)
{
	static const char *const kept[] = { "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME" };
	const char *env = "env ";

	fputs("\tProxyCommand ", f);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const char *v = getenv(kept[i]);

		if (!v || *v != '/')
			continue;
		fprintf(f, "%s%s=", env, kept[i]);
		shell_word(f, v);
		putc(' ', f);
		env = "";
	}
	shell_word(f, self->path);
	fprintf(f, " _ssh %s\n", name);
}

static void stanza(FILE *f, const struct ssh_keys *k, const struct place *self, const char *name,
		   const char *user)
{
	fprintf(f, "Host %s" SSH_DOMAIN "\n\tUser %s\n", name, user);
	proxy_line(f, self, name);
	path_line(f, "IdentityFile", &k->path, "user_key");
	path_line(f, "UserKnownHostsFile", &k->path, "known_hosts");
	fputs("\tGlobalKnownHostsFile /dev/null\n\tHostKeyAlias sandbox\n"
	      "\tHostKeyAlgorithms ssh-ed25519\n\tStrictHostKeyChecking yes\n"
	      "\tUpdateHostKeys no\n\tIdentitiesOnly yes\n\tIdentityAgent none\n"
	      "\tPreferredAuthentications publickey\n\tForwardAgent no\n\tForwardX11 no\n"
	      "\tPermitLocalCommand no\n", f);
}

static int check(const struct place *p, struct err *e)
{
	if (strpbrk(p->path, "\"\\$\n"))
		return err_say(e, -EINVAL, "%s has a character in its path that a configuration of "
			       "ssh cannot hold", p->path);
	return 0;
}

static int known_hosts(const struct ssh_keys *k, struct err *e)
{
	auto_mem char *key = ssh_keys_read(k, "host_key.pub", e);
	char line[512];
	int n;

	if (!key)
		return e->code;
	n = snprintf(line, sizeof(line), "sandbox %.*s\n", (int)strcspn(key, "\n"), key);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_say(e, -EBADMSG, "%s/host_key.pub is no key", k->path.path);
	return store_replace(k->dir, "known_hosts", line, (size_t)n, e);
}

char *ssh_keys_config(const struct ssh_keys *k, const struct store_box *b, const char *user,
		      struct err *e)
{
	auto_mem char *text = NULL;
	struct place self;
	size_t len;
	FILE *f;

	if (check(&k->path, e) || places_self(&self, e) || known_hosts(k, e))
		return NULL;
	f = open_memstream(&text, &len);
	if (f)
		stanza(f, k, &self, b->name, user);
	if (!f || fclose(f)) {
		err_set(e, -ENOMEM, "stanza for ssh");
		return NULL;
	}
	return store_replace(k->dir, "config", text, len, e) ? NULL : take_ptr(&text);
}

void ssh_keys_close(struct ssh_keys *k)
{
	if (k->dir >= 0)
		close(k->dir);
	k->dir = -1;
}
