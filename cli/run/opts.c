/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opts.c - the flags of `sandbox run`: one row each, with the function that
 * checks it, and the checks that need more than one of them or a look at the host.
 */
#include <fcntl.h>
#include <limits.h>
#include "cli/base/host.h"
#include "cli/base/parse.h"
#include "cli/machine/snapsum.h"
#include "cli/run/conf.h"
#include "cli/store/snapinfo.h"
#include "cli/base/secret.h"
#include "cli/store/store.h"

static int opt_env(void *into, const char *value, struct err *e)
{
	return env_add(&((struct run_conf *)into)->env, value, e);
}

static int opt_env_file(void *into, const char *value, struct err *e)
{
	return env_add_file(&((struct run_conf *)into)->env_file, value, e);
}

static int opt_volume(void *into, const char *value, struct err *e)
{
	return shares_add(&((struct run_conf *)into)->shares, value, e);
}

static int opt_secret(void *into, const char *value, struct err *e)
{
	return secret_add(&((struct run_conf *)into)->secrets, value, e);
}

static int opt_workdir(void *into, const char *value, struct err *e)
{
	if (*value != '/')
		return err_say(e, -EINVAL, "'%s' is not an absolute path in the guest", value);
	((struct run_conf *)into)->workdir = value;
	return 0;
}

static int opt_user(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;
	const char *colon = strchrnul(value, ':');

	if (colon == value || (*colon && (!colon[1] || strchr(colon + 1, ':'))))
		return err_say(e, -EINVAL, "'%s' is not USER or USER:GROUP", value);
	free(c->user);
	free(c->group);
	c->user = strndup(value, (size_t)(colon - value));
	c->group = *colon ? strdup(colon + 1) : NULL;
	return c->user && (c->group || !*colon) ? 0 : err_set(e, -ENOMEM, "user");
}

static int opt_timeout(void *into, const char *value, struct err *e)
{
	return parse_duration(value, &((struct run_conf *)into)->timeout_ns, e);
}

static int opt_max_output(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;

	c->limit_output = true;
	return parse_size(value, &c->max_output, e);
}

static int opt_network(void *into, const char *value, struct err *e)
{
	(void)into;
	if (!strcmp(value, "none"))
		return 0;
	if (!strcmp(value, "public") || !strcmp(value, "allowlist"))
		return err_say(e, -ENOTSUP, "'%s' is not in this version of sandbox, which has only "
			       "'none'", value);
	return err_say(e, -EINVAL, "'%s' is no kind of network; this version has only 'none'",
		       value);
}

static int opt_status_fd(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;
	uint64_t n;
	int mode, rc = parse_number(value, 2, INT_MAX, &n, e);

	if (rc)
		return rc;
	mode = fcntl((int)n, F_GETFL);
	if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY)
		return err_say(e, -EBADF, "descriptor %llu is not open for writing; open it as in "
			       "%llu>result.json", (unsigned long long)n, (unsigned long long)n);
	c->status_fd = (int)n;
	return 0;
}

static int opt_from(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;

	int rc = snap_find(value, &c->from_at, e);

	if (rc)
		return rc;
	c->from = value;
	if (snap_image(c->from_at.path, c->from_image) && !c->root.ref)
		c->root.ref = c->from_image;
	return 0;
}

static int opt_jail(void *into, const char *value, struct err *e)
{
	if (strcmp(value, "auto") && strcmp(value, "strict") && strcmp(value, "none"))
		return err_say(e, -EINVAL, "'%s' is not auto, strict or none", value);
	((struct run_conf *)into)->jail = value;
	return 0;
}

static int opt_name(void *into, const char *value, struct err *e)
{
	((struct run_conf *)into)->name = value;
	return store_name_new(value, e);
}

static int opt_rm(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;

	(void)value;
	c->rm = true;
	return c->keep ? err_say(e, -EINVAL, "the sandbox cannot be both kept and removed") : 0;
}

static int opt_keep(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;

	(void)value;
	c->keep = true;
	return c->rm ? err_say(e, -EINVAL, "the sandbox cannot be both kept and removed") : 0;
}

static int opt_keys(void *into, const char *value, struct err *e)
{
	struct run_conf *c = into;

	c->own_keys = true;
	return keys_parse(value, &c->keys, e);
}

static int opt_idle(void *into, const char *value, struct err *e)
{
	return parse_duration(value, &((struct run_conf *)into)->idle_ns, e);
}

static int opt_ttl(void *into, const char *value, struct err *e)
{
	return parse_duration(value, &((struct run_conf *)into)->ttl_ns, e);
}

const struct opt run_opts[] = {
	OPT("image", 0, "IMAGE", "root file system; 'IMAGE -- CMD' is the same (sandbox image)",
	    run_opt_image),
	OPT_TEXT("entrypoint", 0, "PROGRAM",
		 "instead of the image's, and of its command; '' for none", NULL, struct run_conf,
		 own_entrypoint),
	OPT("disk", 0, "SIZE", "writes to the root go to a disk of that size, not to memory",
	    run_opt_disk),
	OPT("disk-bps", 0, "SIZE", "bytes per second of the disk, and of the image, at most",
	    run_opt_disk_bps),
	OPT("disk-iops", 0, "N", "requests per second of the disk, and of the image, at most",
	    run_opt_disk_iops),
	OPT_FLAG("disk-direct", 0, "the host keeps no copy of the disk in its memory (O_DIRECT)",
		 struct run_conf, root.direct),
	OPT("tmpfs", 0, "PATH[:size=SIZE]", "mount a file system in memory", run_opt_tmpfs),
	OPT_FLAG("read-only", 0, "the root cannot be written; /tmp and /run can", struct run_conf,
		 root.read_only),
	OPT("env", 'e', "K[=V]", "set a variable; K alone copies the host's value", opt_env),
	OPT("env-file", 0, "FILE", "a file of such lines", opt_env_file),
	OPT("volume", 'v', "SRC[:DST][:ro|rw|cow]",
	    "share a folder; cow: changes stay in the sandbox (-v . at the same path)", opt_volume),
	OPT_FLAG("yes", 'y', "share also what is guarded, such as a home or its .ssh",
		 struct run_conf, yes),
	OPT("workdir", 'w', "DIR",
	    "folder to start in (default: the current one if shared, else /)", opt_workdir),
	OPT("secret", 0, "NAME[=env:V|file:F]", "a variable whose value is kept nowhere else",
	    opt_secret),
	OPT("user", 'u', "USER[:GROUP]", "name or number (default root)", opt_user),
	OPT_FLAG("interactive", 'i', "attach stdin even if it is a terminal", struct run_conf,
		 interactive),
	OPT_FLAG("tty", 't', "give the command a terminal", struct run_conf, tty),
	OPT("timeout", 0, "TIME",
	    "end the command and all it started after 30s, 5m, ...; status 124", opt_timeout),
	OPT("memory", 'm', "SIZE", "memory of the guest, as in 512M or 2g (default 128M)",
	    run_opt_memory),
	OPT("cpus", 0, "N", "CPUs of the guest, up to 32 (default 1); 1.5 limits their time, too",
	    run_opt_cpus),
	OPT("pin", 0, "LIST", "use only these CPUs of the host, as in 2-3", run_opt_pin),
	OPT("pids-limit", 0, "N", "processes that the command can have at most", run_opt_pids),
	OPT("max-output", 0, "BYTES", "keep only the head of stdout and of stderr", opt_max_output),
	OPT_WORDS("network", 0, "none", "the only kind in this version", opt_network, "none"),
	OPT_TEXT("kernel", 0, "FILE", "boot this kernel", NULL, struct run_conf, kernel),
	OPT_TEXT("initrd", 0, "FILE", "with this initial RAM file system", NULL, struct run_conf,
		 initrd),
	OPT_FLAG("json", 0, "print one JSON object: the result, with the output in it",
		 struct run_conf, json),
	OPT("json-status-fd", 0, "N", "write the result, without the output, to descriptor N",
	    opt_status_fd),
	OPT("from", 0, "SNAPSHOT", "go on from SANDBOX/SNAPSHOT, or from a snapshot's folder",
	    opt_from),
	OPT_FLAG("cold", 0, "boot a kernel instead of restoring a template", struct run_conf, cold),
	OPT_FLAG("console", 0, "show the guest's console on stderr", struct run_conf, console),
	OPT_WORDS("jail", 0, "KIND",
		  "walls around the monitor: auto (what the host allows), strict (all), none",
		  opt_jail, "auto strict none"),
	OPT("name", 0, "NAME", "keep the sandbox afterwards, under this name", opt_name),
	OPT("keep", 0, NULL, "keep the sandbox afterwards, also without --name", opt_keep),
	OPT("rm", 0, NULL, "remove the sandbox afterwards, also with --name", opt_rm),
	OPT("idle-timeout", 0, "TIME", "stop a kept sandbox in which no command ran for 30m, ...",
	    opt_idle),
	OPT("ttl", 0, "TIME", "stop a kept sandbox that long after its start", opt_ttl),
	OPT_FLAG("autostart", 0, "start a kept sandbox whenever its user logs in (systemd)",
		 struct run_conf, autostart),
	OPT_FLAG("detach", 'd', "start the command, print the name of where it runs, and return",
		 struct run_conf, detach),
	OPT("detach-keys", 0, "KEYS",
	    "keys that leave a terminal, and the command running (default " KEYS_DEFAULT ")",
	    opt_keys),
	OPT_FLAG("record", 0, "record what the command shows, for 'sandbox record play'",
		 struct run_conf, record),
	/* Of later versions; known, so that they are refused by name. */
	OPT_LATER("allow", 0, "HOST"),
	OPT_LATER("deny", 0, "HOST"),
	OPT_LATER("publish", 'p', "PORTS"),
	{ 0 },
};

void run_conf_init(struct run_conf *c)
{
	*c = (struct run_conf){
		.memory = RUN_MEMORY_DEFAULT, .cpus = 1, .status_fd = -1, .jail = "auto",
		.root = ROOTFS_NONE,
	};
}

void run_conf_free(struct run_conf *c)
{
	env_free(&c->env);
	env_free(&c->env_file);
	shares_free(&c->shares);
	env_free(&c->secrets);
	rootfs_free(&c->root);
	free(c->made_argv);
	c->made_argv = NULL;
	free(c->user);
	free(c->group);
	c->user = c->group = NULL;
}

/* -e wins over a file, wherever it stands; TERM goes along with a terminal. */
static int whole_env(struct run_conf *c, struct err *e)
{
	struct env all = c->env_file;

	c->env_file = (struct env){ 0 };
	for (size_t i = 0; i < c->env.n; i++) {
		int rc = env_add(&all, c->env.v[i], e);

		if (rc) {
			env_free(&all);
			return rc;
		}
	}
	env_free(&c->env);
	c->env = all;
	return c->tty && !env_has(&all, "TERM") ? env_add(&c->env, "TERM", e) : 0;
}

int run_conf_secrets(const struct run_conf *c, struct env *env, struct err *e)
{
	return secret_resolve(&c->secrets, env, e);
}

static int named_file(struct place *p, const char *path, const char *flag, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;

	if (fd < 0)
		return err_set(e, -errno, "%s: open %s", flag, path);
	if (read(fd, &byte, 1) < 0)
		return err_set(e, -errno, "%s: read %s", flag, path);
	if ((size_t)snprintf(p->path, sizeof(p->path), "%s", path) >= sizeof(p->path))
		return err_set(e, -ENAMETOOLONG, "%s", flag);
	return 0;
}

static int check_files(struct run_conf *c, struct err *e)
{
	int rc = places_vmm(&c->vmm_at, e);

	if (!rc)
		rc = c->kernel ? named_file(&c->kernel_at, c->kernel, "--kernel", e) :
				 places_kernel(&c->kernel_at, e);
	if (!rc)
		rc = c->initrd ? named_file(&c->initrd_at, c->initrd, "--initrd", e) :
				 places_initrd(&c->initrd_at, e);
	return rc;
}

int run_conf_check_command(struct run_conf *c, struct err *e)
{
	int rc;

	if (c->detach && c->record)
		return err_say(e, -EINVAL, "--record is of what this command shows, and with -d it "
			       "shows nothing; leave one of them out");
	if (c->detach && c->status_fd >= 0)
		return err_say(e, -EINVAL, "the result of a detached command is not known yet; leave "
			       "out --json-status-fd, and ask 'sandbox exec wait --json' for it");
	if (c->tty && c->json && !c->detach)
		return err_say(e, -EINVAL, "--json keeps the output for its object, so the command "
			       "cannot have a terminal; use --json-status-fd with -t");
	if (c->tty && !c->detach && !isatty(STDIN_FILENO))
		return err_say(e, -ENOTTY, "-t needs a terminal, and stdin is none; leave -t out");
	if (c->json && !c->limit_output && !c->detach) {
		c->limit_output = true;
		c->max_output = RUN_JSON_OUTPUT;
	}
	rc = run_image(c, e);
	return rc ? rc : whole_env(c, e);
}

/* A saved machine is as large as it was. */
static int check_from(struct run_conf *c, struct err *e)
{
	char want[32], have[32];
	struct snap_info i;
	int rc;

	if (!c->from)
		return 0;
	if (c->cold || c->kernel || c->initrd)
		return err_say(e, -EINVAL, "--from goes on from a saved machine, which --cold, "
			       "--kernel and --initrd would not; leave one of them out");
	if (c->root.n_tmpfs || c->root.read_only)
		return err_say(e, -EINVAL, "--from goes on with the root file system that the saved "
			       "machine has; leave out --tmpfs and --read-only");
	if (strcmp(c->from_image, c->root.ref ? c->root.image.id : "") != 0)
		return err_say(e, -EINVAL, "the saved machine has another image as its root; leave "
			       "out --image");
	rc = snap_info(c->vmm_at.path, c->from_at.path, false, &i, e);
	if (!rc)
		rc = snapsum_check(c->from_at.path, false, e);
	if (rc < 0)
		return rc;
	if (c->memory != RUN_MEMORY_DEFAULT && c->memory != i.memory)
		return err_say(e, -EINVAL, "--memory asks for %s, but the saved machine has %s",
			       parse_size_text(c->memory, want), parse_size_text(i.memory, have));
	if (c->cpus != 1 && c->cpus != i.cpus)
		return err_say(e, -EINVAL, "--cpus asks for %u, but the saved machine has %llu",
			       c->cpus, (unsigned long long)i.cpus);
	if (c->root.disk && c->root.disk != i.disk)
		return err_say(e, -EINVAL, "--from goes on with the disk that the saved machine has%s; "
			       "leave out --disk", i.disk ? "" : ", and that has none");
	c->memory = i.memory;
	c->cpus = (unsigned)i.cpus;
	c->root.disk = i.disk;		/* a copy of it */
	return 0;
}

int run_conf_check(struct run_conf *c, struct err *e)
{
	uint64_t have = host_memory();
	char want[32], host[32];
	int rc;

	if (have && c->memory > have)
		return err_say(e, -EINVAL, "the guest's %s are more than this host's %s; ask for "
			       "less with --memory", parse_size_text(c->memory, want),
			       parse_size_text(have, host));
	if (!c->yes && shares_guard(&c->shares, e))
		return err_wrap(e, "-v");
	if (!c->workdir)
		c->workdir = shares_workdir(&c->shares, c->workdir_at, sizeof(c->workdir_at));
	rc = run_conf_check_command(c, e);
	if (!rc)
		rc = check_files(c, e);
	return rc ? rc : check_from(c, e);
}
