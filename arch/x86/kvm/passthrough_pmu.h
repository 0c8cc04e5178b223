/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_PASSTHROUGH_PMU_H
#define __KVM_X86_PASSTHROUGH_PMU_H

#include <linux/jump_label.h>
#include <linux/kvm_host.h>

#include "lapic.h"
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
 * @fixed_ctrl: MSR that controls the fixed counters, 0 if there are none
 * @fixed_clear: bits of @fixed_ctrl that must not get into hardware
 * @max_version: version of the architectural PMU that guests may have, 0 for what KVM
 *	offers anyway
 * @pmi_masks: a PMI masks LVTPC
 * @selector_clear: bits of a selector that must not get into hardware
 * @selector_set: bits that each selector has in hardware
 * @selector_refuse: bits that this host's hardware doesn't know; a counter whose
 *	selector has any of them doesn't count
 * @status: MSR of the overflow status
 * @status_clear: MSR that clears bits of @status
 * @status_set: MSR that sets bits of @status
 * @metrics: PERF_METRICS, 0 if this host doesn't have it
 * @metrics_rdpmc: index by which RDPMC reads it
 * @ctrl_extra: bits of this host's GLOBAL_CTRL besides those of counters
 * @ctrl_harmless: those of @ctrl_extra that guests may set which don't have them
 * @status_extra: bits of GLOBAL_STATUS, besides those of counters, that can be or
 *	become set while a guest runs
 * @clear_extra: bits besides those of counters that may be written in order to
 *	clear bits of GLOBAL_STATUS
 * @clear_foreign: those of @clear_extra that the host waits for while a guest runs
 * @guest_freezes_host: what the guest's DEBUGCTL freezes with an interrupt of a counter
 *	may be the host's, if the host's counters run when the guest is entered
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
	u32 fixed_ctrl;
	u64 fixed_clear;
	u8 max_version;
	bool pmi_masks;
	u64 selector_clear;
	u64 selector_set;
	u64 selector_refuse;
	u32 status;
	u32 status_clear;
	u32 status_set;
	u32 metrics;
	u32 metrics_rdpmc;
	u64 ctrl_extra;
	u64 ctrl_harmless;
	u64 status_extra;
	u64 clear_extra;
	u64 clear_foreign;
	bool guest_freezes_host;
	bool rdpmc_beyond_core;
};

extern bool __read_mostly enable_passthrough_pmu;

/* Follows enable_passthrough_pmu, for whatever is passed each time a vCPU runs. */
DECLARE_STATIC_KEY_FALSE(kvm_passthrough_pmu_key);

bool kvm_passthrough_pmu_setup(bool wanted, const char *missing,
			       const struct kvm_passthrough_pmu_regs *regs);
u32 kvm_passthrough_pmu_valid_caps(void);
int kvm_passthrough_pmu_set_caps(struct kvm *kvm, u64 caps);
int kvm_passthrough_pmu_get_vm(struct kvm *kvm);
void kvm_passthrough_pmu_put_vm(struct kvm *kvm);
bool kvm_passthrough_pmu_withheld_msr(struct kvm_vcpu *vcpu, u32 msr, u64 data);
void __kvm_passthrough_pmu_load(struct kvm_vcpu *vcpu);
void __kvm_passthrough_pmu_put(struct kvm_vcpu *vcpu);
void __kvm_passthrough_pmu_reclaim(struct kvm_vcpu *vcpu);
void kvm_passthrough_pmu_return(void);
void kvm_passthrough_pmu_update_lvtpc(struct kvm_vcpu *vcpu);
void kvm_passthrough_pmu_lvtpc_written(struct kvm_vcpu *vcpu);
void kvm_passthrough_pmu_forget_cleared(struct kvm_pmu *pmu);
void kvm_passthrough_pmu_load_status(u64 want, u64 mask);
u64 kvm_passthrough_pmu_put_status(u64 mask);
void kvm_passthrough_pmu_handle_pmi(void);
void kvm_passthrough_pmu_reprogram(struct kvm_pmc *pmc, bool allowed);
void kvm_passthrough_pmu_reprogrammed(struct kvm_vcpu *vcpu);
bool kvm_passthrough_pmu_fastpath_wrmsr(struct kvm_vcpu *vcpu, u32 msr, u64 data);
void kvm_passthrough_pmu_freeze(struct kvm_vcpu *vcpu);
bool __kvm_passthrough_pmu_is_frozen(struct kvm_pmu *pmu);
void kvm_passthrough_pmu_count(struct kvm_pmc *pmc);
void kvm_passthrough_pmu_write_counter(struct kvm_pmc *pmc, u64 value);
u64 kvm_passthrough_pmu_read_metrics(struct kvm_pmu *pmu);
int kvm_passthrough_pmu_write_metrics(struct kvm_pmu *pmu, u64 data);
u64 kvm_passthrough_pmu_status(struct kvm_pmu *pmu);
void kvm_passthrough_pmu_change_status(struct kvm_pmu *pmu, u64 clear, u64 set);
void __kvm_passthrough_pmu_read_global_ctrl(struct kvm_pmu *pmu);
void kvm_passthrough_pmu_write_global_ctrl(struct kvm_vcpu *vcpu, u64 value);
void kvm_passthrough_lbr_wake(struct kvm_vcpu *vcpu);
u64 kvm_passthrough_lbr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *reg);
void kvm_passthrough_lbr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *reg, u64 value);
struct kvm_passthrough_policy kvm_passthrough_pmu_policy(struct kvm_vcpu *vcpu,
							 bool has_full_width,
							 u64 status_foreign);

/*
 * All vCPUs of a VM with a PMU own it while they run, or none does.  Valid once the
 * vCPU's CPUID is set, and unchanging once the vCPU has run.
 */
static inline bool kvm_vcpu_has_passthrough_pmu(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvm_passthrough_pmu_key) &&
	       vcpu_to_pmu(vcpu)->passthrough;
}

/*
 * Does it do so at the next VM-entry?  Changes in KVM_REQ_PMU only, see
 * kvm_passthrough_pmu_reprogrammed().
 */
static inline bool kvm_vcpu_owns_pmu(struct kvm_vcpu *vcpu)
{
	return kvm_vcpu_has_passthrough_pmu(vcpu) && !vcpu_to_pmu(vcpu)->dormant;
}

/**
 * kvm_passthrough_pmu_load - have the PMU of this CPU hold a vCPU's state
 * @vcpu: the vCPU, about to run
 *
 * Does nothing for a vCPU that doesn't own the PMU while it runs or is dormant, and next
 * to nothing if its state is still there.
 *
 * Context: IRQs off until after kvm_passthrough_pmu_put(); KVM_REQ_PMU has been
 *	    handled.  Only NMIs can interrupt, and perf keeps those off the PMU.
 */
static inline void kvm_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (!kvm_vcpu_has_passthrough_pmu(vcpu))
		return;

	if (!pmu->in_hw) {
		if (!pmu->dormant)
			__kvm_passthrough_pmu_load(vcpu);
	} else if (unlikely(kvm_lapic_get_reg(vcpu->arch.apic, APIC_LVTPC) != pmu->lvtpc_hw)) {
		kvm_passthrough_pmu_update_lvtpc(vcpu);
	}
}

/**
 * kvm_passthrough_pmu_put - take the PMU of this CPU back, if the host wants it
 * @vcpu: the vCPU that kvm_passthrough_pmu_load() was called for
 *
 * Leaves values in counters that the host doesn't use.
 *
 * Interrupts of the vCPU's counters that are pending in the local APIC are still
 * to be taken, by kvm_passthrough_pmu_handle_pmi().
 *
 * Context: IRQs off ever since kvm_passthrough_pmu_load().
 */
static inline void kvm_passthrough_pmu_put(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (!kvm_vcpu_has_passthrough_pmu(vcpu))
		return;

	if (!pmu->keep_in_hw) {
		if (pmu->in_hw)
			__kvm_passthrough_pmu_put(vcpu);
	} else if (unlikely(pmu->status_told)) {
		kvm_passthrough_pmu_forget_cleared(pmu);
	}
}

/**
 * kvm_passthrough_pmu_reclaim - take the PMU of this CPU back, if it holds @vcpu's state,
 *	or some of it
 * @vcpu: the vCPU, which is loaded on this CPU or on none
 *
 * From here on, until kvm_passthrough_pmu_load(), memory is authoritative.
 *
 * Context: any, but between kvm_passthrough_pmu_load() and kvm_passthrough_pmu_put().
 */
static inline void kvm_passthrough_pmu_reclaim(struct kvm_vcpu *vcpu)
{
	if (kvm_vcpu_has_passthrough_pmu(vcpu) && vcpu_to_pmu(vcpu)->left)
		__kvm_passthrough_pmu_reclaim(vcpu);
}

/**
 * kvm_passthrough_pmu_global_ctrl - what is the guest's GLOBAL_CTRL?
 * @pmu: any vPMU
 *
 * Context: vCPU loaded, or nobody else has access to it.
 *
 * Return: the value, which pmu->global_ctrl has from here on until the vCPU runs.
 */
static inline u64 kvm_passthrough_pmu_global_ctrl(struct kvm_pmu *pmu)
{
	/* In this order: an interrupt may bring the one up to date and clear the other. */
	if (READ_ONCE(pmu->global_ctrl_stale))
		__kvm_passthrough_pmu_read_global_ctrl(pmu);
	return READ_ONCE(pmu->global_ctrl);
}

/**
 * kvm_passthrough_pmu_is_frozen - has an interrupt stopped all of a guest's counters?
 * @pmu: any vPMU
 *
 * Context: vCPU loaded.
 *
 * Return: true if nothing counts until the guest clears CTR_Frz of its GLOBAL_STATUS.
 */
static inline bool kvm_passthrough_pmu_is_frozen(struct kvm_pmu *pmu)
{
	return unlikely(pmu->may_freeze) && __kvm_passthrough_pmu_is_frozen(pmu);
}

/*
 * Which counters may the guest have enabled for retired instructions, of any privilege
 * level?  Any, for a while after the guest has written selectors.
 */
static inline u64 kvm_passthrough_pmu_insn_counters(struct kvm_pmu *pmu)
{
	return unlikely(atomic64_read(&pmu->__reprogram_pmi)) ? ~0ULL : pmu->insn_counters;
}

#endif /* __KVM_X86_PASSTHROUGH_PMU_H */
