/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare.S - guests of a few instructions, one program for each way a machine can end.
 * The loader starts them as it would start Linux: 64-bit mode, the first GiB mapped
 * one to one, interrupts off, RSI = boot parameters.
 */
	.globl _start
	.text
_start:
#if defined(RESET)			/* by the keyboard controller */
	mov	$0xfe, %al
	out	%al, $0x64
#elif defined(TRIPLE)			/* an exception without an IDT */
	xor	%eax, %eax
	push	%rax
	push	%rax
	lidt	(%rsp)
	ud2
#elif defined(POWEROFF) || defined(PANIC)
	/* Devices lie in the fourth GiB: map its 0xd0000000 to 0xd0200000 first. */
	lea	table(%rip), %rax
	or	$3, %rax
	mov	%cr3, %rbx
	mov	(%rbx), %rbx		/* PML4[0] */
	and	$~0xfff, %rbx
	mov	%rax, 3 * 8(%rbx)
	mov	$0xd0000083, %eax	/* present, writable, 2 MiB */
	mov	%rax, table + (0x10000000 >> 21) * 8(%rip)
	mov	%cr3, %rbx
	mov	%rbx, %cr3
#ifdef POWEROFF
	mov	$0xd0100000, %ebx
	movl	$1, (%rbx)
#else
	mov	$0xd0101000, %ebx
	movb	$1, (%rbx)
#endif
#elif defined(FLOOD)			/* the log port, as fast as it goes */
	mov	$0xe9, %dx
1:	lea	text(%rip), %rsi
	mov	$text_end - text, %ecx
	rep	outsb
	jmp	1b
text:	.ascii	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
text_end:
#elif defined(SAY)			/* one line, then nothing more */
	mov	$0xe9, %dx
	lea	text(%rip), %rsi
	mov	$text_end - text, %ecx
	rep	outsb
1:	jmp	1b
text:	.ascii	"a line for people\n"
text_end:
#endif
1:	jmp	1b			/* HANG, and the end of the others */

	.data
	.balign	4096
table:	.fill	512, 8, 0
	.section .note.GNU-stack, "", @progbits
