/* SPDX-License-Identifier: GPL-2.0-only */
/* What guest_asm.h has for vmx.c and svm.c. */
#ifndef RIG_GUEST_H
#define RIG_GUEST_H

#include <linux/types.h>

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

#endif /* RIG_GUEST_H */
