/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests of rig_vmx and rig_svm, and interrupt handlers.  GUEST_END is the instruction
 * that each of them ends with: the one that exits in any case.
 */
SYM_CODE_START(rig_guest_nothing)
	GUEST_END
SYM_CODE_END(rig_guest_nothing)

SYM_CODE_START(rig_guest_nop1000)
	.rept	1000
	nop
	.endr
	GUEST_END
SYM_CODE_END(rig_guest_nop1000)

/* 2 * %rdi instructions */
SYM_CODE_START(rig_guest_loop)
1:	dec	%rdi
	jnz	1b
	GUEST_END
SYM_CODE_END(rig_guest_loop)

SYM_CODE_START(rig_guest_rdmsr)
	rdmsr
	GUEST_END
SYM_CODE_END(rig_guest_rdmsr)

SYM_CODE_START(rig_guest_wrmsr)
	wrmsr
	GUEST_END
SYM_CODE_END(rig_guest_wrmsr)

SYM_CODE_START(rig_guest_rdpmc)
	rdpmc
	GUEST_END
SYM_CODE_END(rig_guest_rdpmc)

/* CPUID exits, the ten instructions before it retire */
SYM_CODE_START(rig_guest_cpuid)
	.rept	10
	nop
	.endr
	cpuid
	GUEST_END
SYM_CODE_END(rig_guest_cpuid)

SYM_CODE_START(rig_guest_ud2)
	.rept	10
	nop
	.endr
	ud2
	GUEST_END
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
	GUEST_END
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
