// SPDX-License-Identifier: GPL-2.0-only
/*
 * SVM part of guests that own the PMU while they run
 *
 * SVM doesn't switch anything of the PMU.  What keeps a guest's counters from
 * counting the host between the moment they are loaded and VMRUN, and from
 * #VMEXIT to the moment they are taken out, is the bit GuestOnly: each selector
 * has it in hardware, whatever the guest wrote.  PerfCntrGlobalCtl is loaded and
 * cleared along with the rest of the guest's state.
 *
 * One instruction of the host is counted: the processor is in guest mode when it
 * retires VMRUN, hence counters for retired instructions that count in the kernel
 * gain one with each entry.  That has always been so for what perf counts in
 * guests, and can't be told from a guest's own instruction: KVM doesn't correct it.
 *
 * Between load and put, hardware has the last word on PerfCntrGlobalCtl, as the guest
 * may write it without a #VMEXIT.  Hence each #VMEXIT marks pmu->global_ctrl as stale,
 * and whoever wants to know it reads it back.
 *
 * Nothing of this is in the VMCB or in the VMSA of SEV-ES guests: counters,
 * selectors and globals are KVM's to switch for these guests, too.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <asm/msr.h>
#include <asm/perf_event.h>

#include "x86.h"
#include "cpuid.h"
#include "passthrough_pmu.h"
#include "svm.h"

/*
 * What the administrator asked for, and after hardware setup what is in effect.
 */
bool __read_mostly svm_enable_passthrough_pmu;

/* What an interrupt of a counter freezes, if DebugCtl says so. */
#define STATUS_FROZEN	(GLOBAL_STATUS_LBRS_FROZEN | GLOBAL_STATUS_COUNTERS_FROZEN)

/*
 * What there is in PerfCntrGlobalStatus; reserved bits are better left alone.
 *
 * As long as it says that counters are frozen, none counts.  Guests without these bits
 * may have them set all the same: hardware switches DebugCtl of SEV-ES guests, which
 * are free to write it.
 */
static u64 host_status_bits __read_mostly;

/**
 * svm_passthrough_pmu_setup - decide whether guests own the PMU while they run
 *
 * Needed besides what kvm_passthrough_pmu_setup() checks: version 2 of performance
 * monitoring, for PerfCntrGlobalCtl, by which counters start and stop together, and
 * for PerfCntrGlobalStatusSet, by which a guest's overflows get into hardware.
 *
 * Context: hardware setup, before init_msrpm_offsets() and svm_set_cpu_caps().
 */
void __init svm_passthrough_pmu_setup(void)
{
	struct kvm_passthrough_pmu_regs regs = {
		/* The aliases at MSR_K7_PERFCTR0 reach the first four only. */
		.gp_counter	= MSR_F15H_PERF_CTR0,
		.gp_selector	= MSR_F15H_PERF_CTL0,
		.gp_stride	= MSR_F15H_PERF_CTL1 - MSR_F15H_PERF_CTL0,
		.nr_legacy	= AMD64_NUM_COUNTERS,
		.status		= MSR_AMD64_PERF_CNTR_GLOBAL_STATUS,
		.status_clear	= MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR,
		.status_set	= MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET,
		/* Count in guest mode, and not outside of it. */
		.selector_clear	= AMD64_EVENTSEL_HOSTONLY,
		.selector_set	= AMD64_EVENTSEL_GUESTONLY,
		/* DebugCtl is loaded ahead of VMRUN, see svm_vcpu_run(). */
		.guest_freezes_host = true,
		/*
		 * ECX from 6 on are the counters of the data fabric and of the
		 * L3 (APM vol. 3, "RDPMC"): the host's, and those of all VMs.
		 */
		.rdpmc_beyond_core = boot_cpu_has(X86_FEATURE_PERFCTR_NB) ||
				     boot_cpu_has(X86_FEATURE_PERFCTR_LLC),
	};
	const char *missing = NULL;

	if (kvm_host_pmu_cap.version < 2)
		missing = "version 2 of performance monitoring (PerfMonV2)";

	if (boot_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE))
		regs.clear_extra = STATUS_FROZEN;

	svm_enable_passthrough_pmu = kvm_passthrough_pmu_setup(svm_enable_passthrough_pmu,
							       missing, &regs);
	if (!svm_enable_passthrough_pmu)
		return;

	host_status_bits = GENMASK_ULL(kvm_host_pmu_cap.num_counters_gp - 1, 0) |
			   GLOBAL_STATUS_LBRS_FROZEN;
	if (boot_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE))
		host_status_bits |= GLOBAL_STATUS_COUNTERS_FROZEN;
}

/* The guest's counters in PerfCntrGlobalCtl and PerfCntrGlobalStatus. */
static u64 guest_counters(struct kvm_pmu *pmu)
{
	return BIT_ULL(pmu->nr_arch_gp_counters) - 1;
}

/* All that the guest has in PerfCntrGlobalStatus, which version 1 doesn't have. */
static u64 guest_status(struct kvm_pmu *pmu)
{
	return guest_counters(pmu) | (STATUS_FROZEN & ~pmu->global_status_rsvd);
}

/**
 * svm_passthrough_pmu_status_bits - which overflow status does hardware hold?
 * @pmu: the vPMU of a vCPU that owns the PMU while it runs
 *
 * Context: any.
 *
 * Return: bits of PerfCntrGlobalStatus.
 */
u64 svm_passthrough_pmu_status_bits(struct kvm_pmu *pmu)
{
	return guest_status(pmu);
}

/**
 * svm_passthrough_pmu_stop - stop all counters
 *
 * Context: IRQs off, the host's events are stopped.
 */
void svm_passthrough_pmu_stop(void)
{
	wrmsrl(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, 0);
}

/**
 * svm_passthrough_pmu_load - load overflow status and the global control
 * @vcpu: the vCPU that takes the PMU over
 *
 * User space can't put bits into the status that aren't the guest's, but the guest's
 * CPUID may have been another one when it did: set none that aren't.  A bit that says
 * that counters are frozen freezes whatever there is, which is the guest's by now.
 *
 * Context: IRQs off, nothing counts.
 */
void svm_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	kvm_passthrough_pmu_load_status(pmu->global_status & guest_status(pmu),
					host_status_bits);

	/* From here on counters run in guest mode. */
	wrmsrl(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, pmu->global_ctrl & guest_counters(pmu));
}

/**
 * svm_passthrough_pmu_put - take out what svm_passthrough_pmu_load() loaded
 * @vcpu: the vCPU that gives the PMU back
 *
 * Context: IRQs off.  Nothing counts from here on.
 */
void svm_passthrough_pmu_put(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (pmu->global_ctrl_stale)
		svm_passthrough_pmu_read_global_ctrl(vcpu);

	wrmsrl(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, 0);

	pmu->global_status = kvm_passthrough_pmu_put_status(host_status_bits) &
			     guest_status(pmu);
}

/**
 * svm_passthrough_pmu_read_global_ctrl - learn what the guest wrote
 * @vcpu: vCPU that may have written PerfCntrGlobalCtl without a #VMEXIT
 *
 * Context: IRQs off, the vCPU's state is in hardware.
 */
void svm_passthrough_pmu_read_global_ctrl(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 ctrl;

	rdmsrl(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, ctrl);
	pmu->global_ctrl = ctrl & guest_counters(pmu);
	pmu->global_ctrl_stale = false;
}

/**
 * svm_passthrough_pmu_write_global_ctrl - make hardware agree with KVM
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * For all writes but the guest's own ones.
 *
 * Context: IRQs off.
 */
void svm_passthrough_pmu_write_global_ctrl(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (pmu->in_hw)
		wrmsrl(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, pmu->global_ctrl & guest_counters(pmu));
}

static void svm_update_msr_intercepts(struct kvm_vcpu *vcpu,
				      const struct kvm_passthrough_policy *policy)
{
	u32 *msrpm = to_svm(vcpu)->msrpm;
	int i, open;

	for (i = 0; i < AMD64_NUM_COUNTERS; i++) {
		open = !!(policy->gp_legacy & BIT(i));
		set_msr_interception(vcpu, msrpm, MSR_K7_PERFCTR0 + i, open, open);
	}

	for (i = 0; i < KVM_MAX_NR_AMD_GP_COUNTERS; i++) {
		open = !!(policy->gp_full & BIT(i));
		set_msr_interception(vcpu, msrpm, MSR_F15H_PERF_CTR0 + 2 * i, open, open);
	}

	/*
	 * The status is read-only, and the two that change it are write-only.
	 * Setting bits always exits: what the guest sets is no overflow, and nothing
	 * but the status at load tells the two apart, see request_late_pmi().
	 */
	open = policy->global_ctrl;
	set_msr_interception(vcpu, msrpm, MSR_AMD64_PERF_CNTR_GLOBAL_CTL, open, open);
	open = policy->status;
	set_msr_interception(vcpu, msrpm, MSR_AMD64_PERF_CNTR_GLOBAL_STATUS, open, 0);
	open = policy->status_clear;
	set_msr_interception(vcpu, msrpm, MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR, 0, open);
	set_msr_interception(vcpu, msrpm, MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET, 0, 0);
}

/**
 * svm_passthrough_pmu_update - apply the policy to a vCPU
 * @vcpu: the vCPU
 *
 * Sets and resets, since user space may set CPUID more than once.  User space's MSR
 * filter, also if it changes later, is up to set_msr_interception() and
 * svm_msr_filter_changed().  L2 gets what vmcb12 lets through besides, see
 * recalc_intercepts() and nested_svm_vmrun_msrpm().
 *
 * Does nothing with the feature off: nothing was ever let through then.
 *
 * Context: vCPU loaded, after its vmcb01 was initialized or its CPUID set.
 */
void svm_passthrough_pmu_update(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_policy policy;
	struct vcpu_svm *svm = to_svm(vcpu);

	if (!enable_passthrough_pmu)
		return;

	policy = kvm_passthrough_pmu_policy(vcpu,
					    guest_cpu_cap_has(vcpu, X86_FEATURE_PERFCTR_CORE), 0);

	svm_update_msr_intercepts(vcpu, &policy);

	if (policy.rdpmc)
		svm_clr_intercept(svm, INTERCEPT_RDPMC);
	else
		svm_set_intercept(svm, INTERCEPT_RDPMC);
}
