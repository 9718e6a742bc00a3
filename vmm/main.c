/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - sandbox-vmm: configuration, then machine, then what the kernel finds
 * in memory, then run.
 *
 * Before the kernel's first instruction vCPU 0 runs a small firmware program
 * that asks CPUID. Where KVM does not filter CPUID (hosts without VT-x or SVM),
 * the guest sees features that its kernel must not use; they are cleared on the
 * kernel's command line. On other hosts the difference is empty.
 *
 * The jail's stages (jail.h) lie between: what has a name on the host is opened
 * first, then names go away, then the kernel's file is parsed, and last, when
 * every thread is there and stands still, the filters close.
 *
 * #syscalls:loop write brk mmap!ENOMEM mremap!ENOMEM munmap!EINVAL
 */
#include <fcntl.h>
#include <malloc.h>
#include <sys/random.h>
#include <time.h>
#include "firmware/cpuid.h"
#include "firmware/firmware.h"
#include "vmm/inspect.h"
#include "vmm/machine.h"
#include "vmm/state_x86.h"
#include "vmm/vm.h"

#define CMDLINE_MAX 2048u

#define NOFILE 1300u		/* two vsock sides with 512 connections each, and the rest */

static struct vm vm;
static struct jail jail;

/* What has a name on the host. */
struct files { int kernel, initrd; struct snapshot snap; };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void status(const struct conf *c, const char *fmt, ...) printf_like(2, 3);
static void status(const struct conf *c, const char *fmt, ...)
{
	char line[400];
	va_list ap;
	int n;

	if (c->status_fd < 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(c->status_fd, line, (size_t)n) != n)
		log_say(LOG_LEVEL_DEBUG, "status line lost: %s", strerror(errno));
}

/* guest/README.md says why of each. */
static const char base_cmdline[] =
	"panic=-1 reboot=k no_timer_check tsc=reliable noreplace-smp "
	"random.trust_bootloader=on rcupdate.rcu_cpu_stall_suppress=1 "
	"page_reporting.page_reporting_order=4";

/*
 * Where the guest's kernel is emulated, a timer tick costs milliseconds, so a busy CPU
 * takes one in 25, and a look at each of thousands of buckets costs as much. Its TSC is the
 * host's there and cannot be set back: by it, all the time that a template has lain
 * there would pass when a clone starts, and every timer in the guest be due; the host's
 * clock for guests goes on from where it was. Only a kernel of guest/ can run at all, which
 * takes a longer clearcpuid= than a stock one.
 */
static const char emulated_cmdline[] =
	" tick_stretch=25 clocksource=kvm-clock nf_conntrack.hashsize=512";
#define CLEARCPUID_MAX 511u

static struct vcpu_entry entry_of(const struct fw_entry_x86 *f)
{
	return (struct vcpu_entry){
		.rip = f->rip, .rsi = f->rsi, .rsp = f->rsp, .cr3 = f->cr3,
		.gdt_base = f->gdt_base, .gdt_limit = f->gdt_limit, .cs = f->cs, .ds = f->ds,
	};
}

/* What the kernel has to be told of a host that emulates it, as options; "" on other hosts. */
static int probe_cpuid(char *option, size_t len, struct err *e)
{
	struct cpuid_leaf seen[CPUID_MAX], supported[KVM_CPUID_MAX];
	unsigned n = cpuid_mask_leaves(seen, CPUID_MAX), left_out;
	struct fw_entry_x86 probe;
	struct vcpu_entry entry;
	int rc = cpuid_probe_load(&vm.mem, seen, n, &probe, e);

	if (rc)
		return rc;
	entry = entry_of(&probe);
	rc = vcpu_set_entry(&vm.vcpu[0], &entry, e);
	if (!rc)
		rc = vcpu_run_until(&vm.vcpu[0], CPUID_PROBE_PORT, e);
	if (!rc)
		rc = cpuid_probe_read(&vm.mem, seen, n, e);
	if (rc)
		return rc;
	for (unsigned i = 0; i < vm.cpuid.nent; i++) {
		const struct kvm_cpuid_entry2 *c = &vm.cpuid.entry[i];

		supported[i] = (struct cpuid_leaf){ c->function, c->index, c->eax, c->ebx, c->ecx,
						    c->edx };
	}
	cpuid_mask_build(seen, n, supported, vm.cpuid.nent, NULL, CPUID_MASK_STOCK, option, len);
	if (!*option)
		return 0;
	/* Something is visible that should not be: this host emulates the guest's kernel. */
	left_out = cpuid_mask_build(seen, n, supported, vm.cpuid.nent, &cpuid_policy_emulated,
				    CLEARCPUID_MAX, option, len);
	snprintf(option + strlen(option), len - strlen(option), "%s", emulated_cmdline);
	if (left_out)
		log_say(LOG_LEVEL_INFO, "%u CPU features are visible to the guest's kernel that "
			"this host cannot emulate", left_out);
	return 0;
}

static int load_kernel(const struct conf *c, const struct files *f, const char *cmdline,
		       struct fw_entry_x86 *entry, struct err *e)
{
	struct fw_slot slots[CONF_SLOTS_MAX];
	struct fw_conf fw = {
		.ncpus = c->cpus, .cmdline = cmdline, .slots = slots, .nslots = vm.nslots,
		.kernel = { .fd = f->kernel, .name = c->kernel },
		.initrd = { .fd = f->initrd, .name = c->initrd },
		.power_base = MACHINE_POWER, .pvpanic_base = MACHINE_PVPANIC,
		.vmgenid = true, .vmgenid_gsi = MACHINE_VMGENID_GSI,
	};
	int rc = vmgenid_draw(fw.vmgenid_value, e);

	if (rc)
		return rc;
	if (getrandom(fw.rng_seed, sizeof(fw.rng_seed), 0) != sizeof(fw.rng_seed))
		return err_set(e, -EIO, "getrandom");
	for (unsigned i = 0; i < vm.nslots; i++)
		slots[i] = (struct fw_slot){ .base = MACHINE_VIRTIO + i * MACHINE_VIRTIO_STRIDE,
					     .len = MACHINE_VIRTIO_STRIDE, .gsi = machine_gsi(i) };
	rc = fw_load_x86(&vm.mem, &fw, entry, e);
	vm.genid.at = entry->vmgenid;
	return rc;
}

/* Everything that the boot CPU needs for its first instruction. */
static int prepare(const struct conf *c, const struct files *f, struct err *e)
{
	char option[CLEARCPUID_MAX + 64], cmdline[CMDLINE_MAX];
	struct fw_entry_x86 fw = { 0 };
	struct vcpu_entry entry;
	int rc = probe_cpuid(option, sizeof(option), e);

	if (rc)
		return rc;
	if (snprintf(cmdline, sizeof(cmdline), "%s %s %s", base_cmdline, option, c->cmdline) >=
	    (int)sizeof(cmdline))
		return err_say(e, -E2BIG, "the kernel's command line is longer than %u bytes",
			       CMDLINE_MAX - 1);
	log_say(LOG_LEVEL_DEBUG, "command line: %s", cmdline);
	rc = load_kernel(c, f, cmdline, &fw, e);
	if (rc)
		return rc;
	entry = entry_of(&fw);
	return vcpu_set_entry(&vm.vcpu[0], &entry, e);
}

/* What the guest did to each device, for those who ask (--verbose). */
static void tell_counts(void)
{
	for (unsigned i = 0; i < vm.nslots; i++) {
		const struct virtio_dev *d = vm.slot[i].dev;

		log_say(LOG_LEVEL_DEBUG, "slot %u %s: %llu chains, %llu rules broken, %llu resets",
			i, d->ops->name, (unsigned long long)d->stat.chains,
			(unsigned long long)d->stat.bad, (unsigned long long)d->stat.resets);
	}
}

static int exit_status(enum vm_end end)
{
	switch (end) {
	case VM_POWEROFF: return 0;
	case VM_RESET: return 10;
	case VM_PANIC: return 11;
	case VM_HANG: return 12;
	case VM_STOPPED: return 13;
	case VM_ERROR:
	case VM_RUNNING: break;
	}
	return 1;
}

/* ---- stages ---- */

static int open_files(struct files *f, struct conf *c, struct err *e)
{
	int rc;

	*f = (struct files){ .kernel = -1, .initrd = -1,
			     .snap = { .memory = -1, .base = -1, .pagemap = -1 } };
	if (c->restore) {
		rc = snapshot_open(&f->snap, c->restore, e);
		return rc ? rc : snapshot_shape(&f->snap, c, e);
	}
	f->kernel = open(c->kernel, O_RDONLY | O_CLOEXEC);
	if (f->kernel < 0)
		return err_set(e, -errno, "open kernel %s", c->kernel);
	f->initrd = c->initrd ? open(c->initrd, O_RDONLY | O_CLOEXEC) : -1;
	if (c->initrd && f->initrd < 0)
		return err_set(e, -errno, "open initrd %s", c->initrd);
	return 0;
}

static void close_files(struct files *f)
{
	fd_cleanup(&f->kernel);
	fd_cleanup(&f->initrd);
	snapshot_close(&f->snap);
}

/*
 * Sockets are named relative to their folder, which becomes the jail's root. True
 * if there is one; the working directory is it then.
 */
static int enter_folder(struct conf *c, struct err *e)
{
	struct conf_dev *d = &c->slot[0];
	const char *slash = d->path ? strrchr(d->path, '/') : NULL;
	char folder[4096];
	size_t n;

	if (!d->path || strcmp(d->dev, "vsock"))
		return 0;
	if (!slash)
		return 1;
	n = slash == d->path ? 1 : (size_t)(slash - d->path);
	if (n >= sizeof(folder))
		return err_say(e, -ENAMETOOLONG, "the socket's folder has too long a name");
	memcpy(folder, d->path, n);
	folder[n] = '\0';
	if (chdir(folder))
		return err_set(e, -errno, "the socket's folder %s", folder);
	d->path = slash + 1;
	return 1;
}

/* The machine, ready for its first or next instruction. */
static int build(struct conf *c, struct err *e)
{
	const char *vsock = c->slot[0].path;
	struct files f;
	int rc, folder = 0;

	rc = open_files(&f, c, e);
	if (!rc)
		rc = jail_ids(&jail, c->parent_fd, e);
	if (!rc)
		snapshot_unprivileged(&f.snap);
	if (!rc)
		rc = folder = enter_folder(c, e);
	if (rc >= 0) {
		rc = vm_open(&vm, c, c->restore ? &f.snap : NULL, e);
		if (rc && vsock)
			err_wrap(e, "with socket %s", vsock);
	}
	if (!rc)
		rc = state_host_init(e);
	if (!rc)
		rc = jail_fs(&jail, folder ? "." : NULL, e);
	if (!rc && !c->restore)
		rc = prepare(c, &f, e);
	if (rc && c->restore)
		err_wrap(e, "snapshot %s", c->restore);
	close_files(&f);
	return rc;
}

/* vCPU's thread. */
static int seal_vcpu(void)
{
	return jail_seal(&jail, JAIL_CLASS_VCPU);
}

/* Start all threads, and close the last stage around each. */
static int seal(struct err *e)
{
	unsigned n;
	const uint8_t *ops = jail_ring(JAIL_CLASS_LOOP, &n);
	int worst, rc = vm_start(&vm, seal_vcpu, &worst, e);

	if (rc || jail.mode == JAIL_NONE)
		return rc;
	rc = loop_restrict(&vm.loop, ops, n);
	if (rc && jail.mode != JAIL_STRICT)
		(void)!loop_restrict(&vm.loop, NULL, 0);	/* it cannot be enabled later */
	rc = jail_note(&jail, JAIL_RING, rc, e);
	if (rc)
		return rc;
	rc = jail_seal(&jail, JAIL_CLASS_LOOP);
	return jail_note(&jail, JAIL_SECCOMP, rc ? rc : worst, e);
}

static int start(struct conf *c, struct err *e)
{
	int fd[CONF_FDS_MAX], rc;
	unsigned n = conf_fds(c, fd);
	char words[160];

	/* One heap, from brk(2) alone: fewer system calls later on. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	jail.mode = c->jail;
	if (jail.mode == JAIL_NONE)
		log_say(LOG_LEVEL_WARN, "--jail=none: this process has all rights of its user");
	rc = jail_early(&jail, fd, n, NOFILE, c->parent_fd, e);
	if (!rc)
		rc = build(c, e);
	if (!rc)
		rc = seal(e);
	if (!rc && jail.mode != JAIL_NONE)
		status(c, "jail %s", jail_words(&jail, words, sizeof(words)));
	return rc;
}

/* The walls alone, on stdout or the status descriptor; those that are missing with a reason. */
static int try_jail(struct conf *c, struct err *e)
{
	char words[160];
	unsigned n;
	const uint8_t *ops = jail_ring(JAIL_CLASS_LOOP, &n);
	int rc;

	c->status_fd = c->status_fd < 0 ? STDOUT_FILENO : c->status_fd;
	jail.mode = c->jail;
	rc = jail_early(&jail, &c->status_fd, 1, NOFILE, -1, e);
	if (!rc)
		rc = jail_ids(&jail, -1, e);
	if (!rc)
		rc = jail_fs(&jail, NULL, e);
	if (!rc)
		rc = loop_init(&vm.loop, 8, e);
	if (!rc)
		rc = jail_note(&jail, JAIL_RING, loop_restrict(&vm.loop, ops, n), e);
	if (!rc)
		rc = jail_note(&jail, JAIL_SECCOMP, jail_seal(&jail, JAIL_CLASS_LOOP), e);
	if (rc)
		return rc;
	status(c, "jail %s", jail_words(&jail, words, sizeof(words)));
	for (unsigned i = 0; i < JAIL_NWALLS; i++)
		if (jail.why[i])
			status(c, "missing %s %s", jail_wall_name((enum jail_wall)i),
			       strerror(-jail.why[i]));
	return 0;
}

static int inspect(const struct conf *c)
{
	struct err e = { 0 };

	if (snapshot_inspect(c->inspect, c->verify, stdout, &e)) {
		log_say(LOG_LEVEL_ERROR, "snapshot %s: %s", c->inspect, e.msg);
		return 1;
	}
	return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct conf conf;
	enum vm_end end;
	int rc = conf_parse(&conf, argc, argv, &e);

	if (rc == 1)
		return 0;
	if (rc) {
		log_say(LOG_LEVEL_ERROR, "%s", e.msg);
		return 2;
	}
	if (conf.inspect)
		return inspect(&conf);
	if (conf.console)
		log_console_tee(STDERR_FILENO);
	rc = conf.try_jail ? try_jail(&conf, &e) : start(&conf, &e);
	if (rc) {
		log_say(LOG_LEVEL_ERROR, "%s", e.msg);
		status(&conf, "end error %s", e.msg);
		return 1;
	}
	if (conf.try_jail)
		return 0;
	status(&conf, "run %llu", (unsigned long long)now_ns());
	end = vm_run(&vm);
	status(&conf, "end %s %s", vm_end_name(end), vm.why);
	if (vm.why[0])
		log_say(LOG_LEVEL_ERROR, "%s: %s", vm_end_name(end), vm.why);
	tell_counts();
	/* In a jail only the process's end can give things back. */
	if (jail.mode == JAIL_NONE)
		vm_close(&vm);
	return exit_status(end);
}
