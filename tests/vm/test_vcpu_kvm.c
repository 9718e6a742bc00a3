/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that is paused again before its thread has noticed that it may go on, as by two saves
 * one after the other on a busy host: each pause has to be answered.
 */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <time.h>
#include "vmm/vcpu.h"

#define RAM	(2u << 20)
#define CODE	0x8000u
#define PAUSES	2000
#define WAIT_S	20

static struct kvm kvm;
static struct gmem mem = { .n = 1, .r = { { .base = 0, .len = RAM } } };
static struct bus bus;
static struct quota quota;
static struct vcpu cpu;
static sem_t paused, ended;

static void on_paused(struct vcpu *v)
{
	(void)v;
	sem_post(&paused);
}

static void on_ended(struct vcpu *v)
{
	(void)v;
	sem_post(&ended);
}

static struct vcpu_env env = { .kvm = &kvm, .mem = &mem, .mmio = &bus, .pio = &bus,
			       .quota = &quota, .paused = on_paused, .ended = on_ended };

static void put64(uint64_t at, uint64_t v)
{
	memcpy(mem.r[0].hva + at, &v, sizeof(v));
}

static void machine(void)
{
	struct vcpu_entry entry = { .rip = CODE, .rsp = 0x7000, .cr3 = 0x1000, .cs = 0x10,
				    .ds = 0x18 };
	struct kvm_cpuid_table cpuid;
	struct err e = { 0 };

	cr_assert_eq(kvm_open(&kvm, &e), 0, "%s", e.msg);
	cr_assert_eq(kvm_create(&kvm, &e), 0, "%s", e.msg);
	cr_assert_eq(gmem_open(&mem, &e), 0, "%s", e.msg);
	cr_assert_eq(kvm_memory(&kvm, 0, 0, RAM, mem.r[0].hva, &e), 0, "%s", e.msg);
	cr_assert_eq(kvm_supported_cpuid(&kvm, &cpuid, &e), 0, "%s", e.msg);
	cr_assert_eq(vcpu_open(&cpu, &env, 0, &cpuid, &e), 0, "%s", e.msg);
	cr_assert_eq(vcpu_set_entry(&cpu, &entry, &e), 0, "%s", e.msg);
	put64(0x1000, 0x2003);
	put64(0x2000, 0x3003);
	put64(0x3000, 0x83);			/* 2 MiB at 0 */
	memcpy(mem.r[0].hva + CODE, "\xeb\xfe", 2);	/* jmp to itself */
	cr_assert_eq(vcpu_start(&cpu, &e), 0, "%s", e.msg);
}

static bool comes(sem_t *s)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += WAIT_S;
	return !sem_timedwait(s, &t);
}

Test(vcpu_kvm, each_pause_is_answered_however_soon_it_follows_another)
{
	cr_assert(!sem_init(&paused, 0, 0) && !sem_init(&ended, 0, 0));
	machine();
	for (int i = 0; i < PAUSES; i++) {
		vcpu_resume(&cpu);
		vcpu_pause(&cpu);
		cr_assert(comes(&paused), "pause %d has no answer", i);
	}
	cr_assert(sem_trywait(&paused), "one has two");
	vcpu_resume(&cpu);
	vcpu_stop(&cpu);
	cr_assert(comes(&ended), "it does not end");
	vcpu_join(&cpu);
}
