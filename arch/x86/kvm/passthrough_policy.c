// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that owns the PMU may touch without a VM-exit.
 *
 * The rules are in one function without side effects, so that they can be read
 * in one place and tested without a VM.
 */
#include <kunit/visibility.h>
#include <linux/bits.h>
#include <linux/export.h>
#include <linux/minmax.h>

#include "passthrough_policy.h"

static u32 counters(u8 nr)
{
	return nr ? GENMASK(min_t(u8, nr, 32) - 1, 0) : 0;
}

/* Nobody sees the width of counters that don't exist. */
static bool same_width(u8 nr, u8 guest_width, u8 host_width)
{
	return !nr || guest_width == host_width;
}

/**
 * kvm_passthrough_policy - decide what a guest may touch without a VM-exit
 * @host: the PMU of the host as perf reports it, not what KVM makes of it
 * @guest: the PMU that the guest's CPUID describes
 * @switches: everything else that matters
 *
 * A counter's MSR is let through if the guest owns that counter, and if the
 * counter in hardware is as wide as the guest was told.  KVM loads a counter
 * that is narrower for the guest in such a way that it overflows when it should,
 * and what hardware holds is then not what the guest may see.
 *
 * RDPMC has no bitmap.  It reads any counter of the host, hence is let through
 * only if the guest has them all, and if there is nothing else that it reads.
 * PERF_METRICS is one of them, but no obstacle: if the guest doesn't have it, it is
 * loaded with 0, and the guest reads what it makes of it itself.
 *
 * The bits of GLOBAL_CTRL and GLOBAL_STATUS belong to counters, hence the MSRs
 * are let through only if no bit belongs to a counter that the guest doesn't
 * have.  A version 1 PMU doesn't have these MSRs, and later versions than the
 * guest's have more bits in them.  What a guest gets to see must be what its
 * version of the PMU would show, so:
 *
 *  - GLOBAL_CTRL has to take the same bits and to refuse the same bits, but for
 *    those which do no more than let the guest's own counters count something else;
 *  - GLOBAL_STATUS must not show a bit that the guest's doesn't have;
 *  - a write that clears GLOBAL_STATUS has to take all bits that the guest's takes,
 *    and no bit that somebody else waits for.
 *
 * The last rule is weaker on purpose.  Later versions than the guest's take bits
 * that the guest's refuses, and there is no harm in that: hardware doesn't set such
 * a bit for this guest, so that clearing it changes nothing.  The guest misses
 * a fault that it has no use for, and saves an exit for each of its interrupts.
 *
 * Context: any, has no side effects.
 *
 * Return: the decision.  Nothing is let through if the vCPU doesn't own the PMU.
 */
struct kvm_passthrough_policy
kvm_passthrough_policy(const struct kvm_passthrough_model *host,
		       const struct kvm_passthrough_model *guest,
		       const struct kvm_passthrough_switches *switches)
{
	struct kvm_passthrough_policy policy = {};
	bool all_counters, all_globals, gp_width, fixed_width, clear;
	u64 ctrl_differs;

	if (!switches->owns_pmu || !guest->version)
		return policy;

	gp_width = same_width(guest->nr_gp, guest->width_gp, host->width_gp);
	fixed_width = same_width(guest->fixed, guest->width_fixed, host->width_fixed);
	all_counters = guest->nr_gp == host->nr_gp && guest->fixed == host->fixed;

	if (gp_width) {
		u32 owned = counters(min(guest->nr_gp, host->nr_gp));

		policy.gp_legacy = owned & counters(switches->nr_legacy);
		policy.gp_full = switches->has_full_width ? owned : 0;
	}
	if (fixed_width)
		policy.fixed = guest->fixed & host->fixed;

	policy.metrics = guest->has_metrics && host->has_metrics;
	policy.rdpmc = all_counters && gp_width && fixed_width &&
		       guest->has_metrics <= host->has_metrics &&
		       !switches->rdpmc_backdoor && !switches->rdpmc_beyond_core;

	all_globals = all_counters && guest->version > 1;
	ctrl_differs = guest->ctrl_extra ^ host->ctrl_extra;
	policy.global_ctrl = all_globals &&
			     !(ctrl_differs & ~(host->ctrl_extra & host->ctrl_harmless));
	policy.status = all_globals && !(host->status_extra & ~guest->status_extra);
	clear = all_globals && !(guest->clear_extra & ~host->clear_extra);
	policy.status_clear = clear && !(host->clear_foreign & ~guest->clear_extra);

	policy.ctrl_taken = policy.global_ctrl ? ctrl_differs : 0;
	policy.clear_taken = clear ? host->clear_extra & ~guest->clear_extra : 0;
	policy.metrics_read = policy.rdpmc && host->has_metrics && !guest->has_metrics;

	return policy;
}
EXPORT_SYMBOL_IF_KUNIT(kvm_passthrough_policy);
