/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Branches at known addresses for the tests of branch records, and lists of what they must leave.
 */
#include <linux/linkage.h>
#include <asm/segment.h>
#include "lbr_asm.h"

.macro LIST name
	.pushsection .rodata
	.balign	8
SYM_DATA_START(rig_lbr_\name\()_list)
.endm

.macro LIST_END name
SYM_DATA_END(rig_lbr_\name\()_list)
SYM_DATA_START(rig_lbr_\name\()_end)
SYM_DATA_END(rig_lbr_\name\()_end)
	.popsection
.endm

	.text

/*
 * void rig_lbr_run(u64 val, void (*seq)(void), u64 off, u32 msr)
 *
 * Branches are recorded between the write of val and that of off to the register msr: the call of
 * the sequence, its branches, and its return.
 */
SYM_FUNC_START(rig_lbr_run)
	push	%rbx
	push	%rbp
	mov	%rsi, %rbx
	mov	%rdx, %rbp
	mov	%ecx, rig_lbr_msr(%rip)
	mov	%rdx, rig_lbr_val(%rip)
	mov	%edi, %eax
	mov	%rdi, %rdx
	shr	$32, %rdx
	wrmsr
SYM_INNER_LABEL(rig_lbr_call, SYM_L_GLOBAL)
	call	*%rbx
SYM_INNER_LABEL(rig_lbr_returned, SYM_L_GLOBAL)
	mov	rig_lbr_msr(%rip), %ecx
	mov	%ebp, %eax
	mov	%rbp, %rdx
	shr	$32, %rdx
	wrmsr
	pop	%rbp
	pop	%rbx
	ret
SYM_FUNC_END(rig_lbr_run)

/* Each kind of branch; those that are not taken leave nothing. */
SYM_CODE_START(rig_lbr_all)
	xor	%eax, %eax
	jnz	.Lall_end
.Lall_jz:
	jz	.Lall_jz_to
	nop
.Lall_jz_to:
	mov	$2, %ecx
.Lall_loop:
	loop	.Lall_loop_to
	nop
.Lall_loop_to:
	loop	.Lall_loop
.Lall_call:
	call	.Lall_f
.Lall_call_ind_to:
	lea	.Lall_g(%rip), %rax
.Lall_call_ind:
	call	*%rax
.Lall_jmp:
	jmp	.Lall_jmp_to
.Lall_f:
	ret
.Lall_g:
	nop
.Lall_g_ret:
	ret
.Lall_jmp_to:
	lea	.Lall_jmp_ind_to(%rip), %rax
.Lall_jmp_ind:
	jmp	*%rax
	nop
.Lall_jmp_ind_to:
	pushq	$__KERNEL_CS
	lea	.Lall_lret_to(%rip), %rax
	push	%rax
.Lall_lret:
	lretq
	nop
.Lall_lret_to:
	nop
.Lall_int:
	int	$RIG_LBR_VECTOR
.Lall_int_to:
	nop
.Lall_ud2:
	ud2
.Lall_ud2_to:
	nop
.Lall_end:
	ret
SYM_CODE_END(rig_lbr_all)

LIST all
	.quad	rig_lbr_call, rig_lbr_all, RIG_LBR_IND_CALL
	.quad	.Lall_jz, .Lall_jz_to, RIG_LBR_COND
	.quad	.Lall_loop, .Lall_loop_to, RIG_LBR_COND
	.quad	.Lall_call, .Lall_f, RIG_LBR_REL_CALL
	.quad	.Lall_f, .Lall_call_ind_to, RIG_LBR_RET
	.quad	.Lall_call_ind, .Lall_g, RIG_LBR_IND_CALL
	.quad	.Lall_g_ret, .Lall_jmp, RIG_LBR_RET
	.quad	.Lall_jmp, .Lall_jmp_to, RIG_LBR_REL_JMP
	.quad	.Lall_jmp_ind, .Lall_jmp_ind_to, RIG_LBR_IND_JMP
	.quad	.Lall_lret, .Lall_lret_to, RIG_LBR_FAR
	.quad	.Lall_int, rig_lbr_iret, RIG_LBR_FAR
	.quad	rig_lbr_iret, .Lall_int_to, RIG_LBR_FAR
	.quad	.Lall_ud2, rig_lbr_ud, RIG_LBR_FAR
	.quad	.Lud_iret, .Lall_ud2_to, RIG_LBR_FAR
	.quad	.Lall_end, rig_lbr_returned, RIG_LBR_RET
LIST_END all

SYM_CODE_START(rig_lbr_ret)
	ret
SYM_CODE_END(rig_lbr_ret)

/* RIG_LBR_CHAIN jumps, each of two bytes and over a byte */
SYM_CODE_START(rig_lbr_chain)
SYM_INNER_LABEL(rig_lbr_chain_from, SYM_L_GLOBAL)
	.rept	RIG_LBR_CHAIN
	.byte	0xeb, 0x01
	nop
	.endr
	ret
SYM_CODE_END(rig_lbr_chain)

SYM_CODE_START(rig_lbr_loop)
	mov	$1000, %ecx
SYM_INNER_LABEL(rig_lbr_loop_to, SYM_L_GLOBAL)
	dec	%ecx
SYM_INNER_LABEL(rig_lbr_loop_from, SYM_L_GLOBAL)
	jnz	rig_lbr_loop_to
	ret
SYM_CODE_END(rig_lbr_loop)

/*
 * Calls in calls, and some that return, until the innermost stops the recording: what the call-stack
 * mode must have then is how one gets there.
 */
SYM_CODE_START(rig_lbr_deep)
	call	.Ldeep_leaf
	call	.Ldeep_leaf
.Ldeep_a:
	call	.Ldeep_f
	ret
.Ldeep_f:
	call	.Ldeep_leaf
	xor	%eax, %eax
	jz	1f
1:	lea	.Ldeep_g(%rip), %rax
.Ldeep_b:
	call	*%rax
	ret
.Ldeep_g:
	/* asks for its own address */
	call	1f
1:	pop	%rax
	call	.Ldeep_leaf
	mov	rig_lbr_msr(%rip), %ecx
	mov	rig_lbr_val(%rip), %eax
	mov	rig_lbr_val + 4(%rip), %edx
	wrmsr
	ret
.Ldeep_leaf:
	ret
SYM_CODE_END(rig_lbr_deep)

LIST deep
	.quad	rig_lbr_call, rig_lbr_deep, RIG_LBR_IND_CALL
	.quad	.Ldeep_a, .Ldeep_f, RIG_LBR_REL_CALL
	.quad	.Ldeep_b, .Ldeep_g, RIG_LBR_IND_CALL
LIST_END deep

/* A debug exception between two jumps */
SYM_CODE_START(rig_lbr_icebp)
.Licebp_a:
	jmp	.Licebp_a_to
	nop
.Licebp_a_to:
	.byte	0xf1
.Licebp_returned:
	nop
.Licebp_b:
	jmp	.Licebp_b_to
	nop
.Licebp_b_to:
	ret
SYM_CODE_END(rig_lbr_icebp)

LIST icebp
	.quad	rig_lbr_call, rig_lbr_icebp, RIG_LBR_IND_CALL
	.quad	.Licebp_a, .Licebp_a_to, RIG_LBR_REL_JMP
	/* if it did not stop the recording */
	.quad	rig_lbr_iret, .Licebp_returned, RIG_LBR_FAR
	.quad	.Licebp_b, .Licebp_b_to, RIG_LBR_REL_JMP
	.quad	.Licebp_b_to, rig_lbr_returned, RIG_LBR_RET
LIST_END icebp

/* Handlers */
SYM_CODE_START(rig_lbr_iret)
	iretq
SYM_CODE_END(rig_lbr_iret)

SYM_CODE_START(rig_lbr_ud)
	addq	$2, (%rsp)
.Lud_iret:
	iretq
SYM_CODE_END(rig_lbr_ud)

SYM_CODE_START(rig_lbr_nmi)
	incl	rig_lbr_nmis(%rip)
	iretq
SYM_CODE_END(rig_lbr_nmi)

	.bss
	.balign	8
SYM_DATA(rig_lbr_val, .quad 0)
SYM_DATA(rig_lbr_msr, .long 0)
SYM_DATA(rig_lbr_nmis, .long 0)

	.section .note.GNU-stack, "", @progbits
