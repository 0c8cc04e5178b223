/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_PASSTHROUGH_PMU_H
#define __KVM_X86_PASSTHROUGH_PMU_H

#include <linux/kvm_host.h>

#include "passthrough_policy.h"
#include "pmu.h"

/**
 * struct kvm_passthrough_pmu_regs - where a vendor keeps counters and selectors
 * @gp_counter: MSR of general purpose counter 0, the full-width alias
 * @gp_selector: MSR of general purpose selector 0
 * @gp_stride: distance from one counter or selector to the next
 * @nr_legacy: number of general purpose counters that have a legacy alias
 * @max_gp: number of general purpose counters that guests may have, 0 for all that
 *	KVM is able to offer
 * @fixed_counter: MSR of fixed counter 0
 * @fixed_rdpmc: what to add to the number of a fixed counter for RDPMC
 * @selector_clear: bits of a selector that must not get into hardware
 * @selector_set: bits that each selector has in hardware
 * @selector_refuse: bits that this host's hardware doesn't know; a counter whose
 *	selector has any of them doesn't count
 * @has_metrics: RDPMC reads PERF_METRICS on this host
 * @ctrl_extra: bits of this host's GLOBAL_CTRL besides those of counters
 * @status_extra: bits of GLOBAL_STATUS, besides those of counters, that can be or
 *	become set while a guest runs
 * @clear_extra: bits besides those of counters that may be written in order to
 *	clear bits of GLOBAL_STATUS
 * @rdpmc_beyond_core: RDPMC reads counters of other PMUs as well
 */
struct kvm_passthrough_pmu_regs {
	u32 gp_counter;
	u32 gp_selector;
	u32 gp_stride;
	u8 nr_legacy;
	u8 max_gp;
	u32 fixed_counter;
	u32 fixed_rdpmc;
	u64 selector_clear;
	u64 selector_set;
	u64 selector_refuse;
	bool has_metrics;
	u64 ctrl_extra;
	u64 status_extra;
	u64 clear_extra;
	bool rdpmc_beyond_core;
};

extern bool __read_mostly enable_passthrough_pmu;

bool kvm_passthrough_pmu_setup(bool wanted, const char *missing,
			       const struct kvm_passthrough_pmu_regs *regs);
int kvm_passthrough_pmu_get_vm(struct kvm *kvm);
void kvm_passthrough_pmu_put_vm(struct kvm *kvm);
void kvm_passthrough_pmu_load(struct kvm_vcpu *vcpu);
void kvm_passthrough_pmu_put(struct kvm_vcpu *vcpu);
void kvm_passthrough_pmu_handle_pmi(void);
void kvm_passthrough_pmu_reprogram(struct kvm_pmc *pmc);
void kvm_passthrough_pmu_count(struct kvm_pmc *pmc);
struct kvm_passthrough_policy kvm_passthrough_pmu_policy(struct kvm_vcpu *vcpu,
							 bool has_full_width);

/*
 * All vCPUs with a PMU own it while they run, or none does.  Valid once the
 * vCPU's CPUID is set, and unchanging once the vCPU has run.
 */
static inline bool kvm_vcpu_has_passthrough_pmu(struct kvm_vcpu *vcpu)
{
	return enable_passthrough_pmu && vcpu_to_pmu(vcpu)->version;
}

/*
 * Would an instruction that KVM emulates have to be counted?  The answer leaves
 * the privilege level aside, to be cheap enough for the exit fastpath.
 */
static inline bool kvm_passthrough_pmu_counts_insns(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	return kvm_vcpu_has_passthrough_pmu(vcpu) &&
	       (pmu->insn_counters_hw & pmu->global_ctrl);
}

#endif /* __KVM_X86_PASSTHROUGH_PMU_H */
