/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest, in protected mode without paging: it counts the branches of a loop of known length, then has itself
 * interrupted in another one, all over again, and says so when a count or the number of interrupts is wrong.
 */
#include "guest.h"

#define APIC		0xfee00000
#define SPIV		(APIC + 0xf0)
#define LVTPC		(APIC + 0x340)

	.section .text.guest, "ax", @progbits
	.code32
	.globl guest_start, guest_nmi, guest_end

	/* msr AREA_FIELD: EDX:EAX goes there */
	.macro write_msr field
	mov	\field(%ebp), %ecx
	wrmsr
	.endm
	.macro write_low field, value
	mov	\value, %eax
	xor	%edx, %edx
	write_msr \field
	.endm
	/* The counter is so far from its overflow. */
	.macro arm
	mov	A_PERIOD(%ebp), %eax
	neg	%eax
	mov	$0xffff, %edx
	write_msr A_COUNTER_MSR
	.endm

guest_start:
	movl	$0x1ff, SPIV
	movl	$0x400, LVTPC
again:
	write_low A_CTRL_MSR, $0
	write_low A_SELECTOR_MSR, A_SELECTOR(%ebp)
	write_low A_COUNTER_MSR, $0
	mov	A_LOOPS(%ebp), %esi
	write_low A_CTRL_MSR, $1
1:	dec	%esi
	jnz	1b
	write_low A_CTRL_MSR, $0
	mov	A_COUNTER_MSR(%ebp), %ecx
	rdmsr
	mov	%eax, A_COUNT(%ebp)
	test	%edx, %edx
	jnz	1f
	cmp	A_LOOPS(%ebp), %eax
	je	2f
1:	movl	$WRONG_COUNT, A_WRONG(%ebp)
	out	%al, $PORT_WRONG
2:
	movl	$0, A_PMIS(%ebp)
	write_low A_SELECTOR_MSR, A_SELECTOR_PMI(%ebp)
	arm
	mov	A_SAMPLED_LOOPS(%ebp), %esi
	write_low A_CTRL_MSR, $1
1:	dec	%esi
	jnz	1b
	write_low A_CTRL_MSR, $0
	mov	A_PMIS(%ebp), %eax
	cmp	A_SAMPLES(%ebp), %eax
	je	1f
	movl	$WRONG_SAMPLES, A_WRONG(%ebp)
	out	%al, $PORT_WRONG
1:
	write_low A_SELECTOR_MSR, $0
	incl	A_ROUNDS(%ebp)
	out	%al, $PORT_LOOK
	jmp	again

/* A PMI: nothing counts until the counter is armed again. */
guest_nmi:
	push	%eax
	push	%ecx
	push	%edx
	incl	A_PMIS(%ebp)
	write_low A_CTRL_MSR, $0
	write_low A_RESET_MSR, $1
	arm
	movl	$0x400, LVTPC
	write_low A_CTRL_MSR, $1
	pop	%edx
	pop	%ecx
	pop	%eax
	iret
guest_end:

	.section .note.GNU-stack, "", @progbits
