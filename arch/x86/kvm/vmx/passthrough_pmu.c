// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX part of guests that own the PMU while they run
 *
 * The guest's IA32_PERF_GLOBAL_CTRL is in hardware in guest mode only: VM-entry
 * loads it from the VMCS and VM-exit loads 0, so that nothing counts between a
 * VM-exit and the moment the guest's counters are taken out of the PMU.  In each
 * VMCS of such a vCPU, the host's value is the constant 0.
 *
 * pmu->global_ctrl and the loaded VMCS always agree outside guest mode.  If the
 * guest may write the MSR without a VM-exit, hardware saves the value on VM-exit:
 * into the VMCS if it is able to (Sapphire Rapids and later), otherwise into the
 * MSR-store list of the VMCS.  All other writes go to both.
 *
 * L2 counts on the PMU that L1 owns.  There is one pmu->global_ctrl, but one VMCS
 * for each level: whichever is loaded next gets the current value, and if L1 asks
 * for another one at that moment, nested code writes it like any other write.
 * vmcs02 has the controls of vmcs01 and its MSR bitmap opens what both vmcs01's
 * and L1's bitmap open; L1 may demand more exits, but can't do with less.
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

static struct kvm_passthrough_pmu_regs vmx_passthrough_pmu_regs __initdata = {
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

/* MSRs that a guest may touch without a VM-exit, and how, if the policy agrees. */
static const struct {
	u32 first;
	u8 nr;
	u8 types;
} vmx_passthrough_pmu_msrs[] = {
	{ MSR_IA32_PERFCTR0, KVM_MAX_NR_INTEL_GP_COUNTERS, MSR_TYPE_RW },
	{ MSR_IA32_PMC0, KVM_MAX_NR_INTEL_GP_COUNTERS, MSR_TYPE_RW },
	{ MSR_CORE_PERF_FIXED_CTR0, KVM_MAX_NR_INTEL_FIXED_COUTNERS, MSR_TYPE_RW },
	{ MSR_CORE_PERF_GLOBAL_STATUS, 1, MSR_TYPE_R },
	{ MSR_CORE_PERF_GLOBAL_CTRL, 1, MSR_TYPE_RW },
	{ MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1, MSR_TYPE_W },
};

/* Bits of IA32_PERF_GLOBAL_CTRL, IA32_PERF_GLOBAL_STATUS and ..._RESET, SDM vol. 4. */
#define GLOBAL_PERF_METRICS	BIT_ULL(48)
#define STATUS_LBR_FRZ		BIT_ULL(58)
#define STATUS_CTR_FRZ		BIT_ULL(59)
#define STATUS_ASCI		BIT_ULL(60)

/* Intel PT is not part of the PMU and traces on, unless the guest has it. */
static u64 vmx_host_trace_bit(void)
{
	return cpu_feature_enabled(X86_FEATURE_INTEL_PT) && !vmx_pt_mode_is_host_guest() ?
	       MSR_CORE_PERF_GLOBAL_OVF_CTRL_TRACE_TOPA_PMI : 0;
}

/*
 * What this host's PMU has beyond what KVM models.
 *
 * No guest can freeze LBRs or counters on a PMI, as KVM doesn't offer the bits of
 * DEBUGCTL; hence these bits don't show up in the status.  They are accepted by
 * IA32_PERF_GLOBAL_STATUS_RESET nevertheless.  Ovf_Uncore (61) is left out: nobody
 * enables PMIs of the uncore.
 */
static void __init vmx_passthrough_pmu_probe(struct kvm_passthrough_pmu_regs *regs)
{
	u64 status = MSR_CORE_PERF_GLOBAL_OVF_CTRL_OVF_BUF |
		     MSR_CORE_PERF_GLOBAL_OVF_CTRL_COND_CHGD;

	if (boot_cpu_has(X86_FEATURE_INTEL_PT))
		status |= MSR_CORE_PERF_GLOBAL_OVF_CTRL_TRACE_TOPA_PMI;
	if (boot_cpu_has(X86_FEATURE_SGX))
		status |= STATUS_ASCI;

	if (kvm_host.perf_capabilities & BIT_ULL(PERF_CAP_METRICS_IDX)) {
		regs->has_metrics = true;
		regs->ctrl_extra = GLOBAL_PERF_METRICS;
		status |= GLOBAL_PERF_METRICS;
	}

	regs->status_extra = status;
	regs->clear_extra = status | STATUS_LBR_FRZ | STATUS_CTR_FRZ;

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

	vmx_passthrough_pmu_probe(&vmx_passthrough_pmu_regs);

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
 * Bits of the guest's status that hardware holds while the guest owns the PMU, and
 * lets itself be given by IA32_PERF_GLOBAL_STATUS_SET.  CondChgd can't be set, and
 * OvfBuffer is about a debug store that no guest has; user space may have put both
 * into the guest's status.
 */
static u64 vmx_loadable_status(struct kvm_pmu *pmu)
{
	return ~pmu->global_status_rsvd & ~(MSR_CORE_PERF_GLOBAL_OVF_CTRL_OVF_BUF |
					    MSR_CORE_PERF_GLOBAL_OVF_CTRL_COND_CHGD);
}

/**
 * vmx_passthrough_pmu_load - load overflow status and control of fixed counters
 * @vcpu: the vCPU that takes the PMU over
 *
 * The status can't be written as such, only set or cleared bit by bit (SDM vol. 3,
 * "IA32_PERF_GLOBAL_STATUS_SET" and "..._RESET").
 *
 * IA32_PERF_GLOBAL_CTRL is up to VM-entry.
 *
 * Context: IRQs off, nothing counts.
 */
void vmx_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 want = pmu->global_status & vmx_loadable_status(pmu);
	u64 status, clear, set;

	rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);
	clear = status & ~want & ~vmx_host_trace_bit();
	set = want & ~status;
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
	/* perf_put_guest_lvtpc() looks for it. */
	status &= ~vmx_host_trace_bit();
	if (status)
		wrmsrl(MSR_CORE_PERF_GLOBAL_OVF_CTRL, status);

	/*
	 * Bits that are never loaded stay until the guest clears them.  Beyond
	 * that, keep to what KVM_SET_MSRS accepts on another host.
	 */
	pmu->global_status &= ~vmx_loadable_status(pmu);
	pmu->global_status |= status & ~pmu->global_status_rsvd;

	/* perf relies on 0 here. */
	if (pmu->fixed_ctr_ctrl_hw)
		wrmsrl(MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
}

/**
 * vmx_passthrough_pmu_write_global_ctrl - make the loaded VMCS agree with KVM
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * For all writes but the guest's own ones.
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
				  !policy->global_ctrl);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, MSR_TYPE_R,
				  !policy->status);
	vmx_set_intercept_for_msr(vcpu, MSR_CORE_PERF_GLOBAL_OVF_CTRL, MSR_TYPE_W,
				  !policy->status_clear);
}

/*
 * Without L1's bitmap this only closes: what L1 may not do any more, L2 may not
 * either, but what L1's bitmap says now is not known until the next nested entry.
 */
static void vmx_merge_msr(struct vcpu_vmx *vmx, unsigned long *l1, u32 msr, u8 types)
{
	unsigned long *vmcs01 = vmx->vmcs01.msr_bitmap;
	unsigned long *vmcs02 = vmx->nested.vmcs02.msr_bitmap;

	if (types & MSR_TYPE_R) {
		if (vmx_test_msr_bitmap_read(vmcs01, msr) ||
		    (l1 && vmx_test_msr_bitmap_read(l1, msr)))
			vmx_set_msr_bitmap_read(vmcs02, msr);
		else if (l1)
			vmx_clear_msr_bitmap_read(vmcs02, msr);
	}
	if (types & MSR_TYPE_W) {
		if (vmx_test_msr_bitmap_write(vmcs01, msr) ||
		    (l1 && vmx_test_msr_bitmap_write(l1, msr)))
			vmx_set_msr_bitmap_write(vmcs02, msr);
		else if (l1)
			vmx_clear_msr_bitmap_write(vmcs02, msr);
	}
}

/**
 * vmx_passthrough_pmu_merge_msr_bitmap - L2 may do what L1 may, if L1 agrees
 * @vcpu: vCPU with a vmcs02
 * @l1: the MSR bitmap that L1 has for L2, or NULL if nobody knows
 *
 * Starts from vmcs01's bitmap, hence obeys the policy and user space's filter.
 *
 * Context: vCPU loaded.
 */
void vmx_passthrough_pmu_merge_msr_bitmap(struct kvm_vcpu *vcpu, unsigned long *l1)
{
	int i, n;

	if (!enable_passthrough_pmu || !cpu_has_vmx_msr_bitmap())
		return;

	for (i = 0; i < ARRAY_SIZE(vmx_passthrough_pmu_msrs); i++)
		for (n = 0; n < vmx_passthrough_pmu_msrs[i].nr; n++)
			vmx_merge_msr(to_vmx(vcpu), l1,
				      vmx_passthrough_pmu_msrs[i].first + n,
				      vmx_passthrough_pmu_msrs[i].types);
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

static void vmx_update_msr_store_list(struct vcpu_vmx *vmx, struct vmx_msrs *list, bool store)
{
	int slot = vmx_find_loadstore_msr_slot(list, MSR_CORE_PERF_GLOBAL_CTRL);

	if (store && slot < 0) {
		if (KVM_BUG_ON(list->nr == MAX_NR_LOADSTORE_MSRS, vmx->vcpu.kvm))
			return;
		list->val[list->nr].index = MSR_CORE_PERF_GLOBAL_CTRL;
		list->val[list->nr++].value = 0;
	} else if (!store && slot >= 0) {
		list->val[slot] = list->val[--list->nr];
	}
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
 * vmcs01 follows when it is loaded, see vmx_passthrough_pmu_switch_vmcs().  The
 * other way round needs no note: vmcs02 is derived from vmcs01 at each nested entry.
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
					policy.global_ctrl);

	if (vmx->loaded_vmcs == &vmx->vmcs01) {
		vmx->nested.update_vmcs01_passthrough_pmu = false;
		/* The length of the MSR-store list is a rarely written field. */
		vmx->nested.dirty_vmcs12 = true;
	} else {
		vmx->nested.update_vmcs01_passthrough_pmu = true;
		vmx_passthrough_pmu_merge_msr_bitmap(vcpu, NULL);
	}
}

/**
 * vmx_passthrough_pmu_switch_vmcs - the vCPU goes on with its other VMCS
 * @vcpu: the vCPU, on its way between L1 and L2
 *
 * GLOBAL_CTRL keeps its value on the way unless L1 has it loaded, which is up to
 * nested code, later.  But the value was written to the other VMCS.
 *
 * Context: the other VMCS was just loaded.
 */
void vmx_passthrough_pmu_switch_vmcs(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (!enable_passthrough_pmu)
		return;

	if (vmx->nested.update_vmcs01_passthrough_pmu && vmx->loaded_vmcs == &vmx->vmcs01)
		vmx_passthrough_pmu_update(vcpu);

	if (kvm_vcpu_has_passthrough_pmu(vcpu))
		vmx_passthrough_pmu_write_global_ctrl(vcpu);
}
