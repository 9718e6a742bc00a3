/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.c - the monitor's command line: one table holds each option's name, its
 * argument, its help line and its parser.
 */
#include <limits.h>
#include "vmm/conf.h"
#include "vmm/log.h"

#define MEM_ALIGN (2ull << 20)
#define NS_PER_S 1000000000ull

/* What parsing needs besides the result. */
struct parse { struct conf *c; const char *vsock; uint64_t cid; int fs_window, fs_socket; };

static int parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || *s == '+' || *out < min || *out > max)
		return err_say(e, -EINVAL, "'%s' is not a whole number from %llu to %llu", s,
			       (unsigned long long)min, (unsigned long long)max);
	return 0;
}

static int parse_memory(struct parse *p, const char *s, struct err *e)
{
	static const struct { char unit; unsigned shift; } units[] = {
		{ 'b', 0 }, { 'k', 10 }, { 'm', 20 }, { 'g', 30 },
	};
	unsigned shift = 20;
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (end == s || *s == '-' || *s == '+' || errno)
		return err_say(e, -EINVAL, "'%s' is not a size such as 512M or 2G", s);
	if (*end) {
		size_t i;

		for (i = 0; i < ARRAY_LEN(units); i++)
			if ((*end | 0x20) == units[i].unit && !end[1])
				break;
		if (i == ARRAY_LEN(units))
			return err_say(e, -EINVAL, "'%s' is not a size such as 512M or 2G", s);
		shift = units[i].shift;
	}
	if (n > (UINT64_MAX >> 1) >> shift)
		return err_say(e, -EINVAL, "'%s' is more memory than there can be", s);
	n = (n << shift) & ~(MEM_ALIGN - 1);
	if (n < CONF_MEM_MIN || n > 1ull << 40)
		return err_say(e, -EINVAL, "'%s' is not between %lluM and 1024G", s,
			       CONF_MEM_MIN >> 20);
	p->c->mem = n;
	return 0;
}

static int parse_fd(const char *s, int *out, struct err *e)
{
	uint64_t n;
	int rc = parse_number(s, 0, INT_MAX, &n, e);

	if (!rc)
		*out = (int)n;
	return rc;
}

static int parse_kernel(struct parse *p, const char *s, struct err *e)
{
	(void)e;
	p->c->kernel = s;
	return 0;
}

static int parse_initrd(struct parse *p, const char *s, struct err *e)
{
	(void)e;
	p->c->initrd = s;
	return 0;
}

static int parse_restore(struct parse *p, const char *s, struct err *e)
{
	(void)e;
	p->c->restore = s;
	return 0;
}

static int parse_inspect(struct parse *p, const char *s, struct err *e)
{
	(void)e;
	p->c->inspect = s;
	return 0;
}

static int parse_verify(struct parse *p, const char *s, struct err *e)
{
	(void)s;
	(void)e;
	p->c->verify = true;
	return 0;
}

static int parse_append(struct parse *p, const char *s, struct err *e)
{
	(void)e;
	p->c->cmdline = s;
	return 0;
}

static int parse_cpus(struct parse *p, const char *s, struct err *e)
{
	uint64_t n;
	int rc = parse_number(s, 1, CONF_CPUS_MAX, &n, e);

	if (!rc)
		p->c->cpus = (unsigned)n;
	return rc;
}

static int parse_cpu_limit(struct parse *p, const char *s, struct err *e)
{
	uint64_t n;
	int rc = parse_number(s, 1, CONF_CPUS_MAX * 1000u, &n, e);

	if (!rc)
		p->c->cpu_milli = (uint32_t)n;
	return rc;
}

static int parse_vsock(struct parse *p, const char *s, struct err *e)
{
	if (!*s)
		return err_say(e, -EINVAL, "the socket's path is empty");
	p->vsock = s;
	return 0;
}

static int parse_cid(struct parse *p, const char *s, struct err *e)
{
	return parse_number(s, 3, UINT32_MAX - 1, &p->cid, e);
}

static int parse_console(struct parse *p, const char *s, struct err *e)
{
	(void)s;
	(void)e;
	p->c->console = true;
	return 0;
}

static int parse_status_fd(struct parse *p, const char *s, struct err *e)
{
	return parse_fd(s, &p->c->status_fd, e);
}

static int parse_control_fd(struct parse *p, const char *s, struct err *e)
{
	return parse_fd(s, &p->c->control_fd, e);
}

static int parse_parent_fd(struct parse *p, const char *s, struct err *e)
{
	return parse_fd(s, &p->c->parent_fd, e);
}

static int parse_boot_timeout(struct parse *p, const char *s, struct err *e)
{
	uint64_t n;
	int rc = parse_number(s, 0, 86400, &n, e);

	if (!rc)
		p->c->boot_timeout_ns = n * NS_PER_S;
	return rc;
}

/* FD,FD: inherited, and none of the standard ones. */
static int parse_root(struct parse *p, const char *s, struct err *e)
{
	return conf_disk_parse(&p->c->root, s, e);
}

static int parse_disk(struct parse *p, const char *s, struct err *e)
{
	return conf_disk_parse(&p->c->disk, s, e);
}

static int parse_fs(struct parse *p, const char *s, struct err *e)
{
	char first[16], rest[2];

	if (sscanf(s, "%15[0-9],%d%1s", first, &p->fs_socket, rest) != 2 ||
	    parse_fd(first, &p->fs_window, e) || p->fs_window <= STDERR_FILENO ||
	    p->fs_socket <= STDERR_FILENO)
		return err_say(e, -EINVAL, "'%s' is not two descriptors above 2, as in 7,8", s);
	return 0;
}

static int parse_jail(struct parse *p, const char *s, struct err *e)
{
	return jail_mode_parse(s, &p->c->jail) ?
		err_say(e, -EINVAL, "'%s' is not auto, strict or none", s) : 0;
}

static int parse_try_jail(struct parse *p, const char *s, struct err *e)
{
	(void)s;
	(void)e;
	p->c->try_jail = true;
	return 0;
}

static int parse_verbose(struct parse *p, const char *s, struct err *e)
{
	(void)p;
	(void)s;
	(void)e;
	log_level(LOG_LEVEL_DEBUG);
	return 0;
}

static const struct option {
	const char *name, *arg, *help;
	int (*parse)(struct parse *p, const char *s, struct err *e);
} options[] = {
	{ "kernel", "FILE", "bzImage or ELF vmlinux", parse_kernel },
	{ "restore", "DIR", "go on from a snapshot instead of a kernel", parse_restore },
	{ "inspect", "DIR", "describe a snapshot on stdout and end", parse_inspect },
	{ "verify", NULL, "with --inspect: read all of it, and compare checksums", parse_verify },
	{ "initrd", "FILE", "initial RAM file system", parse_initrd },
	{ "append", "TEXT", "added to the kernel's command line", parse_append },
	{ "memory", "SIZE", "guest memory, such as 512M (default 128M)", parse_memory },
	{ "cpus", "N", "virtual CPUs, 1 to 32 (default 1)", parse_cpus },
	{ "cpu-limit", "N", "CPU time of the whole machine, in thousandths of one CPU",
	  parse_cpu_limit },
	{ "vsock", "PATH", "socket device; listen on PATH, connect to PATH_PORT", parse_vsock },
	{ "cid", "N", "the guest's context id (default 3)", parse_cid },
	{ "root", "FILE[,...]", "first disk: a file, a block device or fd:N; then any of ro,\n"
	  "\t\t       direct, bps=N, iops=N (per second), id=TEXT", parse_root },
	{ "disk", "FILE[,...]", "second disk, in the same way", parse_disk },
	{ "fs", "FD,FD", "window and socket of the server of shared folders", parse_fs },
	{ "console", NULL, "copy the guest's console to stderr", parse_console },
	{ "status-fd", "FD", "write life-cycle lines to FD", parse_status_fd },
	{ "control-fd", "FD", "take requests from this SOCK_SEQPACKET socket", parse_control_fd },
	{ "parent-fd", "FD", "end when the process behind this pidfd does", parse_parent_fd },
	{ "boot-timeout", "S", "seconds to a sign of life on the socket; 0: no limit",
	  parse_boot_timeout },
	{ "jail", "KIND", "walls: auto (default; those that this host allows), strict (all), none",
	  parse_jail },
	{ "try-jail", NULL, "put up the walls without a machine, and tell which stand",
	  parse_try_jail },
	{ "verbose", NULL, "say more on stderr", parse_verbose },
	{ "help", NULL, "print this", NULL },
	{ "version", NULL, "print the version", NULL },
};

static void print_help(void)
{
	puts("usage: sandbox-vmm {--kernel FILE | --restore DIR} [OPTION...]\n"
	     "Start a microVM on /dev/kvm and run it to its end.\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];

		printf("  --%-12s %-5s %s\n", o->name, o->arg ? o->arg : "", o->help);
	}
	puts("\nStatus lines: `run NS` (CLOCK_MONOTONIC before the first KVM_RUN) and\n"
	     "`end WORD [TEXT]`: poweroff, reset, panic, hang, stopped or error.\n"
	     "Exit status: 0 poweroff, 10 reset, 11 panic, 12 hang, 13 stopped, 1 error, 2 usage.\n\n"
	     "Example: sandbox-vmm --kernel bzImage --initrd root.cpio --console");
}

static const struct option *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strlen(options[i].name) == len && !memcmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

/* One argument, and its value if it has one. Returns how many words it took, or -errno. */
static int parse_one(struct parse *p, char **argv, const struct option **found, struct err *e)
{
	const char *word = argv[0], *name = word + 2, *eq, *value = NULL;
	const struct option *o;
	int used = 1, rc;

	if (strncmp(word, "--", 2))
		return err_say(e, -EINVAL, "'%s' is not an option; see --help", word);
	eq = strchr(name, '=');
	o = find(name, eq ? (size_t)(eq - name) : strlen(name));
	*found = o;
	if (!o)
		return err_say(e, -EINVAL, "no such option '%s'; see --help", word);
	if (!o->parse)
		return 1;
	if (!o->arg && eq)
		return err_say(e, -EINVAL, "--%s takes no value", o->name);
	if (o->arg) {
		value = eq ? eq + 1 : argv[1];
		used = eq ? 1 : 2;
		if (!value)
			return err_say(e, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name,
				       o->arg);
	}
	rc = o->parse(p, value, e);
	if (rc) {
		err_wrap(e, "--%s", o->name);
		return rc;
	}
	return used;
}

/* Slots in their fixed order; only what is backed, or needs no backing, is there. */
static void fill_slots(struct parse *p)
{
	struct conf_dev *s = p->c->slot;

	if (p->vsock)
		*s++ = (struct conf_dev){ .dev = "vsock", .path = p->vsock, .cid = p->cid };
	*s++ = (struct conf_dev){ .dev = "rng" };
	*s++ = (struct conf_dev){ .dev = "console" };
	*s++ = (struct conf_dev){ .dev = "balloon" };
	*s++ = conf_disk_slot(&p->c->root, "root");
	*s++ = conf_disk_slot(&p->c->disk, "disk");
	*s++ = (struct conf_dev){ .dev = "fs", .fs_window = p->fs_window,
				  .fs_socket = p->fs_socket };
}

int conf_parse(struct conf *c, int argc, char **argv, struct err *e)
{
	struct parse p = { .c = c, .cid = 3 };

	*c = (struct conf){ .mem = 128ull << 20, .cpus = 1, .status_fd = -1, .control_fd = -1,
			    .parent_fd = -1, .cmdline = "" };
	for (int i = 1; i < argc;) {
		const struct option *o = NULL;
		int n = parse_one(&p, argv + i, &o, e);

		if (n < 0 || !o)
			return n;
		if (!o->parse) {
			if (o->name[0] == 'h')
				print_help();
			else
				puts("sandbox-vmm " SANDBOX_VERSION);
			return 1;
		}
		i += n;
	}
	if (c->inspect)
		return 0;
	if (!c->kernel && !c->restore && !c->try_jail)
		return err_say(e, -EINVAL, "--kernel FILE or --restore DIR is missing; see --help");
	if (c->restore && (c->kernel || c->initrd || *c->cmdline))
		return err_say(e, -EINVAL, "--restore brings its own kernel; leave out --kernel, "
			       "--initrd and --append");
	fill_slots(&p);
	return 0;
}

unsigned conf_fds(const struct conf *c, int fd[CONF_FDS_MAX])
{
	unsigned n = 0;

	fd[n++] = c->status_fd;
	fd[n++] = c->control_fd;
	fd[n++] = c->parent_fd;
	for (unsigned i = 0; i < CONF_SLOTS_MAX && c->slot[i].dev; i++) {
		BUG_ON(n + 3 > CONF_FDS_MAX);
		fd[n++] = c->slot[i].fd;
		fd[n++] = c->slot[i].fs_window;
		fd[n++] = c->slot[i].fs_socket;
	}
	return n;
}
