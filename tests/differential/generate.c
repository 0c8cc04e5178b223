// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of PMU operations, from a seed
 *
 * An operation that two processors would do differently because of what CPUID says of them is left out: a program is
 * for both.  As cycles, and the events that the emulated machine models, depend on VM-exits, most programs don't count
 * them.  "Loose" programs count anything, with counters too far from their end to overflow.
 *
 * No program writes to a counter that has overflowed before it has cleared the counter's bit of the status, if it
 * can.  A guest writes its counters without a VM-exit.  When KVM takes the PMU from it, and an overflow's interrupt
 * may still be on its way, KVM looks at the status and at whether the counter went back: to a guest that turned the
 * counter back itself it then gives an interrupt too many.  (An interrupt that gets lost would be worse, and handlers
 * clear the status first.)
 */
#include <string.h>

#include "../random.h"
#include "generate.h"

static u64 state;

#define rnd()		random_next(&state)
#define below(n)	random_below(&state, n)
#define one_in(n)	random_one_in(&state, n)

static const struct pmu *a, *b;
static struct op *ops;
static u32 count, max;
static bool loose;
/* Only some programs read and write branch records, which have many registers. */
static bool records;

static bool same(const struct op *op)
{
	u64 x, y;

	if (!b)
		return true;
	switch (op->kind) {
	case OP_WRMSR:
		return model_may_write(a, op->index, op->value, &x) == model_may_write(b, op->index, op->value, &y) &&
		       x == y;
	case OP_RDMSR:
		return model_may_read(a, op->index) == model_may_read(b, op->index) &&
		       (op->index != MSR_PERF_CAP || a->capabilities == b->capabilities);
	case OP_RDPMC:
		return model_rdpmc(a, op->index) == model_rdpmc(b, op->index);
	}
	return true;
}

/* What the program has come to. */
static struct state now;

static void add(u32 kind, u32 index, u64 value)
{
	struct op op = { kind, index, value }, clear = { OP_WRMSR, a->amd ? AMD_CLR : MSR_RESET, 0 };
	struct record r;
	int n = kind == OP_WRMSR ? model_counter(a, index) : -1;

	if (count + 2 > max || !same(&op))
		return;
	if (n >= 0)
		clear.value = now.status & (n < GP_MAX ? BIT(n) : BIT(32 + n - GP_MAX));
	if (clear.value && a->version >= 2) {
		ops[count++] = clear;
		model_step(&now, &clear, &r);
	}
	ops[count++] = op;
	model_step(&now, &op, &r);
}

static u64 some_selector(void)
{
	static const u16 events[] = { 0xc0, 0xc0, 0xc4, 0xc2, 0xd1, 0x76, 0x3c, 0x13c, 0x0fe7, 0, 0xc3, 0xc5 };
	u64 sel = events[below(sizeof(events) / sizeof(*events))];

	if (one_in(4))
		sel = a->cond;
	if (one_in(8))
		sel = rnd() & 0xffff;
	sel |= rnd() & (SEL_USR | SEL_OS | SEL_INT);
	if (!one_in(8))
		sel |= SEL_EN;
	if (one_in(loose ? 4 : 16))
		sel |= rnd() & (SEL_EDGE | SEL_INV | BIT(19));
	if (one_in(loose ? 4 : 16))
		sel |= rnd() & SEL_CMASK;
	if (one_in(16))
		sel |= SEL_ANY;
	if (one_in(16))
		sel |= BIT(below(64));
	if (one_in(32))
		sel = rnd();
	return sel;
}

/* Only what is exact, if the program is to be. */
static u64 exact(u64 sel)
{
	if (loose || !model_inexact(a, sel))
		return sel;
	if (sel & SEL_CMASK)
		sel &= ~SEL_INV;
	if (model_event(a, sel) == model_event(a, 0xc0))
		sel &= ~(SEL_CMASK | SEL_EDGE | (a->amd ? SEL_OS : 0));
	if (model_inexact(a, sel))
		sel = (sel & ~0xf0000ffffull) | (a->amd ? 0xc2 : 0xc4);
	return sel;
}

static u64 exact_fixed(u64 ctrl)
{
	int n;

	for (n = 1; n < FIXED_MAX && !loose; n++)
		ctrl &= ~(3ull << 4 * n);
	return ctrl;
}

static u64 some_counter(u32 width, bool legacy)
{
	u64 value;

	if (loose)
		return rnd() & ONES(width > 40 ? 30 : width - 4);
	switch (below(8)) {
	case 0:
		return below(1000);
	case 1:
		return rnd();
	case 2:
		return ONES(width) + 1 + below(4);
	case 3:
		value = rnd() & ONES(width);
		break;
	case 4:
		value = ONES(width) - below(2000);
		break;
	default:
		value = ONES(width) - below(60);
	}
	return legacy && one_in(2) ? value & 0xffffffff : value;
}

/* Any subset of bits, all of them, or one that is not there. */
static u64 some_bits(u64 valid)
{
	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return (rnd() & valid) | BIT(below(64));
	case 2:
	case 3:
		return valid;
	case 4:
		return BIT(below(64));
	}
	return rnd() & valid;
}

static u64 enables(void)
{
	return ONES(a->gp) | (u64)a->fixed << 32 |
	       (a->pdcm && a->capabilities & CAP_METRICS ? STATUS_METRICS : 0);
}

static u32 ctrl_msr(void)
{
	return a->amd ? AMD_CTL : MSR_CTRL;
}

static u32 selector_msr(u32 n)
{
	if (!a->amd)
		return MSR_EVENTSEL0 + n;
	return (a->core_ext && (n >= 4 || one_in(2))) ? AMD_SEL0 + 2 * n : AMD_K7_SEL0 + n;
}

static u32 counter_msr(u32 n)
{
	if (a->amd)
		return (a->core_ext && (n >= 4 || one_in(2))) ? AMD_SEL0 + 2 * n + 1 : AMD_K7_CTR0 + n;
	return one_in(2) ? MSR_PERFCTR0 + n : MSR_PMC0 + n;
}

static void write_counter(u32 n)
{
	u32 msr = counter_msr(n);

	add(OP_WRMSR, msr, some_counter(a->gp_width, !a->amd && msr < MSR_PMC0));
}

static void write_selector(u32 n)
{
	add(OP_WRMSR, selector_msr(n), exact(some_selector()));
}

static void write_fixed_ctrl(void)
{
	u64 valid = 0;
	int n;

	for (n = 0; n < FIXED_MAX; n++)
		valid |= a->fixed >> n & 1 ? 0xbull << 4 * n : 0;
	if (one_in(12))
		valid |= 4ull << 4 * below(4);
	add(OP_WRMSR, MSR_FIXED_CTRL, exact_fixed(some_bits(valid)));
}

static u32 some_pmu_msr(void)
{
	if (a->amd) {
		switch (below(4)) {
		case 0:
			return AMD_STATUS + below(4);
		case 1:
			return AMD_K7_SEL0 + below(8);
		default:
			return AMD_SEL0 + below(2 * a->gp + 3);
		}
	}
	switch (below(6)) {
	case 0:
		return MSR_FIXED_CTRL + below(6);
	case 1:
		return MSR_PERFCTR0 + below(a->gp + 1);
	case 2:
		return MSR_EVENTSEL0 + below(a->gp + 1);
	case 3:
		return MSR_PMC0 + below(a->gp + 1);
	case 4:
		return one_in(3) ? MSR_METRICS : one_in(2) ? MSR_PERF_CAP : MSR_DEBUGCTL;
	}
	return MSR_FIXED_CTR0 + below(5);
}

static bool has_debugctl(u32 msr)
{
	return msr != MSR_DEBUGCTL || (a->freeze && (!b || b->freeze));
}

static void run_something(void)
{
	u32 n = one_in(40) ? 4000 : one_in(8) ? 400 : 40;

	switch (below(records ? 10 : 8)) {
	case 0:
		add(OP_NOPS, 0, 0);
		break;
	case 1:
		add(OP_JUMPS, 0, 0);
		break;
	case 8:
	case 9:
		add(OP_CALLS, 0, 0);
		break;
	case 2:
	case 3:
	case 4:
		add(OP_USER_LOOP, 0, 1 + below(n));
		break;
	default:
		add(OP_LOOP, 0, 1 + below(n));
	}
}

static void rearm(void)
{
	u64 handler = below(8);

	if (a->version < 2)
		handler &= HANDLER_REARM;
	if (!one_in(4))
		add(OP_HANDLER, 0, handler);
	add(OP_LVTPC, 0, one_in(8) ? LVTPC_MASKED | LVTPC_NMI : LVTPC_NMI);
}

/* A counter near its end, that will interrupt. */
static void overflow(void)
{
	u32 n = below(a->gp), f = 0;
	u64 sel = one_in(2) ? 0xc0 : one_in(2) ? a->cond : a->amd ? 0xc2 : 0xc4;

	if (loose)
		return;
	rearm();
	if (a->fixed & 1 && one_in(4)) {
		add(OP_WRMSR, MSR_FIXED_CTR0 + f, ONES(a->fixed_width) - below(60));
		add(OP_WRMSR, MSR_FIXED_CTRL, 8 + 1 + below(3));
	} else {
		write_counter(n);
		add(OP_WRMSR, selector_msr(n),
		    exact(sel | SEL_EN | SEL_INT | (one_in(3) ? SEL_USR | SEL_OS : one_in(2) ? SEL_OS : SEL_USR)));
	}
	if (a->version >= 2 && !one_in(4))
		add(OP_WRMSR, ctrl_msr(), enables());
	run_something();
}

/* ---- branch records ---- */

static u64 some_address(void)
{
	u64 value = rnd();
	int bits = a->address_bits ? a->address_bits : 48;

	switch (below(6)) {
	case 0:
		return value;
	case 1:
		/* may be the first that is no address */
		return (value >> (64 - bits + 1)) | BIT(bits - 1);
	case 2:
		return value | ~0ull << (bits - 1);
	case 3:
		return value >> 17;
	}
	return value >> (64 - bits + 1);
}

static u64 some_info(void)
{
	return rnd() & (one_in(4) ? BIT(below(64)) : one_in(4) ? ~0ull : 7ull << 61 | 0xffff);
}

/* Suppress some kinds of branches, one mode, or all but calls and returns, with the mode that is for. */
static u64 some_select(void)
{
	u64 select = 0;

	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return rnd() & (SELECT_FILTERS | SELECT_CALL_STACK);
	case 2:
	case 3:
		select = BIT(COND) | BIT(IND_JMP) | BIT(REL_JMP) | BIT(FAR) | SELECT_CALL_STACK;
		break;
	case 4:
		select = BIT(2 + below(7)) | BIT(2 + below(7));
		break;
	}
	return one_in(3) ? select | BIT(below(2)) : select;
}

static u64 some_lbr_ctl(void)
{
	u64 ctl = ARCH_CTL_OS | ARCH_CTL_USR | ARCH_CTL_KINDS;

	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return rnd() & 0x7f000f;
	case 2:
	case 3:
		ctl = ARCH_CTL_OS | ARCH_CTL_USR | ARCH_CTL_CALL_STACK | 7ull << 19;
		break;
	case 4:
		ctl &= ~(BIT(16 + below(7)) | BIT(16 + below(7)));
		break;
	}
	if (one_in(3))
		ctl &= ~(one_in(2) ? ARCH_CTL_OS : ARCH_CTL_USR);
	return ctl | ARCH_CTL_ON;
}

static void write_debugctl(void)
{
	u64 valid = DEBUGCTL_FREEZE_LBR | DEBUGCTL_FREEZE_PMC;

	/* It is kept, and does nothing, by processors with other records. */
	if (records && (a->lbr == LBR_OLD || !b))
		valid |= DEBUGCTL_LBR;
	add(OP_WRMSR, MSR_DEBUGCTL, one_in(16) ? BIT(16 + below(48)) : one_in(3) ? 0 : rnd() & valid);
}

/* A register of a record, or one like it that this processor does not have */
static u32 some_record(int *which)
{
	int kind = a->lbr;
	u32 n;

	if (a->amd) {
		n = below(2 * 16);
		*which = n & 1;
		return AMD_LBR + n;
	}
	*which = below(3);
	if (!kind || one_in(16))
		kind = one_in(2) ? LBR_OLD : LBR_ARCH;
	if (kind == LBR_OLD)
		return (*which == FROM ? MSR_LBR_FROM : *which == TO ? MSR_LBR_TO : MSR_LBR_INFO) + below(32);
	/* Others have some of these for something else. */
	if (a->lbr == LBR_ARCH && one_in(8)) {
		*which = below(3);
		return *which == FROM ? MSR_LER_FROM : *which == TO ? MSR_LER_TO : MSR_LER_INFO;
	}
	return (*which == FROM ? MSR_ARCH_FROM : *which == TO ? MSR_ARCH_TO : MSR_ARCH_INFO) + below(one_in(8) ? 64 : 32);
}

static u32 lbr_control(void)
{
	bool old = a->lbr == LBR_NONE ? one_in(2) : a->lbr == LBR_OLD;

	if (a->amd)
		return one_in(2) ? AMD_LBR_SELECT : AMD_EXTN_CFG;
	return old ? MSR_LBR_SELECT + below(2) : MSR_ARCH_CTL + below(2);
}

static void write_lbr_control(u32 msr)
{
	u64 value = 0;

	switch (msr) {
	case MSR_LBR_SELECT:
	case AMD_LBR_SELECT:
		value = some_select();
		break;
	case MSR_LBR_TOS:
		value = one_in(4) ? rnd() : below(one_in(2) ? 32 : 40);
		break;
	case MSR_ARCH_CTL:
		value = some_lbr_ctl();
		break;
	case MSR_ARCH_DEPTH:
		value = one_in(4) ? rnd() : 4 * below(20);
		if (one_in(2))
			value = 32;
		break;
	case AMD_EXTN_CFG:
		value = one_in(8) ? rnd() : EXTN_CFG_LBR;
		break;
	}
	add(OP_WRMSR, msr, value);
}

static void record_branches(bool on)
{
	if (a->amd)
		add(OP_WRMSR, AMD_EXTN_CFG, on ? EXTN_CFG_LBR : 0);
	else if (a->lbr == LBR_ARCH)
		add(OP_WRMSR, MSR_ARCH_CTL, on ? some_lbr_ctl() : 0);
	else if (a->freeze && (a->lbr || !b))
		add(OP_WRMSR, MSR_DEBUGCTL, on ? DEBUGCTL_LBR | (rnd() & DEBUGCTL_FREEZE_LBR) : 0);
}

static void overflow(void);

static void branch_step(void)
{
	u32 msr, n;
	int which;

	switch (below(8)) {
	case 0:
		msr = some_record(&which);
		add(OP_WRMSR, msr, which == INFO ? some_info() : some_address());
		break;
	case 1:
		write_lbr_control(lbr_control());
		break;
	case 2:
		add(OP_RDMSR, one_in(2) ? lbr_control() : some_record(&which), 0);
		break;
	case 3:
		if (a->freeze)
			write_debugctl();
		break;
	case 4:
	case 5:
		for (n = below(8); n; n--)
			add(OP_RDMSR, some_record(&which), 0);
		break;
	default:
		/* That some of them come to be recorded */
		if (a->lbr == LBR_OLD || a->lbr == LBR_AMD)
			write_lbr_control(a->amd ? AMD_LBR_SELECT : MSR_LBR_SELECT);
		record_branches(true);
		for (n = 1 + below(4); n; n--)
			run_something();
		if (one_in(4))
			overflow();
		if (one_in(8))
			add(OP_PORT, 0, 0);
		if (one_in(8))
			add(OP_USER_RDPMC, 0, 0);
		if (!one_in(4))
			record_branches(false);
		if (a->lbr == LBR_OLD)
			add(OP_RDMSR, MSR_LBR_TOS, 0);
	}
}

/* What enables them is cleared in the beginning by each program. */
static void clear_records(void)
{
	u32 n;

	if (a->lbr == LBR_OLD || a->lbr == LBR_AMD)
		add(OP_WRMSR, a->amd ? AMD_LBR_SELECT : MSR_LBR_SELECT, 0);
	if (a->lbr == LBR_OLD)
		add(OP_WRMSR, MSR_LBR_TOS, 0);
	if (a->lbr == LBR_ARCH) {
		add(OP_WRMSR, MSR_ARCH_DEPTH, 32);
		add(OP_WRMSR, MSR_LER_FROM, 0);
		add(OP_WRMSR, MSR_LER_TO, 0);
		add(OP_WRMSR, MSR_LER_INFO, 0);
	}
	for (n = 0; n < a->lbr_nr && a->lbr != LBR_ARCH; n++) {
		add(OP_WRMSR, a->amd ? AMD_LBR + 2 * n : MSR_LBR_FROM + n, 0);
		add(OP_WRMSR, a->amd ? AMD_LBR + 2 * n + 1 : MSR_LBR_TO + n, 0);
		if (a->lbr == LBR_OLD)
			add(OP_WRMSR, MSR_LBR_INFO + n, 0);
	}
}

static void read_records(void)
{
	bool arch = a->lbr == LBR_ARCH;
	u32 n;

	if (a->amd) {
		add(OP_RDMSR, AMD_LBR_SELECT, 0);
		add(OP_RDMSR, AMD_EXTN_CFG, 0);
		for (n = 0; n < 2 * 16; n++)
			add(OP_RDMSR, AMD_LBR + n, 0);
		return;
	}
	for (n = 0; n < 2; n++)
		add(OP_RDMSR, (arch ? MSR_ARCH_CTL : MSR_LBR_SELECT) + n, 0);
	for (n = 0; n < 32; n++) {
		add(OP_RDMSR, (arch ? MSR_ARCH_FROM : MSR_LBR_FROM) + n, 0);
		add(OP_RDMSR, (arch ? MSR_ARCH_TO : MSR_LBR_TO) + n, 0);
		add(OP_RDMSR, (arch ? MSR_ARCH_INFO : MSR_LBR_INFO) + n, 0);
	}
	if (arch) {
		add(OP_RDMSR, MSR_LER_FROM, 0);
		add(OP_RDMSR, MSR_LER_TO, 0);
		add(OP_RDMSR, MSR_LER_INFO, 0);
	}
}

static void one_step(void)
{
	u32 msr;

	if (records && one_in(3)) {
		branch_step();
		return;
	}

	switch (below(24)) {
	case 0:
	case 1:
		write_selector(below(a->gp));
		break;
	case 2:
	case 3:
		write_counter(below(a->gp));
		break;
	case 4:
		if (a->amd)
			break;
		add(OP_WRMSR, MSR_FIXED_CTR0 + below(4), some_counter(a->fixed_width, false));
		break;
	case 5:
		if (!a->amd)
			write_fixed_ctrl();
		break;
	case 6:
	case 7:
		add(OP_WRMSR, ctrl_msr(), some_bits(enables()));
		break;
	case 8:
		add(OP_WRMSR, a->amd ? AMD_CLR : MSR_RESET, some_bits(enables() | 0xcull << 60));
		break;
	case 9:
		add(OP_WRMSR, a->amd ? AMD_SET : MSR_SET, some_bits(enables() | BIT(62)));
		break;
	case 10:
		/* any register, any value */
		msr = some_pmu_msr();
		if (msr == MSR_DEBUGCTL || loose)
			break;
		if (model_selector(a, msr) >= 0)
			add(OP_WRMSR, msr, exact(some_selector()));
		else if (!a->amd && msr == MSR_FIXED_CTRL)
			add(OP_WRMSR, msr, exact_fixed(rnd()));
		else
			add(OP_WRMSR, msr, one_in(2) ? rnd() : rnd() & 0xffff);
		break;
	case 11:
		if (has_debugctl(MSR_DEBUGCTL))
			write_debugctl();
		break;
	case 12:
	case 13:
		msr = some_pmu_msr();
		if (has_debugctl(msr))
			add(OP_RDMSR, msr, 0);
		break;
	case 14:
		add(OP_RDMSR, a->amd ? AMD_STATUS + below(2) : MSR_STATUS + below(2), 0);
		break;
	case 15:
		add(OP_RDPMC, below(a->gp + 1), 0);
		break;
	case 16:
		if (a->amd || one_in(8))
			add(OP_RDPMC, one_in(2) ? BIT(below(32)) : rnd(), 0);
		else
			add(OP_RDPMC, one_in(8) ? 0x20000000 : 0x40000000 + below(5), 0);
		break;
	case 17:
		if (one_in(4))
			add(OP_USER_RDPMC, below(a->gp), 0);
		else
			add(OP_READ_LVTPC, 0, 0);
		break;
	case 18:
		rearm();
		break;
	case 19:
		if (one_in(3))
			add(OP_PORT, 0, 0);
		break;
	case 20:
		overflow();
		break;
	default:
		run_something();
	}
}

/* All registers as the program is to find them. */
static void begin(void)
{
	u64 took;
	u32 n;

	add(OP_HANDLER, 0, 0);
	add(OP_LVTPC, 0, LVTPC_MASKED | LVTPC_NMI);
	if (a->version >= 2)
		add(OP_WRMSR, ctrl_msr(), 0);
	for (n = 0; n < a->gp; n++) {
		add(OP_WRMSR, a->amd ? a->core_ext ? AMD_SEL0 + 2 * n : AMD_K7_SEL0 + n : MSR_EVENTSEL0 + n, 0);
		add(OP_WRMSR, a->amd ? a->core_ext ? AMD_SEL0 + 2 * n + 1 : AMD_K7_CTR0 + n : MSR_PERFCTR0 + n, 0);
	}
	if (!a->amd && a->version >= 2)
		add(OP_WRMSR, MSR_FIXED_CTRL, 0);
	for (n = 0; n < FIXED_MAX; n++) {
		if (a->fixed >> n & 1)
			add(OP_WRMSR, MSR_FIXED_CTR0 + n, 0);
	}
	if (model_may_write(a, MSR_METRICS, 0, &took))
		add(OP_WRMSR, MSR_METRICS, 0);
	if (a->freeze)
		add(OP_WRMSR, MSR_DEBUGCTL, 0);
	if (a->lbr == LBR_ARCH || a->lbr == LBR_AMD)
		add(OP_WRMSR, a->amd ? AMD_EXTN_CFG : MSR_ARCH_CTL, 0);
	if (records)
		clear_records();
	for (n = 0; n < 64 && a->version >= 2; n++) {
		if (model_may_write(a, a->amd ? AMD_CLR : MSR_RESET, BIT(n), &took) && took)
			add(OP_WRMSR, a->amd ? AMD_CLR : MSR_RESET, BIT(n));
	}
}

/* All registers, also those that are not there. */
static void end(void)
{
	u32 n;

	if (a->amd) {
		for (n = 0; n < 4; n++)
			add(OP_RDMSR, AMD_STATUS + n, 0);
		for (n = 0; n < 8; n++)
			add(OP_RDMSR, AMD_K7_SEL0 + n, 0);
		for (n = 0; n < 2u * a->gp + 2; n++)
			add(OP_RDMSR, AMD_SEL0 + n, 0);
	} else {
		for (n = MSR_FIXED_CTRL; n <= MSR_INUSE; n++)
			add(OP_RDMSR, n, 0);
		for (n = 0; n <= a->gp; n++) {
			add(OP_RDMSR, MSR_EVENTSEL0 + n, 0);
			add(OP_RDMSR, one_in(2) ? MSR_PERFCTR0 + n : MSR_PMC0 + n, 0);
		}
		for (n = 0; n < 5; n++)
			add(OP_RDMSR, MSR_FIXED_CTR0 + n, 0);
		add(OP_RDMSR, MSR_METRICS, 0);
		add(OP_RDMSR, MSR_PERF_CAP, 0);
	}
	if (has_debugctl(MSR_DEBUGCTL))
		add(OP_RDMSR, MSR_DEBUGCTL, 0);
	if (records)
		read_records();
	add(OP_READ_LVTPC, 0, 0);
}

/* end() has less than that. */
#define ENDS 200

u32 generate(u64 seed, const struct pmu *guest, const struct pmu *native, struct op *to, u32 room, u32 *begins)
{
	u32 body;

	state = seed;
	rnd();
	a = guest;
	b = native;
	ops = to;
	count = 0;
	max = room;
	loose = one_in(4);
	records = one_in(3);
	model_reset(&now, a);

	begin();
	*begins = count;
	body = count + 100 + below(200);
	while (count < body && count < room - ENDS)
		one_step();
	end();
	return count;
}
