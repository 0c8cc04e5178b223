// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the performance-monitoring unit of the machine that this kernel runs
 * on, against the SDM (vol. 3B, "Performance Monitoring"; vol. 4 for the
 * registers) and nothing else.
 *
 * The PMU must be idle: no perf events, no NMI watchdog.  Each test runs on one
 * CPU; everything that counts runs with interrupts off.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/nmi.h>
#include <asm/debugreg.h>
#include <asm/nmi.h>

#include "seqs.h"
#include "intel_host.h"

static bool fresh;
module_param(fresh, bool, 0444);
MODULE_PARM_DESC(fresh, "nothing has written GLOBAL_CTRL since reset: check its reset value");

/**
 * struct setup - the PMU for one run
 * @sel: event selects
 * @pmc: initial values of the general-purpose counters
 * @fixed_ctrl: FIXED_CTR_CTRL
 * @fixed: initial values of the fixed counters
 * @global: GLOBAL_CTRL during the run
 */
struct setup {
	u64 sel[RIG_GP_MAX];
	u64 pmc[RIG_GP_MAX];
	u64 fixed_ctrl;
	u64 fixed[RIG_FIXED_MAX];
	u64 global;
};

/* What a run left. */
struct counts {
	u64 pmc[RIG_GP_MAX];
	u64 fixed[RIG_FIXED_MAX];
	u64 status;
	u32 pmis;
	u64 pmi_rip;
	u32 lvtpc;
};

static void measure(const struct setup *s, rig_seq_t seq, u64 arg, struct counts *c)
{
	unsigned long flags;
	int i;

	memset(c, 0, sizeof(*c));
	local_irq_save(flags);
	pmu_quiesce();
	for (i = 0; i < m->gp; i++) {
		wr(MSR_IA32_PMC0 + i, s->pmc[i] & rig_width_mask(m));
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, s->sel[i]);
	}
	for (i = 0; i < m->fixed; i++)
		wr(MSR_CORE_PERF_FIXED_CTR0 + i, s->fixed[i] & rig_width_mask(m));
	wr(MSR_CORE_PERF_FIXED_CTR_CTRL, s->fixed_ctrl);
	rig_pmi_count = 0;
	rig_pmi_rip = 0;

	rig_idt_load(idt);
	rig_measure(s->global, seq, arg, MSR_CORE_PERF_GLOBAL_CTRL);
	/* Let an interrupt that skids arrive before the table goes. */
	for (i = 0; i < skid + 16; i++)
		cpu_relax();
	rig_idt_unload(idt);
	set_debugreg(DR6_RESERVED, 6);

	for (i = 0; i < m->gp; i++)
		c->pmc[i] = rd(MSR_IA32_PMC0 + i);
	for (i = 0; i < m->fixed; i++)
		c->fixed[i] = rd(MSR_CORE_PERF_FIXED_CTR0 + i);
	c->status = rd(MSR_CORE_PERF_GLOBAL_STATUS);
	c->pmis = rig_pmi_count;
	c->pmi_rip = rig_pmi_rip;
	c->lvtpc = rig_apic_read(APIC_LVTPC);
	pmu_quiesce();
	local_irq_restore(flags);
}

/* Instructions, branches, conditional branches, cycles on GP 0-3, fixed 0-2 besides. */
static struct setup exact_setup(void)
{
	return (struct setup) {
		.sel = { RIG_SEL(RIG_EVENT_INSN), RIG_SEL(RIG_EVENT_BRANCH),
			 RIG_SEL(m->cond), RIG_SEL(RIG_EVENT_CYCLES) },
		.fixed_ctrl = RIG_FIXED(0, RIG_FIXED_OS | RIG_FIXED_USR) |
			      RIG_FIXED(1, RIG_FIXED_OS | RIG_FIXED_USR) |
			      RIG_FIXED(2, RIG_FIXED_OS | RIG_FIXED_USR),
		.global = 0xf | GENMASK_ULL(34, 32),
	};
}

/* The counts of a sequence alone. */
static void measure_delta(const struct setup *s, rig_seq_t seq, u64 arg, struct counts *c)
{
	struct counts empty;
	int i;

	measure(s, rig_seq_empty, arg, &empty);
	measure(s, seq, arg, c);
	for (i = 0; i < RIG_GP_MAX; i++)
		c->pmc[i] -= empty.pmc[i];
	for (i = 0; i < RIG_FIXED_MAX; i++)
		c->fixed[i] -= empty.fixed[i];
}

/* ---- what the processor says it has ---- */

static void cpuid_leaf_a(struct kunit *test)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xa, 0, &eax, &ebx, &ecx, &edx);
	kunit_info(test, "CPUID.0AH: %08x %08x %08x %08x\n", eax, ebx, ecx, edx);
	KUNIT_EXPECT_EQ(test, eax & 0xff, m->version);
	KUNIT_EXPECT_EQ(test, eax >> 8 & 0xff, m->gp);
	KUNIT_EXPECT_EQ(test, eax >> 16 & 0xff, m->width);
	/* seven architectural events; the eighth is top-down slots */
	KUNIT_EXPECT_EQ(test, eax >> 24, m->metrics ? 8 : 7);
	KUNIT_EXPECT_EQ(test, ebx & GENMASK((eax >> 24) - 1, 0), 0);
	KUNIT_EXPECT_EQ(test, edx & 0x1f, m->fixed);
	KUNIT_EXPECT_EQ(test, edx >> 5 & 0xff, m->width);
	KUNIT_EXPECT_EQ(test, edx >> 15 & 1, m->any_deprecated);
	if (m->version >= 5)
		KUNIT_EXPECT_EQ(test, ecx, GENMASK(m->fixed - 1, 0));
	else
		KUNIT_EXPECT_EQ(test, ecx, 0);
}

static void perf_capabilities(struct kunit *test)
{
	u64 cap = 0;

	KUNIT_EXPECT_TRUE_MSG(test, cpuid_ecx(1) & BIT(15), "CPUID.01H:ECX.PDCM");
	KUNIT_ASSERT_EQ(test, rdmsrl_safe(MSR_IA32_PERF_CAPABILITIES, &cap), 0);
	kunit_info(test, "IA32_PERF_CAPABILITIES %#llx\n", cap);
	KUNIT_EXPECT_NE_MSG(test, cap & RIG_PERF_CAP_FW_WRITE, 0, "full-width writes");
	KUNIT_EXPECT_EQ_MSG(test, !!(cap & RIG_PERF_CAP_METRICS), m->metrics, "PERF_METRICS");
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_IA32_PERF_CAPABILITIES, cap), 0, "read-only");
}

/* ---- registers ---- */

static void msr_present(struct kunit *test)
{
	const struct { u32 first, n; } there[] = {
		{ MSR_ARCH_PERFMON_EVENTSEL0, m->gp },
		{ MSR_ARCH_PERFMON_PERFCTR0, m->gp },
		{ MSR_IA32_PMC0, m->gp },
		{ MSR_CORE_PERF_FIXED_CTR0, m->fixed },
		{ MSR_CORE_PERF_FIXED_CTR_CTRL, 1 },
		{ MSR_CORE_PERF_GLOBAL_STATUS, 1 },
		{ MSR_CORE_PERF_GLOBAL_CTRL, 1 },
		{ MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1 },
		{ RIG_MSR_GLOBAL_STATUS_SET, 1 },
		{ RIG_MSR_GLOBAL_INUSE, 1 },
		{ MSR_PERF_METRICS, m->metrics },
	};
	u64 val;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(there); i++)
		for (j = 0; j < there[i].n; j++)
			KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(there[i].first + j, &val), 0,
					    "RDMSR %#x", there[i].first + j);
}

static void msr_absent(struct kunit *test)
{
	const struct { u32 first, n; } gone[] = {
		{ MSR_ARCH_PERFMON_EVENTSEL0 + m->gp, 8 - m->gp + 1 },
		{ MSR_ARCH_PERFMON_PERFCTR0 + m->gp, 8 - m->gp + 1 },
		{ MSR_IA32_PMC0 + m->gp, 8 - m->gp + 1 },
		{ MSR_CORE_PERF_FIXED_CTR0 + m->fixed, 4 - m->fixed + 1 },
		{ MSR_PERF_METRICS, !m->metrics },
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

/*
 * One bit after the other: @accept must be written, and with @sticky read back;
 * @refuse must raise #GP and leave the register alone; the manual leaves the rest
 * to the model.
 */
static void check_bits(struct kunit *test, const char *name, u32 msr, u64 accept, u64 refuse,
		       bool sticky)
{
	unsigned long flags;
	u64 before, after, bits;
	int bit, err;

	for (bit = 0; bit < 64; bit++) {
		bits = BIT_ULL(bit);
		if (!((accept | refuse) & bits))
			continue;
		local_irq_save(flags);
		before = sticky ? rd(msr) : 0;
		err = wrmsrl_safe(msr, bits);
		after = sticky ? rd(msr) : 0;
		if (sticky)
			wr(msr, before);
		local_irq_restore(flags);
		if (accept & bits) {
			KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s (%#x) bit %d is valid",
					    name, msr, bit);
			if (sticky)
				KUNIT_EXPECT_EQ_MSG(test, after, bits, "%s (%#x) bit %d reads back",
						    name, msr, bit);
		} else {
			KUNIT_EXPECT_NE_MSG(test, err, 0, "%s (%#x) bit %d is reserved: #GP",
					    name, msr, bit);
			KUNIT_EXPECT_EQ_MSG(test, after, before, "%s (%#x) unchanged by #GP",
					    name, msr);
		}
	}
}

static void reserved_bits(struct kunit *test)
{
	u64 gp = rig_gp_mask(m), fixed = rig_fixed_mask(m);
	u64 metrics = m->metrics ? RIG_STATUS_METRICS : 0;
	u64 cap = rd(MSR_IA32_PERF_CAPABILITIES);
	bool tsx = cpuid_ebx(7) & (BIT(4) | BIT(11));
	u64 accept, refuse;
	int i;

	/* Pin control (19) is the model's business; 32 and 33 are TSX's, 34 is adaptive PEBS'. */
	accept = 0xffff | RIG_SEL_USR | RIG_SEL_OS | RIG_SEL_EDGE | RIG_SEL_INT | RIG_SEL_EN |
		 RIG_SEL_INV | RIG_SEL_CMASK(0xff);
	refuse = GENMASK_ULL(63, 35);
	if (m->any_deprecated)
		refuse |= RIG_SEL_ANY;
	else
		accept |= RIG_SEL_ANY;
	if (!tsx)
		refuse |= GENMASK_ULL(33, 32);
	if (!(cap & RIG_PERF_CAP_BASELINE))
		refuse |= BIT_ULL(34);
	for (i = 0; i < m->gp; i++)
		check_bits(test, "PERFEVTSEL", MSR_ARCH_PERFMON_EVENTSEL0 + i, accept, refuse,
			   true);

	accept = 0;
	refuse = ~0ULL;
	for (i = 0; i < m->fixed; i++) {
		accept |= RIG_FIXED(i, RIG_FIXED_OS | RIG_FIXED_USR | RIG_FIXED_PMI);
		if (!m->any_deprecated)
			accept |= RIG_FIXED(i, RIG_FIXED_ANY);
		if (cap & RIG_PERF_CAP_BASELINE)
			refuse &= ~BIT_ULL(32 + 4 * i);
	}
	refuse &= ~accept;
	check_bits(test, "FIXED_CTR_CTRL", MSR_CORE_PERF_FIXED_CTR_CTRL, accept, refuse, true);

	accept = gp | fixed | metrics;
	check_bits(test, "GLOBAL_CTRL", MSR_CORE_PERF_GLOBAL_CTRL, accept, ~accept, true);

	/* 61: uncore - where the model has it */
	accept = status_bits();
	refuse = ~accept & ~(BIT_ULL(61) | BIT_ULL(63));
	check_bits(test, "GLOBAL_STATUS_RESET", MSR_CORE_PERF_GLOBAL_OVF_CTRL,
		   accept | BIT_ULL(63), refuse, false);
	check_bits(test, "GLOBAL_STATUS_SET", RIG_MSR_GLOBAL_STATUS_SET,
		   accept, refuse | BIT_ULL(63), false);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, accept);

	for (i = 0; i < m->gp; i++)
		check_bits(test, "A_PMC", MSR_IA32_PMC0 + i, rig_width_mask(m),
			   ~rig_width_mask(m), true);
}

/* CPUID.0AH: "each enable bit of a general-purpose counter is set by reset, all others clear". */
static void reset_values(struct kunit *test)
{
	if (!fresh)
		kunit_skip(test, "somebody may have used the PMU since reset");
	/* host.global_ctrl is what the first test found */
	KUNIT_EXPECT_EQ(test, host.global_ctrl, rig_gp_mask(m));
	KUNIT_EXPECT_EQ(test, host.fixed_ctrl, 0);
}

/* Legacy writes take 32 bits and extend bit 31; the upper half of the operand is ignored. */
static void pmc_write_sign_extends(struct kunit *test)
{
	static const struct { u64 write, read; } v[] = {
		{ 0, 0 },
		{ 0x7fffffff, 0x7fffffff },
		{ 0x80000000, 0xffffffff80000000 },
		{ 0xffffffff, 0xffffffffffffffff },
		{ 0x00001234fffffff0, 0xfffffffffffffff0 },
		{ 0xffff5678000000f0, 0x00000000000000f0 },
	};
	int i, j;

	for (i = 0; i < m->gp; i++) {
		for (j = 0; j < ARRAY_SIZE(v); j++) {
			KUNIT_EXPECT_EQ_MSG(test, wrmsrl_safe(MSR_ARCH_PERFMON_PERFCTR0 + i,
							      v[j].write), 0, "PMC%d", i);
			KUNIT_EXPECT_EQ_MSG(test, rd(MSR_ARCH_PERFMON_PERFCTR0 + i),
					    v[j].read & rig_width_mask(m), "PMC%d = %#llx",
					    i, v[j].write);
		}
	}
}

/* Two addresses of one counter, the other one without sign extension. */
static void a_pmc_is_full_width(struct kunit *test)
{
	const u64 vals[] = { 0, 0x80000000, 0x123456789abc, rig_width_mask(m) };
	int i, j;

	for (i = 0; i < m->gp; i++) {
		for (j = 0; j < ARRAY_SIZE(vals); j++) {
			wr(MSR_IA32_PMC0 + i, vals[j]);
			KUNIT_EXPECT_EQ(test, rd(MSR_IA32_PMC0 + i), vals[j]);
			KUNIT_EXPECT_EQ(test, rd(MSR_ARCH_PERFMON_PERFCTR0 + i), vals[j]);
		}
		wr(MSR_ARCH_PERFMON_PERFCTR0 + i, 0x80000000);
		KUNIT_EXPECT_EQ(test, rd(MSR_IA32_PMC0 + i),
				0xffffffff80000000ULL & rig_width_mask(m));
	}
}

static void fixed_counter_width(struct kunit *test)
{
	u64 vals[] = { 0, 0x80000000, 0x123456789abc, rig_width_mask(m) };
	int i, j;

	for (i = 0; i < m->fixed; i++) {
		for (j = 0; j < ARRAY_SIZE(vals); j++) {
			wr(MSR_CORE_PERF_FIXED_CTR0 + i, vals[j]);
			KUNIT_EXPECT_EQ_MSG(test, rd(MSR_CORE_PERF_FIXED_CTR0 + i), vals[j],
					    "fixed %d", i);
		}
		/* Beyond the width: refused, or not kept; never counted with. */
		if (!wrmsrl_safe(MSR_CORE_PERF_FIXED_CTR0 + i, ~0ULL))
			KUNIT_EXPECT_EQ_MSG(test, rd(MSR_CORE_PERF_FIXED_CTR0 + i),
					    rig_width_mask(m), "fixed %d", i);
		wr(MSR_CORE_PERF_FIXED_CTR0 + i, 0);
	}
}

static void status_registers(struct kunit *test)
{
	u64 all = status_bits(), some = BIT_ULL(0) | BIT_ULL(33) | RIG_STATUS_CTR_FRZ;

	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), 0);
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_CORE_PERF_GLOBAL_STATUS, 0), 0, "read-only");
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_CORE_PERF_GLOBAL_STATUS, 1), 0, "read-only");

	wr(RIG_MSR_GLOBAL_STATUS_SET, some);
	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), some);
	wr(RIG_MSR_GLOBAL_STATUS_SET, all);
	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), all);
	wr(RIG_MSR_GLOBAL_STATUS_SET, 0);
	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), all);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, some);
	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), all & ~some);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, all);
	KUNIT_EXPECT_EQ(test, rd(MSR_CORE_PERF_GLOBAL_STATUS), 0);
}

/* Bit n: event select n is not 0; bit 32 + i: fixed i is enabled; bit 63: some INT bit is set. */
static void inuse(struct kunit *test)
{
	int i;

	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(RIG_MSR_GLOBAL_INUSE, 0), 0, "read-only");
	KUNIT_EXPECT_EQ(test, rd(RIG_MSR_GLOBAL_INUSE), 0);
	for (i = 0; i < m->gp; i++) {
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, RIG_EVENT_INSN);
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_MSR_GLOBAL_INUSE), BIT_ULL(i), "GP %d", i);
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, RIG_EVENT_INSN | RIG_SEL_INT);
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_MSR_GLOBAL_INUSE), BIT_ULL(i) | BIT_ULL(63),
				    "GP %d with INT", i);
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, 0);
	}
	for (i = 0; i < m->fixed; i++) {
		wr(MSR_CORE_PERF_FIXED_CTR_CTRL, RIG_FIXED(i, RIG_FIXED_USR));
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_MSR_GLOBAL_INUSE), BIT_ULL(32 + i), "fixed %d", i);
		wr(MSR_CORE_PERF_FIXED_CTR_CTRL, RIG_FIXED(i, RIG_FIXED_OS | RIG_FIXED_PMI));
		KUNIT_EXPECT_EQ_MSG(test, rd(RIG_MSR_GLOBAL_INUSE), BIT_ULL(32 + i) | BIT_ULL(63),
				    "fixed %d with PMI", i);
	}
	wr(MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
	KUNIT_EXPECT_EQ(test, rd(RIG_MSR_GLOBAL_INUSE), 0);
}

static void rdpmc_types(struct kunit *test)
{
	static const u32 bad[] = {
		0x20000001, 0x10000000, 0x80000000, 0x40000020, 0x00000020, 0xffffffff, 0x60000000,
	};
	u64 val;
	int i;

	for (i = 0; i < m->gp; i++) {
		wr(MSR_IA32_PMC0 + i, 0x123456780000 + i);
		KUNIT_EXPECT_TRUE_MSG(test, rig_rdpmc_safe(i, &val), "RDPMC GP %d", i);
		KUNIT_EXPECT_EQ_MSG(test, val, 0x123456780000 + i, "RDPMC GP %d", i);
	}
	for (i = m->gp; i < 12; i++)
		KUNIT_EXPECT_FALSE_MSG(test, rig_rdpmc_safe(i, &val), "RDPMC GP %d", i);
	for (i = 0; i < m->fixed; i++) {
		wr(MSR_CORE_PERF_FIXED_CTR0 + i, 0x876543210000 + i);
		KUNIT_EXPECT_TRUE_MSG(test, rig_rdpmc_safe(0x40000000 + i, &val),
				      "RDPMC fixed %d", i);
		KUNIT_EXPECT_EQ_MSG(test, val, 0x876543210000 + i, "RDPMC fixed %d", i);
	}
	for (i = m->fixed; i < 8; i++)
		KUNIT_EXPECT_FALSE_MSG(test, rig_rdpmc_safe(0x40000000 + i, &val),
				       "RDPMC fixed %d", i);
	KUNIT_EXPECT_EQ_MSG(test, rig_rdpmc_safe(0x20000000, &val), m->metrics, "RDPMC metrics");
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_FALSE_MSG(test, rig_rdpmc_safe(bad[i], &val), "RDPMC %#x", bad[i]);
}

/* ---- counting ---- */

static void exact_counts(struct kunit *test)
{
	const struct seq_param *p = test->param_value;
	struct setup s = exact_setup();
	struct counts c, again;
	int i;

	measure_delta(&s, p->seq, p->arg, &c);
	measure_delta(&s, p->seq, p->arg, &again);
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[0], p->want[0], "instructions");
	KUNIT_EXPECT_EQ_MSG(test, c.fixed[0], p->want[0], "instructions, fixed counter");
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[1], p->want[1], "branches");
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[2], p->want[2], "conditional branches");
	KUNIT_EXPECT_GE_MSG(test, c.fixed[1], p->want[0], "core cycles");
	KUNIT_EXPECT_EQ_MSG(test, c.fixed[1], c.pmc[3], "core cycles on two counters");
	for (i = 0; i < m->gp; i++)
		KUNIT_EXPECT_EQ_MSG(test, c.pmc[i], again.pmc[i], "two runs, counter %d", i);
	for (i = 0; i < m->fixed; i++)
		KUNIT_EXPECT_EQ_MSG(test, c.fixed[i], again.fixed[i], "two runs, fixed %d", i);
}

/* Single-stepping: a string instruction that is interrupted after each iteration retires once. */
static void interrupted_rep_counts_once(struct kunit *test)
{
	struct setup s = exact_setup();
	struct counts few, many;

	measure(&s, rig_seq_rep_traced, 10, &few);
	measure(&s, rig_seq_rep_traced, 60, &many);
	/* 50 more traps, whose handler is one IRETQ */
	KUNIT_EXPECT_EQ(test, many.pmc[0] - few.pmc[0], 50);
	KUNIT_EXPECT_EQ(test, many.fixed[0] - few.fixed[0], 50);
	KUNIT_EXPECT_EQ(test, many.pmc[1] - few.pmc[1], 50);
}

/* Each counter on its own, so that none is another one's alias. */
static void every_counter_counts(struct kunit *test)
{
	struct counts c;
	int i, j;

	for (i = 0; i < m->gp; i++) {
		struct setup s = { .global = BIT_ULL(i) };

		s.sel[i] = RIG_SEL(RIG_EVENT_INSN);
		measure_delta(&s, rig_seq_nop100, 0, &c);
		for (j = 0; j < m->gp; j++)
			KUNIT_EXPECT_EQ_MSG(test, c.pmc[j], i == j ? 100 : 0, "GP %d, on is %d",
					    j, i);
		for (j = 0; j < m->fixed; j++)
			KUNIT_EXPECT_EQ_MSG(test, c.fixed[j], 0, "fixed %d, on is GP %d", j, i);
	}
	for (i = 0; i < m->fixed; i++) {
		struct setup s = { .global = BIT_ULL(32 + i) };

		s.fixed_ctrl = RIG_FIXED(i, RIG_FIXED_OS | RIG_FIXED_USR);
		measure(&s, rig_seq_nop100, 0, &c);
		for (j = 0; j < m->fixed; j++)
			KUNIT_EXPECT_EQ_MSG(test, !!c.fixed[j], i == j, "fixed %d, on is %d", j, i);
		for (j = 0; j < m->gp; j++)
			KUNIT_EXPECT_EQ_MSG(test, c.pmc[j], 0, "GP %d, on is fixed %d", j, i);
	}
}

/* Enable in the select, enable in GLOBAL_CTRL, and the privilege filter; all runs at CPL 0. */
static void gating(struct kunit *test)
{
	const u64 insn = RIG_EVENT_INSN, both = RIG_SEL_USR | RIG_SEL_OS;
	const struct {
		const char *what;
		u64 sel, fixed_ctrl, global;
		bool counts;
	} v[] = {
		{ "all on", insn | both | RIG_SEL_EN, 3, BIT_ULL(32) | 1, true },
		{ "OS only", insn | RIG_SEL_OS | RIG_SEL_EN, RIG_FIXED_OS, BIT_ULL(32) | 1, true },
		{ "USR only", insn | RIG_SEL_USR | RIG_SEL_EN, RIG_FIXED_USR, BIT_ULL(32) | 1,
		  false },
		{ "no privilege", insn | RIG_SEL_EN, 0, BIT_ULL(32) | 1, false },
		{ "EN clear", insn | both, 0, BIT_ULL(32) | 1, false },
		{ "GLOBAL_CTRL clear", insn | both | RIG_SEL_EN, 3, 0, false },
		{ "GLOBAL_CTRL has the others", insn | both | RIG_SEL_EN, 3,
		  (rig_gp_mask(m) | rig_fixed_mask(m)) & ~(BIT_ULL(32) | 1), false },
	};
	struct counts c;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		struct setup s = { .global = v[i].global, .fixed_ctrl = v[i].fixed_ctrl };

		s.sel[0] = v[i].sel;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.pmc[0] >= 100, v[i].counts, "%s: GP", v[i].what);
		KUNIT_EXPECT_EQ_MSG(test, c.fixed[0] >= 100, v[i].counts, "%s: fixed", v[i].what);
		if (!v[i].counts) {
			KUNIT_EXPECT_EQ_MSG(test, c.pmc[0], 0, "%s: GP", v[i].what);
			KUNIT_EXPECT_EQ_MSG(test, c.fixed[0], 0, "%s: fixed", v[i].what);
		}
	}
}

static void unknown_event_counts_nothing(struct kunit *test)
{
	struct setup s = { .global = 3 };
	struct counts c;

	s.sel[0] = RIG_SEL(RIG_EVENT_NONE);
	s.sel[1] = RIG_SEL(0);
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ(test, c.pmc[0], 0);
	KUNIT_EXPECT_EQ(test, c.pmc[1], 0);
}

/*
 * CMASK: count the cycles in which the event occurred at least CMASK times.
 * INV turns the comparison round.  Edge counts the changes from false to true.
 * A cycle occurs once per cycle, which makes these exact.
 */
static void cmask_inv_edge(struct kunit *test)
{
	const u64 cycles = RIG_SEL(RIG_EVENT_CYCLES), insn = RIG_SEL(RIG_EVENT_INSN);
	struct setup s = {
		.sel = { cycles, cycles | RIG_SEL_CMASK(1), cycles | RIG_SEL_CMASK(2),
			 cycles | RIG_SEL_CMASK(2) | RIG_SEL_INV },
		.global = 0xf,
	};
	struct counts c;

	measure_delta(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_GE(test, c.pmc[0], 2000);
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[1], c.pmc[0], "cycles, CMASK 1");
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[2], 0, "cycles, CMASK 2");
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[3], c.pmc[0], "cycles, CMASK 2, INV");

	s.sel[1] = insn | RIG_SEL_CMASK(1);
	s.sel[2] = insn | RIG_SEL_CMASK(1) | RIG_SEL_INV;
	s.sel[3] = insn | RIG_SEL_CMASK(255);
	measure_delta(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[1] + c.pmc[2], c.pmc[0],
			    "cycles with an instruction and cycles without one are all cycles");
	KUNIT_EXPECT_EQ_MSG(test, c.pmc[3], 0, "no cycle retires 255 instructions");

	/* Halting aside the clock does not stop: one rising edge, or none if it was high before. */
	s.sel[1] = cycles | RIG_SEL_CMASK(1) | RIG_SEL_EDGE;
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_LE_MSG(test, c.pmc[1], 1, "cycles, CMASK 1, edge");
}

/*
 * One-shot APIC timer on our vector; HLT; the counters must not see how long it took.  The least
 * of 32 turns, or of as many as it takes within ten seconds if other interrupts keep waking the
 * CPU: another CPU's, or those of a device that somebody uses (the console, for one).  A turn in
 * which the timer came during another interrupt's handler looks like one of the timer's own, but
 * for the handler's instructions: the least is believed when two turns had it.
 */
static u64 halted(struct kunit *test, u32 ticks, struct counts *best)
{
	const unsigned long end = jiffies + 10 * HZ;
	struct setup s = exact_setup();
	struct counts c;
	unsigned long flags;
	u32 lvtt, tdcr, tmcct;
	u64 deadline = 0, tsc, elapsed, of_best = 0;
	int i, alone = 0;

	for (i = 0; i < 32 || (alone < 2 && time_before(jiffies, end)); i++) {
		if (i >= 32)
			msleep(10);
		/* let what is pending happen now */
		local_irq_save(flags);
		local_irq_restore(flags);
		local_irq_save(flags);
		lvtt = rig_apic_read(APIC_LVTT);
		tdcr = rig_apic_read(APIC_TDCR);
		tmcct = rig_apic_read(APIC_TMCCT);
		if (lvtt & APIC_LVT_TIMER_TSCDEADLINE) {
			rdmsrl(MSR_IA32_TSC_DEADLINE, deadline);
			wrmsrl(MSR_IA32_TSC_DEADLINE, 0);
		}
		rig_timer_count = 0;
		rig_apic_write(APIC_LVTT, VECTOR_TIMER);
		rig_apic_write(APIC_TDCR, APIC_TDR_DIV_1);
		tsc = rdtsc();
		rig_apic_write(APIC_TMICT, ticks);
		measure(&s, rig_seq_hlt, 0, &c);
		elapsed = rdtsc() - tsc;
		if (rig_timer_count)
			rig_apic_write(APIC_EOI, 0);
		rig_apic_write(APIC_TMICT, 0);
		rig_apic_write(APIC_TDCR, tdcr);
		rig_apic_write(APIC_LVTT, lvtt);
		if (lvtt & APIC_LVT_TIMER_TSCDEADLINE)
			wrmsrl(MSR_IA32_TSC_DEADLINE, deadline);
		else
			rig_apic_write(APIC_TMICT, tmcct ?: 1);
		local_irq_restore(flags);
		/* Another interrupt woke us: its handler counted too. */
		if (rig_timer_count != 1)
			continue;
		if (!alone || c.fixed[0] < best->fixed[0]) {
			alone = 0;
			*best = c;
			of_best = elapsed;
		}
		alone += c.fixed[0] == best->fixed[0];
	}
	kunit_info(test, "%u ticks: woken by the timer alone in %d of %d turns\n", ticks, alone, i);
	KUNIT_ASSERT_GE_MSG(test, alone, 2, "the timer never woke the CPU alone");
	return of_best;
}

static void halted_counts_no_cycles(struct kunit *test)
{
	struct counts shorter = {}, longer = {};
	u64 t1, t2;

	t1 = halted(test, 20000, &shorter);
	t2 = halted(test, 300000, &longer);
	kunit_info(test, "halted for about %llu and %llu TSC ticks\n", t1, t2);
	KUNIT_EXPECT_GT(test, t2, t1);
	KUNIT_EXPECT_EQ_MSG(test, longer.fixed[0], shorter.fixed[0], "instructions");
	KUNIT_EXPECT_EQ_MSG(test, longer.fixed[1], shorter.fixed[1], "core cycles");
	KUNIT_EXPECT_EQ_MSG(test, longer.fixed[2], shorter.fixed[2], "reference cycles");
}

static void perf_metrics(struct kunit *test)
{
	const u64 slots = RIG_FIXED(3, RIG_FIXED_OS | RIG_FIXED_USR);
	const u64 cycles = RIG_FIXED(1, RIG_FIXED_OS | RIG_FIXED_USR);
	unsigned long flags;
	u64 metrics, rdpmc = 0, count, core;
	int i, sum = 0;

	if (!m->metrics)
		kunit_skip(test, "%s has no PERF_METRICS", m->name);

	local_irq_save(flags);
	pmu_quiesce();
	wr(MSR_CORE_PERF_FIXED_CTR_CTRL, slots | cycles);
	rig_measure(RIG_GLOBAL_METRICS | BIT_ULL(35) | BIT_ULL(33), rig_seq_loop, 10000,
		    MSR_CORE_PERF_GLOBAL_CTRL);
	count = rd(MSR_CORE_PERF_FIXED_CTR0 + 3);
	core = rd(MSR_CORE_PERF_FIXED_CTR0 + 1);
	metrics = rd(MSR_PERF_METRICS);
	rig_rdpmc_safe(0x20000000, &rdpmc);
	pmu_quiesce();
	local_irq_restore(flags);

	for (i = 0; i < 4; i++)
		sum += metrics >> (8 * i) & 0xff;
	kunit_info(test, "slots %llu, cycles %llu, metrics %#llx\n", count, core, metrics);
	KUNIT_EXPECT_EQ(test, metrics, rdpmc);
	KUNIT_ASSERT_GE(test, core, 20000);
	KUNIT_EXPECT_GT_MSG(test, count, core, "several slots per cycle");
	KUNIT_EXPECT_EQ_MSG(test, count % core, 0, "a whole number of slots per cycle");
	/* fractions of 255, each rounded */
	KUNIT_EXPECT_GE(test, sum, 253);
	KUNIT_EXPECT_LE(test, sum, 257);
	KUNIT_EXPECT_GT_MSG(test, metrics & 0xff, 0, "something was retired");
	KUNIT_EXPECT_EQ_MSG(test, rd(MSR_PERF_METRICS), 0, "writable to 0");
}

/*
 * Events whose numbers are a model's.  What holds for each model: parts are not more than the
 * whole, and once the model's memory has seen a sequence it says the same each time.
 */
static void modelled_events(struct kunit *test)
{
	const struct { const char *name; u16 event; } events[] = {
		{ "reference cycles", 0x013c }, { "branch misses", 0x00c5 },
		{ "cache references", 0x4f2e }, { "cache misses", 0x412e },
	};
	struct setup s = { .global = 0xf };
	struct counts first, c, again;
	int i;

	for (i = 0; i < ARRAY_SIZE(events); i++)
		s.sel[i] = RIG_SEL(events[i].event);

	/* 16 KiB of data that nobody has read for long, a loop's end that nobody foresees */
	measure(&s, rig_seq_rep_lodsb, 16384, &first);
	KUNIT_EXPECT_NE_MSG(test, first.pmc[2], 0, "cache references");
	KUNIT_EXPECT_LE_MSG(test, first.pmc[3], first.pmc[2], "cache misses");
	measure(&s, rig_seq_loop, 1000, &first);
	KUNIT_EXPECT_GE_MSG(test, first.pmc[0], 2000, "reference cycles");
	KUNIT_EXPECT_NE_MSG(test, first.pmc[1], 0, "branch misses");
	KUNIT_EXPECT_LT_MSG(test, first.pmc[1], 1000, "branch misses");

	measure(&s, rig_seq_loop, 1000, &c);
	measure(&s, rig_seq_loop, 1000, &again);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		KUNIT_EXPECT_EQ_MSG(test, c.pmc[i], again.pmc[i], "two runs, %s", events[i].name);
}

/* ---- overflow and the interrupt ---- */

static void set_lvtpc(u32 val)
{
	rig_apic_write(APIC_LVTPC, val);
}

/* Without INT: STATUS alone; the counter goes on from 0. */
static void overflow_sets_status(struct kunit *test)
{
	struct counts c;
	int i;

	set_lvtpc(APIC_DM_NMI);
	for (i = 0; i < m->gp; i++) {
		struct setup s = { .global = BIT_ULL(i) };

		s.sel[i] = RIG_SEL(RIG_EVENT_INSN);
		s.pmc[i] = -50;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.status, BIT_ULL(i), "GP %d", i);
		KUNIT_EXPECT_GE(test, c.pmc[i], 50);
		KUNIT_EXPECT_LT(test, c.pmc[i], 70);
		KUNIT_EXPECT_EQ_MSG(test, c.pmis, 0, "INT is clear");
		/* just not there yet */
		s.pmc[i] = -500;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.status, 0, "GP %d", i);
	}
	for (i = 0; i < m->fixed; i++) {
		struct setup s = { .global = BIT_ULL(32 + i) };

		s.fixed_ctrl = RIG_FIXED(i, RIG_FIXED_OS | RIG_FIXED_USR);
		s.fixed[i] = -50;
		measure(&s, rig_seq_nop100, 0, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.status & ~RIG_STATUS_METRICS, BIT_ULL(32 + i),
				    "fixed %d", i);
		KUNIT_EXPECT_EQ_MSG(test, c.pmis, 0, "PMI is clear");
	}
	KUNIT_EXPECT_EQ(test, rig_apic_read(APIC_LVTPC), APIC_DM_NMI);
}

/* A legacy write of -n and a full-width one overflow at the same place. */
static void overflow_of_branches(struct kunit *test)
{
	struct setup s = { .global = 3 };
	struct counts c;

	set_lvtpc(APIC_DM_NMI);
	s.sel[0] = RIG_SEL(RIG_EVENT_BRANCH);
	s.sel[1] = RIG_SEL(m->cond);
	measure_delta(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ(test, c.pmc[1], 1000);
	s.pmc[1] = -1000;
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.status, BIT_ULL(1), "the last branch overflows");
	KUNIT_EXPECT_EQ(test, c.pmc[1], 0);
	s.pmc[1] = -1001;
	measure(&s, rig_seq_loop, 1000, &c);
	KUNIT_EXPECT_EQ_MSG(test, c.status, 0, "one branch short of it");
	KUNIT_EXPECT_EQ(test, c.pmc[1], rig_width_mask(m));
}

static void pmi_setup(struct setup *s, int i, u64 count)
{
	*s = (struct setup) { .global = BIT_ULL(i) };
	if (i < 32) {
		s->sel[i] = RIG_SEL(RIG_EVENT_INSN) | RIG_SEL_INT;
		s->pmc[i] = -count;
	} else {
		s->fixed_ctrl = RIG_FIXED(i - 32, RIG_FIXED_OS | RIG_FIXED_USR | RIG_FIXED_PMI);
		s->fixed[i - 32] = -count;
	}
}

/* One interrupt per overflow, as an NMI; delivery sets LVTPC's mask. */
static void pmi_is_nmi(struct kunit *test)
{
	u64 all = rig_gp_mask(m) | rig_fixed_mask(m);
	struct counts c;
	struct setup s;
	int i;

	for (i = 0; i < 64; i++) {
		if (!(all & BIT_ULL(i)))
			continue;
		set_lvtpc(APIC_DM_NMI);
		pmi_setup(&s, i, 500);
		measure(&s, rig_seq_loop, 1000 + skid, &c);
		KUNIT_EXPECT_EQ_MSG(test, c.pmis, 1, "counter %d", i);
		KUNIT_EXPECT_EQ_MSG(test, c.status & all, BIT_ULL(i), "counter %d", i);
		KUNIT_EXPECT_EQ_MSG(test, c.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED, "counter %d", i);
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
	KUNIT_EXPECT_EQ(test, c.lvtpc, APIC_DM_FIXED | VECTOR_FIXED | APIC_LVT_MASKED);
	KUNIT_EXPECT_EQ_MSG(test, vector_pending(VECTOR_FIXED), 1, "pending in the IRR");
	rig_pmi_count = 0;
	rig_idt_load(idt);
	asm volatile("sti; nop; nop; cli" ::: "memory");
	rig_idt_unload(idt);
	KUNIT_EXPECT_EQ_MSG(test, rig_pmi_count, 1, "delivered as soon as interrupts are on");
	if (rig_pmi_count)
		rig_apic_write(APIC_EOI, 0);
	local_irq_restore(flags);
}

/* Masked LVTPC: STATUS tells, nobody is interrupted, not even after unmasking. */
static void pmi_masked(struct kunit *test)
{
	struct counts c;
	struct setup s;

	pmi_setup(&s, 0, 50);
	set_lvtpc(APIC_DM_NMI | APIC_LVT_MASKED);
	measure(&s, rig_seq_loop, 1000 + skid, &c);
	KUNIT_EXPECT_EQ(test, c.pmis, 0);
	KUNIT_EXPECT_EQ(test, c.status, 1);
	KUNIT_EXPECT_EQ(test, c.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED);
}

/* Software that restores a status must not be interrupted by doing so. */
static void status_set_raises_nothing(struct kunit *test)
{
	unsigned long flags;
	u32 pmis, lvtpc;
	int i;

	local_irq_save(flags);
	set_lvtpc(APIC_DM_NMI);
	wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN) | RIG_SEL_INT);
	wr(MSR_CORE_PERF_GLOBAL_CTRL, 1);
	rig_pmi_count = 0;
	rig_idt_load(idt);
	wr(RIG_MSR_GLOBAL_STATUS_SET, 1);
	for (i = 0; i < skid + 100; i++)
		cpu_relax();
	rig_idt_unload(idt);
	pmis = rig_pmi_count;
	lvtpc = rig_apic_read(APIC_LVTPC);
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, pmis, 0);
	KUNIT_EXPECT_EQ(test, lvtpc, APIC_DM_NMI);
}

/* The interrupt comes right after the instruction that overflows the counter, plus the skid. */
static void pmi_place(struct kunit *test)
{
	static const int counts[] = { 20, 21, 36, 37, 100, 1000 };
	struct counts c;
	struct setup s;
	u64 before;
	int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		set_lvtpc(APIC_DM_NMI);
		pmi_setup(&s, 32, counts[i]);
		measure(&s, rig_seq_sled, 0, &c);
		KUNIT_ASSERT_EQ(test, c.pmis, 1);
		/* counted when the sled starts */
		before = (rig_sled_count + counts[i] + 4) & rig_width_mask(m);
		KUNIT_EXPECT_EQ_MSG(test, c.pmi_rip - (unsigned long)rig_sled_start,
				    counts[i] - before + skid,
				    "overflow after %d instructions, %llu before the sled",
				    counts[i], before);
	}
}

/* Overflows of two counters in the same instruction: both bits, one interrupt. */
static void two_overflows_at_once(struct kunit *test)
{
	struct counts c;
	struct setup s;

	set_lvtpc(APIC_DM_NMI);
	pmi_setup(&s, 0, 50);
	s.sel[1] = s.sel[0];
	s.pmc[1] = s.pmc[0];
	s.global = 3;
	measure(&s, rig_seq_loop, 1000 + skid, &c);
	KUNIT_EXPECT_EQ(test, c.status, 3);
	KUNIT_EXPECT_EQ(test, c.pmis, 1);
}

/*
 * DEBUGCTL.Freeze_PerfMon_On_PMI, version 4 and later: the interrupt sets
 * STATUS.CTR_FRZ, which stops all counters until it is cleared; GLOBAL_CTRL stays.
 */
static void freeze_on_pmi(struct kunit *test)
{
	struct counts few, many, free;
	struct setup s;

	pmi_setup(&s, 0, 50);
	s.sel[1] = RIG_SEL(RIG_EVENT_INSN);
	s.fixed_ctrl = RIG_FIXED(0, RIG_FIXED_OS | RIG_FIXED_USR);
	s.global = BIT_ULL(32) | 3;

	KUNIT_ASSERT_EQ(test, wrmsrl_safe(MSR_IA32_DEBUGCTLMSR,
					  host.debugctl | RIG_DEBUGCTL_FREEZE), 0);
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_loop, 1000 + skid, &few);
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_loop, 9000 + skid, &many);
	/* Without INT there is no PMI to freeze on. */
	s.sel[0] &= ~RIG_SEL_INT;
	measure(&s, rig_seq_loop, 1000 + skid, &free);
	wr(MSR_IA32_DEBUGCTLMSR, host.debugctl);

	KUNIT_EXPECT_EQ(test, few.pmis, 1);
	KUNIT_EXPECT_EQ(test, few.status, RIG_STATUS_CTR_FRZ | 1);
	KUNIT_EXPECT_EQ_MSG(test, few.pmc[1], many.pmc[1], "frozen");
	KUNIT_EXPECT_EQ_MSG(test, few.fixed[0], many.fixed[0], "frozen");
	KUNIT_EXPECT_GE(test, few.pmc[1], 50);
	KUNIT_EXPECT_LE_MSG(test, few.pmc[1], 51 + skid, "frozen from the interrupt on");
	KUNIT_EXPECT_EQ(test, free.status, 1);
	KUNIT_EXPECT_GE(test, free.pmc[1], 2000);
}

/*
 * Tools that replay an execution stop it at the n-th conditional branch: 100 branches more are 100
 * turns of the loop more, 200 instructions.
 */
static void overflow_of_branches_is_exact(struct kunit *test)
{
	struct counts few, many;
	struct setup s = { .global = BIT_ULL(32) | 1 };

	s.sel[0] = RIG_SEL(m->cond) | RIG_SEL_INT;
	s.fixed_ctrl = RIG_FIXED(0, RIG_FIXED_OS | RIG_FIXED_USR);
	wr(MSR_IA32_DEBUGCTLMSR, host.debugctl | RIG_DEBUGCTL_FREEZE);
	s.pmc[0] = -100;
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_loop, 1000 + skid, &few);
	s.pmc[0] = -200;
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_loop, 1000 + skid, &many);
	wr(MSR_IA32_DEBUGCTLMSR, host.debugctl);
	KUNIT_EXPECT_EQ(test, few.pmis, 1);
	KUNIT_EXPECT_EQ(test, many.pmis, 1);
	KUNIT_EXPECT_EQ(test, many.fixed[0] - few.fixed[0], 200);
}

/* An overflow by a string instruction interrupts after all of it. */
static void overflow_in_rep(struct kunit *test)
{
	struct counts c;
	struct setup s;
	u64 before;

	/* Find the place of the REP first: the sequence is as long as rig_seq_sled up to it. */
	pmi_setup(&s, 32, 1ULL << 40);
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_rep_sled, 0, &c);
	KUNIT_ASSERT_EQ(test, c.pmis, 0);
	before = (rig_sled_count + (1ULL << 40) + 7) & rig_width_mask(m);

	pmi_setup(&s, 32, before + 1);
	set_lvtpc(APIC_DM_NMI);
	measure(&s, rig_seq_rep_sled, 0, &c);
	KUNIT_ASSERT_EQ(test, c.pmis, 1);
	KUNIT_EXPECT_EQ_MSG(test, c.pmi_rip - (unsigned long)rig_rep_sled_start, skid,
			    "bytes after the REP");
}

static void frozen_counters_stand_still(struct kunit *test)
{
	unsigned long flags;
	u64 frozen, ctrl, thawed;

	local_irq_save(flags);
	wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN));
	wr(RIG_MSR_GLOBAL_STATUS_SET, RIG_STATUS_CTR_FRZ);
	wr(MSR_CORE_PERF_GLOBAL_CTRL, 1);
	rig_seq_loop(1000);
	frozen = rd(MSR_IA32_PMC0);
	ctrl = rd(MSR_CORE_PERF_GLOBAL_CTRL);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, RIG_STATUS_CTR_FRZ);
	rig_seq_loop(1000);
	thawed = rd(MSR_IA32_PMC0);
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, frozen, 0);
	KUNIT_EXPECT_EQ(test, ctrl, 1);
	KUNIT_EXPECT_GE(test, thawed, 2000);
}

/* The same through the kernel's own NMI entry. */
static atomic_t nmis;

static int nmi_handler(unsigned int cmd, struct pt_regs *regs)
{
	u64 status;

	rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);
	if (!(status & 1))
		return NMI_DONE;
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, 0);
	wrmsrl(MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1);
	atomic_inc(&nmis);
	return NMI_HANDLED;
}

static void pmi_reaches_kernel(struct kunit *test)
{
	unsigned long flags;
	u64 status;
	int i, n = 20;

	atomic_set(&nmis, 0);
	KUNIT_ASSERT_EQ(test, register_nmi_handler(NMI_LOCAL, nmi_handler, NMI_FLAG_FIRST,
						   "rig_pmu"), 0);
	for (i = 0; i < n; i++) {
		local_irq_save(flags);
		set_lvtpc(APIC_DM_NMI);
		wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN) | RIG_SEL_INT);
		wr(MSR_IA32_PMC0, -100 & rig_width_mask(m));
		rig_measure(1, rig_seq_loop, 1000 + skid, MSR_CORE_PERF_GLOBAL_CTRL);
		local_irq_restore(flags);
	}
	status = rd(MSR_CORE_PERF_GLOBAL_STATUS);
	unregister_nmi_handler(NMI_LOCAL, "rig_pmu");
	KUNIT_EXPECT_EQ(test, atomic_read(&nmis), n);
	KUNIT_EXPECT_EQ_MSG(test, status & 1, 0, "the handler cleared it");
}

static int read_status(unsigned int n)
{
	u32 lo, hi;

	if (IS_ERR_OR_NULL(m))
		return -ENODEV;
	while (n--)
		rdmsr(MSR_CORE_PERF_GLOBAL_STATUS, lo, hi);
	return 0;
}
RIG_TIMES_PARAM(rdmsr, read_status, "read GLOBAL_STATUS n times");

/* ---- the suite ---- */

static int rig_pmu_init(struct kunit *test)
{
	int err = host_keep(test);

	if (err)
		return err;
	set_lvtpc(host.lvtpc | APIC_LVT_MASKED);
	pmu_quiesce();

	rig_sled_index = 0x40000000;
	fill_idt();
	return 0;
}

static struct kunit_case rig_pmu_cases[] = {
	/* first: it wants to see what reset left */
	KUNIT_CASE(reset_values),
	KUNIT_CASE(cpuid_leaf_a),
	KUNIT_CASE(perf_capabilities),
	KUNIT_CASE(msr_present),
	KUNIT_CASE(msr_absent),
	KUNIT_CASE(reserved_bits),
	KUNIT_CASE(pmc_write_sign_extends),
	KUNIT_CASE(a_pmc_is_full_width),
	KUNIT_CASE(fixed_counter_width),
	KUNIT_CASE(status_registers),
	KUNIT_CASE(inuse),
	KUNIT_CASE(rdpmc_types),
	KUNIT_CASE_PARAM(exact_counts, seq_gen_params),
	KUNIT_CASE(interrupted_rep_counts_once),
	KUNIT_CASE(every_counter_counts),
	KUNIT_CASE(gating),
	KUNIT_CASE(unknown_event_counts_nothing),
	KUNIT_CASE(cmask_inv_edge),
	KUNIT_CASE(halted_counts_no_cycles),
	KUNIT_CASE(perf_metrics),
	KUNIT_CASE(modelled_events),
	KUNIT_CASE(overflow_sets_status),
	KUNIT_CASE(overflow_of_branches),
	KUNIT_CASE(pmi_is_nmi),
	KUNIT_CASE(pmi_is_fixed_vector),
	KUNIT_CASE(pmi_masked),
	KUNIT_CASE(status_set_raises_nothing),
	KUNIT_CASE(pmi_place),
	KUNIT_CASE(two_overflows_at_once),
	KUNIT_CASE(freeze_on_pmi),
	KUNIT_CASE(overflow_of_branches_is_exact),
	KUNIT_CASE(overflow_in_rep),
	KUNIT_CASE(frozen_counters_stand_still),
	KUNIT_CASE(pmi_reaches_kernel),
	{}
};

static struct kunit_suite rig_pmu_suite = {
	.name = "rig_pmu",
	.init = rig_pmu_init,
	.exit = host_put_back,
	.test_cases = rig_pmu_cases,
};

kunit_test_suite(rig_pmu_suite);

MODULE_DESCRIPTION("Tests of the emulated machine's PMU against the SDM");
MODULE_LICENSE("GPL");
