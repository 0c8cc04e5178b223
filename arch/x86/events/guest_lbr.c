// SPDX-License-Identifier: GPL-2.0-only
/*
 * Branch records of guests that own the PMU
 *
 * Hardware writes the records of taken branches to registers, which are one stack for the
 * host and for all guests. What a record says is where somebody's code is: a guest must
 * not find a record of the host, nor the host one of a guest, nor may a host that records
 * its own branches lose some because a guest does, too.
 *
 * So the records change hands as a whole. perf_load_guest_lbr() saves those of the host,
 * if an event of the host uses them, and overwrites all; perf_put_guest_lbr() saves those
 * of the guest and overwrites all. In between they may stay where they are as long as
 * nothing records for the host, and that nobody begins without being scheduled: like
 * values in counters, see perf_guest_leave(), with X86_GUEST_LBR_BIT for the records.
 *
 * Whether branches are recorded is none of this file's business: it is DEBUGCTL, LBR_CTL or
 * DBG_EXTN_CFG that says so, which are the guest's in guest mode only, and which perf has
 * cleared when it lent the PMU.
 *
 * The registers are accessed one by one. XSAVES has all architectural records at once, but
 * saves and loads LBR_CTL with them, needs an area of 1.4 kB with an alignment of its own,
 * and exists for one of the three kinds of records. Records that nobody takes away stay in
 * the CPU from one VM-exit to the next, so that this is about context switches of tasks.
 */

#include <linux/export.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <linux/string.h>

#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>

#include "perf_event.h"

/* The host's records, while its place in the registers is a guest's */
static DEFINE_PER_CPU(struct x86_guest_lbr, host_lbr);
static DEFINE_PER_CPU(bool, host_lbr_saved);

static bool is_arch(void)
{
	return cpu_feature_enabled(X86_FEATURE_ARCH_LBR);
}

/* AMD's are pairs of registers, without infos, and the newest is always the first. */
static bool is_amd(void)
{
	return cpu_feature_enabled(X86_FEATURE_AMD_LBR_V2);
}

static u32 from_msr(int i)
{
	return is_amd() ? MSR_AMD_SAMP_BR_FROM + 2 * i : x86_pmu.lbr_from + i;
}

static u32 to_msr(int i)
{
	return is_amd() ? MSR_AMD_SAMP_BR_FROM + 2 * i + 1 : x86_pmu.lbr_to + i;
}

static u32 select_msr(void)
{
	return is_amd() ? MSR_AMD64_LBR_SELECT : MSR_LBR_SELECT;
}

static void read_lbr(struct x86_guest_lbr *lbr)
{
	u64 nr = x86_pmu.lbr_nr;
	int i;

	/* Registers beyond a smaller depth don't exist. */
	if (is_arch())
		rdmsrl(MSR_ARCH_LBR_DEPTH, nr);
	if (nr < x86_pmu.lbr_nr)
		memset(lbr->entries, 0, sizeof(lbr->entries));

	for (i = 0; i < min_t(u64, nr, x86_pmu.lbr_nr); i++) {
		rdmsrl(from_msr(i), lbr->entries[i].from);
		rdmsrl(to_msr(i), lbr->entries[i].to);
		if (x86_pmu.lbr_info)
			rdmsrl(x86_pmu.lbr_info + i, lbr->entries[i].info);
	}

	if (is_arch()) {
		rdmsrl(MSR_ARCH_LER_FROM, lbr->ler_from);
		rdmsrl(MSR_ARCH_LER_TO, lbr->ler_to);
		rdmsrl(MSR_ARCH_LER_INFO, lbr->ler_info);
	} else {
		if (x86_pmu.lbr_tos)
			rdmsrl(x86_pmu.lbr_tos, lbr->tos);
		rdmsrl(select_msr(), lbr->select);
	}
}

static void write_lbr(const struct x86_guest_lbr *lbr)
{
	bool zeroed = is_arch();
	int i;

	/* Zeroes all records, and the one who was there may have had another depth. */
	if (zeroed)
		wrmsrl(MSR_ARCH_LBR_DEPTH, x86_pmu.lbr_nr);

	for (i = 0; i < x86_pmu.lbr_nr; i++) {
		if (!zeroed || lbr->entries[i].from)
			wrmsrl(from_msr(i), lbr->entries[i].from);
		if (!zeroed || lbr->entries[i].to)
			wrmsrl(to_msr(i), lbr->entries[i].to);
		if (x86_pmu.lbr_info && (!zeroed || lbr->entries[i].info))
			wrmsrl(x86_pmu.lbr_info + i, lbr->entries[i].info);
	}

	if (is_arch()) {
		wrmsrl(MSR_ARCH_LER_FROM, lbr->ler_from);
		wrmsrl(MSR_ARCH_LER_TO, lbr->ler_to);
		wrmsrl(MSR_ARCH_LER_INFO, lbr->ler_info);
	} else {
		if (x86_pmu.lbr_tos)
			wrmsrl(x86_pmu.lbr_tos, lbr->tos);
		wrmsrl(select_msr(), lbr->select);
	}
}

/* Zero what @lbr says is there. */
static void clear_lbr(const struct x86_guest_lbr *lbr)
{
	int i;

	if (is_arch()) {
		wrmsrl(MSR_ARCH_LBR_DEPTH, x86_pmu.lbr_nr);
		wrmsrl(MSR_ARCH_LER_FROM, 0);
		wrmsrl(MSR_ARCH_LER_TO, 0);
		wrmsrl(MSR_ARCH_LER_INFO, 0);
		return;
	}

	for (i = 0; i < x86_pmu.lbr_nr; i++) {
		if (lbr->entries[i].from)
			wrmsrl(from_msr(i), 0);
		if (lbr->entries[i].to)
			wrmsrl(to_msr(i), 0);
		if (lbr->entries[i].info)
			wrmsrl(x86_pmu.lbr_info + i, 0);
	}
	if (x86_pmu.lbr_tos)
		wrmsrl(x86_pmu.lbr_tos, 0);
	wrmsrl(select_msr(), 0);
}

/**
 * perf_load_guest_lbr - make the branch records of this CPU a guest's
 * @guest: the records of the guest, all of whose values hardware takes
 *
 * If an event of the host uses the records, they are saved. The stack of calls that was
 * saved for a task is in the registers no longer, if it still was.
 *
 * Context: Interrupts off, after perf_guest_enter(). Until perf_put_guest_lbr(), which has
 * to come before perf_guest_exit() unless perf_guest_leave() is given X86_GUEST_LBR_BIT.
 */
void perf_load_guest_lbr(const struct x86_guest_lbr *guest)
{
	struct cpu_hw_events *cpuc = this_cpu_ptr(&cpu_hw_events);

	lockdep_assert_irqs_disabled();

	WARN_ON_ONCE(__this_cpu_read(host_lbr_saved));
	if (cpuc->lbr_users) {
		read_lbr(this_cpu_ptr(&host_lbr));
		__this_cpu_write(host_lbr_saved, true);
	}
	cpuc->last_task_ctx = NULL;

	write_lbr(guest);
}
EXPORT_SYMBOL_GPL(perf_load_guest_lbr);

/**
 * perf_put_guest_lbr - take a guest's branch records out of this CPU
 * @guest: where to save them
 *
 * Events of the host find their own again, or none if no event uses them.
 *
 * Context: Interrupts off, see perf_load_guest_lbr(). Nothing is recorded.
 */
void perf_put_guest_lbr(struct x86_guest_lbr *guest)
{
	lockdep_assert_irqs_disabled();

	read_lbr(guest);

	if (__this_cpu_read(host_lbr_saved)) {
		__this_cpu_write(host_lbr_saved, false);
		write_lbr(this_cpu_ptr(&host_lbr));
	} else {
		clear_lbr(guest);
	}
}
EXPORT_SYMBOL_GPL(perf_put_guest_lbr);
