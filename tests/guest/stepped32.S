/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For `step`, as a 32-bit program: 11 system calls. The fast ones are the vDSO's choice: SYSENTER on
 * Intel's processors, SYSCALL on AMD's.
 */
	.globl	_start
	.text
_start:
	.rept	5
	movl	$20, %eax		/* getpid */
	int	$0x80
	nop
	movl	$20, %eax
	call	*%esi
	cld
	.endr
	movl	$1, %eax		/* exit(0) */
	xorl	%ebx, %ebx
	int	$0x80

	.section .note.GNU-stack, "", @progbits
