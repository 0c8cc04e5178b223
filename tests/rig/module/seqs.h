/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the PMU tests of both vendors share: the sequences of pmu_asm.S with what each
 * of them retires, and code of a known length for programs.  To be included once, by
 * the module's main file.
 */
#ifndef RIG_SEQS_H
#define RIG_SEQS_H

#include <asm/desc.h>
#include <asm/trapnr.h>

#include "common.h"
#include "pmu_asm.h"

#define VECTOR_TIMER	0xf0
#define VECTOR_INT_N	0x7f

#define SEQ(_seq, _arg, _insns, _branches, _conds) \
	{ .name = #_seq "(" #_arg ")", .seq = rig_seq_##_seq, .arg = _arg, \
	  .want = { _insns, _branches, _conds } }

/* What each sequence retires: instructions, branches, conditional branches. */
static const struct seq_param {
	const char *name;
	rig_seq_t seq;
	u64 arg;
	u64 want[3];
} seqs[] = {
	SEQ(empty, 0, 0, 0, 0),
	SEQ(nop100, 0, 100, 0, 0),
	SEQ(loop, 1, 2, 1, 1),
	SEQ(loop, 10, 20, 10, 10),
	SEQ(loop, 100000, 200000, 100000, 100000),
	SEQ(jmp, 0, 10, 10, 0),
	SEQ(jcc_taken, 0, 11, 10, 10),
	SEQ(jcc_not_taken, 0, 11, 10, 10),
	SEQ(jcc_near, 0, 7, 6, 4),
	SEQ(call_ret, 0, 21, 21, 0),
	SEQ(jmp_indirect, 0, 2, 1, 0),
	SEQ(call_indirect, 0, 4, 3, 0),
	SEQ(loop_insn, 0, 11, 10, 10),
	SEQ(jrcxz, 0, 4, 2, 2),
	/* A string instruction retires once, however often it repeats. */
	SEQ(rep_movsb, 0, 5, 0, 0),
	SEQ(rep_movsb, 1, 5, 0, 0),
	SEQ(rep_movsb, 4096, 5, 0, 0),
	SEQ(rep_movsq, 512, 5, 0, 0),
	SEQ(rep_stosb, 4096, 5, 0, 0),
	SEQ(rep_lodsb, 100, 5, 0, 0),
	SEQ(repe_cmpsb, 100, 5, 0, 0),
	SEQ(repe_scasb, 100, 5, 0, 0),
	SEQ(iretq, 0, 10, 1, 0),
	SEQ(lretq, 0, 5, 1, 0),
	/* with the handlers' instructions */
	SEQ(int_n, 0, 2, 2, 0),
	/* An instruction that faults does not retire. */
	SEQ(ud2, 0, 2, 1, 0),
	SEQ(gp_fault, 0, 4, 1, 0),
	SEQ(mixed, 0, 6, 0, 0),
};

static void seq_desc(const struct seq_param *p, char *desc)
{
	strscpy(desc, p->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(seq, seqs, seq_desc);

/* For programs that count kernel code of a known length: 2 * n instructions, n branches. */
static int loop_set(const char *val, const struct kernel_param *kp)
{
	u64 n;
	int err = kstrtou64(val, 10, &n);

	if (err || !n)
		return err ?: -EINVAL;
	rig_seq_loop(n);
	return 0;
}

static const struct kernel_param_ops loop_ops = { .set = loop_set };
module_param_cb(loop, &loop_ops, NULL, 0200);
MODULE_PARM_DESC(loop, "write n: execute a loop of n times two instructions");

static struct rig_idt idt_space __aligned(PAGE_SIZE);
static struct rig_idt *idt = &idt_space;

static void fill_idt(void)
{
	rig_idt_copy(idt);
	rig_idt_set(idt, X86_TRAP_NMI, rig_pmi_handler);
	rig_idt_set(idt, X86_TRAP_DB, rig_iret_handler);
	rig_idt_set(idt, X86_TRAP_UD, rig_ud_handler);
	rig_idt_set(idt, VECTOR_INT_N, rig_iret_handler);
	rig_idt_set(idt, VECTOR_FIXED, rig_pmi_handler);
	rig_idt_set(idt, VECTOR_TIMER, rig_timer_handler);
	rig_idt_set(idt, X86_TRAP_GP, rig_gp_handler);
}

#endif /* RIG_SEQS_H */
