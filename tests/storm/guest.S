/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest, in protected mode without paging: it counts the branches of a loop of known length, then has itself
 * interrupted in another one, then records the branches of a third one, all over again, and says so when a count, the
 * number of interrupts or a record is wrong.
 */
#include "guest.h"

#define APIC		0xfee00000
#define SPIV		(APIC + 0xf0)
#define LVTPC		(APIC + 0x340)

	.section .text.guest, "ax", @progbits
	.code32
	.globl guest_start, guest_nmi, guest_end
	.globl guest_call, guest_called, guest_call_again, guest_called_again
	.globl guest_jump, guest_jumped, guest_leaf_call, guest_leaf, guest_leaf_back, guest_loop

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
	cmpl	$0, A_LBR(%ebp)
	jne	record
2:	incl	A_ROUNDS(%ebp)
	out	%al, $PORT_LOOK
	jmp	again

record:
	/* What was recorded last time is not to be found again. */
	mov	A_RECORDS(%ebp), %edi
1:	dec	%edi
	call	find_record
	xor	%eax, %eax
	xor	%edx, %edx
	mov	%ebx, %ecx
	add	A_FROM_MSR(%ebp), %ecx
	wrmsr
	mov	%ebx, %ecx
	add	A_TO_MSR(%ebp), %ecx
	wrmsr
	test	%edi, %edi
	jnz	1b

	cmpl	$0, A_SELECT_MSR(%ebp)
	je	1f
	write_low A_SELECT_MSR, A_SELECT(%ebp)
1:	mov	A_LBR_LOOPS(%ebp), %esi
	write_low A_LBR_MSR, A_LBR_ON(%ebp)
guest_call:
	call	guest_called
	ud2
guest_called_again:
guest_jump:
	jmp	guest_jumped
guest_jumped:
guest_leaf_call:
	call	guest_leaf
guest_leaf_back:
	dec	%esi
guest_loop:
	jnz	guest_jump
	write_low A_LBR_MSR, $0
	add	$8, %esp

	xor	%edi, %edi
1:	call	find_record
	mov	%ebx, %ecx
	add	A_FROM_MSR(%ebp), %ecx
	rdmsr
	mov	%eax, A_READ(%ebp)
	mov	%edx, A_READ + 4(%ebp)
	mov	%ebx, %ecx
	add	A_TO_MSR(%ebp), %ecx
	rdmsr
	mov	%eax, A_READ + 8(%ebp)
	mov	%edx, A_READ + 12(%ebp)
	cmp	A_TO(%ebp, %edi, 4), %eax
	jne	1f
	cmp	A_TO_HIGH(%ebp), %edx
	jne	1f
	mov	A_READ(%ebp), %eax
	cmp	A_FROM(%ebp, %edi, 4), %eax
	jne	1f
	mov	A_FROM_IGNORED(%ebp), %eax
	not	%eax
	test	%eax, A_READ + 4(%ebp)
	jnz	1f
	inc	%edi
	cmp	A_CHECKED(%ebp), %edi
	jb	1b
	jmp	2b
1:	mov	%edi, A_RECORD(%ebp)
	movl	$WRONG_RECORD, A_WRONG(%ebp)
	out	%al, $PORT_WRONG
	jmp	2b

guest_called:
guest_call_again:
	call	guest_called_again
	ud2
guest_leaf:
	ret

/* EBX = where record EDI is from the first registers on, the newest is 0 */
find_record:
	mov	%edi, %ebx
	mov	A_TOS_MSR(%ebp), %ecx
	jecxz	1f
	rdmsr
	sub	%edi, %eax
	mov	A_RECORDS(%ebp), %ebx
	dec	%ebx
	and	%eax, %ebx
1:	imul	A_STEP(%ebp), %ebx
	ret

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
