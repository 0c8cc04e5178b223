/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program whose every instruction is here: `loop N` retires 2 * N instructions in
 * its loop, N of them conditional branches.  What is around the loop depends on the
 * number of N's digits alone.
 */
#include <asm/unistd.h>

	.globl	_start
	.text
_start:
	mov	16(%rsp), %rsi		/* argv[1] */
	xor	%ecx, %ecx
	mov	$2, %edi
	test	%rsi, %rsi
	jz	3f
1:	movzbl	(%rsi), %eax
	sub	$'0', %eax
	jb	2f
	imul	$10, %rcx, %rcx
	add	%rax, %rcx
	inc	%rsi
	jmp	1b
2:	test	%rcx, %rcx
	jz	3f
	call	loop
	xor	%edi, %edi
3:	mov	$__NR_exit_group, %eax
	syscall

loop:	dec	%rcx
	jnz	loop
	ret

	.section .note.GNU-stack, "", @progbits
