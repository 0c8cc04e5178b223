/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entering a guest that is a few instructions of guest_asm.h.  It shares the host's
 * address space.
 */
#include <linux/linkage.h>

	.text

/*
 * int rig_vmx_enter(u64 regs[5])
 *
 * Guest registers in and out: %rax, %rcx, %rdx, %rdi, %rbx.  The current VMCS is
 * in state "clear".  Returns 0 after a VM exit (which includes a failed entry that
 * is reported as one), 1 for VMfailInvalid, 2 for VMfailValid.
 */
SYM_FUNC_START(rig_vmx_enter)
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	$0x6c14, %eax		/* host RSP */
	vmwrite	%rsp, %rax
	mov	$0x6c16, %eax		/* host RIP */
	lea	1f(%rip), %rdx
	vmwrite	%rdx, %rax
	mov	0(%rdi), %rax
	mov	8(%rdi), %rcx
	mov	16(%rdi), %rdx
	mov	32(%rdi), %rbx
	mov	24(%rdi), %rdi
	vmlaunch
	mov	$1, %eax
	mov	$2, %ecx
	cmovnc	%ecx, %eax
	pop	%rdi
	jmp	2f
1:	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, 0(%rdi)
	mov	%rcx, 8(%rdi)
	mov	%rdx, 16(%rdi)
	mov	%rbx, 32(%rdi)
	pop	24(%rdi)
	pop	%rdi
	xor	%eax, %eax
2:	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
SYM_FUNC_END(rig_vmx_enter)

#define GUEST_END vmcall
#include "guest_asm.h"

	.section .note.GNU-stack, "", @progbits
