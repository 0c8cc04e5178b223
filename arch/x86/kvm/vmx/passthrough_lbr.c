// SPDX-License-Identifier: GPL-2.0-only
/*
 * Branch records of guests that own the PMU, on Intel CPUs
 *
 * There are two kinds.  The older one is a property of the processor's model, that
 * PERF_CAPABILITIES has a number for, and DEBUGCTL enables it.  The other one is
 * architectural: CPUID describes it, LBR_CTL enables it, and XSAVES saves all of it.
 *
 * Both controls are the guest's in guest mode only.  DEBUGCTL is always loaded on VM-entry
 * and cleared on VM-exit.  For LBR_CTL there are VMX controls, which are set as long as
 * the registers are open; then the VMCS has the value (SDM vol. 3, "Saving Control Registers,
 * Debug Registers, and MSRs").  Otherwise the guest has nothing enabled, and pmu->lbr.ctl
 * has the rest.
 *
 * XSAVES and XRSTORS access the registers like RDMSR and WRMSR do.  So they exit for this
 * component while the registers are closed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitfield.h>
#include <linux/kvm_host.h>
#include <asm/fpu/types.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/vmx.h>

#include "capabilities.h"
#include "cpuid.h"
#include "nested.h"
#include "passthrough_lbr.h"
#include "passthrough_pmu.h"
#include "vmx.h"
#include "x86.h"

/* The format that has FROM, TO and INFO, of Skylake and its successors. */
#define LBR_FMT_INFO		5

#define LBR_SELECT_VALID	GENMASK_ULL(9, 0)

#define LBR_INFO_FLAGS		(LBR_INFO_MISPRED | LBR_INFO_IN_TX | LBR_INFO_ABORT)
/* Others may be written and need not keep what was. */
#define ARCH_LBR_INFO_KEPT	(LBR_INFO_FLAGS | LBR_INFO_CYC_CNT_VALID | \
				 LBR_INFO_BR_TYPE | LBR_INFO_CYCLES)

/* Records of this host that guests may have; none if nr is 0. */
static struct {
	u8 nr;
	bool arch;
	/* Hardware has no other depth. */
	bool fixed_depth;
	u32 from;
	u32 to;
	u32 info;
	union cpuid28_ebx ebx;
} host_lbr __ro_after_init;

static u64 lbr_ctl_rsvd(union cpuid28_ebx ebx)
{
	u64 valid = ARCH_LBR_CTL_LBREN;

	if (ebx.split.lbr_cpl)
		valid |= ARCH_LBR_CTL_CPL;
	if (ebx.split.lbr_call_stack)
		valid |= ARCH_LBR_CTL_STACK;
	if (ebx.split.lbr_filter)
		valid |= ARCH_LBR_CTL_FILTER;

	return ~valid;
}

static u32 depth_bit(u8 nr)
{
	return BIT(nr / 8 - 1);
}

static u32 __init host_xss_features(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
	return ecx;
}

/*
 * Fit for guests are records that KVM is able to hand over completely, and that only the
 * guest adds to.
 */
static bool __init probe_arch_lbr(const struct x86_pmu_lbr *lbr)
{
	union cpuid28_eax eax;
	u32 ecx, edx;

	if (!cpu_has_load_lbr_ctl() || !cpu_has_vmx_xsaves() ||
	    !(host_xss_features() & XFEATURE_MASK_LBR))
		return false;

	cpuid(28, &eax.full, &host_lbr.ebx.full, &ecx, &edx);
	if (lbr->nr % 8 || !(eax.split.lbr_depth_mask & depth_bit(lbr->nr)))
		return false;

	host_lbr.fixed_depth = eax.split.lbr_depth_mask == depth_bit(lbr->nr);
	return true;
}

static void __init add_msrs(u32 first, unsigned int nr)
{
	while (nr--)
		kvm_lbr_msrs[kvm_nr_lbr_msrs++] = first++;
}

/* For KVM_GET_MSR_INDEX_LIST.  Writing the depth zeroes the records, hence it comes first. */
static void __init list_msrs(void)
{
	if (host_lbr.arch) {
		add_msrs(MSR_ARCH_LBR_DEPTH, 1);
		add_msrs(MSR_ARCH_LBR_CTL, 1);
		add_msrs(MSR_ARCH_LER_FROM, 1);
		add_msrs(MSR_ARCH_LER_TO, 1);
		add_msrs(MSR_ARCH_LER_INFO, 1);
	} else {
		add_msrs(MSR_LBR_SELECT, 1);
		add_msrs(MSR_LBR_TOS, 1);
	}
	add_msrs(host_lbr.from, host_lbr.nr);
	add_msrs(host_lbr.to, host_lbr.nr);
	add_msrs(host_lbr.info, host_lbr.nr);
}

/**
 * vmx_passthrough_lbr_setup - decide whether guests that own the PMU have branch records
 *
 * PMUs before version 4 freeze records in another way, which later hardware can't do:
 * guests with such a PMU have none.
 *
 * Context: hardware setup, after vmx_passthrough_pmu_setup() and before
 *	    vmx_set_cpu_caps().
 */
void __init vmx_passthrough_lbr_setup(void)
{
	struct x86_pmu_lbr lbr;

	kvm_nr_lbr_msrs = 0;

	if (!enable_passthrough_pmu || kvm_pmu_cap.version < 4)
		return;

	x86_perf_get_lbr(&lbr);
	if (!lbr.nr || lbr.nr > X86_GUEST_LBR_MAX || !lbr.info)
		return;

	if (cpu_feature_enabled(X86_FEATURE_ARCH_LBR)) {
		if (!probe_arch_lbr(&lbr))
			return;
		host_lbr.arch = true;
	} else if ((kvm_host.perf_capabilities & PMU_CAP_LBR_FMT) != LBR_FMT_INFO) {
		return;
	}

	host_lbr.nr = lbr.nr;
	host_lbr.from = lbr.from;
	host_lbr.to = lbr.to;
	host_lbr.info = lbr.info;
	list_msrs();
}

/**
 * vmx_passthrough_lbr_format - what may guests be told about their branch records?
 *
 * CPUID says all about architectural LBRs, and software that knows these goes by it.
 *
 * Context: any, after vmx_passthrough_lbr_setup().
 *
 * Return: the format in PERF_CAPABILITIES, 0 if guests that own the PMU have none there.
 */
u64 vmx_passthrough_lbr_format(void)
{
	return host_lbr.nr && !host_lbr.arch ? LBR_FMT_INFO : 0;
}

/**
 * vmx_passthrough_lbr_is_arch - may guests have architectural LBRs?
 *
 * Context: any, after vmx_passthrough_lbr_setup().
 *
 * Return: true if those that own the PMU may.
 */
bool vmx_passthrough_lbr_is_arch(void)
{
	return host_lbr.nr && host_lbr.arch;
}

/* Does the guest record branches, or would if it had the registers? */
static bool is_recording(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	if (!lbr->nr)
		return false;

	return lbr->arch ? lbr->ctl & ARCH_LBR_CTL_LBREN :
			   vmx_guest_debugctl_read() & DEBUGCTLMSR_LBR;
}

/**
 * vmx_passthrough_lbr_recheck - a control may have changed that enables records
 * @vcpu: the vCPU
 *
 * Context: a VMCS of the vCPU is loaded.  As kvm_passthrough_lbr_wake().
 */
void vmx_passthrough_lbr_recheck(struct kvm_vcpu *vcpu)
{
	if (is_recording(vcpu))
		kvm_passthrough_lbr_wake(vcpu);
}

/**
 * vmx_passthrough_lbr_refresh - work out which records a vCPU has
 * @vcpu: the vCPU, with a new CPUID or PERF_CAPABILITIES
 *
 * Leaves it without any unless it has them: it had none when this was called.
 *
 * Context: vCPU loaded, before it runs.
 */
void vmx_passthrough_lbr_refresh(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	struct kvm_passthrough_lbr *lbr = &pmu->lbr;
	struct kvm_cpuid_entry2 *entry;
	union cpuid28_ebx ebx;

	if (!pmu->passthrough || pmu->version < 4 || !host_lbr.nr)
		return;

	if (host_lbr.arch) {
		entry = kvm_find_cpuid_entry(vcpu, 0x1c);
		if (!guest_cpu_cap_has(vcpu, X86_FEATURE_ARCH_LBR) || !entry ||
		    !(entry->eax & depth_bit(host_lbr.nr)))
			return;

		ebx.full = entry->ebx & host_lbr.ebx.full;
		/* Hardware records nothing without what the guest could not set. */
		if (ebx.split.lbr_cpl != host_lbr.ebx.split.lbr_cpl ||
		    ebx.split.lbr_filter != host_lbr.ebx.split.lbr_filter)
			return;

		lbr->ctl_rsvd = lbr_ctl_rsvd(ebx);
		lbr->ctl &= ~lbr->ctl_rsvd;
	} else if (!guest_cpu_cap_has(vcpu, X86_FEATURE_PDCM) ||
		   !(vcpu->arch.perf_capabilities & PMU_CAP_LBR_FMT) ||
		   !cpuid_model_is_consistent(vcpu)) {
		return;
	}

	lbr->arch = host_lbr.arch;
	lbr->nr = host_lbr.nr;
	/* DEBUGCTL outlives a new CPUID. */
	vmx_passthrough_lbr_recheck(vcpu);
}

/**
 * vmx_passthrough_lbr_load - the guest's records are in hardware
 * @vcpu: the vCPU, whose registers are open
 *
 * Context: IRQs off, a VMCS of the vCPU is loaded.
 */
void vmx_passthrough_lbr_load(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	if (!lbr->arch)
		return;

	vmcs_write64(GUEST_IA32_LBR_CTL, lbr->ctl);
	lbr->ctl_in_vmcs = true;
}

static void see_ctl(struct kvm_passthrough_lbr *lbr)
{
	if (lbr->ctl_in_vmcs)
		lbr->ctl = vmcs_read64(GUEST_IA32_LBR_CTL) & ~lbr->ctl_rsvd;
}

/**
 * vmx_passthrough_lbr_put - the guest's records are in memory
 * @vcpu: the vCPU
 *
 * Context: IRQs off, a VMCS of the vCPU is loaded.
 *
 * Return: true if the guest wants to go on with recording.
 */
bool vmx_passthrough_lbr_put(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	see_ctl(lbr);
	lbr->ctl_in_vmcs = false;
	return is_recording(vcpu);
}

/**
 * vmx_passthrough_lbr_leave_vmcs - another VMCS of a vCPU is about to be loaded
 * @vcpu: the vCPU
 *
 * VM-entry of L1 to L2 doesn't change LBR_CTL, as KVM offers no control that would: the
 * value moves along.
 *
 * Context: the old VMCS is loaded.
 */
void vmx_passthrough_lbr_leave_vmcs(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	guard(irqsave)();

	see_ctl(lbr);
	lbr->ctl_in_vmcs = false;
}

/**
 * vmx_passthrough_lbr_enter_vmcs - another VMCS of a vCPU is loaded
 * @vcpu: the vCPU
 *
 * Context: counterpart of vmx_passthrough_lbr_leave_vmcs().
 */
void vmx_passthrough_lbr_enter_vmcs(struct kvm_vcpu *vcpu)
{
	scoped_guard(irqsave) {
		if (vcpu_to_pmu(vcpu)->left & X86_GUEST_LBR_BIT)
			vmx_passthrough_lbr_load(vcpu);
	}

	/* DEBUGCTL may be another one, and perf may have been here meanwhile. */
	vmx_passthrough_lbr_recheck(vcpu);
}

/*
 * Writes exit that are valid for hardware and not for the guest: another depth, and what
 * its LBR_CTL doesn't have.  A guest that sets such filters by XRSTORS has them until it
 * loses the registers; they are its own records.
 */
static void update_msr_intercepts(struct kvm_vcpu *vcpu, bool open)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	unsigned int i;
	u32 msr;

	for (i = 0; i < kvm_nr_lbr_msrs; i++) {
		msr = kvm_lbr_msrs[i];
		vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_R, !open);
		vmx_set_intercept_for_msr(vcpu, msr, MSR_TYPE_W, !open ||
					  (msr == MSR_ARCH_LBR_DEPTH && !host_lbr.fixed_depth) ||
					  (msr == MSR_ARCH_LBR_CTL &&
					   lbr->ctl_rsvd != lbr_ctl_rsvd(host_lbr.ebx)));
	}
}

/**
 * vmx_passthrough_lbr_xss_exits - for which components shall XSAVES and XRSTORS exit?
 * @vcpu: the vCPU
 *
 * Context: any.
 *
 * Return: what the XSS-exiting bitmap has to have at least.
 */
u64 vmx_passthrough_lbr_xss_exits(struct kvm_vcpu *vcpu)
{
	return vmx_passthrough_lbr_is_arch() && !vcpu_to_pmu(vcpu)->lbr.open ?
	       XFEATURE_MASK_LBR : 0;
}

static void update_xss_exits(struct kvm_vcpu *vcpu)
{
	u64 bitmap = vmx_passthrough_lbr_xss_exits(vcpu);

	if (is_guest_mode(vcpu) && nested_cpu_has_xsaves(get_vmcs12(vcpu)))
		bitmap |= get_vmcs12(vcpu)->xss_exit_bitmap;

	vmcs_write64(XSS_EXIT_BITMAP, bitmap);
}

/**
 * vmx_passthrough_lbr_update - open or close the branch records of a vCPU
 * @vcpu: the vCPU
 *
 * Follows pmu->lbr.awake; but a vCPU that doesn't own the PMU has nothing open.
 *
 * Context: a VMCS of the vCPU is loaded.  See vmx_passthrough_pmu_update() for when.
 */
void vmx_passthrough_lbr_update(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	bool open = lbr->nr && lbr->awake && kvm_vcpu_owns_pmu(vcpu);
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	u64 debugctl;

	if (!host_lbr.nr)
		return;

	if (open || lbr->open)
		update_msr_intercepts(vcpu, open);
	lbr->open = open;

	if (host_lbr.arch) {
		if (open) {
			vm_entry_controls_setbit(vmx, VM_ENTRY_LOAD_IA32_LBR_CTL);
			vm_exit_controls_setbit(vmx, VM_EXIT_CLEAR_IA32_LBR_CTL);
		} else {
			vm_entry_controls_clearbit(vmx, VM_ENTRY_LOAD_IA32_LBR_CTL);
			vm_exit_controls_clearbit(vmx, VM_EXIT_CLEAR_IA32_LBR_CTL);
		}
		update_xss_exits(vcpu);
	} else if (!lbr->nr) {
		/* User space may have set it when the vCPU was another one. */
		debugctl = vmx_guest_debugctl_read();
		if (debugctl & DEBUGCTLMSR_LBR)
			vmx_guest_debugctl_write(vcpu, debugctl & ~DEBUGCTLMSR_LBR);
	}
}

static u64 *find_record(struct kvm_passthrough_lbr *lbr, u32 msr, bool *is_info)
{
	struct x86_guest_lbr *regs = &lbr->regs;

	*is_info = false;
	if (msr - host_lbr.from < lbr->nr)
		return &regs->entries[msr - host_lbr.from].from;
	if (msr - host_lbr.to < lbr->nr)
		return &regs->entries[msr - host_lbr.to].to;
	if (lbr->arch && msr == MSR_ARCH_LER_FROM)
		return &regs->ler_from;
	if (lbr->arch && msr == MSR_ARCH_LER_TO)
		return &regs->ler_to;

	*is_info = true;
	if (msr - host_lbr.info < lbr->nr)
		return &regs->entries[msr - host_lbr.info].info;
	if (lbr->arch && msr == MSR_ARCH_LER_INFO)
		return &regs->ler_info;

	return NULL;
}

/**
 * vmx_passthrough_lbr_has_msr - does a register belong to a vCPU's branch records?
 * @vcpu: the vCPU
 * @msr: the register
 *
 * Context: any.
 *
 * Return: true if it does.
 */
bool vmx_passthrough_lbr_has_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	bool is_info;

	if (!lbr->nr)
		return false;

	switch (msr) {
	case MSR_ARCH_LBR_DEPTH:
	case MSR_ARCH_LBR_CTL:
		return lbr->arch;
	case MSR_LBR_SELECT:
	case MSR_LBR_TOS:
		return !lbr->arch;
	default:
		return find_record(lbr, msr, &is_info);
	}
}

static u64 read_ctl(struct kvm_passthrough_lbr *lbr)
{
	guard(irqsave)();

	see_ctl(lbr);
	return lbr->ctl;
}

static int write_ctl(struct kvm_vcpu *vcpu, u64 data)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	if (data & lbr->ctl_rsvd)
		return 1;

	scoped_guard(irqsave) {
		lbr->ctl = data;
		if (lbr->ctl_in_vmcs)
			vmcs_write64(GUEST_IA32_LBR_CTL, data);
	}
	vmx_passthrough_lbr_recheck(vcpu);
	return 0;
}

static int write_depth(struct kvm_vcpu *vcpu, u64 data)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (data != pmu->lbr.nr)
		return 1;

	guard(irqsave)();

	memset(pmu->lbr.regs.entries, 0, sizeof(pmu->lbr.regs.entries));
	if (pmu->left & X86_GUEST_LBR_BIT)
		wrmsrl(MSR_ARCH_LBR_DEPTH, data);
	return 0;
}

/* KVM in a guest reads the last branch before an event for what it lists, and no record. */
static bool wakes(struct msr_data *msr_info)
{
	switch (msr_info->index) {
	case MSR_ARCH_LER_FROM:
	case MSR_ARCH_LER_TO:
	case MSR_ARCH_LER_INFO:
		return false;
	default:
		return !msr_info->host_initiated;
	}
}

/**
 * vmx_passthrough_lbr_get_msr - read a register of a vCPU's branch records
 * @vcpu: the vCPU
 * @msr_info: which register, one that vmx_passthrough_lbr_has_msr() says it has
 *
 * What a guest that reads records will read next are the others.
 *
 * Context: vCPU loaded, IRQs on.
 *
 * Return: 0
 */
int vmx_passthrough_lbr_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	u32 msr = msr_info->index;
	bool is_info;
	u64 *reg;

	switch (msr) {
	case MSR_ARCH_LBR_CTL:
		msr_info->data = read_ctl(lbr);
		return 0;
	case MSR_ARCH_LBR_DEPTH:
		msr_info->data = lbr->nr;
		return 0;
	case MSR_LBR_SELECT:
		reg = &lbr->regs.select;
		break;
	case MSR_LBR_TOS:
		reg = &lbr->regs.tos;
		break;
	default:
		reg = find_record(lbr, msr, &is_info);
		break;
	}

	msr_info->data = kvm_passthrough_lbr_read(vcpu, msr, reg);
	if (wakes(msr_info))
		kvm_passthrough_lbr_wake(vcpu);
	return 0;
}

/**
 * vmx_passthrough_lbr_set_msr - write a register of a vCPU's branch records
 * @vcpu: the vCPU
 * @msr_info: which register, one that vmx_passthrough_lbr_has_msr() says it has
 *
 * Nothing gets into hardware that it refuses.
 *
 * Context: vCPU loaded, IRQs on.
 *
 * Return: 0, or 1 if that is no value for this register.
 */
int vmx_passthrough_lbr_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	u32 msr = msr_info->index;
	u64 data = msr_info->data;
	bool is_info;
	u64 *reg;

	switch (msr) {
	case MSR_ARCH_LBR_CTL:
		return write_ctl(vcpu, data);
	case MSR_ARCH_LBR_DEPTH:
		return write_depth(vcpu, data);
	case MSR_LBR_SELECT:
		if (data & ~LBR_SELECT_VALID)
			return 1;
		reg = &lbr->regs.select;
		break;
	case MSR_LBR_TOS:
		if (data >= lbr->nr)
			return 1;
		reg = &lbr->regs.tos;
		break;
	default:
		reg = find_record(lbr, msr, &is_info);
		if (!is_info && is_noncanonical_msr_address(data, vcpu))
			return 1;
		if (is_info && !lbr->arch && (data & ~(LBR_INFO_FLAGS | LBR_INFO_CYCLES)))
			return 1;
		if (is_info && lbr->arch)
			data &= ARCH_LBR_INFO_KEPT;
		break;
	}

	kvm_passthrough_lbr_write(vcpu, msr, reg, data);
	if (wakes(msr_info))
		kvm_passthrough_lbr_wake(vcpu);
	return 0;
}

/**
 * vmx_passthrough_lbr_handle_xsaves - the guest saves or restores its branch records
 * @vcpu: the vCPU
 *
 * It executes the instruction again, with open registers.
 *
 * Context: VM-exit handler.
 *
 * Return: 1, or -EIO for a vCPU that can't get here.
 */
int vmx_passthrough_lbr_handle_xsaves(struct kvm_vcpu *vcpu)
{
	/* A vCPU without the records can't set the bit in XSS. */
	if (KVM_BUG_ON(!vcpu_to_pmu(vcpu)->lbr.nr, vcpu->kvm))
		return -EIO;

	kvm_passthrough_lbr_wake(vcpu);
	return 1;
}
