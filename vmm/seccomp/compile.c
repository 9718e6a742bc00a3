/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compile.c - a program of the build: the rules that marks.py found, through
 * libseccomp, to arrays of C (vmm/jail_filters.h).
 *
 * --list prints the rules with their numbers, for tests.
 *
 * With --sanitizer what is not allowed fails with EPERM instead of ending the
 * process, and memory calls are allowed: the run-time libraries of sanitizers need
 * them at any time, and their reports anything. Such a build is no jail.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "vmm/jail_filters.h"

#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif

/* Newer than Debian 12's headers. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

/* The rules' types are those of the kernel's arguments. */
struct rule {
	enum jail_class c;
	uint32_t action;
	int nr;
	unsigned n;
	struct scmp_arg_cmp arg[6];
	const char *name, *how;
};

#define RULE(c, action, how, name, n, ...) \
	{ JAIL_CLASS_##c, action, SCMP_SYS(name), n, { __VA_ARGS__ }, #name, how },
#define RING(c, op)
static const struct rule rules[] = {
#include <jail_rules.h>
};
#undef RULE
#undef RING

#define RULE(c, action, how, name, n, ...)
#define RING(c, op) { JAIL_CLASS_##c, op },
static const struct { enum jail_class c; uint8_t op; } ring[] = {
#include <jail_rules.h>
};

static const char *const classes[] = {
#define NAME(name, word) [JAIL_CLASS_##name] = word,
	JAIL_CLASSES(NAME)
};

static const int sanitizer_calls[] = {
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise),
	SCMP_SYS(brk), SCMP_SYS(write), SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(getpid),
	SCMP_SYS(gettid), SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(clock_gettime),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(tgkill), SCMP_SYS(prctl),
};

static void fail(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "compile: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static void add(scmp_filter_ctx f, const struct rule *r)
{
	int rc = seccomp_rule_add_array(f, r->action, r->nr, r->n, r->arg);

	/* The same call with other conditions, already allowed without any. */
	if (rc != -EEXIST)
		fail(rc, r->name);
}

/* libseccomp writes what the kernel takes; here it becomes C. */
static unsigned print_code(scmp_filter_ctx f, const char *name)
{
	struct sock_filter code;
	FILE *tmp = tmpfile();
	unsigned n = 0;

	if (!tmp)
		fail(-errno, "tmpfile");
	fail(seccomp_export_bpf(f, fileno(tmp)), "seccomp_export_bpf");
	rewind(tmp);
	printf("static const struct sock_filter %s_code[] = {\n", name);
	for (; fread(&code, sizeof(code), 1, tmp) == 1; n++)
		printf("\t{ 0x%04x, %u, %u, 0x%08x },\n", code.code, code.jt, code.jf, code.k);
	printf("};\n");
	fclose(tmp);
	return n;
}

static unsigned print_class(enum jail_class c, bool sanitizer)
{
	scmp_filter_ctx f;
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		n += rules[i].c == c;
	if (!n)
		return 0;
	f = seccomp_init(sanitizer ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
	if (!f)
		fail(-ENOMEM, "seccomp_init");
	fail(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "BADARCH");
	for (size_t i = 0; sanitizer && i < ARRAY_LEN(sanitizer_calls); i++)
		fail(seccomp_rule_add(f, SCMP_ACT_ALLOW, sanitizer_calls[i], 0), "sanitizer");
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i].c == c && (!sanitizer || rules[i].action == SCMP_ACT_ALLOW))
			add(f, &rules[i]);
	/* A thread that makes one call all the time should not wait for the others' tests. */
	if (c == JAIL_CLASS_VCPU)
		fail(seccomp_syscall_priority(f, SCMP_SYS(ioctl), 255), "priority");
	n = print_code(f, classes[c]);
	seccomp_release(f);
	return n;
}

/* CLASS NUMBER VALUE NAME HOW, with the value of the first condition, or 0. */
static int list(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		printf("%s %d %llu %s %s\n", classes[rules[i].c], rules[i].nr,
		       rules[i].n ? (unsigned long long)rules[i].arg[0].datum_a : 0ull,
		       rules[i].name, rules[i].how);
	return 0;
}

int main(int argc, char **argv)
{
	bool sanitizer = argc > 1 && !strcmp(argv[1], "--sanitizer");
	unsigned len[JAIL_NCLASSES];

	if (argc > 1 && !strcmp(argv[1], "--list"))
		return list();
	printf("/* Made by vmm/seccomp/compile.c. */\n#include \"vmm/jail_filters.h\"\n");
	for (unsigned c = 0; c < JAIL_NCLASSES; c++) {
		len[c] = print_class((enum jail_class)c, sanitizer);
		printf("static const uint8_t %s_ring[] = {", classes[c]);
		for (size_t i = 0; i < ARRAY_LEN(ring); i++)
			if (ring[i].c == c)
				printf(" %u,", ring[i].op);
		printf(" 0 };\n");
	}
	printf("const struct jail_filter jail_filters[JAIL_NCLASSES] = {\n");
	for (unsigned c = 0; c < JAIL_NCLASSES; c++)
		printf("\t{ %s%s, %u, %s_ring, sizeof(%s_ring) - 1 },\n",
		       len[c] ? classes[c] : "NULL", len[c] ? "_code" : "", len[c], classes[c],
		       classes[c]);
	printf("};\n");
	return fflush(stdout) ? 1 : 0;
}
