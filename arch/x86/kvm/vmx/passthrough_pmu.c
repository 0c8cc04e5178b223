// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX part of guests that own the PMU while they run
 *
 * The guest's IA32_PERF_GLOBAL_CTRL is in hardware in guest mode only: VM-entry
 * loads it from the VMCS and VM-exit loads 0, so that nothing counts between a
 * VM-exit and the moment the guest's counters are taken out of the PMU.  In each
 * VMCS of such a vCPU, the host's value is 0, unless the vCPU is dormant: then both
 * values are perf's.
 *
 * pmu->global_ctrl and the loaded VMCS agree outside guest mode then.  If the
 * guest may write the MSR without a VM-exit, hardware saves the value on VM-exit:
 * into the VMCS if it is able to (Sapphire Rapids and later), otherwise into the
 * MSR-store list of the VMCS.  All other writes go to both.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/vmx.h>

#include "capabilities.h"
#include "cpuid.h"
#include "nested.h"
#include "passthrough_pmu.h"
#include "vmx.h"
#include "x86.h"

/*
 * What the administrator asked for, and after hardware setup what is in effect.
 */
bool __read_mostly vmx_enable_passthrough_pmu;

static struct kvm_passthrough_pmu_regs vmx_passthrough_pmu_regs __initdata = {
	/* The aliases at MSR_IA32_PERFCTR0 would lose bits 47:32. */
	.gp_counter	= MSR_IA32_PMC0,
	.gp_selector	= MSR_P6_EVNTSEL0,
	.gp_stride	= 1,
	.nr_legacy	= KVM_MAX_NR_INTEL_GP_COUNTERS,
	.status		= MSR_CORE_PERF_GLOBAL_STATUS,
	.status_clear	= MSR_CORE_PERF_GLOBAL_OVF_CTRL,
	.status_set	= MSR_CORE_PERF_GLOBAL_STATUS_SET,
	.fixed_counter	= MSR_CORE_PERF_FIXED_CTR0,
	.fixed_rdpmc	= INTEL_PMC_FIXED_RDPMC_BASE,
	.fixed_ctrl	= MSR_CORE_PERF_FIXED_CTR_CTRL,
	.fixed_clear	= 0x4444444444444444ULL, /* AnyThread, see below */
	.pmi_masks	= true,
	/*
	 * The guest may set the pin control bit, which is a remnant that today's
	 * processors need not take.  AnyThread would count another guest.
	 */
	.selector_clear	= ARCH_PERFMON_EVENTSEL_PIN_CONTROL |
			  ARCH_PERFMON_EVENTSEL_ANY,
};

/*
 * QEMU can't choose the version of its guests' PMU, and a guest that has it can't move to
 * a host of an earlier version.
 */
uint __read_mostly vmx_passthrough_pmu_version = PASSTHROUGH_PMU_VERSION_MAX;

/* Where IA32_PERF_GLOBAL_CTRL is in an MSR-store list that has it, to be found fast. */
#define GLOBAL_CTRL_SLOT	0

/* Intel PT is not part of the PMU and traces on, unless the guest has it. */
static u64 vmx_host_trace_bit(void)
{
	return cpu_feature_enabled(X86_FEATURE_INTEL_PT) && !vmx_pt_mode_is_host_guest() ?
	       GLOBAL_STATUS_TRACE_TOPAPMI : 0;
}

/*
 * What this host's PMU has besides counters, which a guest's PMU need not have.
 *
 * Loading the guest's status clears what was there.  So a guest that doesn't have a bit
 * sees it only if something sets it while the guest runs:
 *
 *  - Trace_ToPA_PMI (55) belongs to the host if it traces by Intel PT while guests
 *    run, see vmx_status_foreign().  If the guest cleared the bit, a buffer that got
 *    full would go unnoticed;
 *  - LBR_Frz (58) and CTR_Frz (59) are set if DEBUGCTL says so, whose bits a guest has
 *    from version 4 on, as it has these; Ovf_Uncore (61), if somebody enables PMIs of
 *    the uncore, which nobody does;
 *  - ASCI (60) is set by enclaves.  It qualifies counts, which are the guest's, and perf
 *    takes no notice of it;
 *  - Ovf_PERF_METRICS (48) is set if EN_PERF_METRICS of IA32_PERF_GLOBAL_CTRL is.  A
 *    guest without PERF_METRICS that sets this all the same gets what it asked for; what
 *    it makes of it is its own, and doesn't outlive its ownership;
 *  - OvfBuffer (62) and CondChgd (63) exist from version 2 on.  They aren't loaded, see
 *    vmx_passthrough_pmu_status_bits(), and perf goes by the indices in its debug store.
 *
 * IA32_PERF_GLOBAL_STATUS_RESET takes them all (SDM vol. 3).
 */
static void __init vmx_passthrough_pmu_probe(struct kvm_passthrough_pmu_regs *regs)
{
	u64 status = GLOBAL_STATUS_BUFFER_OVF | GLOBAL_STATUS_COND_CHG;
	/* The registers don't care what the kernel makes use of. */
	u32 features = boot_cpu_data.cpuid_level >= 7 ? cpuid_ebx(7) : 0;

	regs->max_version = vmx_passthrough_pmu_version;
	regs->status_extra = status;

	if (kvm_host.perf_capabilities & BIT_ULL(PERF_CAP_METRICS_IDX)) {
		regs->metrics = MSR_PERF_METRICS;
		regs->metrics_rdpmc = INTEL_PMC_FIXED_RDPMC_METRICS;
		regs->ctrl_extra = BIT_ULL(GLOBAL_CTRL_EN_PERF_METRICS);
		regs->ctrl_harmless = BIT_ULL(GLOBAL_CTRL_EN_PERF_METRICS);
		status |= BIT_ULL(GLOBAL_STATUS_PERF_METRICS_OVF_BIT);
	}
	if (features & feature_bit(INTEL_PT)) {
		status |= GLOBAL_STATUS_TRACE_TOPAPMI;
		regs->clear_foreign = GLOBAL_STATUS_TRACE_TOPAPMI;
	}
	if (features & feature_bit(SGX))
		status |= GLOBAL_STATUS_ASIF;

	regs->clear_extra = status | GLOBAL_STATUS_LBRS_FROZEN | GLOBAL_STATUS_COUNTERS_FROZEN;

	/* "In a transaction" is no condition that hardware without TSX takes. */
	if (!boot_cpu_has(X86_FEATURE_RTM))
		regs->selector_refuse = HSW_IN_TX | HSW_IN_TX_CHECKPOINTED;

	/*
	 * On these processors, microcode uses counter 3 for transactions unless
	 * told to abort them all, which perf does while it uses the counter
	 * itself.  Guests get the counters below.
	 */
	if (boot_cpu_has(X86_FEATURE_TSX_FORCE_ABORT) &&
	    !boot_cpu_has(X86_FEATURE_RTM_ALWAYS_ABORT))
		regs->max_gp = 3;
}

/**
 * vmx_passthrough_pmu_setup - decide whether guests own the PMU while they run
 *
 * Needed besides what kvm_passthrough_pmu_setup() checks:
 *
 *  - version 4 of architectural performance monitoring, as a guest's overflow
 *    status could not be loaded without IA32_PERF_GLOBAL_STATUS_SET;
 *  - full-width writes, as bits 47:32 of its counters could not be loaded either;
 *  - the VMCS's control over IA32_PERF_GLOBAL_CTRL.
 *
 * Context: hardware setup, after setup_vmcs_config() and before vmx_set_cpu_caps().
 */
void __init vmx_passthrough_pmu_setup(void)
{
	const char *missing = NULL;

	if (kvm_host_pmu_cap.version < 4)
		missing = "version 4 of architectural performance monitoring";
	else if (!(kvm_host.perf_capabilities & PMU_CAP_FW_WRITES))
		missing = "full-width counter writes (IA32_PERF_CAPABILITIES[13])";
	else if (!cpu_has_load_perf_global_ctrl())
		missing = "the VMX controls \"load IA32_PERF_GLOBAL_CTRL\"";

	if (vmx_passthrough_pmu_version < PASSTHROUGH_PMU_VERSION_MIN ||
	    vmx_passthrough_pmu_version > PASSTHROUGH_PMU_VERSION_MAX) {
		pr_warn("passthrough_pmu_version: %u is none of %d to %d, using %d\n",
			vmx_passthrough_pmu_version, PASSTHROUGH_PMU_VERSION_MIN,
			PASSTHROUGH_PMU_VERSION_MAX, PASSTHROUGH_PMU_VERSION_MAX);
		vmx_passthrough_pmu_version = PASSTHROUGH_PMU_VERSION_MAX;
	}

	vmx_passthrough_pmu_probe(&vmx_passthrough_pmu_regs);

	vmx_enable_passthrough_pmu = kvm_passthrough_pmu_setup(vmx_enable_passthrough_pmu,
							       missing,
							       &vmx_passthrough_pmu_regs);
}

/**
 * vmx_passthrough_pmu_stop - stop all counters
 *
 * Context: IRQs off, the host's events are stopped.
 */
void vmx_passthrough_pmu_stop(void)
{
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, 0);
}

/**
 * vmx_passthrough_pmu_status_bits - which overflow status does hardware hold?
 * @pmu: the vPMU of a vCPU that owns the PMU while it runs
 *
 * What hardware lets itself be given by IA32_PERF_GLOBAL_STATUS_SET.  CondChgd can't
 * be set, and OvfBuffer is about a debug store that no guest has; user space may have
 * put both into the guest's status.
 *
 * Context: any.
 *
 * Return: bits of IA32_PERF_GLOBAL_STATUS.
 */
u64 vmx_passthrough_pmu_status_bits(struct kvm_pmu *pmu)
{
	return ~pmu->global_status_rsvd & ~(GLOBAL_STATUS_BUFFER_OVF | GLOBAL_STATUS_COND_CHG);
}

/* See vmx_passthrough_pmu_keeps_status(). */
bool __vmx_passthrough_pmu_keeps_status(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	return pmu->global_status & ~vmx_passthrough_pmu_status_bits(pmu);
}

/*
 * What the guest must not see in IA32_PERF_GLOBAL_STATUS: Intel PT's bit while the host
 * traces, which it must not clear either, and the bit of its own enclaves if its version of
 * the PMU doesn't have that.
 */
static u64 vmx_status_foreign(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 foreign = 0;

	if (pmu->host_traces)
		foreign |= vmx_host_trace_bit();
	/* An enclave of this guest, which its PMU doesn't know of. */
	if (guest_cpu_cap_has(vcpu, X86_FEATURE_SGX) && pmu->version < 4)
		foreign |= GLOBAL_STATUS_ASIF;

	return foreign;
}

/*
 * PERF_METRICS has fractions of what fixed counter 3 has counted.  What they are taken of
 * is set by writing the counter first and PERF_METRICS afterwards (SDM vol. 3,
 * "Performance Metrics").  RDPMC is cheaper than RDMSR.
 */
static void vmx_load_metrics(struct kvm_pmu *pmu)
{
	u64 now;

	rdpmcl(INTEL_PMC_FIXED_RDPMC_METRICS, now);
	if (pmu->metrics || now)
		wrmsrl(MSR_PERF_METRICS, pmu->metrics);
}

static void vmx_put_metrics(struct kvm_pmu *pmu)
{
	u64 now;

	rdpmcl(INTEL_PMC_FIXED_RDPMC_METRICS, now);
	if (pmu->has_metrics)
		pmu->metrics = now;
	if (now)
		wrmsrl(MSR_PERF_METRICS, 0);
}

/**
 * vmx_passthrough_pmu_freeze - what freezes when a counter interrupts?
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * Versions before 4 freeze in another way, which later hardware can't do: they are not
 * offered to freeze.
 *
 * Context: a VMCS of the vCPU is loaded.
 *
 * Return: bits of IA32_PERF_GLOBAL_STATUS that become set.
 */
u64 vmx_passthrough_pmu_freeze(struct kvm_vcpu *vcpu)
{
	u64 debugctl = vmx_guest_debugctl_read();
	u64 status = 0;

	if (debugctl & DEBUGCTLMSR_FREEZE_LBRS_ON_PMI)
		status |= GLOBAL_STATUS_LBRS_FROZEN;
	if (debugctl & DEBUGCTLMSR_FREEZE_PERFMON_ON_PMI)
		status |= GLOBAL_STATUS_COUNTERS_FROZEN;

	return status & ~vcpu_to_pmu(vcpu)->global_status_rsvd;
}

/**
 * vmx_passthrough_pmu_load - load overflow status and PERF_METRICS
 * @vcpu: the vCPU that takes the PMU over
 *
 * IA32_PERF_GLOBAL_CTRL is up to VM-entry.
 *
 * Context: IRQs off, nothing counts, the counters are loaded.
 */
void vmx_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (pmu->switch_metrics)
		vmx_load_metrics(pmu);

	kvm_passthrough_pmu_load_status(pmu->global_status & vmx_passthrough_pmu_status_bits(pmu),
					~vmx_host_trace_bit());
}

/**
 * vmx_passthrough_pmu_put - take out what vmx_passthrough_pmu_load() loaded
 * @vcpu: the vCPU that gives the PMU back
 *
 * Context: IRQs off.  Nothing counts since VM-exit.
 */
void vmx_passthrough_pmu_put(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 status;

	/* perf_put_guest_lvtpc() looks for the bit of PT. */
	status = kvm_passthrough_pmu_put_status(~vmx_host_trace_bit());

	/*
	 * Bits that are never loaded stay until the guest clears them, and are
	 * none of the guest's if hardware has them.  Beyond that, keep to what
	 * KVM_SET_MSRS accepts on another host.
	 */
	pmu->global_status &= ~vmx_passthrough_pmu_status_bits(pmu);
	pmu->global_status |= status & vmx_passthrough_pmu_status_bits(pmu);

	if (pmu->switch_metrics)
		vmx_put_metrics(pmu);
}

/**
 * vmx_passthrough_pmu_write_global_ctrl - make the loaded VMCS agree with KVM
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * For all writes but the guest's own ones.
 *
 * Context: a VMCS of the vCPU is loaded.  IRQs may be on or off.
 */
void vmx_passthrough_pmu_write_global_ctrl(struct kvm_vcpu *vcpu)
{
	vmcs_write64(GUEST_IA32_PERF_GLOBAL_CTRL, vcpu_to_pmu(vcpu)->global_ctrl);
}

/**
 * vmx_passthrough_pmu_read_global_ctrl - learn what the guest wrote
 * @vcpu: vCPU that may write IA32_PERF_GLOBAL_CTRL without a VM-exit
 *
 * Context: after VM-exit, IRQs off, before anything looks at pmu->global_ctrl.
 */
void vmx_passthrough_pmu_read_global_ctrl(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 valid = ~pmu->global_ctrl_rsvd | pmu->global_ctrl_taken;
	struct vmx_msr_entry *stored;
	u64 value;

	if (cpu_has_save_perf_global_ctrl()) {
		value = vmcs_read64(GUEST_IA32_PERF_GLOBAL_CTRL);
		pmu->global_ctrl = value & valid;
		return;
	}

	stored = &vmx_msr_autostore(to_vmx(vcpu))->val[GLOBAL_CTRL_SLOT];
	if (WARN_ON_ONCE(stored->index != MSR_CORE_PERF_GLOBAL_CTRL))
		return;

	/* The VMCS has the value that the guest entered with. */
	value = stored->value & valid;
	if (value == pmu->global_ctrl)
		return;

	pmu->global_ctrl = value;
	vmx_passthrough_pmu_write_global_ctrl(vcpu);
}

static void vmx_update_msr_intercepts(struct kvm_vcpu *vcpu,
				      const struct kvm_passthrough_policy *policy)
{
	int i;

	for (i = 0; i < KVM_MAX_NR_INTEL_GP_COUNTERS; i++) {
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_PERFCTR0 + i, MSR_TYPE_RW,
					  !(policy->gp_legacy & BIT(i)));
		vmx_set_intercept_for_msr(vcpu, MSR_IA32_PMC0 + i, MSR_TYPE_RW,
					  !(policy->gp_full & BIT(i)));
	}

	for (i = 0; i < KVM_MAX_NR_INTEL_FIXED_COUTNERS; i++)
		vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, MSR_TYPE_RW,
					  !(policy->fixed & BIT(i)));

	vmx_set_intercept_for_msr(vcpu, MSR_PERF_METRICS, MSR_TYPE_RW, !policy->metrics);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_CTRL, MSR_TYPE_RW,
				  !policy->global_ctrl);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, MSR_TYPE_R,
				  !policy->status);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_OVF_CTRL, MSR_TYPE_W,
				  !policy->status_clear);
}

static void vmx_update_rdpmc_intercept(struct kvm_vcpu *vcpu, bool intercept)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (vmx->loaded_vmcs != &vmx->vmcs01)
		intercept |= nested_cpu_has(get_vmcs12(vcpu), CPU_BASED_RDPMC_EXITING);

	if (intercept)
		exec_controls_setbit(vmx, CPU_BASED_RDPMC_EXITING);
	else
		exec_controls_clearbit(vmx, CPU_BASED_RDPMC_EXITING);
}

/*
 * What is in the list besides may come and go, but doesn't move the first entry:
 * an entry that is added goes to the end, one that is removed is replaced by the
 * last one.
 */
static void vmx_update_msr_store_list(struct vcpu_vmx *vmx, struct vmx_msrs *list, bool store)
{
	struct vmx_msr_entry *first = &list->val[GLOBAL_CTRL_SLOT];
	bool stored = list->nr && first->index == MSR_CORE_PERF_GLOBAL_CTRL;

	if (store && !stored) {
		if (KVM_BUG_ON(list->nr == MAX_NR_LOADSTORE_MSRS, vmx->vcpu.kvm))
			return;
		list->val[list->nr++] = *first;
		first->index = MSR_CORE_PERF_GLOBAL_CTRL;
		first->value = 0;
	} else if (!store && stored) {
		*first = list->val[--list->nr];
	}
}

static void vmx_update_global_ctrl_controls(struct kvm_vcpu *vcpu, bool owns_pmu, bool save)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (owns_pmu) {
		vmx_clear_perf_switch_msrs(vmx);
		vm_entry_controls_setbit(vmx, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
		vm_exit_controls_setbit(vmx, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
		vmx_passthrough_pmu_write_global_ctrl(vcpu);
	} else {
		vm_entry_controls_clearbit(vmx, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
		vm_exit_controls_clearbit(vmx, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	}

	if (!cpu_has_save_perf_global_ctrl()) {
		vmx_update_msr_store_list(vmx, &vmx->msr_autostore.vmcs01, save);
		vmx_update_msr_store_list(vmx, &vmx->msr_autostore.vmcs02, save);
		vmcs_write32(VM_EXIT_MSR_STORE_COUNT, vmx_msr_autostore(vmx)->nr);
	} else if (save) {
		vm_exit_controls_setbit(vmx, VM_EXIT_SAVE_IA32_PERF_GLOBAL_CTRL);
	} else {
		vm_exit_controls_clearbit(vmx, VM_EXIT_SAVE_IA32_PERF_GLOBAL_CTRL);
	}
}

/**
 * vmx_passthrough_pmu_update - apply the policy to the VMCS that is loaded
 * @vcpu: the vCPU
 *
 * Sets and resets, since user space may set CPUID more than once.  Called after
 * anything that the policy depends on has changed: CPUID, PERF_CAPABILITIES,
 * user space's MSR filter, pmu->dormant, pmu->host_traces, or
 * vmx_passthrough_pmu_keeps_status().
 *
 * Does nothing with the feature off: nothing was ever let through then, and the
 * controls are atomic_switch_perf_msrs()'s.
 *
 * Context: a VMCS of the vCPU is loaded.
 */
void vmx_passthrough_pmu_update(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_policy policy;

	if (!enable_passthrough_pmu)
		return;

	policy = kvm_passthrough_pmu_policy(vcpu, fw_writes_is_enabled(vcpu),
					    vmx_status_foreign(vcpu));
	if (vmx_passthrough_pmu_keeps_status(vcpu)) {
		policy.status = false;
		policy.status_clear = false;
	}

	vmx_update_msr_intercepts(vcpu, &policy);
	vmx_update_rdpmc_intercept(vcpu, !policy.rdpmc);
	vmx_update_global_ctrl_controls(vcpu, kvm_vcpu_owns_pmu(vcpu),
					policy.global_ctrl);
}
