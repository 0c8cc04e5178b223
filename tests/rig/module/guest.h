/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What vmx.c and svm.c share: the routines of guest_asm.h, which run as guests, and the
 * interrupt tables of both sides.  To be included once, by the module's main file.
 */
#ifndef RIG_GUEST_H
#define RIG_GUEST_H

#include <asm/desc.h>
#include <asm/trapnr.h>

#include "common.h"

void rig_guest_nothing(void);
void rig_guest_nop1000(void);
void rig_guest_loop(void);
void rig_guest_rdmsr(void);
void rig_guest_wrmsr(void);
void rig_guest_rdpmc(void);
void rig_guest_rdpmc_twice(void);
void rig_guest_cpuid(void);
void rig_guest_ud2(void);
void rig_guest_irq(void);
void rig_host_irq(void);
extern u32 rig_guest_irqs, rig_host_irqs;

static struct rig_idt host_idt __aligned(PAGE_SIZE), guest_idt __aligned(PAGE_SIZE);
static u8 guest_stack[4096] __aligned(16);

/* What LVTPC has while the guest of a test runs whose counter interrupts. */
static u32 lvtpc;

static void fill_idts(void)
{
	rig_idt_copy(&host_idt);
	rig_idt_set(&host_idt, X86_TRAP_NMI, rig_host_irq);
	rig_idt_set(&host_idt, VECTOR_FIXED, rig_host_irq);
	rig_idt_copy(&guest_idt);
	rig_idt_set(&guest_idt, X86_TRAP_NMI, rig_guest_irq);
	rig_idt_set(&guest_idt, VECTOR_FIXED, rig_guest_irq);
}

#endif /* RIG_GUEST_H */
