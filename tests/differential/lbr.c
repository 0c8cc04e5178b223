// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the architecture says of branch records
 *
 * From the SDM (vol. 3B, "Last Branch, Interrupt, and Exception Recording", "Last Branch Records"), the APM (vol. 2,
 * "Last Branch Stack Recording") and the PPR of family 19h, like model.c.
 */
#include <string.h>

#include "model.h"

#define INFO_CYCLES		ONES(16)
#define INFO_CYCLES_VALID	BIT(60)
#define INFO_TYPE		(0xfull << 56)
#define INFO_MISPREDICTED	BIT(63)
#define INFO_FLAGS		(7ull << 61)
/* AMD has it in FROM, and these in TO. */
#define FROM_MISPREDICTED	BIT(63)
#define TO_RETIRED		BIT(63)
#define TO_RESERVED		BIT(61)
#define TO_ADDRESS		ONES(61)

/* The architectural records' bits of LBR_CTL and types in INFO, of each kind of branch */
static const struct { u8 ctl, type; } arch_kinds[] = {
	[COND] = { 16, 0 }, [REL_CALL] = { 19, 4 }, [IND_CALL] = { 20, 3 }, [RET] = { 21, 5 }, [IND_JMP] = { 18, 1 },
	[REL_JMP] = { 17, 2 }, [FAR] = { 22, 8 },
};

/* Which record's register is it? -1: of none. */
static int record_of(const struct pmu *p, u32 msr, int *which)
{
	static const u32 first[][3] = {
		[LBR_OLD] = { MSR_LBR_FROM, MSR_LBR_TO, MSR_LBR_INFO },
		[LBR_ARCH] = { MSR_ARCH_FROM, MSR_ARCH_TO, MSR_ARCH_INFO },
	};

	if (p->lbr == LBR_NONE)
		return -1;
	if (p->lbr == LBR_AMD) {
		*which = msr & 1;
		return msr - AMD_LBR < 2u * p->lbr_nr ? (int)(msr - AMD_LBR) / 2 : -1;
	}
	for (*which = FROM; *which <= INFO; ++*which) {
		if (msr - first[p->lbr][*which] < p->lbr_nr)
			return msr - first[p->lbr][*which];
	}
	return -1;
}

static int ler_of(const struct pmu *p, u32 msr)
{
	if (p->lbr != LBR_ARCH)
		return -1;
	return msr == MSR_LER_FROM ? FROM : msr == MSR_LER_TO ? TO : msr == MSR_LER_INFO ? INFO : -1;
}

bool lbr_has(const struct pmu *p, u32 msr)
{
	int which;

	if (record_of(p, msr, &which) >= 0 || ler_of(p, msr) >= 0)
		return true;
	switch (p->lbr) {
	case LBR_OLD:
		return msr == MSR_LBR_SELECT || msr == MSR_LBR_TOS;
	case LBR_ARCH:
		return msr == MSR_ARCH_CTL || msr == MSR_ARCH_DEPTH;
	case LBR_AMD:
		return msr == AMD_LBR_SELECT || msr == AMD_EXTN_CFG;
	}
	return false;
}

static bool is_address(const struct pmu *p, u64 value)
{
	u64 sign = ~0ull << (p->address_bits - 1);

	return !(value & sign) || (value & sign) == sign;
}

bool lbr_may_write(const struct pmu *p, u32 msr, u64 value, u64 *took)
{
	int which = ler_of(p, msr);

	*took = value;
	if (which >= 0 || record_of(p, msr, &which) >= 0) {
		if (p->lbr == LBR_AMD) {
			*took &= which == TO ? ~TO_RESERVED : ~0ull;
			return true;
		}
		if (which != INFO)
			return is_address(p, value);
		if (p->lbr == LBR_OLD)
			return !(value & ~(INFO_FLAGS | INFO_CYCLES));
		*took &= INFO_FLAGS | INFO_CYCLES_VALID | INFO_TYPE | INFO_CYCLES;
		return true;
	}
	switch (msr) {
	case MSR_LBR_SELECT:
		return !(value & ~(SELECT_FILTERS | SELECT_CALL_STACK));
	case MSR_LBR_TOS:
		return value < p->lbr_nr;
	case MSR_ARCH_CTL:
		return !(value & ~p->lbr_ctl);
	case MSR_ARCH_DEPTH:
		return value && value <= 64 && !(value % 8) && p->lbr_depths >> (value / 8 - 1) & 1;
	case AMD_LBR_SELECT:
		*took &= SELECT_FILTERS;
		return true;
	case AMD_EXTN_CFG:
		*took &= EXTN_CFG_LBR;
		return true;
	}
	return false;
}

/* Record n of the registers: TOS says where the older ones are, all others have the newest first. */
static u32 place(const struct state *s, u32 n)
{
	return s->pmu->lbr == LBR_OLD ? n : (s->lbr.tos - n) % s->pmu->lbr_nr;
}

void lbr_write(struct state *s, u32 msr, u64 value)
{
	struct lbr *lbr = &s->lbr;
	int which = ler_of(s->pmu, msr), n;

	if (which >= 0) {
		lbr->ler[which] = value;
		return;
	}
	n = record_of(s->pmu, msr, &which);
	if (n >= 0) {
		lbr->records[place(s, n)][which] = (struct recorded) { .value = value };
		return;
	}
	switch (msr) {
	case MSR_LBR_SELECT:
	case AMD_LBR_SELECT:
		lbr->select = value;
		break;
	case MSR_LBR_TOS:
		lbr->tos = value;
		break;
	case MSR_ARCH_CTL:
	case AMD_EXTN_CFG:
		lbr->ctl = value;
		break;
	case MSR_ARCH_DEPTH:
		memset(lbr->records, 0, sizeof(lbr->records));
		break;
	}
}

struct recorded lbr_read(const struct state *s, u32 msr)
{
	const struct lbr *lbr = &s->lbr;
	int which = ler_of(s->pmu, msr), n;
	struct recorded r = { 0 };

	if (which >= 0) {
		r.value = lbr->ler[which];
		return r;
	}
	n = record_of(s->pmu, msr, &which);
	if (n >= 0)
		return lbr->records[place(s, n)][which];
	switch (msr) {
	case MSR_LBR_SELECT:
	case AMD_LBR_SELECT:
		r.value = lbr->select;
		break;
	case MSR_LBR_TOS:
		r.value = lbr->tos;
		break;
	case MSR_ARCH_CTL:
	case AMD_EXTN_CFG:
		r.value = lbr->ctl;
		break;
	case MSR_ARCH_DEPTH:
		r.value = s->pmu->lbr_nr;
		break;
	}
	return r;
}

/* Is it recorded? Of a change of privilege it is the new one that filters see. */
static bool is_recorded(const struct state *s, int kind, bool to_user)
{
	const struct lbr *lbr = &s->lbr;

	if (s->status & STATUS_LBR_FRZ)
		return false;
	switch (s->pmu->lbr) {
	case LBR_OLD:
		if (!(s->debugctl & DEBUGCTL_LBR))
			return false;
		break;
	case LBR_ARCH:
		return lbr->ctl & ARCH_CTL_ON && lbr->ctl & (to_user ? ARCH_CTL_USR : ARCH_CTL_OS) &&
		       lbr->ctl >> arch_kinds[kind].ctl & 1;
	case LBR_AMD:
		if (!(lbr->ctl & EXTN_CFG_LBR))
			return false;
		break;
	default:
		return false;
	}
	return !(lbr->select & (BIT(kind) | BIT(to_user)));
}

void lbr_record(struct state *s, int kind, const struct recorded *from, const struct recorded *to, bool to_user)
{
	const struct pmu *p = s->pmu;
	struct lbr *lbr = &s->lbr;
	struct recorded *r;

	if (!is_recorded(s, kind, to_user))
		return;
	if (p->lbr == LBR_ARCH ? lbr->ctl & ARCH_CTL_CALL_STACK : lbr->select & SELECT_CALL_STACK) {
		/* What returns is forgotten, and a call of the next instruction is none. */
		if (kind == RET) {
			memset(lbr->records[lbr->tos], 0, sizeof(lbr->records[0]));
			lbr->tos = (lbr->tos - 1) % p->lbr_nr;
			return;
		}
		if ((kind != REL_CALL || to->value == from->value + 5) && kind != IND_CALL)
			return;
	}

	lbr->tos = (lbr->tos + 1) % p->lbr_nr;
	r = lbr->records[lbr->tos];
	memset(r, 0, sizeof(lbr->records[0]));
	r[FROM] = *from;
	r[TO] = *to;
	if (p->lbr == LBR_AMD) {
		r[FROM].value &= ~FROM_MISPREDICTED;
		r[FROM].unknown = kind == COND ? FROM_MISPREDICTED : 0;
		r[TO].value = (r[TO].value & TO_ADDRESS) | TO_RETIRED;
		return;
	}
	r[INFO].unknown = INFO_CYCLES | (kind == COND ? INFO_MISPREDICTED : 0);
	if (p->lbr == LBR_ARCH)
		r[INFO].value = INFO_CYCLES_VALID | (u64)arch_kinds[kind].type << 56;
}
