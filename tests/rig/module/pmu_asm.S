/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instruction sequences of known length for the PMU tests, the one function
 * that runs them with counters on, and handlers for the tests' own interrupt
 * table.  A sequence may clobber every register but %rsp and gets an argument
 * in %rdi.  pmu.c has what each of them must count.
 */
#include <linux/linkage.h>

.macro SEQ name
SYM_FUNC_START(rig_seq_\name)
.endm

.macro END name
	ret
SYM_FUNC_END(rig_seq_\name)
.endm

	.text

/*
 * void rig_measure(u64 val, void (*seq)(u64), u64 arg, u32 msr)
 *
 * Counting begins with the write of val to the register msr and ends with that of 0.
 * What counts besides the sequence is the same for every sequence, so that the
 * difference to rig_seq_empty is the sequence alone.
 */
SYM_FUNC_START(rig_measure)
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rcx
	mov	%rsi, %rbx
	mov	%rdx, %r12
	mov	%edi, %eax
	mov	%rdi, %rdx
	shr	$32, %rdx
	wrmsr
	mov	%r12, %rdi
	call	*%rbx
	mov	(%rsp), %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	pop	%rcx
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
SYM_FUNC_END(rig_measure)

SEQ empty
END empty

SEQ nop100
	.rept 100
	nop
	.endr
END nop100

/* 2 * %rdi instructions, %rdi of them conditional branches */
SEQ loop
1:	dec	%rdi
	jnz	1b
END loop

SEQ jmp
	.rept 10
	jmp	1f
1:
	.endr
END jmp

SEQ jcc_taken
	xor	%eax, %eax
	.rept 10
	je	1f
1:
	.endr
END jcc_taken

SEQ jcc_not_taken
	xor	%eax, %eax
	.rept 10
	jne	1f
1:
	.endr
END jcc_not_taken

/* the same with 32-bit displacements, which decode differently */
SEQ jcc_near
	xor	%eax, %eax
	.rept 2
	je	1f
	.skip	200, 0x90
1:	jne	2f
	jmp	3f
	.skip	200, 0x90
2:
3:
	.endr
END jcc_near

SEQ call_ret
	.rept 10
	call	1f
	.endr
	jmp	2f
1:	ret
2:
END call_ret

SEQ jmp_indirect
	lea	1f(%rip), %rax
	jmp	*%rax
1:
END jmp_indirect

SEQ call_indirect
	lea	1f(%rip), %rax
	call	*%rax
	jmp	2f
1:	ret
2:
END call_indirect

SEQ loop_insn
	mov	$10, %ecx
1:	loop	1b
END loop_insn

SEQ jrcxz
	xor	%ecx, %ecx
	jrcxz	1f
1:	mov	$1, %ecx
	jrcxz	2f
2:
END jrcxz

/* %rdi iterations of a string instruction */
.macro REPSEQ name, insn
SEQ \name
	mov	%rdi, %rcx
	lea	rig_buf(%rip), %rsi
	lea	rig_buf + 8192(%rip), %rdi
	xor	%eax, %eax
	\insn
END \name
.endm

REPSEQ rep_movsb, "rep movsb"
REPSEQ rep_movsq, "rep movsq"
REPSEQ rep_stosb, "rep stosb"
REPSEQ rep_lodsb, "rep lodsb"
REPSEQ repe_cmpsb, "repe cmpsb"
REPSEQ repe_scasb, "repe scasb"

/*
 * The trap flag interrupts REP MOVSB after each iteration.  Between setting
 * and clearing the flag: POPF's successor onwards each instruction traps.
 */
SEQ rep_traced
	mov	%rdi, %rcx
	lea	rig_buf(%rip), %rsi
	lea	rig_buf + 8192(%rip), %rdi
	pushf
	pushf
	orl	$0x100, (%rsp)
	popf
	rep movsb
	popf
END rep_traced

SEQ iretq
	mov	%rsp, %rax
	mov	%ss, %ecx
	push	%rcx
	push	%rax
	pushf
	mov	%cs, %ecx
	push	%rcx
	lea	1f(%rip), %rcx
	push	%rcx
	iretq
1:
END iretq

SEQ lretq
	mov	%cs, %ecx
	push	%rcx
	lea	1f(%rip), %rcx
	push	%rcx
	lretq
1:
END lretq

SEQ int_n
	int	$0x7f
END int_n

SEQ ud2
	ud2
END ud2

/* a fault with an error code: a load from an address that is not canonical; 2 bytes */
SEQ gp_fault
	movabs	$0x8000000000000000, %rax
	mov	(%rax), %eax
END gp_fault

SEQ mixed
	push	%rbx
	cpuid
	rdtsc
	pause
	mfence
	pop	%rbx
END mixed

SEQ hlt
	sti
	hlt
	cli
END hlt

/*
 * For the place of the interrupt: what counter rig_sled_index has at the RDPMC goes to
 * rig_sled_count; RDPMC and the three instructions after it bring the count at
 * rig_sled_start to 4 more.
 */
SEQ sled
	mov	rig_sled_index(%rip), %ecx
	rdpmc
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, rig_sled_count(%rip)
SYM_INNER_LABEL(rig_sled_start, SYM_L_GLOBAL)
	.rept 8192
	nop
	.endr
END sled

/* As above, with a string instruction of 4096 iterations: RDPMC and six more come before it. */
SEQ rep_sled
	mov	rig_sled_index(%rip), %ecx
	rdpmc
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, rig_sled_count(%rip)
	lea	rig_buf(%rip), %rsi
	lea	rig_buf + 8192(%rip), %rdi
	mov	$4096, %ecx
	rep movsb
SYM_INNER_LABEL(rig_rep_sled_start, SYM_L_GLOBAL)
	.rept 1024
	nop
	.endr
END rep_sled

/* ---- handlers: each says how many instructions it adds ---- */

/* NMI or fixed vector: where it hit, how often */
SYM_FUNC_START(rig_pmi_handler)
	push	%rax
	mov	8(%rsp), %rax
	mov	%rax, rig_pmi_rip(%rip)
	incl	rig_pmi_count(%rip)
	pop	%rax
	iretq
SYM_FUNC_END(rig_pmi_handler)

/* timer: 2 */
SYM_FUNC_START(rig_timer_handler)
	incl	rig_timer_count(%rip)
	iretq
SYM_FUNC_END(rig_timer_handler)

/* #UD: skips two bytes; 2 */
SYM_FUNC_START(rig_ud_handler)
	addq	$2, (%rsp)
	iretq
SYM_FUNC_END(rig_ud_handler)

/* #GP: drops the error code, skips two bytes; 3 */
SYM_FUNC_START(rig_gp_handler)
	add	$8, %rsp
	addq	$2, (%rsp)
	iretq
SYM_FUNC_END(rig_gp_handler)

/* #DB, INT n: 1 */
SYM_FUNC_START(rig_iret_handler)
	iretq
SYM_FUNC_END(rig_iret_handler)

	.bss
	.balign 4096
SYM_DATA(rig_buf, .skip 16384)
SYM_DATA(rig_sled_count, .quad 0)
SYM_DATA(rig_sled_index, .long 0)
SYM_DATA(rig_pmi_rip, .quad 0)
SYM_DATA(rig_pmi_count, .long 0)
SYM_DATA(rig_timer_count, .long 0)

	.section .note.GNU-stack, "", @progbits
