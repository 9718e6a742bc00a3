/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu.c - the run loop. A vCPU is stopped by setting its flag, then
 * immediate_exit, then sending VCPU_SIGNAL: whichever of the three moments the
 * thread is in, it sees one of them before it enters the guest again.
 *
 * With a limit on CPU time (quota.h) a timer that ticks with its thread's CPU time interrupts
 * the guest once a slice, and the thread waits outside of it until the slice is paid for. The
 * loop's time is counted by vCPU 0. The clock is KVM's, which can be read without
 * another system call on every host.
 *
 * Its thread's end is the C library's: it blocks signals, gives its stack back.
 *
 * #syscalls:vcpu ioctl(KVM_RUN) ioctl(KVM_GET_REGS)? ioctl(KVM_GET_CLOCK) futex rt_sigreturn
 * #syscalls:vcpu rt_sigprocmask madvise(MADV_DONTNEED) exit
 * #syscalls:loop tgkill(0=self) futex
 */
#include <linux/futex.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include "vmm/machine.h"
#include "vmm/vcpu.h"

#define VCPU_SIGNAL SIGUSR1
#define SLICE_SIGNAL SIGVTALRM
#define VCPU_STACK (256u << 10)

static void on_signal(int sig)
{
	(void)sig;		/* only there to interrupt KVM_RUN */
}

static void on_slice(int sig, siginfo_t *info, void *context)
{
	struct vcpu *v = info->si_value.sival_ptr;

	(void)sig;
	(void)context;
	/* Anybody may send a signal; only the kernel's timers say whose it is. */
	if (info->si_code == SI_TIMER)
		__atomic_fetch_add(&v->used, 1 + (uint32_t)info->si_overrun, __ATOMIC_RELAXED);
}

int vcpu_open(struct vcpu *v, const struct vcpu_env *env, unsigned id,
	      struct kvm_cpuid_table *cpuid, struct err *e)
{
	int rc;

	*v = (struct vcpu){ .env = env, .id = id };
	v->fd = kvm_vcpu_open(env->kvm, id, &v->run, e);
	if (v->fd < 0)
		return v->fd;
	v->emul = (struct emul){ .mem = env->mem, .kvm = env->kvm, .vcpu = v->fd };
	v->emul.xsave = aligned_alloc(64, (env->kvm->xsave_len + 63) & ~63ul);
	if (!v->emul.xsave) {
		rc = err_set(e, -ENOMEM, "vCPU %u", id);
		goto fail;
	}
	/* The APIC id is the index, in both leaves that tell it. */
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *c = &cpuid->entry[i];

		if (c->function == 1)
			c->ebx = (c->ebx & 0x00ffffff) | id << 24;
		if (c->function == 0xb || c->function == 0x1f)
			c->edx = id;
	}
	rc = kvm_set_cpuid(v->fd, cpuid);
	if (!rc)
		return 0;
	err_set(e, rc, "KVM_SET_CPUID2 of vCPU %u", id);
fail:
	vcpu_close(v);
	return rc;
}

void vcpu_close(struct vcpu *v)
{
	BUG_ON(v->started);
	free(v->emul.xsave);
	kvm_vcpu_close(v->env->kvm, v->fd, v->run);
	v->fd = -1;
}

static enum vcpu_end broken(struct vcpu *v, const char *fmt, ...) printf_like(2, 3);
static enum vcpu_end broken(struct vcpu *v, const char *fmt, ...)
{
	struct kvm_regs r = { 0 };
	va_list ap;
	int n = 0;

	if (!kvm_get_regs(v->fd, &r))
		n = snprintf(v->why, sizeof(v->why), "vCPU %u at rip %#llx: ", v->id,
			     (unsigned long long)r.rip);
	va_start(ap, fmt);
	vsnprintf(v->why + n, sizeof(v->why) - (size_t)n, fmt, ap);
	va_end(ap);
	return VCPU_ERROR;
}

/* Ports and addresses that nobody claimed read as all ones, as on a bus with nothing there. */
static void access_bus(struct vcpu *v, const struct bus *bus, uint64_t at, void *data,
		       unsigned len, bool write)
{
	if (!write)
		memset(data, 0, len);
	if (bus_access(bus, at, data, len, write))
		return;
	v->stat.unclaimed++;
	if (!write)
		memset(data, 0xff, len);
}

static void exit_io(struct vcpu *v)
{
	const struct kvm_run *r = v->run;
	uint8_t *p = (uint8_t *)v->run + r->io.data_offset;
	bool write = r->io.direction == KVM_EXIT_IO_OUT;

	v->stat.pio++;
	/* A string to the log port is one message, not one access per character. */
	if (write && r->io.port == MACHINE_PORT_LOG && r->io.size == 1) {
		log_console(p, r->io.count);
		return;
	}
	for (uint32_t i = 0; i < r->io.count; i++, p += r->io.size)
		access_bus(v, v->env->pio, r->io.port, p, r->io.size, write);
}

static enum vcpu_end exit_internal(struct vcpu *v)
{
	const struct kvm_run *r = v->run;
	const uint8_t *insn = r->emulation_failure.insn_bytes;
	unsigned n = r->emulation_failure.insn_size;
	int rc;

	if (r->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
		return broken(v, "KVM_EXIT_INTERNAL_ERROR, suberror %u", r->internal.suberror);
	if (r->internal.ndata < 1 ||
	    !(r->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) ||
	    n > sizeof(r->emulation_failure.insn_bytes))
		return broken(v, "KVM cannot emulate an instruction and does not say which");
	rc = emul_finish(&v->emul, insn, n);
	if (!rc)
		return VCPU_RUNNING;
	if (rc != -ENOTSUP)
		return broken(v, "finishing an instruction: %s", strerror(-rc));
	return broken(v, "KVM cannot emulate %02x %02x %02x %02x %02x %02x", insn[0], insn[1],
		      insn[2], insn[3], insn[4], insn[5]);
}

static enum vcpu_end dispatch(struct vcpu *v)
{
	struct kvm_run *r = v->run;

	/* Read by the loop's thread; written only here. */
	__atomic_store_n(&v->stat.exits, v->stat.exits + 1, __ATOMIC_RELAXED);
	switch (r->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		return VCPU_RUNNING;
	case KVM_EXIT_MMIO:
		v->stat.mmio++;
		access_bus(v, v->env->mmio, r->mmio.phys_addr, r->mmio.data, r->mmio.len,
			   r->mmio.is_write);
		return VCPU_RUNNING;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_UNKNOWN:
		return VCPU_RUNNING;
	case KVM_EXIT_SHUTDOWN:
		return VCPU_SHUTDOWN;
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_internal(v);
	case KVM_EXIT_FAIL_ENTRY:
		return broken(v, "KVM_EXIT_FAIL_ENTRY, hardware reason %#llx",
			      (unsigned long long)r->fail_entry.hardware_entry_failure_reason);
	default:
		return broken(v, "unexpected exit %u of KVM_RUN", r->exit_reason);
	}
}

static enum vcpu_end run_once(struct vcpu *v)
{
	int rc = kvm_run_once(v->fd);

	if (!rc)
		return dispatch(v);
	if (rc == -EINTR || rc == -EAGAIN)
		return VCPU_RUNNING;
	return broken(v, "KVM_RUN: %s", strerror(-rc));
}

int vcpu_run_until(struct vcpu *v, unsigned port, struct err *e)
{
	for (unsigned budget = 100000; budget; budget--) {
		enum vcpu_end end = run_once(v);

		if (end == VCPU_RUNNING && v->run->exit_reason == KVM_EXIT_IO &&
		    v->run->io.port == port)
			return 0;
		if (end != VCPU_RUNNING)
			return err_say(e, -EIO, "firmware program: %s",
				       end == VCPU_ERROR ? v->why : "triple fault");
	}
	return err_say(e, -EIO, "a firmware program did not come to its end");
}

/*
 * A pause that begins before the thread has seen the end of the one before is another one: who
 * asked for it waits for env->paused. So each has a number of its own.
 */
#define WANT_MASK	0xffu
#define WANT_NEXT	0x100u

static uint32_t want_word(const struct vcpu *v)
{
	return __atomic_load_n(&v->want, __ATOMIC_ACQUIRE);
}

static enum vcpu_want wanted(const struct vcpu *v)
{
	return (enum vcpu_want)(want_word(v) & WANT_MASK);
}

static void set_want(struct vcpu *v, enum vcpu_want want)
{
	uint32_t number = (want_word(v) & ~WANT_MASK) + (want == VCPU_PAUSE ? WANT_NEXT : 0);

	__atomic_store_n(&v->want, number | want, __ATOMIC_SEQ_CST);
}

static void wait_other(struct vcpu *v, uint32_t word, const struct timespec *t)
{
	syscall(SYS_futex, &v->want, FUTEX_WAIT_PRIVATE, word, t, NULL, 0);
}

/*
 * immediate_exit is set: one more KVM_RUN completes the exit that was served
 * last and comes back with -EINTR before any guest instruction. A string
 * instruction may exit again meanwhile.
 */
static enum vcpu_end park(struct vcpu *v)
{
	uint32_t word = want_word(v);
	int rc;

	while (!(rc = kvm_run_once(v->fd))) {
		enum vcpu_end end = dispatch(v);

		if (end != VCPU_RUNNING)
			return end;
	}
	if (rc != -EINTR && rc != -EAGAIN)
		return broken(v, "KVM_RUN: %s", strerror(-rc));
	v->env->paused(v);
	while (wanted(v) == VCPU_PAUSE && want_word(v) == word)
		wait_other(v, word, NULL);
	return VCPU_RUNNING;
}

/* Nanoseconds; 0 if KVM does not tell, and then nothing is held back. */
static uint64_t clock_now(const struct vcpu *v)
{
	struct kvm_clock_data c;

	return kvm_get_clock(v->env->kvm, &c) ? 0 : c.clock;
}

/* Wait until all that was used is paid for, or something else is wanted. */
static void rest(struct vcpu *v)
{
	uint32_t used = __atomic_exchange_n(&v->used, 0, __ATOMIC_RELAXED);
	uint32_t word = want_word(v);
	uint64_t now, ns;

	if (!used)
		return;
	now = clock_now(v);
	quota_take(v->env->quota, used, now);
	while (now && (ns = quota_wait(v->env->quota, now)) && wanted(v) == VCPU_RUN &&
	       want_word(v) == word) {
		struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

		wait_other(v, word, &t);
		now = clock_now(v);
	}
}

/* Interrupt this thread after each slice of CPU time of @clock. */
static int count_slices(struct vcpu *v, clockid_t clock)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SLICE_SIGNAL,
			       .sigev_value.sival_ptr = v };
	struct timespec slice = { .tv_nsec = QUOTA_SLICE_NS };
	timer_t timer;

	ev._sigev_un._tid = v->tid;
	return timer_create(clock, &ev, &timer) ||
	       timer_settime(timer, 0, &(struct itimerspec){ slice, slice }, NULL) ? -errno : 0;
}

/* Name, number and timers are taken while that is allowed. */
static void enter(struct vcpu *v)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->id);
	prctl(PR_SET_NAME, name);
	v->tid = (int)syscall(SYS_gettid);
	if (v->env->quota && v->env->quota->milli) {
		v->quota_rc = count_slices(v, CLOCK_THREAD_CPUTIME_ID);
		if (!v->quota_rc && !v->id)
			v->quota_rc = count_slices(v, v->starter);
	}
	v->enter_rc = v->env->enter ? v->env->enter() : 0;
	__atomic_store_n(&v->entered, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &v->entered, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *thread_main(void *arg)
{
	struct vcpu *v = arg;
	enum vcpu_end end = VCPU_RUNNING;

	enter(v);
	while (end == VCPU_RUNNING) {
		switch (wanted(v)) {
		case VCPU_WAIT:
			wait_other(v, VCPU_WAIT, NULL);
			break;
		case VCPU_RUN:
			rest(v);
			end = run_once(v);
			break;
		case VCPU_PAUSE:
			end = park(v);
			break;
		case VCPU_STOP:
			end = VCPU_STOPPED;
			break;
		}
	}
	v->end = end;
	v->env->ended(v);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct err *e)
{
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_attr_t attr;
	int rc;

	sigaction(VCPU_SIGNAL, &sa, NULL);
	sa = (struct sigaction){ .sa_sigaction = on_slice, .sa_flags = SA_SIGINFO };
	sigaction(SLICE_SIGNAL, &sa, NULL);
	v->pid = getpid();
	pthread_getcpuclockid(pthread_self(), &v->starter);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	rc = pthread_create(&v->thread, &attr, thread_main, v);
	pthread_attr_destroy(&attr);
	if (rc)
		return err_set(e, -rc, "start the thread of vCPU %u", v->id);
	v->started = true;
	while (!__atomic_load_n(&v->entered, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &v->entered, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	/* What cannot be limited does not run. */
	return v->quota_rc ? err_set(e, v->quota_rc, "limit the CPU time of vCPU %u", v->id) : 0;
}

static void ask(struct vcpu *v, enum vcpu_want want)
{
	if (!v->started)
		return;
	set_want(v, want);
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &v->want, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	/* pthread_kill() is three system calls more. */
	syscall(SYS_tgkill, v->pid, v->tid, VCPU_SIGNAL);
}

void vcpu_stop(struct vcpu *v)
{
	ask(v, VCPU_STOP);
}

void vcpu_pause(struct vcpu *v)
{
	ask(v, VCPU_PAUSE);
}

void vcpu_resume(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	set_want(v, VCPU_RUN);
	syscall(SYS_futex, &v->want, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_join(struct vcpu *v)
{
	if (!v->started)
		return;
	pthread_join(v->thread, NULL);
	v->started = false;
}
