/* SPDX-License-Identifier: GPL-2.0-only */
/* What vmx_asm.S has for vmx.c. */
#ifndef RIG_VMX_ASM_H
#define RIG_VMX_ASM_H

#include <linux/types.h>

int rig_vmx_enter(u64 *regs);
void rig_guest_vmcall(void);
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

#endif /* RIG_VMX_ASM_H */
