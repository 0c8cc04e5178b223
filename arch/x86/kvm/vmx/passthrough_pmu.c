// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX part of guests that own the PMU while they run
 *
 * The guest's IA32_PERF_GLOBAL_CTRL is in hardware in guest mode only: VM-entry
 * loads it from the VMCS and VM-exit loads 0, so that nothing counts between a
 * VM-exit and the moment the guest's counters are taken out of the PMU.  This
 * holds for each VMCS of the module; with the feature on, the host's value in
 * the VMCS is the constant 0.
 *
 * pmu->global_ctrl and the loaded VMCS always agree outside guest mode.  If the
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
#include "nested.h"
#include "passthrough_pmu.h"
#include "vmx.h"
#include "x86.h"

/*
 * What the administrator asked for, and after hardware setup what is in effect.
 */
bool __read_mostly vmx_enable_passthrough_pmu;

static const struct kvm_passthrough_pmu_regs vmx_passthrough_pmu_regs = {
	/* The aliases at MSR_IA32_PERFCTR0 would lose bits 47:32. */
	.gp_counter	= MSR_IA32_PMC0,
	.gp_selector	= MSR_P6_EVNTSEL0,
	.gp_stride	= 1,
	.nr_legacy	= KVM_MAX_NR_INTEL_GP_COUNTERS,
	.fixed_counter	= MSR_CORE_PERF_FIXED_CTR0,
	.fixed_rdpmc	= INTEL_PMC_FIXED_RDPMC_BASE,
	/*
	 * The guest may set the pin control bit, which is a remnant that today's
	 * processors need not take.  AnyThread would count another guest.
	 */
	.selector_clear	= ARCH_PERFMON_EVENTSEL_PIN_CONTROL |
			  ARCH_PERFMON_EVENTSEL_ANY,
};

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

	vmx_enable_passthrough_pmu = kvm_passthrough_pmu_setup(vmx_enable_passthrough_pmu,
							       missing,
							       &vmx_passthrough_pmu_regs);
}

/**
 * vmx_passthrough_pmu_stop - stop all counters
 *
 * Context: IRQs off, the host's events are out of the PMU.
 */
void vmx_passthrough_pmu_stop(void)
{
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, 0);
}

/*
 * Bits of IA32_PERF_GLOBAL_STATUS that are the host's even while a guest owns
 * the PMU: Intel PT is not part of the PMU and traces on.
 */
static u64 vmx_host_status_bits(void)
{
	return vmx_pt_mode_is_host_guest() ? 0 : MSR_CORE_PERF_GLOBAL_OVF_CTRL_TRACE_TOPA_PMI;
}

/**
 * vmx_passthrough_pmu_load - load overflow status and control of fixed counters
 * @vcpu: the vCPU that takes the PMU over
 *
 * The status can't be written as such, only set or cleared bit by bit (SDM vol. 3,
 * "IA32_PERF_GLOBAL_STATUS_SET" and "..._RESET").  User space may have put bits
 * into the guest's status that hardware refuses to set, hence set none that don't
 * belong to the guest's counters.
 *
 * IA32_PERF_GLOBAL_CTRL is up to VM-entry.
 *
 * Context: IRQs off, nothing counts.
 */
void vmx_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 settable = ~pmu->global_ctrl_rsvd;
	u64 status, clear, set;

	if (vmx_pt_mode_is_host_guest())
		settable |= MSR_CORE_PERF_GLOBAL_OVF_CTRL_TRACE_TOPA_PMI;

	rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);
	clear = status & ~pmu->global_status & ~vmx_host_status_bits();
	set = pmu->global_status & ~status & settable;
	if (clear)
		wrmsrl(MSR_CORE_PERF_GLOBAL_OVF_CTRL, clear);
	if (set)
		wrmsrl(MSR_CORE_PERF_GLOBAL_STATUS_SET, set);

	wrmsrl(MSR_CORE_PERF_FIXED_CTR_CTRL, pmu->fixed_ctr_ctrl_hw);
}

/**
 * vmx_passthrough_pmu_put - take out what vmx_passthrough_pmu_load() loaded
 * @vcpu: the vCPU that gives the PMU back
 *
 * Context: IRQs off.  Nothing counts, VM-exit has seen to that.
 */
void vmx_passthrough_pmu_put(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 status;

	rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);
	status &= ~vmx_host_status_bits();
	if (status)
		wrmsrl(MSR_CORE_PERF_GLOBAL_OVF_CTRL, status);

	/* Keep to what KVM_SET_MSRS accepts on another host. */
	pmu->global_status = status & ~pmu->global_status_rsvd;

	/* perf relies on 0 here. */
	if (pmu->fixed_ctr_ctrl_hw)
		wrmsrl(MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
}

/**
 * vmx_passthrough_pmu_write_global_ctrl - make the loaded VMCS agree with KVM
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * For all writes but the guest's own ones, and after another VMCS was loaded.
 *
 * Context: a VMCS of the vCPU is loaded.
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
	struct vmx_msrs *list;
	int slot;

	if (cpu_has_save_perf_global_ctrl()) {
		pmu->global_ctrl = vmcs_read64(GUEST_IA32_PERF_GLOBAL_CTRL);
		return;
	}

	list = vmx_msr_autostore(to_vmx(vcpu));
	slot = vmx_find_loadstore_msr_slot(list, MSR_CORE_PERF_GLOBAL_CTRL);
	if (WARN_ON_ONCE(slot < 0))
		return;

	pmu->global_ctrl = list->val[slot].value;
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

	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_CTRL, MSR_TYPE_RW,
				  !policy->globals);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, MSR_TYPE_R,
				  !policy->globals);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_OVF_CTRL, MSR_TYPE_W,
				  !policy->globals);
}

static void vmx_update_rdpmc_intercept(struct kvm_vcpu *vcpu, bool intercept)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (is_guest_mode(vcpu))
		intercept |= nested_cpu_has(get_vmcs12(vcpu), CPU_BASED_RDPMC_EXITING);

	if (intercept)
		exec_controls_setbit(vmx, CPU_BASED_RDPMC_EXITING);
	else
		exec_controls_clearbit(vmx, CPU_BASED_RDPMC_EXITING);
}

/* Only L1 may write the MSR without a VM-exit, vmcs02 need not store it. */
static void vmx_update_msr_store_list(struct vcpu_vmx *vmx, bool store)
{
	struct vmx_msrs *list = &vmx->msr_autostore.vmcs01;
	int slot = vmx_find_loadstore_msr_slot(list, MSR_CORE_PERF_GLOBAL_CTRL);

	if (store && slot < 0) {
		if (KVM_BUG_ON(list->nr == MAX_NR_LOADSTORE_MSRS, vmx->vcpu.kvm))
			return;
		list->val[list->nr].index = MSR_CORE_PERF_GLOBAL_CTRL;
		list->val[list->nr++].value = 0;
	} else if (!store && slot >= 0) {
		list->val[slot] = list->val[--list->nr];
	}

	if (vmx->loaded_vmcs == &vmx->vmcs01)
		vmcs_write32(VM_EXIT_MSR_STORE_COUNT, list->nr);
}

static void vmx_update_global_ctrl_controls(struct kvm_vcpu *vcpu, bool owns_pmu, bool save)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (owns_pmu) {
		vm_entry_controls_setbit(vmx, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
		vm_exit_controls_setbit(vmx, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
		vmx_passthrough_pmu_write_global_ctrl(vcpu);
	} else {
		vm_entry_controls_clearbit(vmx, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
		vm_exit_controls_clearbit(vmx, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	}

	if (!cpu_has_save_perf_global_ctrl())
		vmx_update_msr_store_list(vmx, save);
	else if (save)
		vm_exit_controls_setbit(vmx, VM_EXIT_SAVE_IA32_PERF_GLOBAL_CTRL);
	else
		vm_exit_controls_clearbit(vmx, VM_EXIT_SAVE_IA32_PERF_GLOBAL_CTRL);
}

/**
 * vmx_passthrough_pmu_update - apply the policy to a vCPU
 * @vcpu: the vCPU
 *
 * Sets and resets, since user space may set CPUID more than once.  Called after
 * anything that the policy depends on has changed: CPUID, PERF_CAPABILITIES, or
 * user space's MSR filter.
 *
 * Does nothing with the feature off: nothing was ever let through then, and the
 * controls are atomic_switch_perf_msrs()'s.
 *
 * If vmcs02 is loaded, it gets what L1's policy and L1's wishes demand, and
 * vmcs01 follows when it is loaded.
 *
 * Context: a VMCS of the vCPU is loaded.
 */
void vmx_passthrough_pmu_update(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_policy policy;
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (!enable_passthrough_pmu)
		return;

	policy = kvm_passthrough_pmu_policy(vcpu, fw_writes_is_enabled(vcpu));

	vmx_update_msr_intercepts(vcpu, &policy);
	vmx_update_rdpmc_intercept(vcpu, !policy.rdpmc);
	vmx_update_global_ctrl_controls(vcpu, kvm_vcpu_has_passthrough_pmu(vcpu),
					policy.globals);

	vmx->nested.update_vmcs01_passthrough_pmu = vmx->loaded_vmcs != &vmx->vmcs01;
}
