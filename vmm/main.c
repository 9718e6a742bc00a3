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
 * #syscalls openat getrandom
 */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <signal.h>
#include <time.h>
#include "firmware/cpuid.h"
#include "firmware/firmware.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#define CMDLINE_MAX 2048u

static struct vm vm;

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
	"random.trust_bootloader=on rcupdate.rcu_cpu_stall_suppress=1";

/*
 * Where the guest's kernel is emulated: a timer tick costs milliseconds there, so
 * a busy CPU takes one in ten; and only a kernel of guest/ can run at all, which
 * takes a longer clearcpuid= than a stock one.
 */
static const char emulated_cmdline[] = " tick_stretch=10";
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

static int load_kernel(const struct conf *c, const char *cmdline, struct fw_entry_x86 *entry,
		       struct err *e)
{
	struct fw_slot slots[CONF_SLOTS_MAX];
	struct fw_conf fw = {
		.ncpus = c->cpus, .cmdline = cmdline, .slots = slots, .nslots = vm.nslots,
		.initrd = { .fd = -1, .name = c->initrd },
		.power_base = MACHINE_POWER, .pvpanic_base = MACHINE_PVPANIC,
		.vmgenid = true, .vmgenid_gsi = MACHINE_VMGENID_GSI,
	};
	auto_fd kernel = open(c->kernel, O_RDONLY | O_CLOEXEC);
	auto_fd initrd = c->initrd ? open(c->initrd, O_RDONLY | O_CLOEXEC) : -1;
	int rc = vmgenid_draw(fw.vmgenid_value, e);

	if (rc)
		return rc;
	if (kernel < 0)
		return err_set(e, -errno, "open kernel %s", c->kernel);
	if (c->initrd && initrd < 0)
		return err_set(e, -errno, "open initrd %s", c->initrd);
	fw.kernel = (struct fw_file){ .fd = kernel, .name = c->kernel };
	fw.initrd.fd = initrd;
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
static int prepare(const struct conf *c, struct err *e)
{
	char option[CLEARCPUID_MAX + 64], cmdline[CMDLINE_MAX];
	struct fw_entry_x86 fw;
	struct vcpu_entry entry;
	int rc = probe_cpuid(option, sizeof(option), e);

	if (rc)
		return rc;
	if (snprintf(cmdline, sizeof(cmdline), "%s %s %s", base_cmdline, option, c->cmdline) >=
	    (int)sizeof(cmdline))
		return err_say(e, -E2BIG, "the kernel's command line is longer than %u bytes",
			       CMDLINE_MAX - 1);
	log_say(LOG_LEVEL_DEBUG, "command line: %s", cmdline);
	rc = load_kernel(c, cmdline, &fw, e);
	if (rc)
		return rc;
	entry = entry_of(&fw);
	return vcpu_set_entry(&vm.vcpu[0], &entry, e);
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

/* The machine, ready for its first or next instruction. */
static int build(struct conf *c, struct err *e)
{
	struct snapshot snap;
	int rc;

	if (!c->restore) {
		rc = vm_open(&vm, c, NULL, e);
		return rc ? rc : prepare(c, e);
	}
	rc = snapshot_open(&snap, c->restore, e);
	if (rc)
		return rc;
	rc = snapshot_shape(&snap, c, e);
	if (!rc)
		rc = vm_open(&vm, c, &snap, e);
	if (rc)
		err_wrap(e, "snapshot %s", c->restore);
	snapshot_close(&snap);
	return rc;
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
	if (conf.console)
		log_console_tee(STDERR_FILENO);
	rc = build(&conf, &e);
	if (rc) {
		log_say(LOG_LEVEL_ERROR, "%s", e.msg);
		status(&conf, "end error %s", e.msg);
		return 1;
	}
	status(&conf, "run %llu", (unsigned long long)now_ns());
	end = vm_run(&vm);
	status(&conf, "end %s %s", vm_end_name(end), vm.why);
	if (vm.why[0])
		log_say(LOG_LEVEL_ERROR, "%s: %s", vm_end_name(end), vm.why);
	vm_close(&vm);
	return exit_status(end);
}
