/* SPDX-License-Identifier: GPL-2.0 */
/* For `step`: 42 instructions, 11 of them system calls of both kinds. */
	.globl	_start
	.text
_start:
	.rept	5
	movl	$39, %eax		/* getpid */
	syscall
	nop
	xorl	%ecx, %ecx
	movl	$20, %eax		/* getpid of 32-bit programs */
	int	$0x80
	nop
	cld
	.endr
	movl	$60, %eax		/* exit(0), after 40 */
	syscall

	.section .note.GNU-stack, "", @progbits
