/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loop N: N iterations of 10 instructions, 2 of them taken branches (the last one is not), then
 * exit(0).  No C library, no data, no stack: two runs whose N has as many digits differ by 10
 * instructions and 2 branches per iteration exactly, and in nothing else.
 */
	.globl	_start
	.text
_start:
	cmpq	$2, (%rsp)		/* argc */
	jb	usage
	movq	16(%rsp), %rsi		/* argv[1] */
	xorl	%ecx, %ecx
digit:
	movzbl	(%rsi), %eax
	subl	$'0', %eax
	cmpl	$9, %eax
	ja	parsed
	imulq	$10, %rcx
	addq	%rax, %rcx
	incq	%rsi
	jmp	digit
parsed:
	cmpb	$0, (%rsi)
	jne	usage
	testq	%rcx, %rcx
	jz	usage
	xorl	%eax, %eax
	movl	$7, %edx

iteration:
	leaq	1(%rax), %rax		/*  1 */
	xorq	%rdx, %rax		/*  2 */
	rolq	$5, %rax		/*  3 */
	jmp	further			/*  4, branch */
further:
	addq	$3, %rdx		/*  5 */
	movq	%rax, %rbx		/*  6 */
	shrq	$7, %rbx		/*  7 */
	xorq	%rbx, %rax		/*  8 */
	decq	%rcx			/*  9 */
	jnz	iteration		/* 10, branch */

	xorl	%edi, %edi
exit:
	movl	$60, %eax		/* exit */
	syscall
usage:
	movl	$2, %edi
	jmp	exit
