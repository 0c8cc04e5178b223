/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's instructions that are not C: where it begins, one operation at any privilege level, exceptions, and the
 * way into L2.
 */
#include "guest.h"

	.section .text.entry, "ax", @progbits
	.globl _start
/* %rdi: struct area */
_start:
	call	guest_main
1:	jmp	1b

	/* Where the host finds the handlers (GUEST_HANDLERS): of exceptions, the end of a step, any interrupt */
	.org	0x10
handlers:
	.quad	exc_0, exc_1, nmi
	.irp	v, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	.quad	exc_\v
	.endr
	.quad	back, interrupt

	.text

/* u64 step(u64 code, u64 ring, u32 index, u64 value): what the instruction there leaves in EDX:EAX */
	.globl step
step:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, %r12
	mov	%rcx, %rax
	mov	%edx, %ecx
	mov	%rax, %rdx
	shr	$32, %rdx
	mov	%eax, %eax
	movq	$0, %gs:AREA_FAULT
	mov	%rsp, %gs:AREA_RSP
	test	%esi, %esi
	jnz	1f
	jmp	*%r12
1:	mov	%rsi, %rbx
	shl	$4, %rbx
	lea	DATA_OF(0)(%rbx, %rsi), %r8
	lea	CODE_OF(0)(%rbx, %rsi), %r9
	push	%r8
	push	%gs:AREA_RING
	push	$2
	push	%r9
	push	%r12
	iretq

	.globl step_rdmsr, step_wrmsr, step_rdpmc, step_loop, step_cpuid, step_sti
step_rdmsr:
	rdmsr
	int	$VECTOR_BACK
step_wrmsr:
	wrmsr
	int	$VECTOR_BACK
step_rdpmc:
	rdpmc
	int	$VECTOR_BACK
step_loop:
	dec	%eax
	jnz	step_loop
	int	$VECTOR_BACK
/* %ecx: leaf, %eax: subleaf */
step_cpuid:
	xchg	%eax, %ecx
	cpuid
	int	$VECTOR_BACK
step_sti:
	sti
	nop
	nop
	cli
	int	$VECTOR_BACK

/* The end of a step, at any level; interrupts are off. */
back:
	mov	%gs:AREA_RSP, %rsp
	movq	$0, %gs:AREA_RSP
	shl	$32, %rdx
	mov	%eax, %eax
	or	%rdx, %rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* An exception ends a step; elsewhere it is the guest's end. */
exception:
	pop	%rax
	cmpq	$0, %gs:AREA_RSP
	jz	1f
	inc	%rax
	mov	%rax, %gs:AREA_FAULT
	xor	%eax, %eax
	xor	%edx, %edx
	jmp	back
1:	out	%al, $PORT_FAULT
	jmp	1b

nmi:
	incq	%gs:AREA_NMIS
	iretq

interrupt:
	push	%rax
	incq	%gs:AREA_INTS
	mov	$APIC, %eax
	movl	$0, APIC_EOI(%rax)
	pop	%rax
	iretq

	.macro exc vector
exc_\vector:
	push	$\vector
	jmp	exception
	.endm
	.irp	v, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	exc	\v
	.endr
	.irp	v, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	exc	\v
	.endr

	.macro save_callee
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm
	.macro restore_callee
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	.endm

	/* L2's registers: rax rbx rcx rdx rsi rdi rbp r8 ... r15 */
	.macro load_l2
	mov	0x08(%rdi), %rbx
	mov	0x10(%rdi), %rcx
	mov	0x18(%rdi), %rdx
	mov	0x20(%rdi), %rsi
	mov	0x30(%rdi), %rbp
	mov	0x38(%rdi), %r8
	mov	0x40(%rdi), %r9
	mov	0x48(%rdi), %r10
	mov	0x50(%rdi), %r11
	mov	0x58(%rdi), %r12
	mov	0x60(%rdi), %r13
	mov	0x68(%rdi), %r14
	mov	0x70(%rdi), %r15
	.endm
	/* %rdi is on the stack, L2's own in its place */
	.macro store_l2
	xchg	%rdi, (%rsp)
	mov	%rbx, 0x08(%rdi)
	mov	%rcx, 0x10(%rdi)
	mov	%rdx, 0x18(%rdi)
	mov	%rsi, 0x20(%rdi)
	mov	%rbp, 0x30(%rdi)
	mov	%r8, 0x38(%rdi)
	mov	%r9, 0x40(%rdi)
	mov	%r10, 0x48(%rdi)
	mov	%r11, 0x50(%rdi)
	mov	%r12, 0x58(%rdi)
	mov	%r13, 0x60(%rdi)
	mov	%r14, 0x68(%rdi)
	mov	%r15, 0x70(%rdi)
	pop	%rbx
	mov	%rbx, 0x28(%rdi)
	.endm

/*
 * int vmx_enter(u64 *registers, u64 launch): 0 after an exit, 1 if the instruction failed.  HOST_RSP is written here,
 * HOST_RIP is vmx_exit.
 */
	.globl vmx_enter, vmx_exit
vmx_enter:
	save_callee
	push	%rdi
	mov	$0x6c14, %eax
	vmwrite	%rsp, %rax
	mov	%esi, %eax
	load_l2
	test	%eax, %eax
	mov	(%rdi), %rax
	mov	0x28(%rdi), %rdi
	jz	1f
	vmlaunch
	jmp	2f
1:	vmresume
2:	pop	%rdi
	restore_callee
	mov	$1, %eax
	ret
vmx_exit:
	store_l2
	mov	%rax, (%rdi)
	restore_callee
	xor	%eax, %eax
	ret

/* void svm_enter(u64 *registers, u64 vmcb): RAX is in the VMCB */
	.globl svm_enter
svm_enter:
	save_callee
	push	%rdi
	mov	%rsi, %rax
	load_l2
	mov	0x28(%rdi), %rdi
	vmrun	%rax
	stgi
	store_l2
	restore_callee
	ret

/* Where L2 begins: %rdi struct area, %rsi the first operation, %rdx how many */
	.globl l2_start
l2_start:
	call	l2_main
	/* VMCALL is VMMCALL's sibling: each CPU knows one. */
	cmpq	$0, %gs:48
	jnz	2f
1:	vmcall
	jmp	1b
2:	vmmcall
	jmp	2b

	.section .note.GNU-stack, "", @progbits
