/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.c - builds, runs and takes apart one machine.
 *
 * The end of a machine is decided once, on the loop's thread, by vm_finish().
 * From then on: the vCPUs are asked to stop; the loop runs on, because a vCPU
 * may be waiting for it; with the last of them gone the devices are stopped; when
 * nothing is in flight any more the loop returns.
 *
 * #syscalls:loop close
 * #uring:loop POLL_ADD TIMEOUT
 */
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include "devices/registry.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#define LOOP_ENTRIES	256
#define PANIC_GRACE_NS	3000000000ull	/* for the rest of the panic message */

const char *vm_end_name(enum vm_end end)
{
	switch (end) {
	case VM_RUNNING: return "running";
	case VM_POWEROFF: return "poweroff";
	case VM_RESET: return "reset";
	case VM_PANIC: return "panic";
	case VM_HANG: return "hang";
	case VM_STOPPED: return "stopped";
	case VM_ERROR: return "error";
	}
	return "?";
}

static void maybe_drain(struct vm *vm)
{
	if (vm->live || vm->loop.stop)
		return;
	for (unsigned i = 0; i < vm->nslots; i++)
		virtio_mmio_stop(&vm->slot[i]);
	loop_cancel(&vm->boot_timer);
	loop_cancel(&vm->panic_timer);
	loop_cancel(&vm->parent_poll);
	loop_cancel(&vm->signal_poll);
	control_stop(&vm->control);
	save_cancel(vm);
	vm->loop.stop = true;
}

/* Loop's thread. The first end that is reported counts. */
static void vm_finish(struct vm *vm, enum vm_end end, const char *why)
{
	if (vm->end != VM_RUNNING)
		return;
	vm->end = end;
	snprintf(vm->why, sizeof(vm->why), "%s", why);
	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_stop(&vm->vcpu[i]);
	maybe_drain(vm);
}

/* ---- the guest's own ends: power register, panic, reset port, triple fault ---- */

static void on_panic_timer(struct op *op, int res)
{
	struct vm *vm = container_of(op, struct vm, panic_timer);

	if (res == -ETIME)
		vm_finish(vm, VM_PANIC, "the guest kernel panicked");
}

static void on_power(struct loop_call *call)
{
	struct vm *vm = container_of(call, struct vm, power);
	uint32_t ev = __atomic_exchange_n(&vm->power_event, 0, __ATOMIC_ACQ_REL);

	loop_call_done(call);
	if (ev == BOARD_PANIC) {
		vm->panicked = true;
		if (vm->panic_timer.busy ||
		    !loop_timer(&vm->loop, &vm->panic_timer, PANIC_GRACE_NS, on_panic_timer))
			return;
	}
	if (vm->panicked)
		vm_finish(vm, VM_PANIC, "the guest kernel panicked");
	else
		vm_finish(vm, ev == BOARD_POWEROFF ? VM_POWEROFF : VM_RESET, "");
}

/* vCPU thread. While one event waits for the loop, later ones are dropped. */
static void board_event(struct board *b, enum board_event ev)
{
	struct vm *vm = container_of(b, struct vm, board);
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(&vm->power_event, &none, (uint32_t)ev, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		loop_post(&vm->loop, &vm->power);
}

/* ---- pausing every vCPU, and letting them go on ---- */

static void maybe_paused(struct vm *vm)
{
	if (!vm->pausing || (vm->npaused < vm->live && vm->end == VM_RUNNING))
		return;
	if (vm->end != VM_RUNNING)
		vm->pausing = false;
	save_paused(vm);
}

static void on_vcpu_paused(struct loop_call *call)
{
	struct vcpu *v = call->arg;
	struct vm *vm = v->env->owner;

	loop_call_done(call);
	vm->npaused++;
	maybe_paused(vm);
}

/* vCPU's thread. */
static void vcpu_paused(struct vcpu *v)
{
	struct vm *vm = v->env->owner;

	vm->paused[v->id] = (struct loop_call){ .fn = on_vcpu_paused, .arg = v };
	loop_post(&vm->loop, &vm->paused[v->id]);
}

void vm_pause(struct vm *vm)
{
	vm->pausing = true;
	vm->npaused = 0;
	/* Not over a stop: a vCPU that was told to end must not park instead. */
	for (unsigned i = 0; vm->end == VM_RUNNING && i < vm->ncpus; i++)
		vcpu_pause(&vm->vcpu[i]);
	maybe_paused(vm);
}

void vm_go_on(struct vm *vm)
{
	if (!vm->pausing)
		return;
	vm->pausing = false;
	for (unsigned i = 0; vm->end == VM_RUNNING && i < vm->ncpus; i++)
		vcpu_resume(&vm->vcpu[i]);
}

static void on_snapshot(struct control *c, const int fd[SAVE_FILES], unsigned flags)
{
	save_begin(container_of(c, struct vm, control), fd, flags & CONTROL_DIFF,
		   flags & CONTROL_WAIT);
}

static void on_word(struct control *c, bool go)
{
	save_word(container_of(c, struct vm, control), go);
}

static void on_vcpu_ended(struct loop_call *call)
{
	struct vcpu *v = call->arg;
	struct vm *vm = v->env->owner;

	loop_call_done(call);
	vcpu_join(v);
	vm->live--;
	switch (v->end) {
	case VCPU_SHUTDOWN:
		vm_finish(vm, vm->panicked ? VM_PANIC : VM_RESET, "triple fault");
		break;
	case VCPU_ERROR:
		vm_finish(vm, VM_ERROR, v->why);
		break;
	case VCPU_RUNNING:
	case VCPU_STOPPED:
		break;
	}
	maybe_paused(vm);
	maybe_drain(vm);
}

/* vCPU's thread, its last act. */
static void vcpu_ended(struct vcpu *v)
{
	struct vm *vm = v->env->owner;

	vm->ended[v->id] = (struct loop_call){ .fn = on_vcpu_ended, .arg = v };
	loop_post(&vm->loop, &vm->ended[v->id]);
}

/* ---- ends from outside: signals, the parent's death, a boot that takes too long ---- */

static void on_signal(struct op *op, int res)
{
	struct vm *vm = container_of(op, struct vm, signal_poll);

	if (res >= 0)
		vm_finish(vm, VM_STOPPED, "asked by a signal");
}

static void on_parent(struct op *op, int res)
{
	struct vm *vm = container_of(op, struct vm, parent_poll);

	if (res >= 0)
		vm_finish(vm, VM_STOPPED, "the parent process is gone");
}

/* A guest that has sent nothing through its socket device has not come up. */
static void on_boot_timer(struct op *op, int res)
{
	struct vm *vm = container_of(op, struct vm, boot_timer);
	char why[160];

	if (res != -ETIME || vm->panicked)	/* the panic timer ends that */
		return;
	for (unsigned i = 0; i < vm->nslots; i++)
		if (!strcmp(vm->slot[i].dev->ops->name, "vsock") && vm->slot[i].dev->stat.chains)
			return;
	snprintf(why, sizeof(why), "the guest said nothing on its socket device within %llu s; "
		 "vCPU 0 made %llu exits",
		 (unsigned long long)(vm->conf->boot_timeout_ns / 1000000000u),
		 (unsigned long long)__atomic_load_n(&vm->vcpu[0].stat.exits, __ATOMIC_RELAXED));
	vm_finish(vm, VM_HANG, why);
}

static int watch(struct vm *vm)
{
	const struct conf *c = vm->conf;
	int rc = loop_poll(&vm->loop, &vm->signal_poll, vm->signalfd, POLLIN, on_signal);

	if (!rc && c->control_fd >= 0)
		rc = control_open(&vm->control, &vm->loop, c->control_fd);
	if (!rc && c->parent_fd >= 0)
		rc = loop_poll(&vm->loop, &vm->parent_poll, c->parent_fd, POLLIN, on_parent);
	if (!rc && c->boot_timeout_ns)
		rc = loop_timer(&vm->loop, &vm->boot_timer, c->boot_timeout_ns, on_boot_timer);
	return rc;
}

/* ---- building ---- */

static int open_signals(struct vm *vm, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vm->signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return vm->signalfd < 0 ? err_set(e, -errno, "signalfd") : 0;
}

static int open_memory(struct vm *vm, const struct snapshot *from, struct err *e)
{
	uint64_t mem = vm->conf->mem, low = mem < MACHINE_HOLE ? mem : MACHINE_HOLE;
	int rc;

	vm->mem.r[vm->mem.n++] = (struct gmem_region){ .base = 0, .len = low };
	if (mem > low)
		vm->mem.r[vm->mem.n++] = (struct gmem_region){
			.base = MACHINE_HIGH, .len = mem - low };
	rc = from ? snapshot_map(vm, from, e) : gmem_open(&vm->mem, e);
	if (rc)
		return rc;
	for (unsigned i = 0; !rc && i < vm->mem.n; i++) {
		const struct gmem_region *r = &vm->mem.r[i];

		rc = kvm_memory(&vm->kvm, i, r->base, r->len, r->hva, e);
	}
	if (rc)
		gmem_close(&vm->mem);
	return rc;
}

static int open_slot(struct vm *vm, unsigned i, struct err *e)
{
	const struct conf_dev *c = &vm->conf->slot[i];
	const struct virtio_ops *ops = virtio_ops_find(c->dev);
	uint64_t base = MACHINE_VIRTIO + i * MACHINE_VIRTIO_STRIDE;
	struct virtio_mmio *m = &vm->slot[i];
	struct virtio_dev *d;
	int rc;

	if (!ops)
		return err_say(e, -ENODEV, "this build has no device '%s'", c->dev);
	d = virtio_new(ops, &vm->mem, &vm->loop, c, e);
	if (!d)
		return e->code;
	rc = virtio_mmio_init(m, d, &vm->loop, e);
	if (rc) {
		virtio_free(d);
		return rc;
	}
	vm->nslots++;
	rc = bus_add(&vm->mmio, base, VIRTIO_MMIO_SIZE, virtio_mmio_access, m);
	BUG_ON(rc);
	rc = kvm_irqfd(&vm->kvm, machine_gsi(i), m->irqfd, e);
	for (uint16_t q = 0; !rc && q < ops->nqueues; q++)
		rc = kvm_ioeventfd(&vm->kvm, base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, q, m->kick[q].fd,
				   e);
	return rc;
}

static int open_vcpus(struct vm *vm, struct err *e)
{
	int rc = kvm_supported_cpuid(&vm->kvm, &vm->cpuid, e);

	vm->quota.milli = vm->conf->cpu_milli;
	vm->env = (struct vcpu_env){ .kvm = &vm->kvm, .mem = &vm->mem, .mmio = &vm->mmio,
				     .pio = &vm->pio, .quota = &vm->quota,
				     .paused = vcpu_paused, .ended = vcpu_ended,
				     .owner = vm };
	while (!rc && vm->ncpus < vm->conf->cpus) {
		rc = vcpu_open(&vm->vcpu[vm->ncpus], &vm->env, vm->ncpus, &vm->cpuid, e);
		if (!rc)
			vm->ncpus++;
	}
	return rc;
}

/* Stop what open_slot() started, and let it drain. */
static void close_slots(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nslots; i++)
		virtio_mmio_exit(&vm->slot[i]);
	vm->nslots = 0;
}

int vm_open(struct vm *vm, const struct conf *conf, const struct snapshot *from, struct err *e)
{
	int rc;

	*vm = (struct vm){ .conf = conf, .signalfd = -1 };
	vm->power.fn = on_power;
	vm->control.snapshot = on_snapshot;
	vm->control.word = on_word;
	vm->origin = (struct snapshot_origin)SNAPSHOT_NO_ORIGIN;
	rc = open_signals(vm, e);
	if (rc)
		return rc;
	rc = kvm_open(&vm->kvm, e);
	if (rc)
		goto fail_signals;
	rc = kvm_create(&vm->kvm, e);
	if (rc)
		goto fail_kvm;
	rc = open_memory(vm, from, e);
	if (rc)
		goto fail_kvm;
	rc = loop_init(&vm->loop, LOOP_ENTRIES, e);
	if (rc)
		goto fail_memory;
	vm->board.event = board_event;
	board_open(&vm->board, &vm->mmio, &vm->pio);
	for (unsigned i = 0; !rc && i < CONF_SLOTS_MAX && conf->slot[i].dev; i++)
		rc = open_slot(vm, i, e);
	if (!rc)
		rc = open_vcpus(vm, e);
	if (!rc && from)
		rc = snapshot_load(vm, from, e);
	if (!rc)
		return 0;
	vm->end = VM_ERROR;
	maybe_drain(vm);
	vm_close(vm);
	return rc;
fail_memory:
	gmem_close(&vm->mem);
fail_kvm:
	kvm_close(&vm->kvm);
	snapshot_forget(vm);
fail_signals:
	close(vm->signalfd);
	return rc;
}

int vm_start(struct vm *vm, int (*enter)(void), int *worst, struct err *e)
{
	int rc = 0;

	vm->env.enter = enter;
	*worst = 0;
	for (unsigned i = 0; !rc && i < vm->ncpus; i++) {
		rc = vcpu_start(&vm->vcpu[i], e);
		vm->live += !rc;
		*worst = vm->vcpu[i].enter_rc ? vm->vcpu[i].enter_rc : *worst;
	}
	return rc;
}

enum vm_end vm_run(struct vm *vm)
{
	int rc = watch(vm);

	if (rc)
		vm_finish(vm, VM_ERROR, "io_uring is full at start");
	for (unsigned i = 0; !rc && i < vm->ncpus; i++)
		vcpu_resume(&vm->vcpu[i]);
	rc = loop_run(&vm->loop);
	/* The ring is gone from under us: nothing can be drained, only the process ended. */
	if (rc)
		BUG_ON(rc);
	return vm->end;
}

void vm_close(struct vm *vm)
{
	if (vm->end == VM_RUNNING)	/* started, but never run */
		vm_finish(vm, VM_ERROR, "");
	if (vm->loop.busy && loop_run(&vm->loop))
		BUG_ON(true);
	for (unsigned i = 0; i < vm->ncpus; i++)
		vcpu_close(&vm->vcpu[i]);
	close_slots(vm);
	loop_exit(&vm->loop);
	gmem_close(&vm->mem);
	kvm_close(&vm->kvm);
	snapshot_forget(vm);
	close(vm->signalfd);
}
