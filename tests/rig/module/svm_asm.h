/* SPDX-License-Identifier: GPL-2.0-only */
/* What svm_asm.S has for svm.c. */
#ifndef RIG_SVM_ASM_H
#define RIG_SVM_ASM_H

#define RIG_SVM_HOST_IF	1
#define RIG_SVM_STEP	2

#ifndef __ASSEMBLY__
#include "guest.h"

void rig_svm_enter(u64 *regs, u64 vmcb, u64 flags);
u32 rig_svm_gif(u64 select, u32 msr);
void rig_guest_hlt(void);
void rig_guest_rep(void);
void rig_guest_nop10(void);
void rig_guest_cr2(void);
void rig_host_db(void);
extern char rig_svm_exited[];
extern u64 rig_host_db_rip;
extern u32 rig_host_dbs;
#endif

#endif /* RIG_SVM_ASM_H */
