/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver_start.S - to user mode and no further. The loader starts this as it would
 * start Linux; a few instructions later the rest runs at CPL 3, at the processor's
 * own speed even where guest kernels are emulated: the first 64 MiB and the devices
 * mapped one to one, interrupts off, any exception the end. The TSS allows every I/O
 * port; IOPL would, but a KVM that emulates kernels now and then forgets it on a busy host.
 */
	.globl _start
	.text
_start:
	mov	$pml4, %eax
	mov	%rax, %cr3
	mov	$tss, %eax
	mov	%ax, tss_descriptor + 2
	shr	$16, %eax
	mov	%al, tss_descriptor + 4
	mov	%ah, tss_descriptor + 7
	lgdt	gdt_pointer(%rip)
	mov	$0x20, %eax
	ltr	%ax
	mov	0x228(%rsi), %edi	/* cmd_line_ptr: the argument of guest_main() */
	push	$0x13			/* SS: user data */
	lea	stack_end(%rip), %rax
	push	%rax
	push	$2			/* RFLAGS */
	push	$0x1b			/* CS: user code */
	lea	guest_main(%rip), %rax
	push	%rax
	iretq

	.data
	.balign	4096
pml4:	.quad	pdpt + 7		/* present, writable, user */
	.fill	511, 8, 0
pdpt:	.quad	low + 7
	.fill	2, 8, 0
	.quad	devices + 7
	.fill	508, 8, 0
low:	.set	page, 0
	.rept	32
	.quad	page + 0x87		/* 2 MiB */
	.set	page, page + 0x200000
	.endr
	.fill	480, 8, 0
devices: .fill	128, 8, 0
	.quad	0xd0000000 + 0x97	/* not cached */
	.fill	383, 8, 0
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* kernel code, as long as it is needed */
	.quad	0x00cff3000000ffff	/* 0x10: user data */
	.quad	0x00affb000000ffff	/* 0x18: user code */
tss_descriptor:				/* 0x20; its base is filled in */
	.word	tss_end - tss - 1, 0
	.byte	0, 0x89, 0, 0
	.quad	0
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
tss:	.fill	102, 1, 0
	.word	104			/* where the ports' bits are: 0 allows */
	.fill	8192, 1, 0
	.byte	0xff
tss_end:
	.bss
	.balign	16
	.skip	65536
stack_end:
	.section .note.GNU-stack, "", @progbits
