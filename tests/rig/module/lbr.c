// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of branch records, against the SDM (vol. 3B, "Last Branch, Interrupt, and Exception
 * Recording" and "Last Branch Records"; vol. 4 for the registers; vol. 1 for the XSAVE state
 * component), the APM (vol. 2, "Control-Transfer Recording") with the PPR of family 19h, and
 * nothing else.
 *
 * Nobody may use branch records meanwhile.  Each test runs on one CPU; everything that is
 * recorded runs with interrupts off.  Records that only user code leaves, filters by privilege
 * level above all, are the business of ../branches.c.
 */
#include <linux/err.h>
#include <linux/gfp.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xstate.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "common.h"
#include "amd.h"
#include "lbr_asm.h"

/* Intel's older interface */
#define OLD_SELECT	0x1c8
#define OLD_TOS		0x1c9
#define OLD_FROM	0x680
#define OLD_TO		0x6c0
#define OLD_INFO	0xdc0
/* the architectural one */
#define ARCH_CTL	0x14ce
#define ARCH_DEPTH	0x14cf
#define ARCH_INFO	0x1200
#define ARCH_FROM	0x1500
#define ARCH_TO		0x1600
#define LER_FROM	0x1dd
#define LER_TO		0x1de
#define LER_INFO	0x1e0
/* AMD's stack: FROM at 2 * n, TO at 2 * n + 1 */
#define AMD_SELECT	0xc000010e
#define AMD_CFG		0xc000010f
#define AMD_STACK	0xc0010300

#define SELECT_FILTERS	GENMASK_ULL(8, 0)
#define SELECT_STACK	BIT_ULL(9)
#define SELECT_CPL_0	BIT_ULL(0)
#define SELECT_CPL_N0	BIT_ULL(1)

#define CTL_EN		BIT_ULL(0)
#define CTL_OS		BIT_ULL(1)
#define CTL_USR		BIT_ULL(2)
#define CTL_STACK	BIT_ULL(3)
#define CTL_KINDS	GENMASK_ULL(22, 16)
#define CTL_VALID	(CTL_KINDS | GENMASK_ULL(3, 0))

#define CFG_LBRS	BIT_ULL(6)

#define INFO_MISPRED	BIT_ULL(63)
#define INFO_TSX	GENMASK_ULL(62, 61)
#define INFO_CYC_VALID	BIT_ULL(60)
#define INFO_TYPE	GENMASK_ULL(59, 56)
#define INFO_CYCLES	GENMASK_ULL(15, 0)

#define AMD_FROM_MISPRED BIT_ULL(63)
#define AMD_TO_VALID	BIT_ULL(63)
#define AMD_TO_SPEC	BIT_ULL(62)

#define FROZEN		BIT_ULL(58)	/* of both vendors' global status */
#define DEBUGCTL_LBR	BIT_ULL(0)
#define DEBUGCTL_FREEZE	BIT_ULL(11)

#define FORMAT_OLD	5		/* IA32_PERF_CAPABILITIES[5:0] */
#define FORMAT_ARCH	0x3f

#define NOT_CANONICAL	BIT_ULL(62)
#define RECORDS_MAX	32

static struct rig_idt idt_space __aligned(PAGE_SIZE);
static struct rig_idt *idt = &idt_space;

static enum { NONE, OLD, ARCH, AMD } format;
static unsigned int depth;
static bool intel, kept;
static u64 host_debugctl, host_global, host_sel;
static u32 host_lvtpc;

/* struct record - one of them, without what only one format has */
struct record {
	u64 from, to, info;
};

/* What a kind is called in the architectural interface: bit of IA32_LBR_CTL, type in INFO. */
static const struct { int bit, type; } arch_kind[] = {
	[RIG_LBR_COND] = { 16, 0 },
	[RIG_LBR_REL_CALL] = { 19, 4 },
	[RIG_LBR_IND_CALL] = { 20, 3 },
	[RIG_LBR_RET] = { 21, 5 },
	[RIG_LBR_IND_JMP] = { 18, 1 },
	[RIG_LBR_REL_JMP] = { 17, 2 },
	[RIG_LBR_FAR] = { 22, 8 },
};

static u32 status_reset(void)
{
	return intel ? MSR_CORE_PERF_GLOBAL_OVF_CTRL : RIG_AMD_STATUS_CLR;
}

static u32 status_set(void)
{
	return intel ? RIG_MSR_GLOBAL_STATUS_SET : RIG_AMD_STATUS_SET;
}

static u32 status(void)
{
	return intel ? MSR_CORE_PERF_GLOBAL_STATUS : RIG_AMD_STATUS;
}

/* The register that turns recording on, and what it has then with these bits of LBR_SELECT. */
static u32 enable_msr(void)
{
	return format == OLD ? MSR_IA32_DEBUGCTLMSR : format == ARCH ? ARCH_CTL : AMD_CFG;
}

static u64 enable_value(u64 select)
{
	u64 ctl = CTL_EN;
	int kind;

	if (format == OLD)
		return DEBUGCTL_LBR;
	if (format == AMD)
		return CFG_LBRS;
	if (!(select & SELECT_CPL_0))
		ctl |= CTL_OS;
	if (!(select & SELECT_CPL_N0))
		ctl |= CTL_USR;
	if (select & SELECT_STACK)
		ctl |= CTL_STACK;
	for (kind = RIG_LBR_COND; kind <= RIG_LBR_FAR; kind++) {
		if (!(select & BIT_ULL(kind)))
			ctl |= BIT_ULL(arch_kind[kind].bit);
	}
	return ctl;
}

static void clear_records(void)
{
	int i;

	if (format == ARCH) {
		wr(ARCH_DEPTH, depth);
		return;
	}
	for (i = 0; i < depth; i++) {
		if (format == OLD) {
			wr(OLD_FROM + i, 0);
			wr(OLD_TO + i, 0);
			wr(OLD_INFO + i, 0);
		} else {
			wr(AMD_STACK + 2 * i, 0);
			wr(AMD_STACK + 2 * i + 1, 0);
		}
	}
	if (format == OLD)
		wr(OLD_TOS, 0);
}

/* The n-th newest record, as its registers have it */
static struct record raw_record(int n)
{
	int at;

	switch (format) {
	case OLD:
		at = (rd(OLD_TOS) - n) & (depth - 1);
		return (struct record){ rd(OLD_FROM + at), rd(OLD_TO + at), rd(OLD_INFO + at) };
	case ARCH:
		return (struct record){ rd(ARCH_FROM + n), rd(ARCH_TO + n), rd(ARCH_INFO + n) };
	default:
		return (struct record){ rd(AMD_STACK + 2 * n), rd(AMD_STACK + 2 * n + 1) };
	}
}

/* The same without flags, which makes the addresses of the kernel's what they were. */
static struct record record(int n)
{
	struct record r = raw_record(n);

	if (format == AMD && r.to) {
		r.from = sign_extend64(r.from, 57);
		r.to = sign_extend64(r.to, 57);
	}
	return r;
}

/* Records of a sequence; interrupts are off until the records have been read. */
static int run_into(void (*seq)(void), u64 select, u64 off, struct record *got, struct record *raw)
{
	unsigned long flags;
	int i, n = 0;

	memset(got, 0, sizeof(*got) * RECORDS_MAX);
	local_irq_save(flags);
	clear_records();
	if (format == OLD)
		wr(OLD_SELECT, select);
	else if (format == AMD)
		wr(AMD_SELECT, select);
	rig_lbr_nmis = 0;
	rig_idt_load(idt);
	rig_lbr_run(enable_value(select), seq, off, enable_msr());
	rig_idt_unload(idt);
	for (i = 0; i < depth; i++) {
		got[i] = record(i);
		if (raw)
			raw[i] = raw_record(i);
		if (got[i].to)
			n = i + 1;
	}
	local_irq_restore(flags);
	return n;
}

static int run(void (*seq)(void), u64 select, struct record *got)
{
	return run_into(seq, select, 0, got, NULL);
}

/* Do these records, the newest first, say what is on the list but for the kinds in @select? */
static void expect_list(struct kunit *test, const char *what, const struct rig_lbr_branch *list,
			const struct rig_lbr_branch *end, u64 select, const struct record *got, int n)
{
	const struct rig_lbr_branch *b;
	int i = 0;

	for (b = end - 1; b >= list && i < depth; b--) {
		if (select & BIT_ULL(b->kind))
			continue;
		KUNIT_EXPECT_EQ_MSG(test, got[i].from, b->from, "%s: from, %d before the newest", what, i);
		KUNIT_EXPECT_EQ_MSG(test, got[i].to, b->to, "%s: to, %d before the newest", what, i);
		i++;
	}
	KUNIT_EXPECT_EQ_MSG(test, n, i, "%s: number of records", what);
}

static void need_format(struct kunit *test, int wanted)
{
	if (format != wanted)
		kunit_skip(test, "not this kind of branch records");
}

static void need_records(struct kunit *test)
{
	if (format == NONE)
		kunit_skip(test, "no branch records");
}

/* ---- what the processor says it has ---- */

static void says_what_it_has(struct kunit *test)
{
	u32 eax, ebx, ecx, edx;
	u64 cap;

	if (!intel) {
		const struct rig_amd_machine *amd = rig_find_amd(machine);
		bool v2 = cpuid_eax(0x80000000) >= 0x80000022;

		KUNIT_EXPECT_EQ_MSG(test, v2 && cpuid_eax(0x80000022) & BIT(1), amd->v2, "LbrStack");
		KUNIT_EXPECT_EQ_MSG(test, v2 ? cpuid_ebx(0x80000022) >> 4 & 0x3f : 0, amd->v2 ? 16 : 0,
				    "LbrStackSize");
		return;
	}

	rdmsrl(MSR_IA32_PERF_CAPABILITIES, cap);
	cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	KUNIT_EXPECT_EQ(test, !!(edx & BIT(19)), format == ARCH);
	KUNIT_EXPECT_EQ(test, cap & 0x3f, format == ARCH ? FORMAT_ARCH : FORMAT_OLD);
	if (!strcmp(machine, "sapphire-rapids"))
		KUNIT_EXPECT_EQ(test, format, ARCH);
	cpuid_count(0x1c, 0, &eax, &ebx, &ecx, &edx);
	if (format != ARCH) {
		if (cpuid_eax(0) >= 0x1c)
			KUNIT_EXPECT_EQ(test, eax | ebx | ecx | edx, 0);
		return;
	}
	KUNIT_EXPECT_GE(test, cpuid_eax(0), 0x1c);
	KUNIT_EXPECT_EQ_MSG(test, eax, 0xb, "depths 8, 16, 32");
	KUNIT_EXPECT_EQ_MSG(test, ebx, 7, "filters by CPL and by kind, call-stack mode");
	KUNIT_EXPECT_EQ_MSG(test, ecx, 7, "mispredictions, cycles, types");
	KUNIT_EXPECT_EQ(test, edx, 0);
	cpuid_count(0x1c, 1, &eax, &ebx, &ecx, &edx);
	KUNIT_EXPECT_EQ_MSG(test, eax | ebx | ecx | edx, 0, "one subleaf");
}

/* ---- registers ---- */

static void registers_are_there(struct kunit *test)
{
	const struct { u32 base; int n, format; } v[] = {
		{ OLD_SELECT, 1, OLD }, { OLD_TOS, 1, OLD }, { OLD_FROM, RECORDS_MAX, OLD },
		{ OLD_TO, RECORDS_MAX, OLD }, { OLD_INFO, RECORDS_MAX, OLD },
		{ ARCH_CTL, 1, ARCH }, { ARCH_DEPTH, 1, ARCH }, { ARCH_FROM, RECORDS_MAX, ARCH },
		{ ARCH_TO, RECORDS_MAX, ARCH }, { ARCH_INFO, RECORDS_MAX, ARCH },
		{ AMD_SELECT, 1, AMD }, { AMD_CFG, 1, AMD }, { AMD_STACK, 32, AMD },
	};
	unsigned long flags;
	int i, k, err[2];
	u64 val;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		for (k = 0; k < v[i].n; k++) {
			local_irq_save(flags);
			val = v[i].base == ARCH_DEPTH ? 32 : 0;
			err[0] = wrmsrl_safe(v[i].base + k, val);
			err[1] = rdmsrl_safe(v[i].base + k, &val);
			local_irq_restore(flags);
			KUNIT_EXPECT_EQ_MSG(test, !err[0], v[i].format == format, "write of %#x",
					    v[i].base + k);
			KUNIT_EXPECT_EQ_MSG(test, !err[1], v[i].format == format, "read of %#x",
					    v[i].base + k);
		}
	}
}

/* For each bit: may it be written, and what is read then? */
static void expect_bits(struct kunit *test, u32 msr, u64 valid, u64 kept_bits)
{
	unsigned long flags;
	int bit, err;
	u64 val;

	for (bit = 0; bit < 64; bit++) {
		local_irq_save(flags);
		err = wrmsrl_safe(msr, BIT_ULL(bit));
		val = rd(msr);
		wr(msr, 0);
		local_irq_restore(flags);
		KUNIT_EXPECT_EQ_MSG(test, !err, !!(valid & BIT_ULL(bit)), "%#x: bit %d", msr, bit);
		if (!err)
			KUNIT_EXPECT_EQ_MSG(test, val, BIT_ULL(bit) & kept_bits, "%#x: bit %d", msr, bit);
	}
}

/* Addresses must be canonical. */
static void expect_address(struct kunit *test, u32 msr)
{
	const u64 v[] = { 0, 0x401234, 0x7fffffffffff, 0xffff800000000000, ~0ULL };
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		KUNIT_EXPECT_EQ_MSG(test, wrmsrl_safe(msr, v[i]), 0, "%#x = %#llx", msr, v[i]);
		KUNIT_EXPECT_EQ_MSG(test, rd(msr), v[i], "%#x", msr);
	}
	wr(msr, 0x1234);
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(msr, NOT_CANONICAL), 0, "%#x", msr);
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(msr, BIT_ULL(63)), 0, "%#x", msr);
	KUNIT_EXPECT_EQ_MSG(test, rd(msr), 0x1234, "%#x is as it was", msr);
	wr(msr, 0);
}

static void old_register_bits(struct kunit *test)
{
	need_format(test, OLD);
	expect_bits(test, OLD_SELECT, SELECT_FILTERS | SELECT_STACK, ~0ULL);
	expect_bits(test, OLD_TOS, GENMASK_ULL(4, 0), ~0ULL);
	expect_bits(test, OLD_INFO + 7, INFO_MISPRED | INFO_TSX | INFO_CYCLES, ~0ULL);
	expect_address(test, OLD_FROM + 7);
	expect_address(test, OLD_TO + 7);
}

static void arch_register_bits(struct kunit *test)
{
	unsigned long flags;
	int i, err;
	u64 val;

	need_format(test, ARCH);
	/* alone, bits other than LBREn do nothing */
	local_irq_save(flags);
	expect_bits(test, ARCH_CTL, CTL_VALID, ~0ULL);
	local_irq_restore(flags);
	/* 55:16 may be written, and need not be kept */
	expect_bits(test, ARCH_INFO + 7, ~0ULL, ~GENMASK_ULL(55, 16));
	expect_address(test, ARCH_FROM + 7);
	expect_address(test, ARCH_TO + 7);
	expect_address(test, LER_FROM);
	expect_address(test, LER_TO);
	expect_bits(test, LER_INFO, ~0ULL, ~GENMASK_ULL(55, 16));

	for (i = 0; i < 260; i++) {
		err = wrmsrl_safe(ARCH_DEPTH, i);
		KUNIT_EXPECT_EQ_MSG(test, !err, i == 8 || i == 16 || i == 32, "depth %d", i);
	}
	KUNIT_EXPECT_NE(test, wrmsrl_safe(ARCH_DEPTH, BIT_ULL(32) | 32), 0);
	for (i = 8; i <= 32; i *= 2) {
		wr(ARCH_FROM, 0x1111);
		wr(ARCH_TO, 0x2222);
		wr(ARCH_INFO, 3);
		wr(ARCH_DEPTH, i);
		KUNIT_EXPECT_EQ(test, rd(ARCH_DEPTH), i);
		KUNIT_EXPECT_EQ_MSG(test, rd(ARCH_FROM) | rd(ARCH_TO) | rd(ARCH_INFO), 0,
				    "a write of DEPTH resets records");
		KUNIT_EXPECT_EQ(test, rdmsrl_safe(ARCH_FROM + i - 1, &val), 0);
		KUNIT_EXPECT_NE_MSG(test, rdmsrl_safe(ARCH_FROM + i, &val), 0, "beyond depth %d", i);
		KUNIT_EXPECT_NE(test, rdmsrl_safe(ARCH_TO + i, &val), 0);
		KUNIT_EXPECT_NE(test, rdmsrl_safe(ARCH_INFO + i, &val), 0);
	}
}

static void amd_register_bits(struct kunit *test)
{
	unsigned long flags;

	need_format(test, AMD);
	expect_bits(test, AMD_SELECT, ~0ULL, SELECT_FILTERS);
	local_irq_save(flags);
	expect_bits(test, AMD_CFG, ~0ULL, CFG_LBRS);
	local_irq_restore(flags);
	clear_records();
	expect_bits(test, AMD_STACK + 10, ~0ULL, ~0ULL);
	expect_bits(test, AMD_STACK + 11, ~0ULL, ~BIT_ULL(61));
}

/* ---- what is recorded ---- */

static void records_all_kinds(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	int n;

	need_records(test);
	n = run(rig_lbr_all, 0, got);
	expect_list(test, "all", rig_lbr_all_list, rig_lbr_all_end, 0, got, n);
}

static void records_nothing_while_off(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	unsigned long flags;
	int n = 0, i;

	need_records(test);
	local_irq_save(flags);
	clear_records();
	rig_idt_load(idt);
	rig_lbr_run(0, rig_lbr_all, 0, enable_msr());
	rig_idt_unload(idt);
	for (i = 0; i < depth; i++) {
		got[i] = record(i);
		n += got[i].from || got[i].to || got[i].info;
	}
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, n, 0);
}

static void each_filter(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	char what[32];
	int kind, n;

	need_records(test);
	for (kind = RIG_LBR_COND; kind <= RIG_LBR_FAR; kind++) {
		snprintf(what, sizeof(what), "without kind %d", kind);
		n = run(rig_lbr_all, BIT_ULL(kind), got);
		expect_list(test, what, rig_lbr_all_list, rig_lbr_all_end, BIT_ULL(kind), got, n);

		snprintf(what, sizeof(what), "kind %d alone", kind);
		n = run(rig_lbr_all, SELECT_FILTERS & ~BIT_ULL(kind) & ~(SELECT_CPL_0 | SELECT_CPL_N0), got);
		expect_list(test, what, rig_lbr_all_list, rig_lbr_all_end, ~BIT_ULL(kind), got, n);
	}
	n = run(rig_lbr_all, SELECT_CPL_0, got);
	KUNIT_EXPECT_EQ_MSG(test, n, 0, "all this ends at CPL 0");
	n = run(rig_lbr_all, SELECT_CPL_N0, got);
	expect_list(test, "without CPL 1 to 3", rig_lbr_all_list, rig_lbr_all_end, 0, got, n);
}

/* More branches than registers: the last ones stay. */
static void wraps_around(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	int d, i, n, most = depth;

	need_records(test);
	for (d = format == ARCH ? 8 : most; d <= most; d *= 2) {
		depth = d;
		n = run(rig_lbr_chain, 0, got);
		KUNIT_EXPECT_EQ(test, n, d);
		/* the newest is the return */
		KUNIT_EXPECT_EQ(test, got[0].to, (u64)rig_lbr_returned);
		for (i = 1; i < d; i++) {
			u64 from = (u64)rig_lbr_chain_from + 3 * (RIG_LBR_CHAIN - i);

			KUNIT_EXPECT_EQ_MSG(test, got[i].from, from, "depth %d, %d before the newest", d, i);
			KUNIT_EXPECT_EQ_MSG(test, got[i].to, from + 3, "depth %d, %d before", d, i);
		}
	}
	depth = most;
}

static void top_of_stack(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	unsigned long flags;
	u64 tos;

	need_format(test, OLD);
	run(rig_lbr_chain, 0, got);
	/* a call, the chain, a return, from 0 on */
	KUNIT_EXPECT_EQ(test, rd(OLD_TOS), (RIG_LBR_CHAIN + 2) % depth);

	/* the next record goes behind the place that TOS was written to */
	local_irq_save(flags);
	clear_records();
	wr(OLD_TOS, depth - 1);
	rig_lbr_run(DEBUGCTL_LBR, rig_lbr_ret, 0, MSR_IA32_DEBUGCTLMSR);
	tos = rd(OLD_TOS);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, tos, 1);
	KUNIT_EXPECT_EQ(test, rd(OLD_FROM), (u64)rig_lbr_call);
	KUNIT_EXPECT_EQ(test, rd(OLD_TO + 1), (u64)rig_lbr_returned);
}

/* Cycles are a model's: here one for each instruction.  No unconditional branch is mispredicted. */
static void info(struct kunit *test)
{
	struct record got[RECORDS_MAX], raw[RECORDS_MAX];
	const struct rig_lbr_branch *b;
	int i = 0;

	need_records(test);
	run_into(rig_lbr_all, 0, 0, got, raw);
	for (b = rig_lbr_all_end - 1; b >= rig_lbr_all_list; b--, i++) {
		u64 flags = format == AMD ? raw[i].from & AMD_FROM_MISPRED : raw[i].info & INFO_MISPRED;

		if (b->kind != RIG_LBR_COND)
			KUNIT_EXPECT_EQ_MSG(test, flags, 0, "%d before the newest: mispredicted", i);
		switch (format) {
		case ARCH:
			KUNIT_EXPECT_EQ_MSG(test, (raw[i].info & INFO_TYPE) >> 56, arch_kind[b->kind].type,
					    "%d before the newest: type", i);
			KUNIT_EXPECT_NE_MSG(test, raw[i].info & INFO_CYC_VALID, 0, "%d before", i);
			KUNIT_EXPECT_EQ(test, raw[i].info & (INFO_TSX | GENMASK_ULL(55, 16)), 0);
			break;
		case OLD:
			KUNIT_EXPECT_EQ(test, raw[i].info & GENMASK_ULL(62, 16), 0);
			break;
		default:
			KUNIT_EXPECT_EQ_MSG(test, raw[i].to >> 61, AMD_TO_VALID >> 61, "valid, retired");
		}
	}

	if (format == AMD)
		return;
	run(rig_lbr_chain, 0, got);
	for (i = 0; i < depth; i++)
		KUNIT_EXPECT_EQ_MSG(test, got[i].info & INFO_CYCLES, 1, "%d before the newest", i);
	run(rig_lbr_loop, BIT_ULL(RIG_LBR_COND), got);
	/* MOV, the loop, RET */
	KUNIT_EXPECT_EQ(test, got[0].info & INFO_CYCLES, 2002);
	run(rig_lbr_loop, 0, got);
	KUNIT_EXPECT_EQ(test, got[2].info & INFO_CYCLES, 2);
	KUNIT_EXPECT_EQ_MSG(test, got[2].info & INFO_MISPRED, 0, "learned after a thousand times");
}

/* ---- the call-stack mode ---- */

static void call_stack(struct kunit *test)
{
	const u64 select = SELECT_STACK | BIT_ULL(RIG_LBR_COND) | BIT_ULL(RIG_LBR_IND_JMP) |
			   BIT_ULL(RIG_LBR_REL_JMP) | BIT_ULL(RIG_LBR_FAR);
	struct record got[RECORDS_MAX];
	int n;

	need_records(test);
	if (format == AMD)
		kunit_skip(test, "no call-stack mode");

	n = run(rig_lbr_deep, select, got);
	expect_list(test, "deep", rig_lbr_deep_list, rig_lbr_deep_end, 0, got, n);
	/* all that was called returned */
	n = run(rig_lbr_all, select, got);
	KUNIT_EXPECT_EQ(test, n, 0);
	if (format == OLD)
		KUNIT_EXPECT_EQ(test, rd(OLD_TOS), 0);
	/* without it the call that asks for its address is one like others */
	n = run(rig_lbr_deep, ~BIT_ULL(RIG_LBR_REL_CALL) & SELECT_FILTERS & ~3ULL, got);
	KUNIT_EXPECT_EQ(test, n, 6);
}

/* ---- freezing ---- */

/* The bit of the global status that freezes records, whoever has set it */
static void frozen_by_status(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	u64 seen;
	int n;

	need_records(test);
	wr(status_set(), FROZEN);
	seen = rd(status());
	n = run(rig_lbr_all, 0, got);
	KUNIT_EXPECT_EQ(test, seen & FROZEN, FROZEN);
	KUNIT_EXPECT_EQ(test, n, 0);
	wr(status_reset(), FROZEN);
	n = run(rig_lbr_all, 0, got);
	expect_list(test, "after reset", rig_lbr_all_list, rig_lbr_all_end, 0, got, n);
}

/* Counter 0 overflows after @n user and kernel instructions, and interrupts. */
static void arm_counter(int n)
{
	if (intel) {
		wr(MSR_IA32_PMC0, -(u64)n & GENMASK_ULL(47, 0));
		wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN) | RIG_SEL_INT);
	} else {
		wr(RIG_AMD_CTR(0), -(u64)n & RIG_AMD_WIDTH);
		wr(RIG_AMD_SEL(0), RIG_SEL(RIG_AMD_INSN) | RIG_SEL_INT);
	}
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI);
}

static void disarm_counter(void)
{
	wr(intel ? MSR_ARCH_PERFMON_EVENTSEL0 : RIG_AMD_SEL(0), 0);
	wr(status_reset(), 1 | FROZEN);
}

static void frozen_by_pmi(struct kunit *test)
{
	const u64 loop_from = (u64)rig_lbr_loop_from, nmi = (u64)rig_lbr_nmi;
	struct record got[RECORDS_MAX];
	int i, freeze, seen, nmis;
	u64 left, debugctl;
	unsigned long flags;

	need_records(test);
	for (freeze = 0; freeze < 2; freeze++) {
		debugctl = freeze ? DEBUGCTL_FREEZE : 0;
		local_irq_save(flags);
		clear_records();
		if (format != ARCH)
			wr(format == OLD ? OLD_SELECT : AMD_SELECT, 0);
		rig_lbr_nmis = 0;
		rig_idt_load(idt);
		wr(MSR_IA32_DEBUGCTLMSR, debugctl);
		arm_counter(600);
		if (intel)
			wr(MSR_CORE_PERF_GLOBAL_CTRL, 1);
		else
			wr(RIG_AMD_CTL, 1);
		rig_lbr_run(enable_value(0) | (format == OLD ? debugctl : 0), rig_lbr_loop,
			    format == OLD ? debugctl : 0, enable_msr());
		wr(intel ? MSR_CORE_PERF_GLOBAL_CTRL : RIG_AMD_CTL, 0);
		nmis = rig_lbr_nmis;
		left = rd(status());
		for (i = 0; i < depth; i++)
			got[i] = record(i);
		disarm_counter();
		wr(MSR_IA32_DEBUGCTLMSR, 0);
		rig_idt_unload(idt);
		local_irq_restore(flags);

		KUNIT_EXPECT_EQ(test, nmis, 1);
		KUNIT_EXPECT_EQ(test, left & FROZEN, freeze ? FROZEN : 0);
		for (i = 0, seen = 0; i < depth; i++)
			seen += got[i].to == nmi;
		KUNIT_EXPECT_EQ_MSG(test, seen, 0, "the interrupt is long past, or was not recorded");
		if (!freeze) {
			KUNIT_EXPECT_EQ(test, got[0].to, (u64)rig_lbr_returned);
			continue;
		}
		for (i = 0; i < depth; i++)
			KUNIT_EXPECT_EQ_MSG(test, got[i].from, loop_from, "%d before the interrupt", i);
	}
}

/* ---- debug exceptions ---- */

static void debug_exception(struct kunit *test)
{
	struct record got[RECORDS_MAX];
	const struct rig_lbr_branch *end = rig_lbr_icebp_end;
	int n;

	need_records(test);
	/* the older interface is off then */
	if (format == OLD)
		end = rig_lbr_icebp_list + 2;
	n = run(rig_lbr_icebp, 0, got);
	set_debugreg(DR6_RESERVED, 6);
	expect_list(test, "#DB", rig_lbr_icebp_list, end, 0, got, n);
}

/* ---- the XSAVE state component ---- */

#define LBR_MASK	BIT_ULL(15)
#define HEADER		512		/* XSTATE_BV, XCOMP_BV */
#define COMPONENT	576

static u8 *area;

static u64 *at(int offset)
{
	return (u64 *)(area + offset);
}

static void save(void)
{
	asm volatile("xsaves64 (%0)" : : "r" (area), "a" ((u32)LBR_MASK), "d" (0) : "memory");
}

static int restore(void)
{
	int err = 0;

	asm volatile("1: xrstors64 (%1)\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE_TYPE_REG(1b, 2b, EX_TYPE_EFAULT_REG, %[err])
		     : [err] "+r" (err) : "r" (area), "a" ((u32)LBR_MASK), "d" (0) : "memory");
	return err;
}

static void xsave_component(struct kunit *test)
{
	u32 eax, ebx, ecx, edx, with;
	u64 xss;

	if (!intel || !boot_cpu_has(X86_FEATURE_XSAVES))
		kunit_skip(test, "no XSAVES");
	cpuid_count(0xd, 1, &eax, &with, &ecx, &edx);
	KUNIT_EXPECT_EQ_MSG(test, !!(ecx & LBR_MASK), format == ARCH, "CPUID.D.1:ECX[15]");
	cpuid_count(0xd, 15, &eax, &ebx, &ecx, &edx);
	if (format != ARCH) {
		KUNIT_EXPECT_EQ(test, eax | ebx | ecx | edx, 0);
		rdmsrl(MSR_IA32_XSS, xss);
		KUNIT_EXPECT_NE(test, wrmsrl_safe(MSR_IA32_XSS, xss | LBR_MASK), 0);
		return;
	}
	KUNIT_EXPECT_EQ(test, eax, 5 * 8 + 32 * 24);
	KUNIT_EXPECT_EQ(test, ebx, 0);
	KUNIT_EXPECT_EQ_MSG(test, ecx, 1, "of IA32_XSS, not aligned");
	KUNIT_EXPECT_EQ(test, edx, 0);
	rdmsrl(MSR_IA32_XSS, xss);
	KUNIT_ASSERT_EQ_MSG(test, xss & LBR_MASK, LBR_MASK, "Linux sets it");
	wr(MSR_IA32_XSS, xss & ~LBR_MASK);
	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	wr(MSR_IA32_XSS, xss);
	KUNIT_EXPECT_EQ_MSG(test, with - ebx, 808, "CPUID.D.1:EBX follows IA32_XSS");
}

static void fill_records(int d)
{
	int i;

	wr(ARCH_DEPTH, d);
	for (i = 0; i < d; i++) {
		wr(ARCH_FROM + i, 0x1000 + i);
		wr(ARCH_TO + i, 0x2000 + i);
		wr(ARCH_INFO + i, 0x10 + i);
	}
	wr(ARCH_CTL, CTL_USR | CTL_KINDS);
	wr(LER_FROM, 0x3001);
	wr(LER_TO, 0x3002);
	wr(LER_INFO, 3);
}

static u64 any_state(int d)
{
	u64 any = rd(ARCH_CTL) | rd(LER_FROM) | rd(LER_TO) | rd(LER_INFO);
	int i;

	for (i = 0; i < d; i++)
		any |= rd(ARCH_FROM + i) | rd(ARCH_TO + i) | rd(ARCH_INFO + i);
	return any;
}

static void xsaves_and_xrstors(struct kunit *test)
{
	u64 image[5 + 3 * RECORDS_MAX], before;
	unsigned long flags;
	int i, d, err;

	need_format(test, ARCH);
	for (d = 8; d <= 32; d *= 2) {
		memset(area, 0, PAGE_SIZE);
		memset(area + COMPONENT, 0xee, 808);
		local_irq_save(flags);
		fill_records(d);
		save();
		memcpy(image, at(COMPONENT), sizeof(image));
		wr(ARCH_CTL, 0);
		wr(LER_FROM, 0);
		wr(LER_TO, 0);
		wr(LER_INFO, 0);
		wr(ARCH_DEPTH, d);
		before = any_state(d);
		err = restore();
		local_irq_restore(flags);
		KUNIT_EXPECT_EQ(test, *at(HEADER), LBR_MASK);
		KUNIT_EXPECT_EQ(test, *at(HEADER + 8), LBR_MASK | BIT_ULL(63));
		KUNIT_EXPECT_EQ(test, image[0], CTL_USR | CTL_KINDS);
		KUNIT_EXPECT_EQ(test, image[1], d);
		KUNIT_EXPECT_EQ(test, image[2], 0x3001);
		KUNIT_EXPECT_EQ(test, image[3], 0x3002);
		KUNIT_EXPECT_EQ(test, image[4], 3);
		for (i = 0; i < d; i++) {
			KUNIT_EXPECT_EQ_MSG(test, image[5 + 3 * i], 0x1000 + i, "FROM of %d", i);
			KUNIT_EXPECT_EQ_MSG(test, image[6 + 3 * i], 0x2000 + i, "TO of %d", i);
			KUNIT_EXPECT_EQ_MSG(test, image[7 + 3 * i], 0x10 + i, "INFO of %d", i);
		}
		if (d < 32)
			KUNIT_EXPECT_EQ_MSG(test, image[5 + 3 * d], 0xeeeeeeeeeeeeeeeeULL, "beyond");
		KUNIT_EXPECT_EQ(test, before, 0);
		KUNIT_EXPECT_EQ(test, err, 0);
		KUNIT_EXPECT_EQ(test, rd(ARCH_CTL), CTL_USR | CTL_KINDS);
		KUNIT_EXPECT_EQ(test, rd(LER_TO), 0x3002);
		for (i = 0; i < d; i++) {
			KUNIT_EXPECT_EQ_MSG(test, rd(ARCH_FROM + i), 0x1000 + i, "FROM of %d", i);
			KUNIT_EXPECT_EQ_MSG(test, rd(ARCH_TO + i), 0x2000 + i, "TO of %d", i);
			KUNIT_EXPECT_EQ_MSG(test, rd(ARCH_INFO + i), 0x10 + i, "INFO of %d", i);
		}
	}
	wr(ARCH_CTL, 0);
}

static void xsaves_initial_state(struct kunit *test)
{
	unsigned long flags;
	u64 bv[2], any, d;
	int err;

	need_format(test, ARCH);
	memset(area, 0, PAGE_SIZE);
	local_irq_save(flags);
	/* in its initial configuration, whatever the depth is */
	fill_records(16);
	*at(HEADER + 8) = LBR_MASK | BIT_ULL(63);
	err = restore();
	any = any_state(16);
	d = rd(ARCH_DEPTH);
	save();
	bv[0] = *at(HEADER);
	wr(ARCH_INFO + 15, 1);
	save();
	bv[1] = *at(HEADER);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, any, 0);
	KUNIT_EXPECT_EQ_MSG(test, d, 16, "DEPTH is not initialized");
	KUNIT_EXPECT_EQ(test, bv[0], 0);
	KUNIT_EXPECT_EQ(test, bv[1], LBR_MASK);
}

static void xrstors_rules(struct kunit *test)
{
	unsigned long flags;
	u64 any, ctl, ler;
	int err[4], fine, d;

	need_format(test, ARCH);
	memset(area, 0, PAGE_SIZE);
	local_irq_save(flags);
	/* another depth: no record fits */
	fill_records(8);
	save();
	wr(ARCH_DEPTH, 32);
	wr(ARCH_FROM + 20, 0x1234);
	fine = restore();
	ctl = rd(ARCH_CTL);
	ler = rd(LER_FROM);
	wr(ARCH_CTL, 0);
	wr(LER_FROM, 0);
	wr(LER_TO, 0);
	wr(LER_INFO, 0);
	any = any_state(32);
	d = rd(ARCH_DEPTH);

	/* what WRMSR refuses XRSTORS does as well */
	fill_records(32);
	save();
	*at(COMPONENT) |= BIT_ULL(4);
	err[0] = restore();
	*at(COMPONENT) &= ~BIT_ULL(4);
	*at(COMPONENT + 40) = NOT_CANONICAL;
	err[1] = restore();
	*at(COMPONENT + 40) = 0;
	*at(COMPONENT + 16) = NOT_CANONICAL;
	err[2] = restore();
	*at(COMPONENT + 16) = 0;
	err[3] = restore();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, fine, 0);
	KUNIT_EXPECT_EQ(test, ctl, CTL_USR | CTL_KINDS);
	KUNIT_EXPECT_EQ(test, ler, 0x3001);
	KUNIT_EXPECT_EQ_MSG(test, any, 0, "records of another depth");
	KUNIT_EXPECT_EQ(test, d, 32);
	KUNIT_EXPECT_NE_MSG(test, err[0], 0, "reserved bit of LBR_CTL");
	KUNIT_EXPECT_NE_MSG(test, err[1], 0, "FROM");
	KUNIT_EXPECT_NE_MSG(test, err[2], 0, "LER_FROM");
	KUNIT_EXPECT_EQ_MSG(test, err[3], 0, "without these");
}

static int rig_lbr_init(struct kunit *test)
{
	const struct rig_amd_machine *amd = rig_find_amd(machine);
	const struct rig_machine *m = rig_find_machine(machine);
	int err;

	kept = false;
	intel = boot_cpu_data.x86_vendor == X86_VENDOR_INTEL;
	err = intel ? rig_is_there(test, m, "Intel") : rig_is_there(test, amd, "AMD");
	if (err)
		return err;
	if (intel) {
		format = cpuid_edx(7) & BIT(19) ? ARCH : OLD;
		depth = 32;
	} else {
		format = amd->v2 ? AMD : NONE;
		depth = 16;
	}
	if (!area) {
		area = (u8 *)get_zeroed_page(GFP_KERNEL);
		KUNIT_ASSERT_TRUE(test, area);
	}
	rdmsrl(MSR_IA32_DEBUGCTLMSR, host_debugctl);
	if (intel)
		rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, host_global);
	else if (amd->v2)
		rdmsrl(RIG_AMD_CTL, host_global);
	rdmsrl(intel ? MSR_ARCH_PERFMON_EVENTSEL0 : RIG_AMD_SEL(0), host_sel);
	KUNIT_ASSERT_EQ_MSG(test, host_sel & RIG_SEL_EN, 0, "counter 0 is in use; nmi_watchdog=0?");
	host_lvtpc = rig_apic_read(APIC_LVTPC);
	rig_apic_write(APIC_LVTPC, host_lvtpc | APIC_LVT_MASKED);
	kept = true;
	rig_idt_copy(idt);
	rig_idt_set(idt, X86_TRAP_UD, rig_lbr_ud);
	rig_idt_set(idt, X86_TRAP_DB, rig_lbr_iret);
	rig_idt_set(idt, X86_TRAP_NMI, rig_lbr_nmi);
	rig_idt_set(idt, RIG_LBR_VECTOR, rig_lbr_iret);
	return 0;
}

static void rig_lbr_exit(struct kunit *test)
{
	if (!kept || pin())
		return;
	if (format != NONE) {
		wr(enable_msr(), 0);
		clear_records();
		if (format != ARCH)
			wr(format == OLD ? OLD_SELECT : AMD_SELECT, 0);
		wr(status_reset(), 1 | FROZEN);
	}
	wr(MSR_IA32_DEBUGCTLMSR, host_debugctl);
	wr(intel ? MSR_ARCH_PERFMON_EVENTSEL0 : RIG_AMD_SEL(0), host_sel);
	if (intel)
		wr(MSR_CORE_PERF_GLOBAL_CTRL, host_global);
	else if (format == AMD)
		wr(RIG_AMD_CTL, host_global);
	rig_apic_write(APIC_LVTPC, host_lvtpc);
	kept = false;
}

static struct kunit_case rig_lbr_cases[] = {
	KUNIT_CASE(says_what_it_has),
	KUNIT_CASE(registers_are_there),
	KUNIT_CASE(old_register_bits),
	KUNIT_CASE(arch_register_bits),
	KUNIT_CASE(amd_register_bits),
	KUNIT_CASE(records_all_kinds),
	KUNIT_CASE(records_nothing_while_off),
	KUNIT_CASE(each_filter),
	KUNIT_CASE(wraps_around),
	KUNIT_CASE(top_of_stack),
	KUNIT_CASE(info),
	KUNIT_CASE(call_stack),
	KUNIT_CASE(frozen_by_status),
	KUNIT_CASE(frozen_by_pmi),
	KUNIT_CASE(debug_exception),
	KUNIT_CASE(xsave_component),
	KUNIT_CASE(xsaves_and_xrstors),
	KUNIT_CASE(xsaves_initial_state),
	KUNIT_CASE(xrstors_rules),
	{}
};

static void rig_lbr_suite_exit(struct kunit_suite *suite)
{
	free_page((unsigned long)area);
	area = NULL;
}

static struct kunit_suite rig_lbr_suite = {
	.name = "rig_lbr",
	.init = rig_lbr_init,
	.exit = rig_lbr_exit,
	.suite_exit = rig_lbr_suite_exit,
	.test_cases = rig_lbr_cases,
};

kunit_test_suite(rig_lbr_suite);

MODULE_DESCRIPTION("Tests of the emulated machine's branch records against the manuals");
MODULE_LICENSE("GPL");
