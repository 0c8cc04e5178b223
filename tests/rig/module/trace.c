// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of Intel Processor Trace and of its interrupt, against the SDM (vol. 3C, "Intel
 * Processor Trace"; vol. 3B, "Performance Monitoring", for bit 55 of GLOBAL_STATUS; vol. 4 for
 * the registers) and nothing else.
 *
 * Nobody may trace meanwhile.  Each test runs on one CPU; everything that is traced runs with
 * interrupts off.
 */
#include <linux/gfp.h>
#include <linux/sizes.h>
#include <asm/desc.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "intel_host.h"
#include "pmu_asm.h"

#define CTL_FREE	(RTIT_CTL_TRACEEN | RTIT_CTL_OS | RTIT_CTL_USR | RTIT_CTL_TOPA | RTIT_CTL_BRANCH_EN)

#define STATUS_CONTEXT	BIT_ULL(1)
#define STATUS_TRIGGER	BIT_ULL(2)
#define STATUS_ERROR	BIT_ULL(4)
#define STATUS_STOPPED	BIT_ULL(5)

#define TOPA_END	BIT_ULL(0)
#define TOPA_INT	BIT_ULL(2)
#define TOPA_STOP	BIT_ULL(4)
#define TOPA_SIZE(n)	((u64)(n) << 6)

/* IA32_RTIT_OUTPUT_MASK_PTRS: number of the entry, offset in its region */
#define PTRS(entry, offset)	((u64)(offset) << 32 | (u64)(entry) << 7 | 0x7f)

#define REGION		SZ_4K
#define REGIONS		4

/* Enough to fill one region of 4 KiB, and not two: what comes of a turn depends on the processor. */
#define TURNS		50000

static struct rig_idt idt_space __aligned(PAGE_SIZE);
static struct rig_idt *idt = &idt_space;

static u64 *table, *table2;
static u8 *buffer;
static u32 caps[2][4];

static bool has_trace(void)
{
	return cpuid_ebx(7) & BIT(25);
}

/* What a run left. */
struct left {
	u64 ctl, on, status, base, ptrs, global;
	u32 pmis, lvtpc;
};

static void run(u64 ctl, u64 base, u64 ptrs, u64 turns, struct left *left)
{
	unsigned long flags;
	int i;

	memset(left, 0, sizeof(*left));
	local_irq_save(flags);
	wr(MSR_IA32_RTIT_CTL, 0);
	wr(MSR_IA32_RTIT_STATUS, 0);
	wr(MSR_IA32_RTIT_OUTPUT_BASE, base);
	wr(MSR_IA32_RTIT_OUTPUT_MASK, ptrs);
	rig_pmi_count = 0;
	rig_idt_load(idt);
	wr(MSR_IA32_RTIT_CTL, ctl);
	rig_seq_loop(turns);
	left->ctl = rd(MSR_IA32_RTIT_CTL);
	left->on = rd(MSR_IA32_RTIT_STATUS);
	wr(MSR_IA32_RTIT_CTL, ctl & ~RTIT_CTL_TRACEEN);
	for (i = 0; i < skid + 16; i++)
		cpu_relax();
	rig_idt_unload(idt);
	left->status = rd(MSR_IA32_RTIT_STATUS);
	left->base = rd(MSR_IA32_RTIT_OUTPUT_BASE);
	left->ptrs = rd(MSR_IA32_RTIT_OUTPUT_MASK);
	left->global = rd(MSR_CORE_PERF_GLOBAL_STATUS);
	left->pmis = rig_pmi_count;
	left->lvtpc = rig_apic_read(APIC_LVTPC);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, RIG_STATUS_TRACE);
	local_irq_restore(flags);
}

static u64 region(int n)
{
	return virt_to_phys(buffer + n * REGION);
}

/* One table with all regions, which begins anew */
static void plain_table(void)
{
	int i;

	memset(table, 0, PAGE_SIZE);
	memset(buffer, 0xee, REGION * REGIONS);
	for (i = 0; i < REGIONS; i++)
		table[i] = region(i);
	table[i] = virt_to_phys(table) | TOPA_END;
}

/* Bytes of the buffer that something was written to, from its beginning on */
static size_t written(void)
{
	size_t n = REGION * REGIONS;

	while (n && buffer[n - 1] == 0xee)
		n--;
	return n;
}

static void need_trace(struct kunit *test)
{
	if (!has_trace())
		kunit_skip(test, "no Intel PT");
}

/* ---- what the processor says it has ---- */

static void cpuid_leaves(struct kunit *test)
{
	bool expected = m->trace && !strstr(without, "pt");
	u64 misc;

	KUNIT_EXPECT_EQ_MSG(test, has_trace(), expected, "CPUID.07H:EBX[25]");
	if (!has_trace()) {
		KUNIT_EXPECT_EQ_MSG(test, cpuid_ebx(0x14) | cpuid_ecx(0x14), 0, "CPUID.14H");
		return;
	}
	kunit_info(test, "CPUID.14H.0: %08x %08x %08x %08x, .1: %08x %08x\n", caps[0][0], caps[0][1],
		   caps[0][2], caps[0][3], caps[1][0], caps[1][1]);
	KUNIT_EXPECT_GE_MSG(test, cpuid_eax(0), 0x14, "leaf 14H");
	KUNIT_EXPECT_NE_MSG(test, caps[0][2] & BIT(0), 0, "output to tables");
	if (caps[0][1] & (BIT(2) | BIT(3)))
		KUNIT_EXPECT_GE_MSG(test, caps[0][0], 1, "leaf 14H has subleaf 1");
	if (boot_cpu_has(X86_FEATURE_VMX)) {
		rdmsrl(MSR_IA32_VMX_MISC, misc);
		KUNIT_EXPECT_NE_MSG(test, misc & BIT(14), 0, "servers trace in VMX operation");
	}
}

static void registers_are_there(struct kunit *test)
{
	const struct { u32 msr; bool there; } v[] = {
		{ MSR_IA32_RTIT_CTL, true },
		{ MSR_IA32_RTIT_STATUS, true },
		{ MSR_IA32_RTIT_OUTPUT_BASE, caps[0][2] & (BIT(0) | BIT(2)) },
		{ MSR_IA32_RTIT_OUTPUT_MASK, caps[0][2] & (BIT(0) | BIT(2)) },
		{ MSR_IA32_RTIT_CR3_MATCH, caps[0][1] & BIT(0) },
		{ MSR_IA32_RTIT_ADDR0_A, (caps[1][0] & 7) > 0 },
		{ MSR_IA32_RTIT_ADDR0_B, (caps[1][0] & 7) > 0 },
		{ MSR_IA32_RTIT_ADDR1_A, (caps[1][0] & 7) > 1 },
		{ MSR_IA32_RTIT_ADDR3_B, (caps[1][0] & 7) > 3 },
	};
	bool there;
	u64 val;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		there = v[i].there && has_trace();
		KUNIT_EXPECT_EQ_MSG(test, !rdmsrl_safe(v[i].msr, &val), there, "RDMSR %#x", v[i].msr);
		if (!there)
			KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(v[i].msr, 0), 0, "WRMSR %#x", v[i].msr);
	}
}

/* ---- registers ---- */

static void expect_write(struct kunit *test, u32 msr, u64 val, bool valid, u64 reads)
{
	u64 before = rd(msr);
	int err = wrmsrl_safe(msr, val);

	KUNIT_EXPECT_EQ_MSG(test, !err, valid, "WRMSR %#x = %#llx", msr, val);
	KUNIT_EXPECT_EQ_MSG(test, rd(msr), valid ? reads : before, "%#x after %#llx", msr, val);
	if (!err)
		wr(msr, 0);
}

static void control_bits(struct kunit *test)
{
	u64 valid = RTIT_CTL_TRACEEN | RTIT_CTL_OS | RTIT_CTL_USR | RTIT_CTL_TSC_EN | RTIT_CTL_DISRETC |
		    RTIT_CTL_BRANCH_EN;
	int i, ranges = caps[1][0] & 7;
	u32 ebx = caps[0][1], ecx = caps[0][2];

	need_trace(test);
	if (ebx & BIT(0))
		valid |= RTIT_CTL_CR3EN;
	if (ebx & BIT(1))
		valid |= RTIT_CTL_CYCLEACC;
	if (ebx & BIT(3))
		valid |= RTIT_CTL_MTC_EN;
	if (ebx & BIT(4))
		valid |= RTIT_CTL_PTW_EN | RTIT_CTL_FUP_ON_PTW;
	if (ebx & BIT(5))
		valid |= RTIT_CTL_PWR_EVT_EN;
	if (ebx & BIT(7))
		valid |= RTIT_CTL_EVENT_EN;
	if (ebx & BIT(8))
		valid |= RTIT_CTL_NOTNT;
	if (ebx & BIT(6))
		valid |= BIT_ULL(56);
	if (ecx & BIT(0))
		valid |= RTIT_CTL_TOPA;
	if (ecx & BIT(3))
		valid |= RTIT_CTL_FABRIC_EN;
	for (i = 0; i < ranges; i++)
		valid |= BIT_ULL(32 + 4 * i) | BIT_ULL(33 + 4 * i);

	/* TraceEn by itself needs an output scheme; the fields of more bits have values of their own. */
	for (i = 1; i < 64; i++) {
		if ((i >= 14 && i <= 17 && ebx & BIT(3)) ||
		    (((i >= 19 && i <= 22) || (i >= 24 && i <= 27)) && ebx & BIT(1)))
			continue;
		expect_write(test, MSR_IA32_RTIT_CTL, BIT_ULL(i), valid & BIT_ULL(i), BIT_ULL(i));
	}
}

static void output_and_status_bits(struct kunit *test)
{
	int i, maxphyaddr = cpuid_eax(0x80000008) & 0xff;
	u64 bit;

	need_trace(test);
	for (i = 0; i < 64; i++) {
		bit = BIT_ULL(i);
		expect_write(test, MSR_IA32_RTIT_OUTPUT_BASE, bit, i >= 7 && i < maxphyaddr, bit);
		expect_write(test, MSR_IA32_RTIT_OUTPUT_MASK, bit, true, bit | 0x7f);
		if (caps[0][1] & BIT(0))
			expect_write(test, MSR_IA32_RTIT_CR3_MATCH, bit, i >= 5, bit);
		/* FilterEn, ContextEn and TriggerEn are the processor's; 6 and 7: PSB and PMI preservation */
		if (bit & (STATUS_ERROR | STATUS_STOPPED))
			expect_write(test, MSR_IA32_RTIT_STATUS, bit, true, bit);
		else if (bit & (BIT_ULL(0) | STATUS_CONTEXT | STATUS_TRIGGER))
			expect_write(test, MSR_IA32_RTIT_STATUS, bit, true, 0);
		else if (i >= 49 || (i >= 8 && i < 32) || i == 3)
			expect_write(test, MSR_IA32_RTIT_STATUS, bit, false, 0);
		/* the count of packet bytes, if the frequency of PSB can be set */
		else if (i >= 32 && i <= 48 && !(caps[0][1] & BIT(1)))
			expect_write(test, MSR_IA32_RTIT_STATUS, bit, false, 0);
	}
}

/* What may be written while TraceEn is 1, and what not */
static void writes_while_on(struct kunit *test)
{
	static const u32 others[] = {
		MSR_IA32_RTIT_STATUS, MSR_IA32_RTIT_OUTPUT_BASE, MSR_IA32_RTIT_OUTPUT_MASK,
		MSR_IA32_RTIT_CR3_MATCH,
	};
	int err[ARRAY_SIZE(others)], change, same, off, i;
	unsigned long flags;
	u64 after;

	need_trace(test);
	plain_table();
	local_irq_save(flags);
	wr(MSR_IA32_RTIT_OUTPUT_BASE, virt_to_phys(table));
	wr(MSR_IA32_RTIT_OUTPUT_MASK, PTRS(0, 0));
	wr(MSR_IA32_RTIT_CTL, CTL_FREE);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		err[i] = wrmsrl_safe(others[i], 0);
	change = wrmsrl_safe(MSR_IA32_RTIT_CTL, CTL_FREE ^ RTIT_CTL_USR);
	same = wrmsrl_safe(MSR_IA32_RTIT_CTL, CTL_FREE);
	off = wrmsrl_safe(MSR_IA32_RTIT_CTL, RTIT_CTL_USR);
	after = rd(MSR_IA32_RTIT_CTL);
	wr(MSR_IA32_RTIT_CTL, 0);
	local_irq_restore(flags);

	for (i = 0; i < ARRAY_SIZE(others); i++)
		KUNIT_EXPECT_NE_MSG(test, err[i], 0, "WRMSR %#x", others[i]);
	KUNIT_EXPECT_NE_MSG(test, change, 0, "another bit of RTIT_CTL");
	KUNIT_EXPECT_EQ_MSG(test, same, 0, "RTIT_CTL as it is");
	KUNIT_EXPECT_EQ_MSG(test, off, 0, "another bit together with TraceEn = 0");
	KUNIT_EXPECT_EQ(test, after, RTIT_CTL_USR);
}

/* ---- output ---- */

static const u8 psb[16] = {
	2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82,
};

static void fills_regions(struct kunit *test)
{
	struct left l, again;
	size_t n;

	need_trace(test);
	plain_table();
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	n = written();
	kunit_info(test, "%zu bytes of %d turns\n", n, TURNS);
	KUNIT_EXPECT_EQ_MSG(test, l.ctl, CTL_FREE, "RTIT_CTL stays");
	KUNIT_EXPECT_EQ_MSG(test, l.on & (STATUS_TRIGGER | STATUS_CONTEXT | STATUS_ERROR | STATUS_STOPPED),
			    STATUS_TRIGGER | STATUS_CONTEXT, "status while on");
	KUNIT_EXPECT_EQ_MSG(test, l.status & GENMASK_ULL(7, 1), 0, "status afterwards");
	KUNIT_EXPECT_EQ_MSG(test, memcmp(buffer, psb, sizeof(psb)), 0, "begins with a PSB");
	KUNIT_EXPECT_GT_MSG(test, n, REGION, "the first region is full");
	KUNIT_EXPECT_LT_MSG(test, n, REGION * REGIONS, "the last region is not");
	KUNIT_EXPECT_EQ(test, l.base, virt_to_phys(table));
	/* What is behind may be PAD, but 0xee stays: nobody has written there. */
	KUNIT_EXPECT_EQ_MSG(test, (l.ptrs >> 7 & GENMASK(24, 0)) * REGION + (l.ptrs >> 32), n,
			    "pointers %#llx", l.ptrs);
	KUNIT_EXPECT_EQ_MSG(test, l.pmis, 0, "no region has INT");
	KUNIT_EXPECT_EQ_MSG(test, l.global & RIG_STATUS_TRACE, 0, "no region has INT");

	plain_table();
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &again);
	KUNIT_EXPECT_EQ_MSG(test, again.ptrs, l.ptrs, "the same again");
}

/* From END on to another table, and from any offset */
static void goes_on_in_another_table(struct kunit *test)
{
	struct left l;

	need_trace(test);
	plain_table();
	memset(table2, 0, PAGE_SIZE);
	table[0] = region(2);
	table[1] = virt_to_phys(table2) | TOPA_END;
	table2[0] = region(3);
	table2[1] = region(1);
	table2[2] = virt_to_phys(table) | TOPA_END;
	run(CTL_FREE, virt_to_phys(table), PTRS(0, REGION - 24), TURNS, &l);
	KUNIT_EXPECT_EQ(test, l.base, virt_to_phys(table2));
	KUNIT_EXPECT_EQ_MSG(test, l.ptrs >> 7 & GENMASK(24, 0), 1, "second region of the second table");
	KUNIT_EXPECT_EQ_MSG(test, buffer[2 * REGION + REGION - 25], 0xee, "before the offset");
	KUNIT_EXPECT_NE_MSG(test, buffer[2 * REGION + REGION - 24], 0xee, "at the offset");
	KUNIT_EXPECT_NE_MSG(test, buffer[3 * REGION + REGION - 1], 0xee, "end of the second region");
	KUNIT_EXPECT_NE_MSG(test, buffer[REGION], 0xee, "beginning of the third region");
}

static void single_range(struct kunit *test)
{
	struct left l;
	int i, rest = 0;

	need_trace(test);
	if (!(caps[0][2] & BIT(2)))
		kunit_skip(test, "no single-range output");
	plain_table();
	run(CTL_FREE & ~RTIT_CTL_TOPA, region(1), REGION - 1, TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.status & GENMASK_ULL(7, 1), 0, "status");
	KUNIT_EXPECT_EQ(test, l.base, region(1));
	KUNIT_EXPECT_EQ_MSG(test, (u32)l.ptrs, REGION - 1, "the mask stays");
	KUNIT_EXPECT_LT_MSG(test, l.ptrs >> 32, REGION, "begins anew");
	for (i = 0; i < REGION; i++)
		rest += buffer[REGION + i] == 0xee;
	KUNIT_EXPECT_LT_MSG(test, rest, 64, "the range got full");
	KUNIT_EXPECT_EQ_MSG(test, buffer[REGION - 1], 0xee, "before the range");
	KUNIT_EXPECT_EQ_MSG(test, buffer[2 * REGION], 0xee, "behind the range");
	KUNIT_EXPECT_EQ_MSG(test, l.pmis, 0, "no interrupt");
}

/* A region with STOP ends the trace when it is full; the pointers stay. */
static void stops(struct kunit *test)
{
	struct left l;

	need_trace(test);
	plain_table();
	table[0] |= TOPA_STOP;
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.on & (STATUS_TRIGGER | STATUS_CONTEXT | STATUS_ERROR | STATUS_STOPPED),
			    STATUS_STOPPED, "status while TraceEn is 1");
	KUNIT_EXPECT_EQ_MSG(test, l.status & STATUS_STOPPED, STATUS_STOPPED, "status afterwards");
	KUNIT_EXPECT_EQ_MSG(test, l.ctl & RTIT_CTL_TRACEEN, RTIT_CTL_TRACEEN, "TraceEn stays");
	KUNIT_EXPECT_EQ_MSG(test, written(), REGION, "nothing behind the region");
	KUNIT_EXPECT_EQ_MSG(test, l.ptrs, PTRS(0, REGION), "pointers");
	wr(MSR_IA32_RTIT_STATUS, 0);
}

static void errors(struct kunit *test)
{
	const u64 t = virt_to_phys(table), t2 = virt_to_phys(table2);
	const struct {
		const char *what;
		u64 entry, base, ptrs, ctl;
	} v[] = {
		{ "reserved bit 1", region(0) | BIT_ULL(1), t, PTRS(0, 0), CTL_FREE },
		{ "reserved bit 3", region(0) | BIT_ULL(3), t, PTRS(0, 0), CTL_FREE },
		{ "reserved bit 5", region(0) | BIT_ULL(5), t, PTRS(0, 0), CTL_FREE },
		{ "reserved bit 10", region(0) | BIT_ULL(10), t, PTRS(0, 0), CTL_FREE },
		{ "reserved bit 63", region(0) | BIT_ULL(63), t, PTRS(0, 0), CTL_FREE },
		{ "END with INT", t2 | TOPA_END | TOPA_INT, t, PTRS(0, 0), CTL_FREE },
		{ "END with STOP", t2 | TOPA_END | TOPA_STOP, t, PTRS(0, 0), CTL_FREE },
		{ "region that is not aligned", region(1) | TOPA_SIZE(1), t, PTRS(0, 0), CTL_FREE },
		{ "table that is not aligned", region(0), t | BIT_ULL(7), PTRS(0, 0), CTL_FREE },
		{ "offset behind the region", region(0), t, PTRS(0, REGION), CTL_FREE },
		{ "single range that is not aligned", 0, region(1), 2 * REGION - 1,
		  CTL_FREE & ~RTIT_CTL_TOPA },
		{ "offset behind the single range", 0, region(0), (u64)REGION << 32 | (REGION - 1),
		  CTL_FREE & ~RTIT_CTL_TOPA },
	};
	struct left l;
	int i;

	need_trace(test);
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		if (!(v[i].ctl & RTIT_CTL_TOPA) && !(caps[0][2] & BIT(2)))
			continue;
		plain_table();
		table[0] = v[i].entry;
		/* END leads to a table that is all right. */
		memset(table2, 0, PAGE_SIZE);
		table2[0] = region(3);
		table2[1] = t2 | TOPA_END;
		run(v[i].ctl, v[i].base, v[i].ptrs, 1000, &l);
		KUNIT_EXPECT_EQ_MSG(test, l.on & (STATUS_TRIGGER | STATUS_CONTEXT | STATUS_ERROR |
						  STATUS_STOPPED), STATUS_ERROR, "%s", v[i].what);
		KUNIT_EXPECT_EQ_MSG(test, l.status & STATUS_ERROR, STATUS_ERROR, "%s", v[i].what);
		KUNIT_EXPECT_EQ_MSG(test, written(), 0, "%s: output", v[i].what);
	}
	wr(MSR_IA32_RTIT_STATUS, 0);
}

/* ---- what is traced ---- */

static void traces_by_privilege(struct kunit *test)
{
	struct left l;

	need_trace(test);
	plain_table();
	run(CTL_FREE & ~RTIT_CTL_OS, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.on & (STATUS_TRIGGER | STATUS_CONTEXT), STATUS_TRIGGER,
			    "status in the kernel, user code is traced");
	KUNIT_EXPECT_LE_MSG(test, written(), 64, "user code is traced, there was none");
	plain_table();
	run(CTL_FREE & ~RTIT_CTL_USR, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_GT_MSG(test, written(), REGION, "kernel code is traced");
}

static void traces_by_cr3(struct kunit *test)
{
	u64 cr3 = __native_read_cr3() & ~0x1fULL;
	struct left l;

	need_trace(test);
	if (!(caps[0][1] & BIT(0)))
		kunit_skip(test, "no CR3 filter");
	wr(MSR_IA32_RTIT_CR3_MATCH, cr3);
	plain_table();
	run(CTL_FREE | RTIT_CTL_CR3EN, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.on & STATUS_CONTEXT, STATUS_CONTEXT, "this address space");
	KUNIT_EXPECT_GT_MSG(test, written(), REGION, "this address space");
	wr(MSR_IA32_RTIT_CR3_MATCH, cr3 ^ BIT_ULL(20));
	plain_table();
	run(CTL_FREE | RTIT_CTL_CR3EN, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.on & STATUS_CONTEXT, 0, "another address space");
	KUNIT_EXPECT_LE_MSG(test, written(), 64, "another address space");
	wr(MSR_IA32_RTIT_CR3_MATCH, 0);
}

/* MOV to CR3 begins and ends it. */
static void traces_until_cr3_changes(struct kunit *test)
{
	unsigned long flags, cr3 = __native_read_cr3();
	u64 before, between, after;

	need_trace(test);
	if (!(caps[0][1] & BIT(0)))
		kunit_skip(test, "no CR3 filter");
	plain_table();
	local_irq_save(flags);
	/* The same page tables, with another PCID, or a bit that is ignored */
	wr(MSR_IA32_RTIT_STATUS, 0);
	wr(MSR_IA32_RTIT_OUTPUT_BASE, virt_to_phys(table));
	wr(MSR_IA32_RTIT_OUTPUT_MASK, PTRS(0, 0));
	wr(MSR_IA32_RTIT_CR3_MATCH, (cr3 & ~0x1fULL) ^ BIT_ULL(5));
	wr(MSR_IA32_RTIT_CTL, CTL_FREE | RTIT_CTL_CR3EN);
	rig_seq_loop(10000);
	before = rd(MSR_IA32_RTIT_OUTPUT_MASK);
	native_write_cr3(cr3 ^ BIT_ULL(5));
	rig_seq_loop(10000);
	between = rd(MSR_IA32_RTIT_OUTPUT_MASK);
	native_write_cr3(cr3);
	rig_seq_loop(10000);
	after = rd(MSR_IA32_RTIT_OUTPUT_MASK);
	wr(MSR_IA32_RTIT_CTL, 0);
	wr(MSR_IA32_RTIT_CR3_MATCH, 0);
	local_irq_restore(flags);
	KUNIT_EXPECT_LE_MSG(test, before >> 32, 64, "another address space");
	KUNIT_EXPECT_GT_MSG(test, between >> 32, (before >> 32) + 512, "the one that is traced");
	KUNIT_EXPECT_LE_MSG(test, after >> 32, (between >> 32) + 64, "another one again");
}

/* ---- the interrupt ---- */

/* A region with INT that got full: bit 55 of GLOBAL_STATUS, and LVTPC */
static void interrupts(struct kunit *test)
{
	struct left l;
	u64 status;

	need_trace(test);
	plain_table();
	table[0] |= TOPA_INT;
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI);
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.pmis, 1, "interrupts");
	KUNIT_EXPECT_EQ_MSG(test, l.global, RIG_STATUS_TRACE, "GLOBAL_STATUS");
	KUNIT_EXPECT_EQ_MSG(test, l.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED, "LVTPC");
	KUNIT_EXPECT_EQ_MSG(test, l.ptrs >> 7 & GENMASK(24, 0), 1, "the trace goes on");
	status = rd(MSR_CORE_PERF_GLOBAL_STATUS);
	KUNIT_EXPECT_EQ_MSG(test, status & RIG_STATUS_TRACE, 0, "bit 55 can be cleared");

	/* The mask holds it back for good; the status tells. */
	plain_table();
	table[0] |= TOPA_INT;
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI | APIC_LVT_MASKED);
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	KUNIT_EXPECT_EQ_MSG(test, l.pmis, 0, "interrupts, masked");
	KUNIT_EXPECT_EQ_MSG(test, l.global, RIG_STATUS_TRACE, "GLOBAL_STATUS, masked");
}

/* Counters and the trace tell by the same interrupt, each with its own bit. */
static void interrupts_beside_counters(struct kunit *test)
{
	struct left l;

	need_trace(test);
	plain_table();
	table[0] |= TOPA_INT;
	wr(MSR_IA32_PMC0, -1000 & rig_width_mask(m));
	wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN));
	wr(MSR_CORE_PERF_GLOBAL_CTRL, 1);
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI);
	run(CTL_FREE, virt_to_phys(table), PTRS(0, 0), TURNS, &l);
	pmu_quiesce();
	KUNIT_EXPECT_EQ_MSG(test, l.pmis, 1, "the counter has no INT");
	KUNIT_EXPECT_EQ_MSG(test, l.global, RIG_STATUS_TRACE | 1, "GLOBAL_STATUS");
}

/* ---- the suite ---- */

static int rig_trace_init(struct kunit *test)
{
	int err = host_keep(test);
	u64 ctl;

	if (err)
		return err;
	memset(caps, 0, sizeof(caps));
	if (has_trace()) {
		cpuid_count(0x14, 0, &caps[0][0], &caps[0][1], &caps[0][2], &caps[0][3]);
		if (caps[0][0] >= 1)
			cpuid_count(0x14, 1, &caps[1][0], &caps[1][1], &caps[1][2], &caps[1][3]);
		rdmsrl(MSR_IA32_RTIT_CTL, ctl);
		KUNIT_ASSERT_EQ_MSG(test, ctl & RTIT_CTL_TRACEEN, 0, "somebody traces");
	}
	if (!table) {
		table = (void *)get_zeroed_page(GFP_KERNEL);
		table2 = (void *)get_zeroed_page(GFP_KERNEL);
		buffer = (void *)__get_free_pages(GFP_KERNEL, get_order(REGION * REGIONS));
		KUNIT_ASSERT_TRUE(test, table && table2 && buffer);
	}
	rig_apic_write(APIC_LVTPC, host.lvtpc | APIC_LVT_MASKED);
	pmu_quiesce();
	rig_idt_copy(idt);
	rig_idt_set(idt, X86_TRAP_NMI, rig_pmi_handler);
	return 0;
}

static void rig_trace_exit(struct kunit *test)
{
	if (host.valid && !pin() && has_trace())
		wr(MSR_IA32_RTIT_CTL, 0);
	host_put_back(test);
}

static struct kunit_case rig_trace_cases[] = {
	KUNIT_CASE(cpuid_leaves),
	KUNIT_CASE(registers_are_there),
	KUNIT_CASE(control_bits),
	KUNIT_CASE(output_and_status_bits),
	KUNIT_CASE(writes_while_on),
	KUNIT_CASE(fills_regions),
	KUNIT_CASE(goes_on_in_another_table),
	KUNIT_CASE(single_range),
	KUNIT_CASE(stops),
	KUNIT_CASE(errors),
	KUNIT_CASE(traces_by_privilege),
	KUNIT_CASE(traces_by_cr3),
	KUNIT_CASE(traces_until_cr3_changes),
	KUNIT_CASE(interrupts),
	KUNIT_CASE(interrupts_beside_counters),
	{}
};

static struct kunit_suite rig_trace_suite = {
	.name = "rig_trace",
	.init = rig_trace_init,
	.exit = rig_trace_exit,
	.test_cases = rig_trace_cases,
};

kunit_test_suite(rig_trace_suite);

MODULE_DESCRIPTION("Tests of the emulated machine's Intel PT against the SDM");
MODULE_LICENSE("GPL");
