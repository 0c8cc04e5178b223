/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_PASSTHROUGH_POLICY_H
#define __KVM_X86_PASSTHROUGH_POLICY_H

#include <linux/types.h>

/**
 * struct kvm_passthrough_model - a PMU as software sees it, the host's or a guest's
 * @version: version of the vendor's architectural PMU, 0 if there is no PMU
 * @nr_gp: number of general purpose counters
 * @fixed: bitmap of fixed counters
 * @width_gp: bits of a general purpose counter
 * @width_fixed: bits of a fixed counter
 * @has_metrics: there is PERF_METRICS, which RDPMC reads like a counter
 * @ctrl_harmless: of the host's @ctrl_extra, those that a guest may set which doesn't
 *	have them
 * @ctrl_extra: bits of GLOBAL_CTRL besides those of counters
 * @status_extra: bits of GLOBAL_STATUS besides those of counters; of the host's
 *	those that can be or become set while a guest runs
 * @clear_extra: bits besides those of counters that a write may contain which
 *	clears bits of GLOBAL_STATUS
 * @clear_foreign: of the host's @clear_extra, those that tell somebody something
 *	who is not the owner of the PMU, and who would miss it
 */
struct kvm_passthrough_model {
	u8 version;
	u8 nr_gp;
	u8 width_gp;
	u8 width_fixed;
	bool has_metrics;
	u32 fixed;
	u64 ctrl_extra;
	u64 ctrl_harmless;
	u64 status_extra;
	u64 clear_extra;
	u64 clear_foreign;
};

/**
 * struct kvm_passthrough_switches - what else the decision depends on
 * @owns_pmu: the vCPU owns the PMU while it runs
 * @rdpmc_backdoor: RDPMC also answers questions that have nothing to do with
 *	counters (VMware's backdoor)
 * @rdpmc_beyond_core: RDPMC also reads counters that are no part of the PMU
 *	that changes hands (the L3's and the data fabric's on AMD's CPUs)
 * @has_full_width: the guest has the full-width aliases of its counters
 * @nr_legacy: number of counters that have a legacy alias on this vendor's CPUs
 */
struct kvm_passthrough_switches {
	bool owns_pmu;
	bool rdpmc_backdoor;
	bool rdpmc_beyond_core;
	bool has_full_width;
	u8 nr_legacy;
};

/**
 * struct kvm_passthrough_policy - what a guest may do without a VM-exit
 * @gp_legacy: bitmap of general purpose counters, through their legacy alias
 * @gp_full: bitmap of general purpose counters, through their full-width alias
 * @fixed: bitmap of fixed counters
 * @metrics: PERF_METRICS
 * @rdpmc: execute RDPMC
 * @global_ctrl: read and write GLOBAL_CTRL
 * @status: read GLOBAL_STATUS
 * @status_clear: clear bits of GLOBAL_STATUS
 * @ctrl_taken: bits of GLOBAL_CTRL that the guest doesn't have, and that hardware takes
 *	from it if @global_ctrl
 * @clear_taken: the same of what clears GLOBAL_STATUS, if @status_clear
 * @metrics_read: RDPMC reads PERF_METRICS, which the guest doesn't have, if @rdpmc
 *
 * The last three are there to have an access that exits, for whatever reason, end as if
 * it didn't.
 *
 * Whatever is not named here always exits: the selectors and FIXED_CTR_CTRL, as
 * their values are subject to user space's event filter, and every MSR that KVM
 * doesn't switch.
 */
struct kvm_passthrough_policy {
	u32 gp_legacy;
	u32 gp_full;
	u32 fixed;
	bool metrics;
	bool rdpmc;
	bool global_ctrl;
	bool status;
	bool status_clear;
	u64 ctrl_taken;
	u64 clear_taken;
	bool metrics_read;
};

/**
 * kvm_passthrough_wrapped - has a counter passed 0?
 * @before: value of the counter at some time
 * @now: bits of the register that holds the counter, later
 * @mask: bits that the counter has
 *
 * Context: any, has no side effects.
 *
 * Return: true if it has, provided that the counter only counted and that it did
 * not get as far as @before again.
 */
static inline bool kvm_passthrough_wrapped(u64 before, u64 now, u64 mask)
{
	return (now & mask) < (before & mask);
}

struct kvm_passthrough_policy
kvm_passthrough_policy(const struct kvm_passthrough_model *host,
		       const struct kvm_passthrough_model *guest,
		       const struct kvm_passthrough_switches *switches);

#endif /* __KVM_X86_PASSTHROUGH_POLICY_H */
