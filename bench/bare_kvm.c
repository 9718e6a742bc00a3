/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare_kvm FD MIB [FILE...] - the least that anybody has to do for a virtual machine.
 *
 * Opens /dev/kvm, makes a machine with interrupt controllers, a timer, MIB of memory and
 * one vCPU, writes `run NS` (CLOCK_MONOTONIC) to FD, and runs one OUT instruction, so that a
 * machine that cannot run is not measured. FILEs are read into guest memory before
 * that: what has to be read to boot at all. Then it waits for the end of its stdin, as
 * an idle machine whose memory can be looked at.
 *
 * Nothing is checked beyond success; there is no CPUID, no device, no thread.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "vmm/base.h"

#define CODE	0x1000u
#define FILES	0x200000u

static int ask(int fd, unsigned long what, void *arg, const char *name)
{
	int rc = ioctl(fd, what, arg);

	if (rc < 0) {
		perror(name);
		exit(1);
	}
	return rc;
}
#define ASK(fd, what, arg) ask(fd, what, arg, #what)

static void read_files(unsigned char *ram, size_t len, char **names)
{
	size_t at = FILES;

	for (; *names; names++) {
		int fd = open(*names, O_RDONLY | O_CLOEXEC);
		ssize_t n;

		BUG_ON(fd < 0);
		while ((n = read(fd, ram + at, len - at)) > 0)
			at += (size_t)n;
		BUG_ON(n < 0);
		close(fd);
	}
}

static int make_machine(int kvm, unsigned char *ram, size_t len)
{
	struct kvm_pit_config pit = { 0 };
	struct kvm_userspace_memory_region mem = {
		.memory_size = len, .userspace_addr = (uintptr_t)ram,
	};
	int vm = ASK(kvm, KVM_CREATE_VM, NULL);

	ASK(vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul);
	ASK(vm, KVM_CREATE_IRQCHIP, NULL);
	ASK(vm, KVM_CREATE_PIT2, &pit);
	ASK(vm, KVM_SET_USER_MEMORY_REGION, &mem);
	return vm;
}

/* Real mode, at CODE. */
static void set_registers(int vcpu)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	ASK(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ASK(vcpu, KVM_SET_SREGS, &sregs);
	ASK(vcpu, KVM_SET_REGS, &regs);
}

int main(int argc, char **argv)
{
	static const unsigned char out[] = { 0xe6, 0xf4 };	/* out %al, $0xf4 */
	size_t len = (argc > 2 ? strtoul(argv[2], NULL, 10) : 0) << 20;
	unsigned char *ram;
	struct kvm_run *run;
	struct timespec t;
	int kvm, vm, vcpu;
	char end;

	if (!len)
		return 2;
	ram = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	BUG_ON(ram == MAP_FAILED);
	memcpy(ram + CODE, out, sizeof(out));
	read_files(ram, len, argv + 3);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	BUG_ON(kvm < 0);
	vm = make_machine(kvm, ram, len);
	vcpu = ASK(vm, KVM_CREATE_VCPU, NULL);
	run = mmap(NULL, (size_t)ASK(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	BUG_ON(run == MAP_FAILED);
	set_registers(vcpu);
	clock_gettime(CLOCK_MONOTONIC, &t);
	BUG_ON(dprintf(atoi(argv[1]), "run %lld%09ld\n", (long long)t.tv_sec, t.tv_nsec) < 0);
	ASK(vcpu, KVM_RUN, NULL);
	BUG_ON(run->exit_reason != KVM_EXIT_IO || run->io.port != 0xf4);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	return 0;
}
