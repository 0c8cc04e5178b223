/* SPDX-License-Identifier: GPL-2.0-only */
/* cpu_asm.S for cpu.c */
#ifndef RIG_CPU_ASM_H
#define RIG_CPU_ASM_H

#define RIG_STEP_VECTOR	0x7f

#ifndef __ASSEMBLY__
#include <linux/types.h>

void rig_step_syscall(void);
void rig_step_sysenter(void);
void rig_step_int(void);
void rig_sysret(u64 rip, u64 rflags);

extern char rig_syscall_target[], rig_sysenter_target[], rig_int_stepped[];

void rig_step_db(void);
void rig_step_pf(void);
void rig_step_int_handler(void);

/* Where the first #DB came, and how many did; page faults */
extern u64 rig_step_rip;
extern u32 rig_step_dbs, rig_step_pfs;
#endif

#endif /* RIG_CPU_ASM_H */
