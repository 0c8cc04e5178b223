/* SPDX-License-Identifier: GPL-2.0-only */
/* What pmu_asm.S has for pmu.c. */
#ifndef RIG_PMU_ASM_H
#define RIG_PMU_ASM_H

#include <linux/types.h>

typedef void (*rig_seq_t)(u64 arg);
void rig_measure(u64 val, rig_seq_t seq, u64 arg, u32 msr);
void rig_seq_empty(u64 arg);
void rig_seq_nop100(u64 arg);
void rig_seq_loop(u64 arg);
void rig_seq_jmp(u64 arg);
void rig_seq_jcc_taken(u64 arg);
void rig_seq_jcc_not_taken(u64 arg);
void rig_seq_jcc_near(u64 arg);
void rig_seq_call_ret(u64 arg);
void rig_seq_jmp_indirect(u64 arg);
void rig_seq_call_indirect(u64 arg);
void rig_seq_loop_insn(u64 arg);
void rig_seq_jrcxz(u64 arg);
void rig_seq_rep_movsb(u64 arg);
void rig_seq_rep_movsq(u64 arg);
void rig_seq_rep_stosb(u64 arg);
void rig_seq_rep_lodsb(u64 arg);
void rig_seq_repe_cmpsb(u64 arg);
void rig_seq_repe_scasb(u64 arg);
void rig_seq_rep_traced(u64 arg);
void rig_seq_iretq(u64 arg);
void rig_seq_lretq(u64 arg);
void rig_seq_int_n(u64 arg);
void rig_seq_ud2(u64 arg);
void rig_seq_gp_fault(u64 arg);
void rig_seq_mixed(u64 arg);
void rig_seq_hlt(u64 arg);
void rig_seq_sled(u64 arg);
void rig_seq_rep_sled(u64 arg);
void rig_pmi_handler(void);
void rig_timer_handler(void);
void rig_ud_handler(void);
void rig_gp_handler(void);
void rig_iret_handler(void);
extern u8 rig_sled_start[], rig_rep_sled_start[];
extern u64 rig_sled_count, rig_pmi_rip;
extern u32 rig_sled_index, rig_pmi_count, rig_timer_count;

#endif /* RIG_PMU_ASM_H */
