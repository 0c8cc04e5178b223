/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine that executes programs: the same instructions natively, in a kernel module, and in a guest that has
 * nothing else in its memory.  All of it is one page that runs at any address.  It has no stack frames, and nothing
 * but the instructions below is executed from its first to its last operation: model.c has them as strings, to know
 * what each counter counts and where it overflows, and has each branch, to know its record.  Who changes something
 * here changes those.
 *
 * Registers: %r15 context, %rbx next operation, %rbp its record, %r14 operations left, %r12 where #GP goes on,
 * %r8d RECORD_FAULT after one, %rsi what was read, %ecx and %rdi index and value of the operation.
 */
#include "program.h"

	.section .text.machine, "ax", @progbits
	.balign 4096
	.globl machine_page, machine_run, machine_gp, machine_nmi, machine_back, machine_guest, machine_end

	/* A place of a branch, or that one leads to: the model's AT(name). */
	.macro	at name
	.globl	machine_at_\name
machine_at_\name:
	.endm

machine_page:

/* void machine_run(struct context *): interrupts are off. */
machine_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, %r15
	mov	CTX_OPS(%r15), %rbx
	mov	CTX_RECORDS(%r15), %rbp
	mov	CTX_COUNT(%r15), %r14
fetch:	at	fetch
	mov	(%rbx), %eax
	lea	table(%rip), %rdx
	movslq	(%rdx, %rax, 4), %rax
	add	%rdx, %rax
	mov	4(%rbx), %ecx
	mov	8(%rbx), %rdi
	xor	%r8d, %r8d
	xor	%esi, %esi
	at	dispatch
	jmp	*%rax

op_wrmsr:
	lea	1f(%rip), %r12
	mov	%edi, %eax
	mov	%rdi, %rdx
	shr	$32, %rdx
	at	wrmsr
	wrmsr
1:	at	wrmsr_done
	jmp	record

op_rdmsr:
	lea	1f(%rip), %r12
	at	rdmsr
	rdmsr
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, %rsi
1:	at	rdmsr_done
	jmp	record

op_rdpmc:
	lea	1f(%rip), %r12
	at	rdpmc
	rdpmc
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, %rsi
1:	at	rdpmc_done
	jmp	record

op_loop:
1:	dec	%rdi
	at	loop
	jnz	1b
	at	loop_done
	jmp	record

op_nops:
	.rept	16
	nop
	.endr
	at	nops_done
	jmp	record

op_jumps:
	.rept	7
	jmp	1f
1:
	.endr
	at	jumps_done
	jmp	record

/* Branches of each kind, calls that return and calls that don't */
op_calls:
	lea	1f(%rip), %rax
	at	calls_rel
	call	calls_leaf
	at	calls_deep
	call	calls_deep
	at	calls_deep_back
	xor	%edx, %edx
	jnz	op_calls
	at	calls_jump
	jmp	*%rax
	ud2
1:	at	calls_done
	jmp	record

calls_deep:
	at	calls_deeper
	lea	calls_leaf(%rip), %rdx
	at	calls_ind
	call	*%rdx
	at	calls_next
	call	1f
1:	at	calls_over
	call	1f
	ud2
1:	at	calls_over_to
	add	$16, %rsp
	at	calls_deep_ret
	ret

calls_leaf:
	at	calls_leaf
	ret

op_user_loop:
	lea	user_loop - machine_page, %rax
	at	user_loop_start
	jmp	to_user

op_user_rdpmc:
	lea	user_rdpmc - machine_page, %rax
to_user:
	at	to_user
	add	CTX_USER(%r15), %rax
	lea	user_back - user_rdpmc(%rax), %r12
	mov	%rsp, CTX_RSP(%r15)
	push	$MACHINE_USER_SS
	push	$0
	push	$2
	push	$MACHINE_USER_CS
	push	%rax
	at	to_user_iret
	iretq

user_loop:
	at	user_loop
	dec	%rdi
	at	user_loop_branch
	jnz	user_loop
	at	user_loop_int
	int	$MACHINE_VECTOR_BACK

user_rdpmc:
	at	user_rdpmc
	rdpmc
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, %rsi
user_back:
	at	user_back
	int	$MACHINE_VECTOR_BACK

/* the vector MACHINE_VECTOR_BACK */
machine_back:
	at	back
	mov	CTX_RSP(%r15), %rsp
	at	back_done
	jmp	record

op_lvtpc:
	mov	CTX_APIC_LVTPC(%r15), %rax
	mov	%rdi, CTX_LVTPC(%r15)
	mov	%edi, (%rax)
	at	lvtpc_done
	jmp	record

op_read_lvtpc:
	mov	CTX_APIC_LVTPC(%r15), %rax
	mov	(%rax), %esi
	at	read_lvtpc_done
	jmp	record

op_handler:
	mov	%rdi, CTX_HANDLER(%r15)
	at	handler_done
	jmp	record

op_port:
	out	%al, $MACHINE_PORT
	/* falls through */

record:	at	record
	mov	%rsi, (%rbp)
	mov	CTX_PMI_STATUS(%r15), %rax
	mov	%rax, 8(%rbp)
	mov	CTX_PMIS(%r15), %eax
	mov	%eax, 16(%rbp)
	mov	CTX_PMI_RIP(%r15), %eax
	or	%r8d, %eax
	mov	%eax, 20(%rbp)
	add	$OP_SIZE, %rbx
	add	$RECORD_SIZE, %rbp
	dec	%r14
	at	again
	jnz	fetch

	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* #GP */
machine_gp:
	at	gp
	mov	$1 << 31, %r8d
	add	$8, %rsp
	mov	%r12, (%rsp)
	at	gp_iret
	iretq

/* NMI, which all PMIs are here */
machine_nmi:
	at	nmi
	push	%rax
	push	%rcx
	push	%rdx
	incl	CTX_PMIS(%r15)
	mov	24(%rsp), %eax
	and	$0xfff, %eax
	mov	%eax, CTX_PMI_RIP(%r15)
	testb	$HANDLER_STATUS, CTX_HANDLER(%r15)
	at	nmi_status
	jz	1f
	mov	CTX_STATUS_MSR(%r15), %ecx
	rdmsr
	mov	%eax, CTX_PMI_STATUS(%r15)
	mov	%edx, CTX_PMI_STATUS + 4(%r15)
	testb	$HANDLER_RESET, CTX_HANDLER(%r15)
	at	nmi_reset
	jz	1f
	mov	CTX_RESET_MSR(%r15), %ecx
	wrmsr
1:	at	nmi_seen
	testb	$HANDLER_REARM, CTX_HANDLER(%r15)
	at	nmi_rearm
	jz	2f
	mov	CTX_APIC_LVTPC(%r15), %rax
	mov	CTX_LVTPC(%r15), %ecx
	mov	%ecx, (%rax)
2:	at	nmi_end
	pop	%rdx
	pop	%rcx
	pop	%rax
	at	nmi_iret
	iretq

/* Where a guest begins, and goes on when user space has given it another program: the context is in %r13, too. */
machine_guest:
	mov	%r13, %rdi
	call	machine_run
	out	%al, $MACHINE_PORT + 1
	jmp	machine_guest

	.balign	4
table:	at	table
	.irp	op, wrmsr, rdmsr, rdpmc, loop, nops, jumps, user_loop, user_rdpmc, lvtpc, read_lvtpc, handler, port, calls
	.long	op_\op - table
	.endr
machine_end:

	.section .note.GNU-stack, "", @progbits
