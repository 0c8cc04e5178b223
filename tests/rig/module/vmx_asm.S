/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entering a guest that is a few instructions of this file, and these guests.
 * They share the host's address space and end with VMCALL.
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

SYM_CODE_START(rig_guest_vmcall)
	vmcall
SYM_CODE_END(rig_guest_vmcall)

SYM_CODE_START(rig_guest_nop1000)
	.rept	1000
	nop
	.endr
	vmcall
SYM_CODE_END(rig_guest_nop1000)

/* 2 * %rdi instructions */
SYM_CODE_START(rig_guest_loop)
1:	dec	%rdi
	jnz	1b
	vmcall
SYM_CODE_END(rig_guest_loop)

SYM_CODE_START(rig_guest_rdmsr)
	rdmsr
	vmcall
SYM_CODE_END(rig_guest_rdmsr)

SYM_CODE_START(rig_guest_wrmsr)
	wrmsr
	vmcall
SYM_CODE_END(rig_guest_wrmsr)

SYM_CODE_START(rig_guest_rdpmc)
	rdpmc
	vmcall
SYM_CODE_END(rig_guest_rdpmc)

/* CPUID always exits, the ten instructions before it retire */
SYM_CODE_START(rig_guest_cpuid)
	.rept	10
	nop
	.endr
	cpuid
	vmcall
SYM_CODE_END(rig_guest_cpuid)

SYM_CODE_START(rig_guest_ud2)
	.rept	10
	nop
	.endr
	ud2
	vmcall
SYM_CODE_END(rig_guest_ud2)

/* reads counter 0 at once and after 100 NOPs more */
SYM_CODE_START(rig_guest_rdpmc_twice)
	xor	%ecx, %ecx
	rdpmc
	mov	%eax, %ebx
	.rept	100
	nop
	.endr
	rdpmc
	vmcall
SYM_CODE_END(rig_guest_rdpmc_twice)

/* Interrupt handlers, of the guest's own table and of the host's while it enters guests */
SYM_CODE_START(rig_guest_irq)
	incl	rig_guest_irqs(%rip)
	iretq
SYM_CODE_END(rig_guest_irq)

SYM_CODE_START(rig_host_irq)
	incl	rig_host_irqs(%rip)
	iretq
SYM_CODE_END(rig_host_irq)

	.bss
	.balign	4
SYM_DATA(rig_guest_irqs, .long 0)
SYM_DATA(rig_host_irqs, .long 0)

	.section .note.GNU-stack, "", @progbits
