// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the architecture says of a program of PMU operations
 *
 * Written from the manuals: no code of the kernel or the emulator is in it.  Where the manuals leave something open,
 * the emulated machine's documentation (rig/bochs/doc/perfmon.md) decides: cycles, and what CMASK, INV and EDGE make
 * of an event.
 */
#include <string.h>

#include "model.h"

enum { NOTHING, INSTRUCTIONS, BRANCHES, CONDITIONAL, CYCLES, OTHER };

/* machine.S: its page, the table of what executes each operation, and places in the page */
extern const char machine_page[];
extern const int machine_at_table[];
#define AT(name) ({ extern const char machine_at_##name[]; (u32)(machine_at_##name - machine_page); })
#define TABLE ((u32)((const char *)machine_at_table - machine_page))

#define CYCLES_INTERRUPT 50
#define FIXED_SLOTS (GP_MAX + 3)

/* ---- registers ---- */

static u64 fixed_bits(const struct pmu *p)
{
	return (u64)p->fixed << 32;
}

static u64 counter_bits(const struct pmu *p)
{
	return ONES(p->gp) | fixed_bits(p);
}

static bool has_metrics(const struct pmu *p)
{
	return p->pdcm && p->capabilities & CAP_METRICS;
}

static u64 ctrl_bits(const struct pmu *p)
{
	return counter_bits(p) | (has_metrics(p) ? STATUS_METRICS : 0);
}

/* What can be cleared; all but CondChgd can be set, too. */
u64 model_status_bits(const struct pmu *p)
{
	u64 bits = ctrl_bits(p);

	if (p->amd)
		return bits | (p->freeze ? STATUS_LBR_FRZ | STATUS_CTR_FRZ : 0);
	bits |= STATUS_OVF_BUF | STATUS_COND;
	if (p->version >= 4)
		bits |= STATUS_LBR_FRZ | STATUS_CTR_FRZ | (p->sgx ? STATUS_ASCI : 0);
	if (p->pt)
		bits |= STATUS_PT;
	return bits;
}

static u64 fixed_ctrl_bits(const struct pmu *p)
{
	u64 bits = 0;
	int n;

	for (n = 0; n < FIXED_MAX; n++) {
		if (p->fixed >> n & 1)
			bits |= (p->any ? 0xfull : 0xbull) << 4 * n;
	}
	return bits;
}

static u64 width(const struct pmu *p, int counter)
{
	return ONES(counter < GP_MAX ? p->gp_width : p->fixed_width);
}

int model_counter(const struct pmu *p, u32 msr)
{
	u32 n;

	if (p->amd) {
		if (msr - AMD_K7_CTR0 < 4)
			n = msr - AMD_K7_CTR0;
		else if (p->core_ext && msr - AMD_SEL0 < 2 * GP_MAX && msr & 1)
			n = (msr - AMD_SEL0) / 2;
		else
			return -1;
		return n < p->gp ? (int)n : -1;
	}
	if (msr - MSR_PERFCTR0 < p->gp)
		return msr - MSR_PERFCTR0;
	if (msr - MSR_PMC0 < p->gp && p->pdcm && p->capabilities & CAP_FULL_WIDTH)
		return msr - MSR_PMC0;
	n = msr - MSR_FIXED_CTR0;
	return n < FIXED_MAX && p->fixed >> n & 1 ? (int)n + GP_MAX : -1;
}

int model_selector(const struct pmu *p, u32 msr)
{
	u32 n;

	if (p->amd) {
		if (msr - AMD_K7_SEL0 < 4)
			n = msr - AMD_K7_SEL0;
		else if (p->core_ext && msr - AMD_SEL0 < 2 * GP_MAX && !(msr & 1))
			n = (msr - AMD_SEL0) / 2;
		else
			return -1;
		return n < p->gp ? (int)n : -1;
	}
	return msr - MSR_EVENTSEL0 < p->gp ? (int)(msr - MSR_EVENTSEL0) : -1;
}

bool model_may_read(const struct pmu *p, u32 msr)
{
	if (model_counter(p, msr) >= 0 || model_selector(p, msr) >= 0 || lbr_has(p, msr))
		return true;
	if (p->amd)
		return (msr >= AMD_STATUS && msr <= AMD_SET && p->version >= 2) || (msr == MSR_DEBUGCTL && p->freeze);
	switch (msr) {
	case MSR_PERF_CAP:
		return p->pdcm;
	case MSR_METRICS:
		return has_metrics(p);
	case MSR_FIXED_CTRL:
	case MSR_STATUS:
	case MSR_CTRL:
	case MSR_RESET:
		return p->version >= 2;
	case MSR_SET:
	case MSR_INUSE:
		return p->version >= 4;
	case MSR_DEBUGCTL:
		return p->freeze;
	}
	return false;
}

bool model_may_write(const struct pmu *p, u32 msr, u64 value, u64 *took)
{
	int n = model_counter(p, msr);
	u64 valid;

	*took = value;
	if (n >= 0) {
		/* IA32_PMCn takes 32 bits, and extends the sign. */
		if (!p->amd && n < GP_MAX && msr < MSR_PMC0)
			*took = (u64)(long long)(int)value;
		else if (!p->amd && value & ~width(p, n))
			return false;
		*took &= width(p, n);
		return true;
	}
	if (model_selector(p, msr) >= 0) {
		if (p->amd) {
			/* event 35:32 and 7:0, and all below 32 but 19 and 21; GuestOnly and HostOnly */
			*took &= 0x30fffd7ffffull;
			return true;
		}
		return !(value & ~(0xffffffffull & ~(p->any ? 0 : SEL_ANY)));
	}
	if (!model_may_read(p, msr))
		return false;
	if (lbr_has(p, msr))
		return lbr_may_write(p, msr, value, took);
	if (p->amd) {
		switch (msr) {
		case AMD_STATUS:
			/* read-only without "error-on-write" */
			*took = 0;
			return true;
		case AMD_CTL:
			*took &= ONES(p->gp);
			return true;
		case AMD_CLR:
		case AMD_SET:
			*took &= model_status_bits(p);
			return true;
		case MSR_DEBUGCTL:
			return !(value & ~(0x3full | DEBUGCTL_FREEZE_LBR | DEBUGCTL_FREEZE_PMC));
		}
		return false;
	}
	switch (msr) {
	case MSR_METRICS:
		valid = ONES(8 * p->metrics_fields);
		break;
	case MSR_FIXED_CTRL:
		valid = fixed_ctrl_bits(p);
		break;
	case MSR_CTRL:
		valid = ctrl_bits(p) | p->ctrl_extra;
		break;
	case MSR_RESET:
		valid = model_status_bits(p) | p->reset_extra;
		break;
	case MSR_SET:
		valid = model_status_bits(p) & ~STATUS_COND;
		break;
	case MSR_DEBUGCTL:
		/* Without such records KVM ignores what would enable them; no processor is without. */
		if (p->lbr != LBR_OLD)
			*took &= ~DEBUGCTL_LBR;
		valid = DEBUGCTL_LBR | DEBUGCTL_FREEZE_LBR | DEBUGCTL_FREEZE_PMC;
		break;
	default:
		return false;
	}
	return !(value & ~valid);
}

#define RDPMC_METRICS (COUNTERS + 1)

int model_rdpmc(const struct pmu *p, u32 index)
{
	u32 n = index & 0xffff;

	if (p->amd)
		return index < p->gp ? (int)index : -1;
	switch (index >> 16) {
	case 0:
		return n < p->gp ? (int)n : -1;
	case 0x4000:
		return n < FIXED_MAX && p->fixed >> n & 1 ? (int)n + GP_MAX : -1;
	case 0x2000:
		return !n && (has_metrics(p) || p->rdpmc_metrics) ? RDPMC_METRICS : -1;
	}
	return -1;
}

/* ---- counting ---- */

int model_event(const struct pmu *p, u64 sel)
{
	u32 event = sel & 0xffff;

	if (p->amd) {
		if (sel & 0xf00000000ull)
			event = (sel >> 24 & 0xf00) == 0x100 && event == 0x0120 ? 0x10120 : 0xffffff;
		switch (event) {
		case 0x00c0:
			return INSTRUCTIONS;
		case 0x00c2:
			return BRANCHES;
		case 0x00d1:
			return CONDITIONAL;
		case 0x0076:
			return CYCLES;
		case 0x00c3:
		case 0xff60:
		case 0x0964:
		case 0x0129:
		case 0x0229:
		case 0x0429:
		case 0x10120:
			return OTHER;
		}
		return NOTHING;
	}
	if (event == p->cond)
		return CONDITIONAL;
	switch (event) {
	case 0x00c0:
		return INSTRUCTIONS;
	case 0x00c4:
		return BRANCHES;
	case 0x003c:
	case 0x013c:
		return CYCLES;
	case 0x00c5:
	case 0x4f2e:
	case 0x412e:
	case 0x81d0:
	case 0x82d0:
	case 0x83d0:
	case 0x01a4:
	case 0x01c4:
	case 0x11c4:
		return OTHER;
	}
	return NOTHING;
}

bool model_inexact(const struct pmu *p, u64 sel)
{
	int event = model_event(p, sel);

	if (event == CYCLES || event == OTHER)
		return true;
	/* Every entry of a guest counts the VMRUN. */
	if (p->amd && event == INSTRUCTIONS && sel & SEL_OS)
		return true;
	if (event == INSTRUCTIONS && sel & (SEL_CMASK | SEL_EDGE))
		return true;
	return sel & SEL_INV && sel & SEL_CMASK;
}

static void configure(struct state *s)
{
	const struct pmu *p = s->pmu;
	static const int fixed_events[] = { INSTRUCTIONS, CYCLES, CYCLES, OTHER };
	bool frozen = s->status & STATUS_CTR_FRZ;
	int n;

	s->nr_active = 0;
	memset(s->masked, 0, sizeof(s->masked));
	if (frozen)
		return;
	for (n = 0; n < p->gp; n++) {
		u64 sel = s->sel[n], cmask = (sel & SEL_CMASK) >> 24;
		int event = model_event(p, sel);

		if (!(sel & SEL_EN) || (p->version >= 2 && !(s->ctrl >> n & 1)))
			continue;
		if (cmask > 1)
			event = NOTHING;
		if (cmask && sel & SEL_INV)
			event = OTHER;
		if (sel & SEL_EDGE)
			event = NOTHING;
		if (event == NOTHING && model_event(p, sel) == INSTRUCTIONS)
			s->inexact[n] |= s->masked[n] = INEXACT_EMULATED;
		/* GuestOnly, HostOnly: not as long as EFER.SVME is clear */
		if (p->amd && sel & (BIT(40) | BIT(41)))
			event = NOTHING;
		if (event == NOTHING)
			continue;
		s->active[s->nr_active++] = n;
		s->event[n] = event;
		s->kernel[n] = !!(sel & SEL_OS);
		s->user[n] = !!(sel & SEL_USR);
	}
	for (n = 0; n < FIXED_MAX; n++) {
		u64 field = s->fixed_ctrl >> 4 * n;

		if (!(p->fixed >> n & 1) || !(s->ctrl >> (32 + n) & 1) || !(field & 3))
			continue;
		s->active[s->nr_active++] = GP_MAX + n;
		s->event[GP_MAX + n] = n < 4 ? fixed_events[n] : NOTHING;
		s->kernel[GP_MAX + n] = field & 1;
		s->user[GP_MAX + n] = field >> 1 & 1;
	}
}

static void count(struct state *s, int n, u64 more)
{
	u64 mask = width(s->pmu, n);

	if (s->event[n] == CYCLES)
		s->inexact[n] |= INEXACT_CYCLES;
	if (s->event[n] == INSTRUCTIONS && s->pmu->amd && s->kernel[n])
		s->inexact[n] |= INEXACT_VMRUN;
	s->value[n] += more;
	if (s->value[n] <= mask)
		return;
	s->value[n] &= mask;
	if (n < GP_MAX) {
		s->status |= BIT(n);
		s->pmi |= !!(s->sel[n] & SEL_INT);
	} else {
		s->status |= BIT(32 + n - GP_MAX);
		s->pmi |= s->fixed_ctrl >> 4 * (n - GP_MAX) & 8;
	}
}

/* It counts something that is only modelled.  Slots go into PERF_METRICS, too, once that is enabled. */
static void modelled(struct state *s, int n)
{
	s->inexact[n] |= INEXACT_MODEL;
	if (n == FIXED_SLOTS && s->ctrl & STATUS_METRICS)
		s->metrics_inexact = INEXACT_MODEL;
}

static void cycles(struct state *s, bool user, u64 more)
{
	u32 i;

	for (i = 0; i < s->nr_active; i++) {
		int n = s->active[i];

		if (!(user ? s->user[n] : s->kernel[n]))
			continue;
		if (s->event[n] == CYCLES)
			count(s, n, more);
		else if (s->event[n] == OTHER)
			modelled(s, n);
	}
}

static void nmi(struct state *s, bool user);

/*
 * One instruction retires: 'I', 'B' a branch, 'C' a conditional one; what it overflows interrupts at once, in the mode
 * that it led to.
 */
static void retire_to(struct state *s, char what, bool user, bool next)
{
	u32 i;

	for (i = 0; i < s->nr_active; i++) {
		int n = s->active[i];

		if (!(user ? s->user[n] : s->kernel[n]))
			continue;
		switch (s->event[n]) {
		case INSTRUCTIONS:
		case CYCLES:
			count(s, n, 1);
			break;
		case BRANCHES:
			if (what != 'I')
				count(s, n, 1);
			break;
		case CONDITIONAL:
			if (what == 'C')
				count(s, n, 1);
			break;
		default:
			modelled(s, n);
		}
	}
	if (s->pmi) {
		s->pmi = false;
		if (s->debugctl & DEBUGCTL_FREEZE_LBR)
			s->status |= STATUS_LBR_FRZ;
		if (s->debugctl & DEBUGCTL_FREEZE_PMC) {
			s->status |= STATUS_CTR_FRZ;
			configure(s);
		}
		if (!(s->lvtpc_apic & LVTPC_MASKED)) {
			s->nmi = true;
			if (!s->pmu->amd)
				s->lvtpc_apic |= LVTPC_MASKED;
		}
	}
	if (s->nmi && !s->in_nmi)
		nmi(s, next);
}

static void retire(struct state *s, char what, bool user)
{
	retire_to(s, what, user, user);
}

static void retires(struct state *s, const char *what)
{
	for (; *what; what++)
		retire(s, *what, false);
}

/* Places in the machine's page, and what a PMI interrupts, which the model doesn't know. */
#define PMI_PLACE ~0u

static struct recorded address(const struct state *s, bool user, u32 place)
{
	u64 page = user ? s->user_page : s->page;

	if (place == PMI_PLACE)
		return (struct recorded) { .value = page, .address = PMI_ADDRESS };
	return (struct recorded) { .value = page + place, .address = ADDRESS };
}

static void record(struct state *s, int kind, bool user, u32 from, bool next, u32 to)
{
	const struct recorded source = address(s, user, from), target = address(s, next, to);

	lbr_record(s, kind, &source, &target, next);
}

/* A branch is taken, from one place to another, which may be one in another mode. */
static void branch_to(struct state *s, int kind, bool user, u32 from, bool next, u32 to)
{
	record(s, kind, user, from, next, to);
	retire_to(s, kind == COND ? 'C' : 'B', user, next);
}

static void branch(struct state *s, int kind, u32 from, u32 to)
{
	branch_to(s, kind, false, from, false, to);
}

/* A conditional one may be taken. */
static void branch_if(struct state *s, bool taken, u32 from, u32 to)
{
	if (taken)
		branch(s, COND, from, to);
	else
		retires(s, "C");
}

static void write_register(struct state *s, u32 msr, u64 value)
{
	const struct pmu *p = s->pmu;
	int n = model_counter(p, msr);

	if (n >= 0) {
		s->value[n] = value;
		s->inexact[n] = s->masked[n];
		s->controls_then[n] = s->controls;
		return;
	}
	s->controls++;
	n = model_selector(p, msr);
	if (n >= 0) {
		s->sel[n] = value;
	} else if (lbr_has(p, msr)) {
		lbr_write(s, msr, value);
	} else {
		switch (msr) {
		case MSR_FIXED_CTRL:
			s->fixed_ctrl = value;
			break;
		case MSR_CTRL:
		case AMD_CTL:
			s->ctrl = value;
			break;
		case MSR_RESET:
		case AMD_CLR:
			s->status &= ~value;
			break;
		case MSR_SET:
		case AMD_SET:
			s->status |= value;
			break;
		case MSR_METRICS:
			s->metrics = value;
			s->metrics_inexact = 0;
			break;
		case MSR_DEBUGCTL:
			s->debugctl = value;
			break;
		}
	}
	configure(s);
}

static u64 read_register(struct state *s, u32 msr)
{
	const struct pmu *p = s->pmu;
	int n = model_counter(p, msr);
	u64 value = 0;

	if (n >= 0)
		return s->value[n];
	n = model_selector(p, msr);
	if (n >= 0)
		return s->sel[n];
	if (lbr_has(p, msr)) {
		s->read = lbr_read(s, msr);
		return s->read.value;
	}
	switch (msr) {
	case MSR_FIXED_CTRL:
		return s->fixed_ctrl;
	case MSR_CTRL:
	case AMD_CTL:
		return s->ctrl;
	case MSR_STATUS:
	case AMD_STATUS:
		return s->status;
	case MSR_METRICS:
		return s->metrics;
	case MSR_DEBUGCTL:
		return s->debugctl;
	case MSR_PERF_CAP:
		return p->capabilities;
	case MSR_INUSE:
		for (n = 0; n < p->gp; n++) {
			value |= s->sel[n] & 0xff ? BIT(n) : 0;
			value |= s->sel[n] & SEL_INT ? BIT(63) : 0;
		}
		for (n = 0; n < FIXED_MAX; n++) {
			value |= s->fixed_ctrl >> 4 * n & 3 ? BIT(32 + n) : 0;
			value |= s->fixed_ctrl >> 4 * n & 8 ? BIT(63) : 0;
		}
		return value;
	}
	return 0;
}

/* ---- the machine, instruction by instruction: see machine.S ---- */

static void write_lvtpc(struct state *s, u32 value)
{
	bool unmasks = s->lvtpc_apic & LVTPC_MASKED && !(value & LVTPC_MASKED);
	bool frozen = s->status & STATUS_CTR_FRZ;

	s->lvtpc_apic = value;
	retire(s, 'I', false);
	if (unmasks && !frozen && s->status & STATUS_CTR_FRZ)
		/* An operation's tail comes when PMIs have been recorded. */
		s->frozen_unmasking = 2;
}

static void nmi(struct state *s, bool user)
{
	s->nmi = false;
	s->in_nmi = true;
	cycles(s, user, CYCLES_INTERRUPT);
	record(s, FAR, user, PMI_PLACE, false, AT(nmi));
	s->pmis++;
	retires(s, "IIIIIIII");
	branch_if(s, !(s->handler & HANDLER_STATUS), AT(nmi_status), AT(nmi_seen));
	if (s->handler & HANDLER_STATUS) {
		u64 status;

		retires(s, "I");
		status = s->status;
		s->pmi_status = status;
		retires(s, "IIII");
		branch_if(s, !(s->handler & HANDLER_RESET), AT(nmi_reset), AT(nmi_seen));
		if (s->handler & HANDLER_RESET) {
			retires(s, "I");
			write_register(s, s->pmu->amd ? AMD_CLR : MSR_RESET, status);
			retires(s, "I");
		}
	}
	retires(s, "I");
	branch_if(s, !(s->handler & HANDLER_REARM), AT(nmi_rearm), AT(nmi_end));
	if (s->handler & HANDLER_REARM) {
		retires(s, "II");
		write_lvtpc(s, s->lvtpc);
	}
	retires(s, "III");
	s->in_nmi = false;
	branch_to(s, FAR, false, AT(nmi_iret), user, PMI_PLACE);
}

static void gp(struct state *s, bool user, u32 from, u32 to)
{
	cycles(s, user, CYCLES_INTERRUPT);
	record(s, FAR, user, from, false, AT(gp));
	retires(s, "III");
	branch_to(s, FAR, false, AT(gp_iret), user, to);
}

static void to_user(struct state *s, u32 to)
{
	retires(s, "IIIIIIII");
	branch_to(s, FAR, false, AT(to_user_iret), true, to);
}

/* INT n, and the way to the operation's record */
static void from_user(struct state *s, u32 from)
{
	cycles(s, true, CYCLES_INTERRUPT);
	branch_to(s, FAR, true, from, false, AT(back));
	retires(s, "I");
	branch(s, REL_JMP, AT(back_done), AT(record));
}

int model_step(struct state *s, const struct op *op, struct record *r)
{
	const struct pmu *p = s->pmu;
	u64 value = 0, i;
	u32 start = TABLE + machine_at_table[op->kind], from, to;
	bool fault = false;
	int n, inexact = 0;

	memset(r, 0, sizeof(*r));
	memset(&s->read, 0, sizeof(s->read));
	if (s->frozen_unmasking)
		s->frozen_unmasking--;
	retires(s, "IIIIIIII");
	branch(s, IND_JMP, AT(dispatch), start);
	switch (op->kind) {
	case OP_WRMSR:
		retires(s, "IIII");
		if (model_may_write(p, op->index, op->value, &value)) {
			write_register(s, op->index, value);
			retire(s, 'I', false);
		} else {
			fault = true;
			gp(s, false, AT(wrmsr), AT(wrmsr_done));
		}
		value = 0;
		branch(s, REL_JMP, AT(wrmsr_done), AT(record));
		break;
	case OP_RDMSR:
	case OP_RDPMC:
		retires(s, "I");
		if (op->kind == OP_RDMSR) {
			from = AT(rdmsr);
			to = AT(rdmsr_done);
			fault = !model_may_read(p, op->index);
			value = fault ? 0 : read_register(s, op->index);
			n = model_counter(p, op->index);
			if (op->index == MSR_METRICS && !p->amd)
				n = RDPMC_METRICS;
		} else {
			from = AT(rdpmc);
			to = AT(rdpmc_done);
			n = model_rdpmc(p, op->index);
			fault = n < 0;
			value = fault ? 0 : n == RDPMC_METRICS ? s->metrics : s->value[n];
		}
		if (fault) {
			gp(s, false, from, to);
		} else {
			if (n >= 0 && n < COUNTERS) {
				inexact = s->inexact[n];
				s->slack = s->controls - s->controls_then[n];
			}
			if (n == RDPMC_METRICS)
				inexact = s->metrics_inexact;
			retires(s, "IIII");
		}
		branch(s, REL_JMP, to, AT(record));
		break;
	case OP_LOOP:
		for (i = 0; i < op->value; i++) {
			retires(s, "I");
			branch_if(s, i + 1 < op->value, AT(loop), start);
		}
		branch(s, REL_JMP, AT(loop_done), AT(record));
		break;
	case OP_NOPS:
		retires(s, "IIIIIIIIIIIIIIII");
		branch(s, REL_JMP, AT(nops_done), AT(record));
		break;
	case OP_JUMPS:
		/* each of two bytes, to the next one */
		for (from = start; from < AT(jumps_done); from += 2)
			branch(s, REL_JMP, from, from + 2);
		branch(s, REL_JMP, AT(jumps_done), AT(record));
		break;
	case OP_USER_LOOP:
		retires(s, "I");
		branch(s, REL_JMP, AT(user_loop_start), AT(to_user));
		to_user(s, AT(user_loop));
		for (i = 0; i < op->value; i++) {
			retire(s, 'I', true);
			if (i + 1 < op->value)
				branch_to(s, COND, true, AT(user_loop_branch), true, AT(user_loop));
			else
				retire(s, 'C', true);
		}
		from_user(s, AT(user_loop_int));
		break;
	case OP_USER_RDPMC:
		retires(s, "I");
		to_user(s, AT(user_rdpmc));
		fault = true;
		gp(s, true, AT(user_rdpmc), AT(user_back));
		from_user(s, AT(user_back));
		break;
	case OP_CALLS:
		retires(s, "I");
		branch(s, REL_CALL, AT(calls_rel), AT(calls_leaf));
		branch(s, RET, AT(calls_leaf), AT(calls_deep));
		branch(s, REL_CALL, AT(calls_deep), AT(calls_deeper));
		retires(s, "I");
		branch(s, IND_CALL, AT(calls_ind), AT(calls_leaf));
		branch(s, RET, AT(calls_leaf), AT(calls_next));
		branch(s, REL_CALL, AT(calls_next), AT(calls_over));
		branch(s, REL_CALL, AT(calls_over), AT(calls_over_to));
		retires(s, "I");
		branch(s, RET, AT(calls_deep_ret), AT(calls_deep_back));
		retires(s, "IC");
		branch(s, IND_JMP, AT(calls_jump), AT(calls_done));
		branch(s, REL_JMP, AT(calls_done), AT(record));
		break;
	case OP_LVTPC:
		retires(s, "II");
		s->lvtpc = op->value;
		write_lvtpc(s, op->value);
		branch(s, REL_JMP, AT(lvtpc_done), AT(record));
		break;
	case OP_READ_LVTPC:
		retires(s, "I");
		value = s->lvtpc_apic;
		retires(s, "I");
		branch(s, REL_JMP, AT(read_lvtpc_done), AT(record));
		break;
	case OP_HANDLER:
		s->handler = op->value;
		retires(s, "I");
		branch(s, REL_JMP, AT(handler_done), AT(record));
		break;
	case OP_PORT:
		retires(s, "I");
		/* What another processor may refuse is not saved. */
		if (s->move && ++s->ports % s->move == 0) {
			s->ctrl &= ~p->ctrl_extra;
			configure(s);
		}
		break;
	}

	r->value = value;
	retires(s, "I");
	r->pmi_status = s->pmi_status;
	retires(s, "II");
	r->pmis = s->pmis;
	retires(s, "IIII");
	r->rip = fault ? RECORD_FAULT : 0;
	retires(s, "IIII");
	/* A program ends with an operation that nobody asks about. */
	branch(s, COND, AT(again), AT(fetch));
	return inexact;
}

void model_reset(struct state *s, const struct pmu *pmu)
{
	memset(s, 0, sizeof(*s));
	s->pmu = pmu;
	s->page = s->user_page = MACHINE_PAGE_GUEST;
	s->ctrl = ONES(pmu->gp);
	s->lvtpc_apic = LVTPC_MASKED;
	s->lvtpc = LVTPC_MASKED;
	configure(s);
}
