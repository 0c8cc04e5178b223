/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the PMU's architecture, from the SDM (vol. 3B, "Performance Monitoring", vol. 4) and the APM (vol. 2,
 * "Performance Monitoring Counters"; PPR of family 19h), and of the machine that executes programs on it.
 */
#ifndef DIFFERENTIAL_MODEL_H
#define DIFFERENTIAL_MODEL_H

#include "program.h"

#define GP_MAX		16
#define FIXED_MAX	16
#define COUNTERS	(GP_MAX + FIXED_MAX)

#define BIT(n)		(1ull << (n))
#define ONES(n)		((n) >= 64 ? ~0ull : BIT(n) - 1)

enum {
	MSR_PERFCTR0 = 0xc1, MSR_EVENTSEL0 = 0x186, MSR_DEBUGCTL = 0x1d9, MSR_FIXED_CTR0 = 0x309,
	MSR_METRICS = 0x329, MSR_PERF_CAP = 0x345, MSR_FIXED_CTRL = 0x38d, MSR_STATUS = 0x38e, MSR_CTRL = 0x38f,
	MSR_RESET = 0x390, MSR_SET = 0x391, MSR_INUSE = 0x392, MSR_PMC0 = 0x4c1,
	/* branch records: the older ones of Intel's processors, and architectural ones */
	MSR_LBR_SELECT = 0x1c8, MSR_LBR_TOS = 0x1c9, MSR_LBR_FROM = 0x680, MSR_LBR_TO = 0x6c0, MSR_LBR_INFO = 0xdc0,
	MSR_LER_FROM = 0x1dd, MSR_LER_TO = 0x1de, MSR_LER_INFO = 0x1e0, MSR_ARCH_INFO = 0x1200, MSR_ARCH_CTL = 0x14ce,
	MSR_ARCH_DEPTH = 0x14cf, MSR_ARCH_FROM = 0x1500, MSR_ARCH_TO = 0x1600,
};

#define AMD_STATUS	0xc0000300u
#define AMD_CTL		0xc0000301u
#define AMD_CLR		0xc0000302u
#define AMD_SET		0xc0000303u
#define AMD_K7_SEL0	0xc0010000u
#define AMD_K7_CTR0	0xc0010004u
#define AMD_SEL0	0xc0010200u
#define AMD_LBR_SELECT	0xc000010eu
#define AMD_EXTN_CFG	0xc000010fu
#define AMD_LBR		0xc0010300u	/* FROM of a record, then its TO */

#define SEL_USR		BIT(16)
#define SEL_OS		BIT(17)
#define SEL_EDGE	BIT(18)
#define SEL_INT		BIT(20)
#define SEL_ANY		BIT(21)
#define SEL_EN		BIT(22)
#define SEL_INV		BIT(23)
#define SEL_CMASK	(0xffull << 24)

#define STATUS_METRICS	BIT(48)
#define STATUS_PT	BIT(55)
#define STATUS_LBR_FRZ	BIT(58)
#define STATUS_CTR_FRZ	BIT(59)
#define STATUS_ASCI	BIT(60)
#define STATUS_OVF_BUF	BIT(62)
#define STATUS_COND	BIT(63)

#define CAP_FULL_WIDTH	BIT(13)
#define CAP_METRICS	BIT(15)

#define CAP_LBR_FORMAT	0x3full

#define DEBUGCTL_LBR		BIT(0)
#define DEBUGCTL_FREEZE_LBR	BIT(11)
#define DEBUGCTL_FREEZE_PMC	BIT(12)

#define SELECT_FILTERS		ONES(9)
#define SELECT_CALL_STACK	BIT(9)
#define ARCH_CTL_ON		BIT(0)
#define ARCH_CTL_OS		BIT(1)
#define ARCH_CTL_USR		BIT(2)
#define ARCH_CTL_CALL_STACK	BIT(3)
#define ARCH_CTL_KINDS		(0x7full << 16)
#define EXTN_CFG_LBR		BIT(6)

/* What kind of branch records there are */
enum { LBR_NONE, LBR_OLD, LBR_ARCH, LBR_AMD };

#define RECORDS_MAX	32

/* A PMU as CPUID and IA32_PERF_CAPABILITIES describe it. */
struct pmu {
	u8 amd;
	u8 version;
	u8 gp;
	u8 gp_width;
	u8 fixed_width;
	u8 core_ext;		/* AMD: C001_02xx exist */
	u8 pdcm;		/* IA32_PERF_CAPABILITIES exists */
	u8 any;			/* AnyThread may be set, without effect */
	u8 freeze;		/* DEBUGCTL[12:11] freeze on PMI */
	u8 pt, sgx;		/* their bits of the status exist */
	u8 metrics_fields;
	u8 lbr, lbr_nr;		/* the kind of branch records, and how many */
	u8 lbr_depths;		/* bit n: LBR_DEPTH may be 8 * (n + 1) */
	u8 address_bits;	/* of addresses: all others are the sign */
	u32 fixed;		/* which fixed counters exist */
	u32 cond;		/* selector of conditional branches */
	u64 capabilities;
	/* What is there besides because registers are the processor's: */
	u64 reset_extra;	/* what GLOBAL_STATUS_RESET takes besides the bits of the status */
	u64 ctrl_extra;		/* bits of GLOBAL_CTRL */
	u64 rdpmc_metrics;	/* RDPMC reads PERF_METRICS */
	u64 lbr_ctl;		/* bits of LBR_CTL */
};

/* Why the value of a counter is not exactly the model's, see differences[]. */
#define INEXACT_CYCLES	1	/* VM-exits take some */
#define INEXACT_VMRUN	2	/* AMD: VM-entries are counted */
#define INEXACT_MODEL	4	/* what the emulated machine only models */
#define INEXACT_EMULATED 8	/* KVM counts instructions that it emulates, whatever CMASK and EDGE say */

/* What a register of a record has. */
enum { NO_ADDRESS, ADDRESS, PMI_ADDRESS };	/* of PMI_ADDRESS the model has the page only */
enum { FROM, TO, INFO };

struct recorded {
	u64 value;
	u64 unknown;		/* bits that only the emulated machine knows */
	u8 address;
};

/* Branch records: places of a ring, of which tos is the newest one's. */
struct lbr {
	u64 select, ctl, tos, ler[3];
	struct recorded records[RECORDS_MAX][3];
};

struct state {
	const struct pmu *pmu;
	u64 page, user_page;	/* where the machine is */

	u64 value[COUNTERS];
	u8 inexact[COUNTERS], masked[COUNTERS], metrics_inexact;
	u32 controls, controls_then[COUNTERS];	/* writes of controls: all, and when the counter was written */
	u32 slack;		/* those since then, for the counter that was read last */
	u64 sel[GP_MAX];
	u64 fixed_ctrl, ctrl, status, debugctl, metrics;
	struct lbr lbr;
	struct recorded read;	/* what the operation read, if that was part of a branch record */

	/* derived */
	u8 active[COUNTERS], event[COUNTERS], kernel[COUNTERS], user[COUNTERS];
	u32 nr_active;

	/* the local APIC and the machine */
	u32 lvtpc_apic;
	u64 lvtpc, handler;
	u32 pmis;
	u32 move, ports;	/* after so many OP_PORT the guest is moved; how many there were */
	u64 pmi_status;
	bool pmi, nmi, in_nmi;
	u8 frozen_unmasking;	/* operations left in which it shows that an unmasking of LVTPC froze the counters */
};

void model_reset(struct state *s, const struct pmu *pmu);

/* Execute one operation: its record, but for the place that a PMI interrupted.  Returns INEXACT_* of its value. */
int model_step(struct state *s, const struct op *op, struct record *r);

/* The registers' part of operations: false is #GP.  Writes tell in *took what of the value takes effect. */
bool model_may_write(const struct pmu *pmu, u32 msr, u64 value, u64 *took);
bool model_may_read(const struct pmu *pmu, u32 msr);
int model_rdpmc(const struct pmu *pmu, u32 index);

/* The bits of GLOBAL_STATUS. */
u64 model_status_bits(const struct pmu *pmu);

/* The counter that an MSR is: its number, those of fixed ones from GP_MAX on; -1 for none. */
int model_counter(const struct pmu *pmu, u32 msr);
/* The same for selectors. */
int model_selector(const struct pmu *pmu, u32 msr);

/* Does a selector count something that VM-exits change: cycles, or what the machine models? */
bool model_inexact(const struct pmu *pmu, u64 sel);
int model_event(const struct pmu *pmu, u64 sel);

/* ---- branch records: lbr.c ---- */

/* Kinds of branches: what LBR_SELECT has the bits of */
enum { COND = 2, REL_CALL, IND_CALL, RET, IND_JMP, REL_JMP, FAR };

/* Is there such a register, besides DEBUGCTL? */
bool lbr_has(const struct pmu *pmu, u32 msr);
bool lbr_may_write(const struct pmu *pmu, u32 msr, u64 value, u64 *took);
void lbr_write(struct state *s, u32 msr, u64 value);
struct recorded lbr_read(const struct state *s, u32 msr);

/* A branch was taken, to user mode or to the kernel: *from and *to tell addresses. */
void lbr_record(struct state *s, int kind, const struct recorded *from, const struct recorded *to, bool to_user);

#endif
