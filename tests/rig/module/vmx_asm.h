/* SPDX-License-Identifier: GPL-2.0-only */
/* What vmx_asm.S has for vmx.c. */
#ifndef RIG_VMX_ASM_H
#define RIG_VMX_ASM_H

#include "guest.h"

int rig_vmx_enter(u64 *regs);

#endif /* RIG_VMX_ASM_H */
