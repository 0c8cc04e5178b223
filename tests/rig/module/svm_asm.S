/* SPDX-License-Identifier: GPL-2.0-only */
/* Entering a guest that is a few instructions of guest_asm.h and shares the address space. */
#include <linux/linkage.h>

#include "svm_asm.h"

	.text

/*
 * void rig_svm_enter(u64 regs[5], u64 vmcb, u64 flags)
 *
 * Guest registers in and out: %rcx, %rdx, %rdi, %rbx; %rax is the VMCB's business.  regs[4] gets
 * the number of NMIs that the host took between #VMEXIT and STGI.  With RIG_SVM_HOST_IF physical
 * interrupts may exit (V_INTR_MASKING); GIF keeps them from the host.  With RIG_SVM_STEP the host's
 * TF is set when VMRUN begins.
 */
SYM_FUNC_START(rig_svm_enter)
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	%rsi, %rax
	clgi
	mov	%rdx, %r8
	test	$RIG_SVM_HOST_IF, %r8
	jz	1f
	sti
1:	mov	0(%rdi), %rcx
	mov	8(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	16(%rdi), %rdi
	test	$RIG_SVM_STEP, %r8
	jz	3f
	pushfq
	orl	$0x100, (%rsp)
	popfq
3:	vmrun	%rax
SYM_INNER_LABEL(rig_svm_exited, SYM_L_GLOBAL)
	cli
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rcx, 0(%rdi)
	mov	%rdx, 8(%rdi)
	mov	%rbx, 24(%rdi)
	pop	16(%rdi)
	/* long enough for any interrupt that skids */
	mov	$2000, %ecx
2:	dec	%ecx
	jnz	2b
	mov	rig_host_irqs(%rip), %eax
	mov	%rax, 32(%rdi)
	stgi
	pop	%rdi
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
SYM_FUNC_END(rig_svm_enter)

/*
 * u32 rig_svm_gif(u64 select, u32 msr)
 *
 * A counter of instructions that is started here overflows between CLGI and STGI.  Returns the
 * number of NMIs that came before STGI.
 */
SYM_FUNC_START(rig_svm_gif)
	mov	%esi, %ecx
	mov	%edi, %eax
	mov	%rdi, %rdx
	shr	$32, %rdx
	clgi
	wrmsr
	mov	$2000, %ecx
1:	dec	%ecx
	jnz	1b
	mov	rig_host_irqs(%rip), %r8d
	stgi
	mov	%esi, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	mov	%r8d, %eax
	ret
SYM_FUNC_END(rig_svm_gif)


/* HLT that an NMI ends */
SYM_CODE_START(rig_guest_hlt)
	.rept	10
	nop
	.endr
	hlt
	nop
	vmmcall
SYM_CODE_END(rig_guest_hlt)

/* 4096 iterations, once counted: %rdi is a buffer of the test */
SYM_CODE_START(rig_guest_rep)
	cld
	mov	$4096, %ecx
	rep stosb
	vmmcall
SYM_CODE_END(rig_guest_rep)

/* What an injected event returns to */
SYM_CODE_START(rig_guest_nop10)
	.rept	10
	nop
	.endr
	vmmcall
SYM_CODE_END(rig_guest_nop10)

/* Reads CR2, and writes another value */
SYM_CODE_START(rig_guest_cr2)
	mov	%cr2, %rax
	mov	%rax, %rdx
	not	%rdx
	mov	%rdx, %cr2
	vmmcall
SYM_CODE_END(rig_guest_cr2)

/* #DB in the host: note the place, end stepping */
SYM_CODE_START(rig_host_db)
	incl	rig_host_dbs(%rip)
	push	%rax
	mov	8(%rsp), %rax
	mov	%rax, rig_host_db_rip(%rip)
	andl	$~0x100, 24(%rsp)
	pop	%rax
	iretq
SYM_CODE_END(rig_host_db)

	.bss
	.balign	8
SYM_DATA(rig_host_db_rip, .quad 0)
SYM_DATA(rig_host_dbs, .long 0)

	.text
#define GUEST_END vmmcall
#include "guest_asm.h"

	.section .note.GNU-stack, "", @progbits
