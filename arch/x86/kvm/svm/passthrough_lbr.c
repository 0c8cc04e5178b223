// SPDX-License-Identifier: GPL-2.0-only
/*
 * Branch records of guests that own the PMU, on AMD CPUs
 *
 * LbrExtV2 (APM vol. 2, "Last Branch Stack Recording"; PPR of family 19h).  SVM switches
 * nothing of it.  DBG_EXTN_CFG enables it, and other things that are none of a guest's
 * business, hence accesses exit, and the guest has that bit only.
 *
 * If the guest has it set, hardware gets it right before VMRUN, with no branch in between,
 * and it is cleared right after #VMEXIT, before the first branch: see __svm_vcpu_run().
 * Interrupts of all kinds are off there.  The same way, what the host records is stopped
 * for guests that don't own the PMU.
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

#define LBR_SELECT_VALID	GENMASK_ULL(8, 0)
#define LBR_TO_RESERVED		BIT_ULL(61)

/* Number of records of this host that guests may have, 0 if none. */
static u8 host_lbr_nr __ro_after_init;

/**
 * svm_passthrough_lbr_setup - decide whether guests that own the PMU have branch records
 *
 * Context: hardware setup, after svm_passthrough_pmu_setup() and before
 *	    svm_set_cpu_caps().
 */
void __init svm_passthrough_lbr_setup(void)
{
	struct x86_pmu_lbr lbr;
	unsigned int i;

	kvm_nr_lbr_msrs = 0;

	if (!enable_passthrough_pmu || !boot_cpu_has(X86_FEATURE_AMD_LBR_V2))
		return;

	x86_perf_get_lbr(&lbr);
	if (lbr.nr > SVM_MAX_LBR_RECORDS)
		return;

	host_lbr_nr = lbr.nr;
	if (!lbr.nr)
		return;

	kvm_lbr_msrs[kvm_nr_lbr_msrs++] = MSR_AMD_DBG_EXTN_CFG;
	kvm_lbr_msrs[kvm_nr_lbr_msrs++] = MSR_AMD64_LBR_SELECT;
	for (i = 0; i < 2 * lbr.nr; i++)
		kvm_lbr_msrs[kvm_nr_lbr_msrs++] = MSR_AMD_SAMP_BR_FROM + i;
}

/**
 * svm_passthrough_lbr_nr - how many records may guests have that own the PMU?
 *
 * Context: any, after svm_passthrough_lbr_setup().
 *
 * Return: their number, 0 if there are none.
 */
u8 svm_passthrough_lbr_nr(void)
{
	return host_lbr_nr;
}

/**
 * svm_passthrough_lbr_refresh - work out which records a vCPU has
 * @vcpu: the vCPU, with a new CPUID
 *
 * Leaves it without any unless it has them: it had none when this was called.
 *
 * Context: vCPU loaded, before it runs.
 */
void svm_passthrough_lbr_refresh(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	union cpuid_0x80000022_ebx ebx;
	struct kvm_cpuid_entry2 *entry;

	entry = kvm_find_cpuid_entry(vcpu, 0x80000022);
	if (!pmu->passthrough || !entry || !host_lbr_nr || sev_es_guest(vcpu->kvm) ||
	    !guest_cpu_cap_has(vcpu, X86_FEATURE_AMD_LBR_V2))
		return;

	/* The depth of the host only. */
	ebx.full = entry->ebx;
	if (ebx.split.lbr_v2_stack_sz == host_lbr_nr)
		pmu->lbr.nr = host_lbr_nr;
}

static bool is_recording(struct kvm_vcpu *vcpu)
{
	return vcpu_to_pmu(vcpu)->lbr.ctl & DBG_EXTN_CFG_LBRV2EN;
}

/* What __svm_vcpu_run() writes; nothing unless the guest's records are in hardware. */
static void update_dbg_extn_cfg(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);

	svm->switch_dbg_extn_cfg = (vcpu_to_pmu(vcpu)->left & X86_GUEST_LBR_BIT) &&
				   is_recording(vcpu);
	svm->dbg_extn_cfg_guest = svm->dbg_extn_cfg_host | DBG_EXTN_CFG_LBRV2EN;
}

/* See svm_keep_out_of_host_records(). */
void __svm_keep_out_of_host_records(struct vcpu_svm *svm)
{
	rdmsrl(MSR_AMD_DBG_EXTN_CFG, svm->dbg_extn_cfg_host);
	svm->dbg_extn_cfg_guest = svm->dbg_extn_cfg_host & ~DBG_EXTN_CFG_LBRV2EN;
}

/**
 * svm_passthrough_lbr_load - the guest's records are in hardware
 * @vcpu: the vCPU, whose registers are open
 *
 * Context: IRQs off.
 */
void svm_passthrough_lbr_load(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);

	rdmsrl(MSR_AMD_DBG_EXTN_CFG, svm->dbg_extn_cfg_host);
	svm->dbg_extn_cfg_host &= ~DBG_EXTN_CFG_LBRV2EN;
	update_dbg_extn_cfg(vcpu);
}

/**
 * svm_passthrough_lbr_put - the guest's records are in memory
 * @vcpu: the vCPU
 *
 * Context: IRQs off.
 *
 * Return: true if the guest wants to go on with recording.
 */
bool svm_passthrough_lbr_put(struct kvm_vcpu *vcpu)
{
	update_dbg_extn_cfg(vcpu);
	return is_recording(vcpu);
}

/**
 * svm_passthrough_lbr_update - open or close the branch records of a vCPU
 * @vcpu: the vCPU
 *
 * Follows pmu->lbr.awake; but a vCPU that doesn't own the PMU has nothing open.
 *
 * Context: as svm_passthrough_pmu_update().
 */
void svm_passthrough_lbr_update(struct kvm_vcpu *vcpu)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	bool open = lbr->nr && lbr->awake && kvm_vcpu_owns_pmu(vcpu);
	u32 *msrpm = to_svm(vcpu)->msrpm;
	int i;

	/* It may have been the host's to switch up to now. */
	scoped_guard(irqsave)
		update_dbg_extn_cfg(vcpu);

	if (!open && !lbr->open)
		return;

	lbr->open = open;
	set_msr_interception(vcpu, msrpm, MSR_AMD64_LBR_SELECT, open, open);
	for (i = 0; i < 2 * host_lbr_nr; i++)
		set_msr_interception(vcpu, msrpm, MSR_AMD_SAMP_BR_FROM + i, open, open);
	if (!open)
		svm_close_nested_msrs(vcpu);
}

static u64 *find_reg(struct kvm_passthrough_lbr *lbr, u32 msr)
{
	u32 i = msr - MSR_AMD_SAMP_BR_FROM;

	if (msr == MSR_AMD64_LBR_SELECT)
		return &lbr->regs.select;
	if (i >= 2 * lbr->nr)
		return NULL;

	return i % 2 ? &lbr->regs.entries[i / 2].to : &lbr->regs.entries[i / 2].from;
}

/**
 * svm_passthrough_lbr_has_msr - does a register belong to a vCPU's branch records?
 * @vcpu: the vCPU
 * @msr: the register
 *
 * Context: any.
 *
 * Return: true if it does.
 */
bool svm_passthrough_lbr_has_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;

	return lbr->nr && (msr == MSR_AMD_DBG_EXTN_CFG || find_reg(lbr, msr));
}

/**
 * svm_passthrough_lbr_get_msr - read a register of a vCPU's branch records
 * @vcpu: the vCPU
 * @msr_info: which register, one that svm_passthrough_lbr_has_msr() says it has
 *
 * Context: vCPU loaded, IRQs on.
 *
 * Return: 0
 */
int svm_passthrough_lbr_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	u32 msr = msr_info->index;

	if (msr == MSR_AMD_DBG_EXTN_CFG) {
		msr_info->data = lbr->ctl;
		return 0;
	}

	msr_info->data = kvm_passthrough_lbr_read(vcpu, msr, find_reg(lbr, msr));
	if (!msr_info->host_initiated)
		kvm_passthrough_lbr_wake(vcpu);
	return 0;
}

/**
 * svm_passthrough_lbr_set_msr - write a register of a vCPU's branch records
 * @vcpu: the vCPU
 * @msr_info: which register, one that svm_passthrough_lbr_has_msr() says it has
 *
 * Reserved bits are dropped, as with selectors.
 *
 * Context: vCPU loaded, IRQs on.
 *
 * Return: 0
 */
int svm_passthrough_lbr_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info)
{
	struct kvm_passthrough_lbr *lbr = &vcpu_to_pmu(vcpu)->lbr;
	u32 msr = msr_info->index;
	u64 data = msr_info->data;

	if (msr == MSR_AMD_DBG_EXTN_CFG) {
		scoped_guard(irqsave) {
			lbr->ctl = data & DBG_EXTN_CFG_LBRV2EN;
			update_dbg_extn_cfg(vcpu);
		}
		if (is_recording(vcpu))
			kvm_passthrough_lbr_wake(vcpu);
		return 0;
	}

	if (msr == MSR_AMD64_LBR_SELECT)
		data &= LBR_SELECT_VALID;
	else if ((msr - MSR_AMD_SAMP_BR_FROM) % 2)
		data &= ~LBR_TO_RESERVED;

	kvm_passthrough_lbr_write(vcpu, msr, find_reg(lbr, msr), data);
	if (!msr_info->host_initiated)
		kvm_passthrough_lbr_wake(vcpu);
	return 0;
}
