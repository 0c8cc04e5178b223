/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_PASSTHROUGH_POLICY_H
#define __KVM_X86_PASSTHROUGH_POLICY_H

#include <linux/types.h>

/**
 * struct kvm_passthrough_model - the counters of a PMU, the host's or a guest's
 * @version: version of the vendor's architectural PMU, 0 if there is no PMU
 * @nr_gp: number of general purpose counters
 * @nr_fixed: number of fixed counters
 * @width_gp: bits of a general purpose counter
 * @width_fixed: bits of a fixed counter
 */
struct kvm_passthrough_model {
	u8 version;
	u8 nr_gp;
	u8 nr_fixed;
	u8 width_gp;
	u8 width_fixed;
};

/**
 * struct kvm_passthrough_switches - what else the decision depends on
 * @owns_pmu: the vCPU owns the PMU while it runs
 * @rdpmc_backdoor: RDPMC also answers questions that have nothing to do with
 *	counters (VMware's backdoor)
 * @has_full_width: the guest has the full-width aliases of its counters
 * @nr_legacy: number of counters that have a legacy alias on this vendor's CPUs
 */
struct kvm_passthrough_switches {
	bool owns_pmu;
	bool rdpmc_backdoor;
	bool has_full_width;
	u8 nr_legacy;
};

/**
 * struct kvm_passthrough_policy - what a guest may do without a VM-exit
 * @gp_legacy: bitmap of general purpose counters, through their legacy alias
 * @gp_full: bitmap of general purpose counters, through their full-width alias
 * @fixed: bitmap of fixed counters
 * @rdpmc: execute RDPMC
 * @globals: read and write GLOBAL_CTRL, read GLOBAL_STATUS and clear bits in it
 *
 * Whatever is not named here always exits: the selectors and FIXED_CTR_CTRL, as
 * their values are subject to user space's event filter, and every MSR that KVM
 * doesn't switch.
 */
struct kvm_passthrough_policy {
	u32 gp_legacy;
	u32 gp_full;
	u32 fixed;
	bool rdpmc;
	bool globals;
};

struct kvm_passthrough_policy
kvm_passthrough_policy(const struct kvm_passthrough_model *host,
		       const struct kvm_passthrough_model *guest,
		       const struct kvm_passthrough_switches *switches);

#endif /* __KVM_X86_PASSTHROUGH_POLICY_H */
