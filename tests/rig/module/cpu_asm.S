/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions that change RFLAGS and the privilege level, each with TF set when it begins, and the
 * handlers that tell where the single-step trap came.
 */
#include <linux/linkage.h>
#include <asm/segment.h>

#include "cpu_asm.h"

#define TF	0x100

.macro SAVE
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushfq
	mov	%rsp, rig_saved_rsp(%rip)
.endm

/* Also the way back from CPL 3 and from another stack */
.macro RESTORE
	mov	$__KERNEL_DS, %eax
	mov	%eax, %ss
	mov	rig_saved_rsp(%rip), %rsp
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
.endm

.macro SET_TF
	pushfq
	orl	$TF, (%rsp)
	popfq
.endm

	.text

/* LSTAR must be rig_syscall_target. */
SYM_FUNC_START(rig_step_syscall)
	SAVE
	SET_TF
	syscall
	ud2
SYM_INNER_LABEL(rig_syscall_target, SYM_L_GLOBAL)
	nop
	RESTORE
SYM_FUNC_END(rig_step_syscall)

/* IA32_SYSENTER_EIP must be rig_sysenter_target, IA32_SYSENTER_ESP a stack. */
SYM_FUNC_START(rig_step_sysenter)
	SAVE
	SET_TF
	sysenter
	ud2
SYM_INNER_LABEL(rig_sysenter_target, SYM_L_GLOBAL)
	nop
	RESTORE
SYM_FUNC_END(rig_step_sysenter)

/*
 * void rig_sysret(u64 rip, u64 rflags): to CPL 3, where nothing is mapped. The trap or the page fault
 * ends it.
 */
SYM_FUNC_START(rig_sysret)
	SAVE
	mov	%rdi, %rcx
	mov	%rsi, %r11
	sysretq
SYM_FUNC_END(rig_sysret)

SYM_FUNC_START(rig_step_int)
	SAVE
	SET_TF
	int	$RIG_STEP_VECTOR
	nop
SYM_INNER_LABEL(rig_int_stepped, SYM_L_GLOBAL)
	nop
	RESTORE
SYM_FUNC_END(rig_step_int)

SYM_CODE_START(rig_step_int_handler)
	nop
	nop
	iretq
SYM_CODE_END(rig_step_int_handler)

/* #DB: note the first place, count, and end stepping */
SYM_CODE_START(rig_step_db)
	push	%rax
	cmpl	$0, rig_step_dbs(%rip)
	jne	1f
	mov	8(%rsp), %rax
	mov	%rax, rig_step_rip(%rip)
1:	incl	rig_step_dbs(%rip)
	andl	$~TF, 24(%rsp)
	testb	$3, 16(%rsp)
	jnz	rig_step_leave
	pop	%rax
	iretq
SYM_CODE_END(rig_step_db)

/* #PF: only of the code at CPL 3 that is not there */
SYM_CODE_START(rig_step_pf)
	incl	rig_step_pfs(%rip)
	jmp	rig_step_leave
SYM_CODE_END(rig_step_pf)

SYM_CODE_START_LOCAL(rig_step_leave)
	RESTORE
SYM_CODE_END(rig_step_leave)

	.bss
	.balign	8
SYM_DATA_LOCAL(rig_saved_rsp, .quad 0)
SYM_DATA(rig_step_rip, .quad 0)
SYM_DATA(rig_step_dbs, .long 0)
SYM_DATA(rig_step_pfs, .long 0)

	.section .note.GNU-stack, "", @progbits
