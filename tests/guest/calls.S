/* SPDX-License-Identifier: GPL-2.0 */
/*
 * calls N: N system calls (getppid), 4 user instructions each, then exit(0). No C library: two
 * runs whose N has as many digits differ by 4 user instructions and 2 user branches (SYSCALL and
 * JNZ) per call exactly.
 */
	.globl	_start
	.text
_start:
	cmpq	$2, (%rsp)		/* argc */
	jb	usage
	movq	16(%rsp), %rsi		/* argv[1] */
	xorl	%ebx, %ebx
digit:
	movzbl	(%rsi), %eax
	subl	$'0', %eax
	cmpl	$9, %eax
	ja	parsed
	imulq	$10, %rbx
	addq	%rax, %rbx
	incq	%rsi
	jmp	digit
parsed:
	cmpb	$0, (%rsi)
	jne	usage
	testq	%rbx, %rbx
	jz	usage

call:
	movl	$110, %eax		/* 1: getppid */
	syscall				/* 2 */
	decq	%rbx			/* 3 */
	jnz	call			/* 4 */

	xorl	%edi, %edi
exit:
	movl	$60, %eax		/* exit */
	syscall
usage:
	movl	$2, %edi
	jmp	exit
