// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of AMD's core performance counters on the machine that this kernel runs on,
 * against the APM (vol. 2, "Performance Monitoring") and the PPR.  rig_svm has what
 * concerns guests.
 *
 * The counters must be idle: no perf events, no NMI watchdog.  Each test runs on one
 * CPU; everything that counts runs with interrupts off.
 */
#include <linux/err.h>
#include <linux/nmi.h>
#include <asm/debugreg.h>
#include <asm/nmi.h>

#include "seqs.h"
#include "amd_host.h"

static bool fresh;
module_param(fresh, bool, 0444);
MODULE_PARM_DESC(fresh, "nothing has written GlobalCtl since reset: check its reset value");

/**
 * struct setup - the counters for one run
 * @sel: selects
 * @ctr: initial values
 */
struct setup {
	u64 sel[RIG_AMD_COUNTERS];
	u64 ctr[RIG_AMD_COUNTERS];
};

/* What a run left. */
struct counts {
	u64 ctr[RIG_AMD_COUNTERS];
	u64 status;
	u32 pmis;
	u64 pmi_rip;
	u32 lvtpc;
};

static void set_lvtpc(u32 val)
{
	rig_apic_write(APIC_LVTPC, val);
}

/*
 * With PerfMonV2 all counters start and stop at once by GlobalCtl.  Without it only one
 * counter per run can: by its select.
 */
static void measure(const struct setup *s, rig_seq_t seq, u64 arg, struct counts *c)
{
	unsigned long flags;
	u64 start = 0;
	u32 msr = RIG_AMD_CTL;
	int i;

	memset(c, 0, sizeof(*c));
	local_irq_save(flags);
	pmu_quiesce();
	if (m->v2)
		wr(RIG_AMD_CTL, 0);
	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		wr(RIG_AMD_CTR(i), s->ctr[i]);
		if (m->v2) {
			wr(RIG_AMD_SEL(i), s->sel[i]);
			if (s->sel[i])
				start |= BIT_ULL(i);
		} else if (s->sel[i]) {
			WARN_ON_ONCE(start);
			start = s->sel[i];
			msr = RIG_AMD_SEL(i);
		}
	}
	rig_pmi_count = 0;
	rig_pmi_rip = 0;

	rig_idt_load(idt);
	rig_measure(start, seq, arg, msr);
	/* Let an interrupt that skids arrive before the table goes. */
	for (i = 0; i < skid + 16; i++)
		cpu_relax();
	rig_idt_unload(idt);
	set_debugreg(DR6_RESERVED, 6);

	for (i = 0; i < RIG_AMD_COUNTERS; i++)
		c->ctr[i] = rd(RIG_AMD_CTR(i));
	if (m->v2)
		c->status = rd(RIG_AMD_STATUS);
	c->pmis = rig_pmi_count;
	c->pmi_rip = rig_pmi_rip;
	c->lvtpc = rig_apic_read(APIC_LVTPC);
	pmu_quiesce();
	local_irq_restore(flags);
}

/* The count of one select in a sequence alone. */
static u64 measure_delta(u64 sel, rig_seq_t seq, u64 arg)
{
	struct setup s = { .sel[0] = sel };
	struct counts empty, c;

	measure(&s, rig_seq_empty, arg, &empty);
	measure(&s, seq, arg, &c);
	return c.ctr[0] - empty.ctr[0];
}

/* ---- what the processor says it has ---- */

static void cpuid_leaves(struct kunit *test)
{
	u32 max = cpuid_eax(0x80000000), ecx = cpuid_ecx(0x80000001);

	KUNIT_EXPECT_NE_MSG(test, ecx & BIT(23), 0, "PerfCtrExtCore");
	KUNIT_EXPECT_EQ_MSG(test, ecx & BIT(24), 0, "there are no data fabric counters");
	KUNIT_EXPECT_EQ_MSG(test, ecx & BIT(28), 0, "there are no last-level cache counters");
	if (!m->v2) {
		KUNIT_EXPECT_FALSE_MSG(test, max >= 0x80000022 && cpuid_eax(0x80000022) & 1,
				       "PerfMonV2");
		return;
	}
	KUNIT_ASSERT_GE(test, max, 0x80000022);
	KUNIT_EXPECT_EQ_MSG(test, cpuid_eax(0x80000022), 1 | 2 | (m->freeze ? 4 : 0),
			    "PerfMonV2, LbrStack, LbrAndPmcFreeze");
	KUNIT_EXPECT_EQ_MSG(test, cpuid_ebx(0x80000022) & 0xf, RIG_AMD_COUNTERS, "NumPerfCtrCore");
	KUNIT_EXPECT_EQ_MSG(test, cpuid_ebx(0x80000022) >> 4, RIG_AMD_LBRS,
			    "LbrStackSize, no other counters");
}

/* ---- registers ---- */

static void msr_present(struct kunit *test)
{
	u64 val;
	int i;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(RIG_AMD_SEL(i), &val), 0, "select %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(RIG_AMD_CTR(i), &val), 0, "counter %d", i);
	}
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(RIG_AMD_OLD_SEL(i), &val), 0, "old %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(RIG_AMD_OLD_CTR(i), &val), 0, "old %d", i);
	}
	for (i = 0; m->v2 && i < 4; i++)
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(RIG_AMD_STATUS + i, &val), 0, "%#x",
				    RIG_AMD_STATUS + i);
}

static void msr_absent(struct kunit *test)
{
	const struct { u32 first, n; } gone[] = {
		{ RIG_AMD_SEL(RIG_AMD_COUNTERS), 4 },
		{ RIG_AMD_STATUS, m->v2 ? 0 : 4 },
		/* Intel's */
		{ MSR_ARCH_PERFMON_PERFCTR0, 8 },
		{ MSR_ARCH_PERFMON_EVENTSEL0, 8 },
		{ MSR_IA32_PMC0, 8 },
		{ MSR_CORE_PERF_FIXED_CTR0, 4 },
		{ MSR_IA32_PERF_CAPABILITIES, 1 },
		{ MSR_CORE_PERF_FIXED_CTR_CTRL, 4 },
	};
	u64 val;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(gone); i++) {
		for (j = 0; j < gone[i].n; j++) {
			KUNIT_EXPECT_NE_MSG(test, rdmsrl_safe(gone[i].first + j, &val), 0,
					    "RDMSR %#x", gone[i].first + j);
			KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(gone[i].first + j, 0), 0,
					    "WRMSR %#x", gone[i].first + j);
		}
	}
}

/* A bit that a register does not have is ignored and reads as 0; nothing is #GP. */
static void check_bits(struct kunit *test, const char *name, u32 msr, u64 kept)
{
	unsigned long flags;
	u64 before, after;
	int bit, err;

	for (bit = 0; bit < 64; bit++) {
		local_irq_save(flags);
		before = rd(msr);
		err = wrmsrl_safe(msr, BIT_ULL(bit));
		after = rd(msr);
		wr(msr, before);
		local_irq_restore(flags);
		KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s (%#x) bit %d", name, msr, bit);
		KUNIT_EXPECT_EQ_MSG(test, after, BIT_ULL(bit) & kept, "%s (%#x) bit %d", name, msr,
				    bit);
	}
}

static void reserved_bits(struct kunit *test)
{
	int i;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		check_bits(test, "PERF_CTL", RIG_AMD_SEL(i), RIG_AMD_SEL_BITS);
		check_bits(test, "PERF_CTR", RIG_AMD_CTR(i), RIG_AMD_WIDTH);
	}
	if (m->v2)
		check_bits(test, "GlobalCtl", RIG_AMD_CTL, RIG_AMD_ALL);
}

/* C001_0000 to C001_0007 are the first four counters at other addresses. */
static void aliases(struct kunit *test)
{
	const u64 sel = RIG_AMD_INSN | RIG_SEL_OS | RIG_SEL_CMASK(3), ctr = 0x123456789a00;
	int i;

	for (i = 0; i < 4; i++) {
		wr(RIG_AMD_SEL(i), sel | i << 8);
		wr(RIG_AMD_CTR(i), ctr + i);
	}
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_OLD_SEL(i)), sel | i << 8, "select %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_OLD_CTR(i)), ctr + i, "counter %d", i);
	}
	for (i = 0; i < 4; i++) {
		wr(RIG_AMD_OLD_SEL(i), sel | (i + 8) << 8 | RIG_AMD_HOSTONLY);
		wr(RIG_AMD_OLD_CTR(i), ctr + i + 8);
	}
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_SEL(i)),
				    sel | (i + 8) << 8 | RIG_AMD_HOSTONLY, "select %d", i);
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_CTR(i)), ctr + i + 8, "counter %d", i);
	}
	for (; i < RIG_AMD_COUNTERS; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_SEL(i)), 0, "select %d has none", i);
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_CTR(i)), 0, "counter %d has none", i);
	}
}

/* Software that knows nothing of GlobalCtl finds all counters enabled. */
static void reset_values(struct kunit *test)
{
	if (!fresh)
		kunit_skip(test, "somebody may have used the PMU since reset");
	if (!m->v2)
		kunit_skip(test, "no GlobalCtl");
	/* what the first test found */
	KUNIT_EXPECT_EQ(test, host.ctl, RIG_AMD_ALL);
}

static void status_registers(struct kunit *test)
{
	const u64 all = RIG_AMD_ALL | (m->freeze ? RIG_AMD_LBRS_FROZEN | RIG_AMD_PMCS_FROZEN : 0);
	const u64 some = BIT_ULL(0) | BIT_ULL(5);

	if (!m->v2)
		kunit_skip(test, "no GlobalStatus");
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), 0);
	/* Read-only, and no error on write */
	KUNIT_EXPECT_EQ(test, wrmsrl_safe(RIG_AMD_STATUS, 1), 0);
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), 0);
	wr(RIG_AMD_STATUS_SET, some);
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), some);
	wr(RIG_AMD_STATUS_SET, ~0ULL);
	KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_STATUS), all,
			    "a bit per counter and what is frozen, no more");
	wr(RIG_AMD_STATUS_SET, 0);
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), all);
	KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_STATUS_SET), 0, "write-only");
	KUNIT_EXPECT_EQ_MSG(test, rd(RIG_AMD_STATUS_CLR), 0, "write-only");
	wr(RIG_AMD_STATUS_CLR, some);
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), all & ~some);
	wr(RIG_AMD_STATUS_CLR, ~0ULL);
	KUNIT_EXPECT_EQ(test, rd(RIG_AMD_STATUS), 0);
}

static void rdpmc_counters(struct kunit *test)
{
	static const u32 bad[] = {
		6, 7, 8, 9, 10, 15, 16, 27, 0x20000000, 0x40000000, 0x80000000, 0xffffffff,
	};
	u64 val;
	int i;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		wr(RIG_AMD_CTR(i), 0x923456780000 + i);
		KUNIT_EXPECT_TRUE_MSG(test, rig_rdpmc_safe(i, &val), "RDPMC %d", i);
		KUNIT_EXPECT_EQ_MSG(test, val, 0x923456780000 + i, "RDPMC %d", i);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_FALSE_MSG(test, rig_rdpmc_safe(bad[i], &val), "RDPMC %#x", bad[i]);
}

/* ---- counting ---- */

static void exact_counts(struct kunit *test)
{
	static const u64 event[] = { RIG_AMD_INSN, RIG_AMD_BRANCH, RIG_AMD_COND };
	static const char * const name[] = { "instructions", "branches", "conditional branches" };
	const struct seq_param *p = test->param_value;
	u64 cycles;
	int i;

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_SEL(event[i]), p->seq, p->arg),
				    p->want[i], "%s", name[i]);
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_SEL(event[i]), p->seq, p->arg),
				    p->want[i], "%s, the same again", name[i]);
	}
	cycles = measure_delta(RIG_SEL(RIG_AMD_CYCLES), p->seq, p->arg);
	KUNIT_EXPECT_GE_MSG(test, cycles, p->want[0], "cycles");
	KUNIT_EXPECT_EQ_MSG(test, cycles,
			    measure_delta(RIG_SEL(RIG_AMD_CYCLES), p->seq, p->arg),
			    "cycles, the same again");
}

static void interrupted_rep_counts_once(struct kunit *test)
{
	/* 50 more traps, whose handler is one IRETQ */
	KUNIT_EXPECT_EQ(test, measure_delta(RIG_SEL(RIG_AMD_INSN), rig_seq_rep_traced, 60) -
			      measure_delta(RIG_SEL(RIG_AMD_INSN), rig_seq_rep_traced, 10), 50);
}

/* Each counter on its own, so that none is another one's alias. */
static void every_counter_counts(struct kunit *test)
{
	struct counts empty, c;
	int i, j;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		struct setup s = {};

		s.sel[i] = RIG_SEL(RIG_AMD_INSN);
		measure(&s, rig_seq_empty, 0, &empty);
		measure(&s, rig_seq_nop100, 0, &c);
		for (j = 0; j < RIG_AMD_COUNTERS; j++)
			KUNIT_EXPECT_EQ_MSG(test, c.ctr[j] - empty.ctr[j], i == j ? 100 : 0,
					    "counter %d, on is %d", j, i);
	}
}

/* Enable and privilege in the select; all runs at CPL 0. */
static void gating(struct kunit *test)
{
	const struct { const char *what; u64 sel; u64 want; } v[] = {
		{ "both", RIG_SEL_USR | RIG_SEL_OS | RIG_SEL_EN, 100 },
		{ "OS only", RIG_SEL_OS | RIG_SEL_EN, 100 },
		{ "USR only", RIG_SEL_USR | RIG_SEL_EN, 0 },
		{ "no privilege", RIG_SEL_EN, 0 },
		{ "EN clear", RIG_SEL_USR | RIG_SEL_OS, 0 },
	};
	unsigned long flags;
	u64 off, on;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++)
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_AMD_INSN | v[i].sel, rig_seq_nop100, 0),
				    v[i].want, "%s", v[i].what);
	KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_SEL(0xfe7), rig_seq_loop, 1000), 0,
			    "no such event");
	KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_SEL(RIG_AMD_INSN) | BIT_ULL(32), rig_seq_loop,
						1000), 0, "event 1C0: bits 35:32 belong to it");
	if (!m->v2)
		return;

	local_irq_save(flags);
	wr(RIG_AMD_CTL, RIG_AMD_ALL & ~1);
	wr(RIG_AMD_SEL(0), RIG_SEL(RIG_AMD_INSN));
	wr(RIG_AMD_SEL(1), RIG_SEL(RIG_AMD_INSN));
	rig_seq_nop100(0);
	off = rd(RIG_AMD_CTR(0));
	on = rd(RIG_AMD_CTR(1));
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ_MSG(test, off, 0, "GlobalCtl has the others");
	KUNIT_EXPECT_GE(test, on, 100);
}

/* CntMask: cycles in which the event occurs so often; INV turns it round. */
static void cntmask_inv_edge(struct kunit *test)
{
	const u64 cycles = RIG_SEL(RIG_AMD_CYCLES), insn = RIG_SEL(RIG_AMD_INSN);
	u64 all = measure_delta(cycles, rig_seq_loop, 1000), with, without;

	KUNIT_EXPECT_GE(test, all, 2000);
	KUNIT_EXPECT_EQ(test, measure_delta(cycles | RIG_SEL_CMASK(1), rig_seq_loop, 1000), all);
	KUNIT_EXPECT_EQ(test, measure_delta(cycles | RIG_SEL_CMASK(2), rig_seq_loop, 1000), 0);
	KUNIT_EXPECT_EQ(test, measure_delta(cycles | RIG_SEL_CMASK(2) | RIG_SEL_INV, rig_seq_loop,
					    1000), all);
	with = measure_delta(insn | RIG_SEL_CMASK(1), rig_seq_loop, 1000);
	without = measure_delta(insn | RIG_SEL_CMASK(1) | RIG_SEL_INV, rig_seq_loop, 1000);
	KUNIT_EXPECT_EQ_MSG(test, with + without, all,
			    "cycles with an instruction and cycles without one");
	KUNIT_EXPECT_LE(test, measure_delta(cycles | RIG_SEL_CMASK(1) | RIG_SEL_EDGE, rig_seq_loop,
					    1000), 1);
}

/* Parts are not more than the whole, and the same execution gives the same numbers. */
static void modelled_events(struct kunit *test)
{
	static const struct { u64 sel; const char *name; } events[] = {
		{ 0xff60, "cache references" }, { 0x0964, "cache misses" },
		{ 0x00c3, "branch misses" }, { 0x100000120, "reference cycles" },
		{ 0x0129, "loads" }, { 0x0229, "stores" }, { 0x0429, "loads and stores" },
	};
	u64 refs, misses;
	int i;

	refs = measure_delta(RIG_SEL(events[0].sel), rig_seq_rep_lodsb, 16384);
	KUNIT_EXPECT_NE_MSG(test, refs, 0, "cache references");
	misses = measure_delta(RIG_SEL(events[1].sel), rig_seq_rep_lodsb, 16384);
	KUNIT_EXPECT_LE_MSG(test, misses, 16384 / 64 + 64, "cache misses");
	KUNIT_EXPECT_LT_MSG(test, measure_delta(RIG_SEL(events[2].sel), rig_seq_loop, 1000), 1000,
			    "branch misses");
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		measure_delta(RIG_SEL(events[i].sel), rig_seq_loop, 1000);
		refs = measure_delta(RIG_SEL(events[i].sel), rig_seq_loop, 1000);
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(RIG_SEL(events[i].sel), rig_seq_loop, 1000),
				    refs, "two runs, %s", events[i].name);
		if (i == 3)
			KUNIT_EXPECT_EQ_MSG(test, refs >= 2000, m->v2, "reference cycles");
	}
}

/* HG_ONLY needs EFER.SVME: without it a counter with one of the bits stands still. */
static void host_only_guest_only(struct kunit *test)
{
	const u64 insn = RIG_SEL(RIG_AMD_INSN);
	const struct { u64 bits; bool off, on; const char *what; } v[] = {
		{ 0, true, true, "neither" },
		{ RIG_AMD_HOSTONLY, false, true, "HostOnly" },
		{ RIG_AMD_GUESTONLY, false, false, "GuestOnly" },
		{ RIG_AMD_HOSTONLY | RIG_AMD_GUESTONLY, false, true, "both" },
	};
	u64 efer = rd(MSR_EFER);
	int i;

	KUNIT_ASSERT_EQ_MSG(test, efer & EFER_SVME, 0, "unload kvm_amd first");
	for (i = 0; i < ARRAY_SIZE(v); i++)
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(insn | v[i].bits, rig_seq_nop100, 0),
				    v[i].off ? 100 : 0, "SVME=0, %s", v[i].what);
	wr(MSR_EFER, efer | EFER_SVME);
	for (i = 0; i < ARRAY_SIZE(v); i++)
		KUNIT_EXPECT_EQ_MSG(test, measure_delta(insn | v[i].bits, rig_seq_nop100, 0),
				    v[i].on ? 100 : 0, "SVME=1, %s", v[i].what);
	wr(MSR_EFER, efer);
}

/* A change of EFER.SVME stops and starts a running counter. */
static void svme_takes_effect_at_once(struct kunit *test)
{
	u64 efer = rd(MSR_EFER), off, on, after;
	unsigned long flags;

	local_irq_save(flags);
	wr(RIG_AMD_SEL(0), RIG_SEL(RIG_AMD_INSN) | RIG_AMD_HOSTONLY);
	rig_seq_nop100(0);
	off = rd(RIG_AMD_CTR(0));
	wr(MSR_EFER, efer | EFER_SVME);
	rig_seq_nop100(0);
	wr(MSR_EFER, efer);
	on = rd(RIG_AMD_CTR(0));
	rig_seq_nop100(0);
	after = rd(RIG_AMD_CTR(0));
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, off, 0);
	KUNIT_EXPECT_GE(test, on, 100);
	KUNIT_EXPECT_LT(test, on, 200);
	KUNIT_EXPECT_EQ(test, after, on);
}

/* ---- overflow and the interrupt ---- */

static void pmi_setup(struct setup *s, int i, u64 count)
{
	*s = (struct setup) {};
	s->sel[i] = RIG_SEL(RIG_AMD_INSN) | RIG_SEL_INT;
	s->ctr[i] = -count;
}

static u64 status_of(u64 bits)
{
	return m->v2 ? bits : 0;
}

/* Without INT: the status alone; the counter goes on from 0. */
static void overflow_sets_status(struct kunit *test)
{
	struct counts c;
	struct setup s;
	int i;

	set_lvtpc(APIC_DM_NMI);
	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		pmi_setup(&s, i, 50);
		s.sel[i] &= ~RIG_SEL_INT;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.status, status_of(BIT_ULL(i)), "counter %d", i);
		KUNIT_EXPECT_GE(test, c.ctr[i], 50);
		KUNIT_EXPECT_LT(test, c.ctr[i], 70);
		KUNIT_EXPECT_EQ_MSG(test, c.pmis, 0, "INT is clear");
		s.ctr[i] = -500;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.status, 0, "not there yet");
	}
}

static void overflow_of_branches(struct kunit *test)
{
	struct setup s = { .sel[1] = RIG_SEL(RIG_AMD_COND) };
	struct counts c;

	s.ctr[1] = -1000;
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.status, status_of(2), "the last branch overflows");
	KUNIT_EXPECT_EQ(test, c.ctr[1], 0);
	s.ctr[1] = -1001;
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.status, 0, "one branch short of it");
	KUNIT_EXPECT_EQ(test, c.ctr[1], RIG_AMD_WIDTH);
}

/* An NMI per overflow; LVTPC is what it was, so that the next overflow interrupts again. */
static void pmi_is_nmi(struct kunit *test)
{
	struct counts c;
	struct setup s;
	int i;

	set_lvtpc(APIC_DM_NMI);
	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		pmi_setup(&s, i, 500);
		measure(&s, rig_seq_loop, 1000 + skid, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.pmis, 1, "counter %d", i);
		KUNIT_EXPECT_EQ_MSG(test, c.status, status_of(BIT_ULL(i)), "counter %d", i);
		KUNIT_EXPECT_EQ_MSG(test, c.lvtpc, APIC_DM_NMI, "counter %d: not masked", i);
	}
}

static void pmi_is_fixed_vector(struct kunit *test)
{
	unsigned long flags;
	struct counts c;
	struct setup s;

	pmi_setup(&s, 0, 50);
	local_irq_save(flags);
	set_lvtpc(APIC_DM_FIXED | VECTOR_FIXED);
	measure(&s, rig_seq_nop100, 0, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.pmis, 0, "interrupts are off");
	KUNIT_EXPECT_EQ_MSG(test, c.lvtpc, APIC_DM_FIXED | VECTOR_FIXED, "not masked");
	KUNIT_EXPECT_TRUE_MSG(test, vector_pending(VECTOR_FIXED), "pending in the IRR");
	rig_pmi_count = 0;
	rig_idt_load(idt);
	asm volatile("sti; nop; nop; cli" ::: "memory");
	rig_idt_unload(idt);
	KUNIT_EXPECT_EQ_MSG(test, rig_pmi_count, 1, "delivered as soon as interrupts are on");
	if (rig_pmi_count)
		rig_apic_write(APIC_EOI, 0);
	local_irq_restore(flags);
}

static void pmi_masked(struct kunit *test)
{
	struct counts c;
	struct setup s;

	pmi_setup(&s, 0, 50);
	set_lvtpc(APIC_DM_NMI | APIC_LVT_MASKED);
	measure(&s, rig_seq_loop, 1000 + skid, &c);
	KUNIT_EXPECT_EQ(test, c.pmis, 0);
	KUNIT_EXPECT_EQ(test, c.status, status_of(1));
	KUNIT_EXPECT_EQ(test, c.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED);
}

/* What DebugCtl keeps; the rest is #GP. */
static void debugctl_bits(struct kunit *test)
{
	const u64 valid = GENMASK_ULL(5, 0) |
			  (m->freeze ? RIG_AMD_FREEZE_LBRS | RIG_AMD_FREEZE_PMCS : 0);
	unsigned long flags;
	u64 val;
	int bit, err;

	for (bit = 0; bit < 64; bit++) {
		local_irq_save(flags);
		err = wrmsrl_safe(RIG_AMD_DEBUGCTL, BIT_ULL(bit));
		val = rd(RIG_AMD_DEBUGCTL);
		wr(RIG_AMD_DEBUGCTL, 0);
		local_irq_restore(flags);
		KUNIT_EXPECT_EQ_MSG(test, !err, !!(BIT_ULL(bit) & valid), "bit %d", bit);
		KUNIT_EXPECT_EQ_MSG(test, val, BIT_ULL(bit) & valid, "bit %d", bit);
	}
}

/*
 * DebugCtl makes the interrupt of an overflow stop all counters, until software clears
 * the bit of GlobalStatus.  Without an interrupt nothing is frozen.
 */
static void freeze_on_pmi(struct kunit *test)
{
	const u64 frozen = RIG_AMD_LBRS_FROZEN | RIG_AMD_PMCS_FROZEN;
	u64 status[3], ctr[4];
	unsigned long flags;
	struct counts c;
	struct setup s;

	if (!m->freeze)
		kunit_skip(test, "no LbrAndPmcFreeze");
	set_lvtpc(APIC_DM_NMI);
	pmi_setup(&s, 0, 50);
	s.sel[1] = RIG_SEL(RIG_AMD_INSN);

	measure(&s, rig_seq_loop, 100000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.status, 1, "nobody asked for it");
	KUNIT_EXPECT_GE(test, c.ctr[1], 200000);

	wr(RIG_AMD_DEBUGCTL, RIG_AMD_FREEZE_LBRS);
	measure(&s, rig_seq_loop, 100000, &c);
	wr(RIG_AMD_DEBUGCTL, 0);
	KUNIT_EXPECT_EQ(test, c.status, 1 | RIG_AMD_LBRS_FROZEN);
	KUNIT_EXPECT_GE_MSG(test, c.ctr[1], 200000, "counters are not LBRs");

	wr(RIG_AMD_DEBUGCTL, RIG_AMD_FREEZE_PMCS);
	measure(&s, rig_seq_loop, 100000, &c);
	KUNIT_EXPECT_EQ(test, c.status, 1 | RIG_AMD_PMCS_FROZEN);
	KUNIT_EXPECT_EQ(test, c.pmis, 1);
	KUNIT_EXPECT_LE(test, c.ctr[0], skid);
	KUNIT_EXPECT_GE_MSG(test, c.ctr[1], 50, "up to the interrupt");
	KUNIT_EXPECT_LT_MSG(test, c.ctr[1], 100 + skid, "nothing after it");
	s.sel[0] &= ~RIG_SEL_INT;
	measure(&s, rig_seq_loop, 100000, &c);
	wr(RIG_AMD_DEBUGCTL, 0);
	KUNIT_EXPECT_EQ_MSG(test, c.status, 1, "no interrupt");
	KUNIT_EXPECT_GE(test, c.ctr[1], 200000);

	/* Frozen counters are out of anything's reach but that of StatusClr. */
	local_irq_save(flags);
	wr(RIG_AMD_STATUS_SET, frozen);
	wr(RIG_AMD_SEL(0), RIG_SEL(RIG_AMD_INSN));
	ctr[0] = rd(RIG_AMD_CTR(0));
	rig_seq_nop100(0);
	wr(RIG_AMD_CTL, 0);
	wr(RIG_AMD_CTL, RIG_AMD_ALL);
	rig_seq_nop100(0);
	ctr[1] = rd(RIG_AMD_CTR(0));
	status[0] = rd(RIG_AMD_STATUS);
	wr(RIG_AMD_STATUS_CLR, RIG_AMD_LBRS_FROZEN | RIG_AMD_ALL);
	rig_seq_nop100(0);
	ctr[2] = rd(RIG_AMD_CTR(0));
	status[1] = rd(RIG_AMD_STATUS);
	wr(RIG_AMD_STATUS_CLR, RIG_AMD_PMCS_FROZEN);
	rig_seq_nop100(0);
	ctr[3] = rd(RIG_AMD_CTR(0));
	status[2] = rd(RIG_AMD_STATUS);
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, ctr[1], ctr[0]);
	KUNIT_EXPECT_EQ(test, status[0], frozen);
	KUNIT_EXPECT_EQ(test, ctr[2], ctr[0]);
	KUNIT_EXPECT_EQ(test, status[1], RIG_AMD_PMCS_FROZEN);
	KUNIT_EXPECT_GE(test, ctr[3], ctr[2] + 100);
	KUNIT_EXPECT_EQ(test, status[2], 0);
}

/* Software that restores a status must not be interrupted by doing so. */
static void status_set_raises_nothing(struct kunit *test)
{
	unsigned long flags;
	u32 pmis;
	int i;

	if (!m->v2)
		kunit_skip(test, "no GlobalStatusSet");
	local_irq_save(flags);
	set_lvtpc(APIC_DM_NMI);
	wr(RIG_AMD_SEL(0), RIG_SEL(RIG_AMD_INSN) | RIG_SEL_INT);
	rig_pmi_count = 0;
	rig_idt_load(idt);
	wr(RIG_AMD_STATUS_SET, 1);
	for (i = 0; i < skid + 100; i++)
		cpu_relax();
	rig_idt_unload(idt);
	pmis = rig_pmi_count;
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, pmis, 0);
}

/* The interrupt comes right after the instruction that overflows the counter, plus the skid. */
static void pmi_place(struct kunit *test)
{
	static const int counts[] = { 20, 21, 36, 37, 100, 1000 };
	struct counts c;
	struct setup s;
	u64 before;
	int i;

	set_lvtpc(APIC_DM_NMI);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		pmi_setup(&s, 0, counts[i]);
		measure(&s, rig_seq_sled, 0, &c);
		KUNIT_ASSERT_EQ(test, c.pmis, 1);
		before = (rig_sled_count + counts[i] + 4) & RIG_AMD_WIDTH;
		KUNIT_EXPECT_EQ_MSG(test, c.pmi_rip - (unsigned long)rig_sled_start,
				    counts[i] - before + skid, "overflow after %d instructions",
				    counts[i]);
	}
}

/* An overflow by a string instruction interrupts after all of it. */
static void overflow_in_rep(struct kunit *test)
{
	struct counts c;
	struct setup s;
	u64 before;

	set_lvtpc(APIC_DM_NMI);
	pmi_setup(&s, 0, 1ULL << 40);
	measure(&s, rig_seq_rep_sled, 0, &c);
	KUNIT_ASSERT_EQ(test, c.pmis, 0);
	before = (rig_sled_count + (1ULL << 40) + 7) & RIG_AMD_WIDTH;
	pmi_setup(&s, 0, before + 1);
	measure(&s, rig_seq_rep_sled, 0, &c);
	KUNIT_ASSERT_EQ(test, c.pmis, 1);
	KUNIT_EXPECT_EQ_MSG(test, c.pmi_rip - (unsigned long)rig_rep_sled_start, skid,
			    "bytes after the REP");
}

static void two_overflows_at_once(struct kunit *test)
{
	struct counts c;
	struct setup s;

	if (!m->v2)
		kunit_skip(test, "needs GlobalCtl");
	set_lvtpc(APIC_DM_NMI);
	pmi_setup(&s, 0, 50);
	s.sel[1] = s.sel[0];
	s.ctr[1] = s.ctr[0];
	measure(&s, rig_seq_loop, 1000 + skid, &c);
	KUNIT_EXPECT_EQ(test, c.status, 3);
	KUNIT_EXPECT_EQ(test, c.pmis, 1);
}

/* The same through the kernel's own NMI entry. */
static atomic_t nmis;

static int nmi_handler(unsigned int cmd, struct pt_regs *regs)
{
	u64 val;

	rdmsrl(RIG_AMD_CTR(0), val);
	if (val & BIT_ULL(47))
		return NMI_DONE;
	wrmsrl(RIG_AMD_SEL(0), 0);
	atomic_inc(&nmis);
	return NMI_HANDLED;
}

static void pmi_reaches_kernel(struct kunit *test)
{
	unsigned long flags;
	int i, n = 20;

	atomic_set(&nmis, 0);
	set_lvtpc(APIC_DM_NMI);
	KUNIT_ASSERT_EQ(test, register_nmi_handler(NMI_LOCAL, nmi_handler, NMI_FLAG_FIRST,
						   "rig_amd"), 0);
	for (i = 0; i < n; i++) {
		local_irq_save(flags);
		wr(RIG_AMD_CTR(0), -100 & RIG_AMD_WIDTH);
		rig_measure(RIG_SEL(RIG_AMD_INSN) | RIG_SEL_INT, rig_seq_loop, 1000 + skid,
			    RIG_AMD_SEL(0));
		local_irq_restore(flags);
	}
	unregister_nmi_handler(NMI_LOCAL, "rig_amd");
	KUNIT_EXPECT_EQ(test, atomic_read(&nmis), n);
}

/* ---- for checks of the emulator's own statistics ---- */

static int read_counter(unsigned int n)
{
	u32 lo, hi;

	if (IS_ERR_OR_NULL(m))
		return -ENODEV;
	while (n--)
		rdmsr(RIG_AMD_CTR(5), lo, hi);
	return 0;
}
RIG_TIMES_PARAM(rdmsr, read_counter, "read counter 5 n times");

/* ---- the suite ---- */

static int rig_amd_init(struct kunit *test)
{
	int err = host_keep(test);

	if (err)
		return err;
	set_lvtpc(host.lvtpc | APIC_LVT_MASKED);
	pmu_quiesce();
	rig_sled_index = 0;
	fill_idt();
	return 0;
}

static struct kunit_case rig_amd_cases[] = {
	/* first: it wants to see what reset left */
	KUNIT_CASE(reset_values),
	KUNIT_CASE(cpuid_leaves),
	KUNIT_CASE(msr_present),
	KUNIT_CASE(msr_absent),
	KUNIT_CASE(reserved_bits),
	KUNIT_CASE(aliases),
	KUNIT_CASE(status_registers),
	KUNIT_CASE(rdpmc_counters),
	KUNIT_CASE_PARAM(exact_counts, seq_gen_params),
	KUNIT_CASE(interrupted_rep_counts_once),
	KUNIT_CASE(every_counter_counts),
	KUNIT_CASE(gating),
	KUNIT_CASE(cntmask_inv_edge),
	KUNIT_CASE(modelled_events),
	KUNIT_CASE(host_only_guest_only),
	KUNIT_CASE(svme_takes_effect_at_once),
	KUNIT_CASE(overflow_sets_status),
	KUNIT_CASE(overflow_of_branches),
	KUNIT_CASE(pmi_is_nmi),
	KUNIT_CASE(pmi_is_fixed_vector),
	KUNIT_CASE(pmi_masked),
	KUNIT_CASE(debugctl_bits),
	KUNIT_CASE(freeze_on_pmi),
	KUNIT_CASE(status_set_raises_nothing),
	KUNIT_CASE(pmi_place),
	KUNIT_CASE(overflow_in_rep),
	KUNIT_CASE(two_overflows_at_once),
	KUNIT_CASE(pmi_reaches_kernel),
	{}
};

static struct kunit_suite rig_amd_suite = {
	.name = "rig_amd",
	.init = rig_amd_init,
	.exit = host_put_back,
	.test_cases = rig_amd_cases,
};

kunit_test_suite(rig_amd_suite);

MODULE_DESCRIPTION("Tests of the emulated machine's PMU against the APM");
MODULE_LICENSE("GPL");
