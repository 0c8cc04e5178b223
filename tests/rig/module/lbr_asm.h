/* SPDX-License-Identifier: GPL-2.0-only */
/* lbr_asm.S for lbr.c */
#ifndef RIG_LBR_ASM_H
#define RIG_LBR_ASM_H

/* The kinds of branches: the bit of LBR_SELECT that suppresses the kind */
#define RIG_LBR_COND		2
#define RIG_LBR_REL_CALL	3
#define RIG_LBR_IND_CALL	4
#define RIG_LBR_RET		5
#define RIG_LBR_IND_JMP		6
#define RIG_LBR_REL_JMP		7
#define RIG_LBR_FAR		8

#define RIG_LBR_VECTOR		0x7f
#define RIG_LBR_CHAIN		40

#ifndef __ASSEMBLY__
#include <linux/types.h>

/* struct rig_lbr_branch - a branch that a sequence takes */
struct rig_lbr_branch {
	u64 from, to, kind;
};

void rig_lbr_run(u64 val, void (*seq)(void), u64 off, u32 msr);
void rig_lbr_all(void);
void rig_lbr_chain(void);
void rig_lbr_deep(void);
void rig_lbr_icebp(void);
void rig_lbr_loop(void);
void rig_lbr_ret(void);
void rig_lbr_iret(void);
void rig_lbr_ud(void);
void rig_lbr_nmi(void);

extern u32 rig_lbr_msr, rig_lbr_nmis;
extern u64 rig_lbr_val;
extern const u8 rig_lbr_call[], rig_lbr_returned[];
extern const u8 rig_lbr_chain_from[], rig_lbr_loop_from[], rig_lbr_loop_to[];

/* All that rig_lbr_all, rig_lbr_deep, rig_lbr_icebp take, each with the return to rig_lbr_run */
extern const struct rig_lbr_branch rig_lbr_all_list[], rig_lbr_all_end[];
extern const struct rig_lbr_branch rig_lbr_deep_list[], rig_lbr_deep_end[];
extern const struct rig_lbr_branch rig_lbr_icebp_list[], rig_lbr_icebp_end[];
#endif

#endif /* RIG_LBR_ASM_H */
