// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that own the PMU while they run
 *
 * A vCPU takes the PMU of its CPU over from perf right before it enters the guest:
 *
 *   load: perf_guest_enter()		host events are stopped
 *	   perf_load_guest_lvtpc()	overflows interrupt on the guest's behalf
 *	   ->passthrough_stop()		nothing counts while values change
 *	   counters, selectors, fixed counters' control
 *	   ->passthrough_load()		overflow status
 *
 *   put:  ->passthrough_put()		nothing counts
 *	   counters, selectors, fixed counters' control
 *	   perf_put_guest_lvtpc()	overflows are NMIs for perf
 *	   perf_guest_exit()		host events go on
 *
 * If the host has events there, the PMU is handed back right after the guest has
 * exited to something that is not handled in the exit fastpath, and IRQs are off all
 * the while.  Otherwise the state stays where it is, which costs nothing: outside of
 * guest mode no counter of it runs.  It is taken out when perf wants the PMU,
 * which may be at any time when IRQs are on, and at the latest when the vCPU is put.
 *
 * The PMU that is handed back keeps the values of counters that the host's events
 * don't use: their selectors are disabled, and so nothing of the host counts there or
 * looks.  They are found in place the next time.  They are taken out on the same
 * occasions as the state of a vCPU that has kept the PMU.
 *
 * A guest that has used no counter for a while doesn't take part in this (it is dormant)
 * until it enables one: all of its accesses exit, and the state is in memory.  The host's
 * events are kept from counting the guest as they always were.
 *
 * Branch records change hands like the values of counters, but only while the guest uses
 * them: from an access that exits until the state is taken out with nothing recording.
 * Until the next access they are asleep, that is in memory, and all of their registers
 * are closed.  perf saves the host's own records while a guest's are there.
 *
 * Memory is authoritative unless pmu->in_hw says that the state is in the registers,
 * or, for the value of a counter, pmu->left says that.
 * Only the CPU that the vCPU is loaded on may look there, and with IRQs off, as it
 * may be gone right after: what is looked at or changed often is done in place, see
 * below, everything else calls kvm_passthrough_pmu_reclaim() first.  Ioctls find the
 * state in memory, vcpu_put() saw to that.
 *
 * Whoever hands the PMU over leaves no counter enabled, and doesn't care what else
 * is in it.  KVM hands it back with all counters that it loaded, but for those with
 * values that are left, their selectors and the control of the fixed counters zeroed:
 *
 *  - perf enables all counters in GLOBAL_CTRL, and an enabled selector that is
 *    not perf's would count;
 *  - host user space may read counters by RDPMC, hence values are left only as long
 *    as it doesn't run;
 *  - perf knows the control of the fixed counters to be 0 at this point and
 *    leaves the MSR alone if that is the value it wants.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/cpufeature.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/perf_event.h>
#include <linux/perf_guest.h>
#include <asm/msr.h>
#include <asm/perf_event.h>

#include "irq.h"
#include "lapic.h"
#include "passthrough_pmu.h"
#include "trace.h"
#include "x86.h"

/*
 * The effective value of the vendor module's parameter.  It lives here, and the
 * parameter lives there, so that loading a vendor module without the parameter
 * doesn't inherit what was asked for when it was loaded last.
 */
bool __read_mostly enable_passthrough_pmu;
EXPORT_SYMBOL_GPL(enable_passthrough_pmu);

DEFINE_STATIC_KEY_FALSE(kvm_passthrough_pmu_key);
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_key);

static struct kvm_passthrough_pmu_regs host_regs __read_mostly;
static u64 host_gp_mask __read_mostly;
static u64 host_fixed_mask __read_mostly;

static void set_enabled(bool enabled)
{
	enable_passthrough_pmu = enabled;
	if (enabled)
		static_branch_enable(&kvm_passthrough_pmu_key);
	else
		static_branch_disable(&kvm_passthrough_pmu_key);
}

/**
 * kvm_passthrough_pmu_setup - decide whether guests own the PMU while they run
 * @wanted: the administrator asked for it; without that, the rest says nothing
 * @missing: what the vendor module finds missing on this host, or NULL
 * @vendor_regs: the vendor's MSRs
 *
 * KVM can say only once which capabilities it supports: those are the ones of vCPUs
 * that own the PMU, then.  VMs may still choose perf-based vPMUs, which support
 * version 2 with three fixed counters at most, see kvm_passthrough_pmu_set_caps().
 *
 * Says in one line of the log which vPMU guests get, and what the host lacks if it
 * is not the one that was wanted.  Silent if the administrator didn't ask.
 *
 * Context: the vendor module's hardware setup, after kvm_init_pmu_capability()
 *	    and before anything reads enable_passthrough_pmu.
 *
 * Return: true if vCPUs will own the PMU.
 */
bool kvm_passthrough_pmu_setup(bool wanted, const char *missing,
			       const struct kvm_passthrough_pmu_regs *vendor_regs)
{
	set_enabled(false);

	if (!wanted)
		return false;

	if (cpu_feature_enabled(X86_FEATURE_HYBRID_CPU))
		missing = "a PMU that is the same on all CPUs";
	else if (!kvm_host_pmu_cap.num_counters_gp)
		missing = "a PMU that perf has a driver for";
	else if (!missing && !enable_pmu)
		missing = "the parameter enable_pmu=1";
	else if (!missing && !kvm_host_pmu_cap.passthrough)
		missing = "a PMU that perf is able to hand over";

	if (missing) {
		pr_warn("enable_passthrough_pmu: missing %s, using perf-based vPMUs\n",
			missing);
		return false;
	}

	host_regs = *vendor_regs;
	host_gp_mask = GENMASK_ULL(kvm_host_pmu_cap.bit_width_gp - 1, 0);
	host_fixed_mask = kvm_host_pmu_cap.num_counters_fixed ?
			  GENMASK_ULL(kvm_host_pmu_cap.bit_width_fixed - 1, 0) : 0;
	if (host_regs.max_gp)
		kvm_pmu_cap.num_counters_gp = min_t(int, kvm_pmu_cap.num_counters_gp,
						    host_regs.max_gp);
	if (host_regs.max_version)
		kvm_pmu_cap.version = min_t(int, kvm_host_pmu_cap.version,
					    host_regs.max_version);
	kvm_pmu_cap.num_counters_fixed = min_t(int, kvm_host_pmu_cap.num_counters_fixed,
					       KVM_MAX_NR_FIXED_COUNTERS);
	set_enabled(true);

	pr_info("enable_passthrough_pmu: guests own the PMU while they run, version %d, with up to %d general purpose and %d fixed counters of %d and %d\n",
		kvm_pmu_cap.version, kvm_pmu_cap.num_counters_gp, kvm_pmu_cap.num_counters_fixed,
		kvm_host_pmu_cap.num_counters_gp, kvm_host_pmu_cap.num_counters_fixed);
	return true;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_setup);

/*
 * VMs with a PMU of either kind, from their first vCPU on.  The events of a perf-based
 * vPMU count what the vCPU's task runs, hence would count the guests of other VMs of
 * the same process, too: a process has VMs of one kind at a time.
 */
static DEFINE_MUTEX(pmu_vms_lock);
static LIST_HEAD(pmu_vms);

static bool process_has_other_kind(struct kvm *kvm)
{
	struct kvm *other;

	lockdep_assert_held(&pmu_vms_lock);

	list_for_each_entry(other, &pmu_vms, arch.pmu_vms_entry) {
		if (other->mm == kvm->mm &&
		    other->arch.perf_based_pmu != kvm->arch.perf_based_pmu)
			return true;
	}
	return false;
}

/**
 * kvm_passthrough_pmu_valid_caps - what may VMs choose?
 *
 * Context: any.
 *
 * Return: the bits of KVM_CAP_PMU_CAPABILITY.
 */
u32 kvm_passthrough_pmu_valid_caps(void)
{
	if (!enable_pmu)
		return 0;

	return KVM_PMU_CAP_DISABLE | KVM_PMU_CAP_PERF_BASED |
	       (enable_passthrough_pmu ? KVM_PMU_CAP_PASSTHROUGH : 0);
}

/**
 * kvm_passthrough_pmu_set_caps - a VM chooses its kind of vPMU
 * @kvm: the VM
 * @caps: bits of KVM_CAP_PMU_CAPABILITY, of which one at most may be set; without any
 *	it is the kind that the vendor module's parameter says
 *
 * Context: kvm->lock held.
 *
 * Return: 0, or -EINVAL if that is not to be had, or can't be chosen any more.
 */
int kvm_passthrough_pmu_set_caps(struct kvm *kvm, u64 caps)
{
	lockdep_assert_held(&kvm->lock);

	if ((caps & ~(u64)kvm_passthrough_pmu_valid_caps()) || hweight64(caps) > 1)
		return -EINVAL;

	if (!enable_pmu || kvm->created_vcpus || kvm->arch.passthrough_pmu_withheld ||
	    !list_empty(&kvm->arch.pmu_vms_entry))
		return -EINVAL;

	kvm->arch.enable_pmu = !(caps & KVM_PMU_CAP_DISABLE);
	kvm->arch.perf_based_pmu = caps & KVM_PMU_CAP_PERF_BASED;
	return 0;
}

/**
 * kvm_passthrough_pmu_get_vm - keep the PMU free for a VM's vCPUs
 * @kvm: the VM, about to get a vCPU
 *
 * Does nothing if the VM has no use for it, i.e. if user space turned its PMU
 * off, or if it did so for an earlier vCPU already.  If the VM is to have perf-based
 * vPMUs, this only makes sure that its process has none of the other kind.
 *
 * A VM without a local APIC in the kernel gets no PMU that it could own, as KVM could
 * not deliver its interrupts; that is for good, also if the vCPU is not created in
 * the end.
 *
 * Context: kvm->lock held, may sleep.
 *
 * Return: 0, -EBUSY if an event exists that would count the guest, or a VM of the
 * other kind in the same process, in which case the log tells which; or -ENOMEM.
 */
int kvm_passthrough_pmu_get_vm(struct kvm *kvm)
{
	char blocker[PERF_GUEST_BLOCKER_SIZE] = "";
	bool other;
	int r;

	lockdep_assert_held(&kvm->lock);

	if (!enable_passthrough_pmu || !kvm->arch.enable_pmu ||
	    !list_empty(&kvm->arch.pmu_vms_entry))
		return 0;

	if (!kvm->arch.perf_based_pmu && !irqchip_in_kernel(kvm)) {
		kvm->arch.enable_pmu = false;
		kvm->arch.passthrough_pmu_withheld = true;
		return 0;
	}

	scoped_guard(mutex, &pmu_vms_lock) {
		other = process_has_other_kind(kvm);
		if (!other)
			list_add_tail(&kvm->arch.pmu_vms_entry, &pmu_vms);
	}
	if (other) {
		pr_warn_ratelimited("cannot give a vPMU to a VM of \"%s\" (pid %d): it has a VM with the other kind of vPMU\n",
				    current->group_leader->comm, task_tgid_nr(current));
		return -EBUSY;
	}
	if (kvm->arch.perf_based_pmu)
		return 0;

	/* May take its time, hence without the lock. */
	r = perf_get_passthrough_pmu(kvm->mm, blocker, sizeof(blocker));
	if (r) {
		if (r == -EBUSY)
			pr_warn_ratelimited("cannot give the PMU to a VM: it counts guests for %s\n",
					    blocker);
		guard(mutex)(&pmu_vms_lock);
		list_del_init(&kvm->arch.pmu_vms_entry);
		return r;
	}

	kvm->arch.passthrough_pmu = true;
	return 0;
}

/**
 * kvm_passthrough_pmu_put_vm - the VM has no more use for the PMU
 * @kvm: the VM, whose vCPUs are gone
 *
 * Counterpart of kvm_passthrough_pmu_get_vm(), whether or not that did anything.
 *
 * Context: destruction of the VM, nobody else has access to it.  May sleep.
 */
void kvm_passthrough_pmu_put_vm(struct kvm *kvm)
{
	if (kvm->arch.passthrough_pmu)
		perf_put_passthrough_pmu(kvm->mm);
	kvm->arch.passthrough_pmu = false;

	if (list_empty(&kvm->arch.pmu_vms_entry))
		return;

	guard(mutex)(&pmu_vms_lock);
	list_del_init(&kvm->arch.pmu_vms_entry);
}

/**
 * kvm_passthrough_pmu_withheld_msr - is this the state of a PMU that does nothing?
 * @vcpu: the vCPU
 * @msr: the MSR that user space accesses, which the vCPU does not have
 * @data: what user space writes to it, or 0
 *
 * User space does not know that a VM without a local APIC in the kernel has no
 * PMU, see kvm_passthrough_pmu_get_vm().  It initializes and restores the PMU that
 * its CPUID has, and must not fail as long as that PMU counts nothing: KVM takes
 * zeroes for all MSRs that it reports to user space; this function tells what
 * else there is.
 *
 * Context: any.
 *
 * Return: true if user space may write @data, which is then ignored, and read 0.
 */
bool kvm_passthrough_pmu_withheld_msr(struct kvm_vcpu *vcpu, u32 msr, u64 data)
{
	if (!vcpu->kvm->arch.passthrough_pmu_withheld)
		return false;

	switch (msr) {
	case MSR_IA32_PERF_CAPABILITIES:
		return !(data & ~kvm_caps.supported_perf_cap);
	case MSR_CORE_PERF_GLOBAL_CTRL:
	case MSR_AMD64_PERF_CNTR_GLOBAL_CTL:
		/* After RESET it enables the counters that have selectors. */
		return !(data & ~GENMASK_ULL(kvm_pmu_cap.num_counters_gp - 1, 0));
	case MSR_CORE_PERF_GLOBAL_OVF_CTRL:
		return !data;
	default:
		return false;
	}
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_withheld_msr);

static u32 counter_rdpmc(struct kvm_pmc *pmc)
{
	return pmc_is_gp(pmc) ? pmc->idx :
				host_regs.fixed_rdpmc + pmc->idx - KVM_FIXED_PMC_BASE_IDX;
}

static u32 counter_msr(struct kvm_pmc *pmc)
{
	return pmc_is_gp(pmc) ? host_regs.gp_counter + pmc->idx * host_regs.gp_stride :
				host_regs.fixed_counter + pmc->idx - KVM_FIXED_PMC_BASE_IDX;
}

/*
 * If a guest was told that its counters are narrower than they are, set the bits
 * in between: the counter then overflows when the guest's would.
 */
static u64 counter_hw_value(struct kvm_pmc *pmc)
{
	u64 host_mask = pmc_is_gp(pmc) ? host_gp_mask : host_fixed_mask;

	return pmc->counter | (host_mask & ~pmc_bitmask(pmc));
}

static bool selector_wants_pmi(u64 selector)
{
	return selector & ARCH_PERFMON_EVENTSEL_INT;
}

static bool fixed_wants_pmi(struct kvm_pmc *pmc, u64 ctrl)
{
	return fixed_ctrl_field(ctrl, pmc->idx - KVM_FIXED_PMC_BASE_IDX) &
	       INTEL_FIXED_0_ENABLE_PMI;
}

/* Did the guest ask for interrupts of a counter? */
static bool wants_pmi(struct kvm_pmc *pmc)
{
	return pmc_is_gp(pmc) ? selector_wants_pmi(pmc->eventsel) :
				fixed_wants_pmi(pmc, pmc_to_pmu(pmc)->fixed_ctr_ctrl);
}

/*
 * Does hardware make them?  A counter that last ran without interrupts does not by being
 * stopped with a value that asks for them.
 */
static bool makes_pmi(struct kvm_pmc *pmc)
{
	struct kvm_pmu *pmu = pmc_to_pmu(pmc);

	if (pmu->silent_counters & BIT_ULL(pmc->idx))
		return false;

	return pmc_is_gp(pmc) ? selector_wants_pmi(pmc->eventsel_hw) :
				fixed_wants_pmi(pmc, pmu->fixed_ctr_ctrl_hw);
}

/*
 * Has a counter that is still in hardware passed 0 since KVM saw it last?  If the
 * guest wrote to it in between, the answer may be wrong.
 */
static bool has_wrapped(struct kvm_pmc *pmc)
{
	u64 now;

	rdpmcl(counter_rdpmc(pmc), now);

	return kvm_passthrough_wrapped(pmc->counter, now, pmc_bitmask(pmc));
}

/*
 * The PMI of an overflow may still be on its way when LVTPC is about to be the
 * host's again, and would never reach the guest then.  But the overflow is in
 * the status by now, so make the request that the PMI would make.  If the PMI
 * does arrive in time, which is the rule, its request is the same one.
 *
 * A bit of the status that the guest has had the interrupt for, or that was set when
 * the state was loaded, tells nothing as long as the guest has not cleared it.  The
 * counter does, if the guest left it alone.  Any guest that is serious about
 * interrupts clears the bit before it touches the counter.
 */
static void request_late_pmi(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	struct kvm_pmc *pmc;
	int i;

	if (!pmu->lvtpc_unmasked)
		return;

	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&pmu->global_status) {
		if (makes_pmi(pmc) &&
		    (!(pmu->status_told & BIT_ULL(pmc->idx)) || has_wrapped(pmc))) {
			kvm_make_request(KVM_REQ_PMI, vcpu);
			return;
		}
	}
}

/*
 * RDPMC is much cheaper than WRMSR, and with the counters of a guest that leaves
 * them alone there is nothing to write.
 */
static bool load_counter(struct kvm_pmc *pmc, u64 host_counters)
{
	u64 value = counter_hw_value(pmc);
	u64 now;

	/* It would be a strange accident if the host had the same value. */
	if (!(host_counters & BIT_ULL(pmc->idx))) {
		rdpmcl(counter_rdpmc(pmc), now);
		if (now == value)
			return false;
	}

	wrmsrl(counter_msr(pmc), value);
	return true;
}

static void see_counter(struct kvm_pmc *pmc)
{
	u64 now;

	rdpmcl(counter_rdpmc(pmc), now);
	pmc->counter = now & pmc_bitmask(pmc);
}

static bool put_counter(struct kvm_pmc *pmc)
{
	u64 now;

	rdpmcl(counter_rdpmc(pmc), now);
	pmc->counter = now & pmc_bitmask(pmc);
	if (!now)
		return false;

	wrmsrl(counter_msr(pmc), 0);
	return true;
}

/* Is the value of a counter in its register?  To be relied upon with IRQs off. */
static bool is_value_in_hw(struct kvm_pmc *pmc)
{
	return pmc_to_pmu(pmc)->left & BIT_ULL(pmc->idx);
}

/*
 * What the host has left in a selector makes no difference as long as it doesn't
 * enable the counter, and that is what perf guarantees.
 */
static bool enables(u64 selector)
{
	return selector & ARCH_PERFMON_EVENTSEL_ENABLE;
}

/* Hardware has the last word on some of the bits, the others are in memory for good. */
static void see_status(struct kvm_pmu *pmu)
{
	u64 bits = kvm_pmu_call(passthrough_status_bits)(pmu);
	u64 status;

	rdmsrl(host_regs.status, status);
	pmu->global_status = (pmu->global_status & ~bits) | (status & bits);
}

/*
 * A guest that doesn't have GLOBAL_STATUS could never clear an overflow, and nobody but
 * the guest is interested in it.
 */
static bool has_status(struct kvm_pmu *pmu)
{
	return kvm_pmu_has_perf_global_ctrl(pmu);
}

/*
 * What is in the status of @counters at this moment is no reason for an interrupt, or it
 * is on its way already.  KVM has seen them, so that has_wrapped() is about what follows.
 */
static void tell(struct kvm_pmu *pmu, u64 counters)
{
	struct kvm_pmc *pmc;
	int i;

	see_status(pmu);
	counters &= pmu->global_status;
	pmu->status_told = (pmu->status_told & pmu->global_status) | counters;
	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&counters)
		see_counter(pmc);

	if (!has_status(pmu))
		kvm_passthrough_pmu_change_status(pmu, counters, 0);
}

/*
 * A counter is about to run, with interrupts or without.  An overflow that it left
 * behind when it ran without them must not make one later.
 */
static void note_silence(struct kvm_pmc *pmc, bool silent)
{
	struct kvm_pmu *pmu = pmc_to_pmu(pmc);
	u64 bit = BIT_ULL(pmc->idx);

	if (silent) {
		pmu->silent_counters |= bit;
	} else if (pmu->silent_counters & bit) {
		pmu->silent_counters &= ~bit;
		tell(pmu, bit);
	}
}

static void write_selector(struct kvm_pmc *pmc, u64 selector)
{
	wrmsrl(host_regs.gp_selector + pmc->idx * host_regs.gp_stride, selector);
	if (enables(selector))
		note_silence(pmc, !selector_wants_pmi(selector));
}

static void write_fixed_ctrl(struct kvm_pmu *pmu, u64 value)
{
	struct kvm_pmc *pmc;
	int i;

	if (pmu->fixed_ctr_ctrl_loaded == value)
		return;

	wrmsrl(host_regs.fixed_ctrl, value);
	pmu->fixed_ctr_ctrl_loaded = value;

	for (i = 0; i < pmu->nr_arch_fixed_counters; i++) {
		pmc = &pmu->fixed_counters[i];
		if (fixed_ctrl_field(value, i) & (INTEL_FIXED_0_KERNEL | INTEL_FIXED_0_USER))
			note_silence(pmc, !fixed_wants_pmi(pmc, value));
	}
}

/**
 * kvm_passthrough_pmu_load_status - make the overflow status a guest's
 * @want: bits that are to be set
 * @mask: bits that belong to whoever owns the PMU, @want included
 *
 * The status can't be written as such, only set or cleared bit by bit (SDM vol. 3,
 * "IA32_PERF_GLOBAL_STATUS_SET" and "..._RESET"; APM vol. 2, "Performance Monitoring
 * Counter Global Status" and following).
 *
 * Context: IRQs off, nothing counts.  For ->passthrough_load().
 */
void kvm_passthrough_pmu_load_status(u64 want, u64 mask)
{
	u64 status, clear, set;

	rdmsrl(host_regs.status, status);
	clear = status & ~want & mask;
	set = want & ~status;
	if (clear)
		wrmsrl(host_regs.status_clear, clear);
	if (set)
		wrmsrl(host_regs.status_set, set);
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_load_status);

/**
 * kvm_passthrough_pmu_put_status - take the overflow status out of hardware
 * @mask: bits that belong to whoever owns the PMU
 *
 * All of these bits are 0 afterwards: whatever the guest left there would be the
 * next owner's, and one of them stops all counters until it is cleared.
 *
 * Context: IRQs off, nothing counts.  For ->passthrough_put().
 *
 * Return: those of the bits that were set.
 */
u64 kvm_passthrough_pmu_put_status(u64 mask)
{
	u64 status;

	rdmsrl(host_regs.status, status);
	status &= mask;
	if (status)
		wrmsrl(host_regs.status_clear, status);

	return status;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_put_status);

/**
 * kvm_passthrough_pmu_update_lvtpc - follow the guest's LVTPC
 * @vcpu: vCPU whose state is in hardware
 *
 * Context: IRQs off.
 */
void kvm_passthrough_pmu_update_lvtpc(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	bool was_unmasked = pmu->lvtpc_unmasked;

	pmu->lvtpc_hw = kvm_lapic_get_reg(vcpu->arch.apic, APIC_LVTPC);
	pmu->lvtpc_unmasked = !(pmu->lvtpc_hw & APIC_LVT_MASKED);
	perf_update_guest_lvtpc(pmu->lvtpc_hw);

	/* It is the overflow that interrupts, not the status. */
	if (pmu->lvtpc_unmasked && !was_unmasked)
		tell(pmu, ~0ULL);
}

/**
 * kvm_passthrough_pmu_forget_cleared - learn which overflows the guest has cleared
 * @pmu: the vPMU of a vCPU whose state is in hardware
 *
 * The guest may clear its status without an exit, and the next overflow is a new one.
 *
 * Context: IRQs off.
 */
void kvm_passthrough_pmu_forget_cleared(struct kvm_pmu *pmu)
{
	see_status(pmu);
	pmu->status_told &= pmu->global_status;
}

/*
 * A counter that is narrower than hardware's overflows in time only once, see
 * counter_hw_value(): such a vCPU is to be loaded after each exit.
 */
static bool has_narrow_counters(struct kvm_pmu *pmu)
{
	return (pmu->nr_arch_gp_counters && pmu->counter_bitmask[KVM_PMC_GP] != host_gp_mask) ||
	       (pmu->nr_arch_fixed_counters &&
		pmu->counter_bitmask[KVM_PMC_FIXED] != host_fixed_mask);
}

/*
 * Counters that needn't be taken out for the host's events, which have others and get no
 * more until perf has asked for the values, see kvm_passthrough_pmu_return().
 */
static u64 counters_to_leave(struct kvm_pmu *pmu)
{
	if (has_narrow_counters(pmu))
		return 0;

	return *(u64 *)pmu->all_valid_pmc_idx & ~perf_guest_host_counters();
}

static u64 lbr_to_leave(struct kvm_pmu *pmu)
{
	return pmu->left & X86_GUEST_LBR_BIT & ~perf_guest_host_counters();
}

/* The registers of records that are asleep are closed, as they hold somebody else's. */
static void load_lbr(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	struct kvm_passthrough_lbr *lbr = &pmu->lbr;

	if (unlikely(lbr->open != lbr->awake)) {
		/* For user space's MSR filter. */
		kvm_vcpu_srcu_read_lock(vcpu);
		kvm_pmu_call(passthrough_update)(vcpu);
		kvm_vcpu_srcu_read_unlock(vcpu);
	}

	if (!lbr->awake || (pmu->left & X86_GUEST_LBR_BIT))
		return;

	perf_load_guest_lbr(&lbr->regs);
	pmu->left |= X86_GUEST_LBR_BIT;
	kvm_pmu_call(passthrough_lbr_load)(vcpu);
}

/* Records that nothing is added to need not be there the next time. */
static void put_lbr(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (!(pmu->left & X86_GUEST_LBR_BIT))
		return;

	perf_put_guest_lbr(&pmu->lbr.regs);
	pmu->left &= ~X86_GUEST_LBR_BIT;
	pmu->lbr.awake = kvm_pmu_call(passthrough_lbr_put)(vcpu);
}

/* After so many rounds without a counter in use a guest is dormant. */
#define MAX_IDLE_PUTS	64

static void note_idle_put(struct kvm_vcpu *vcpu, bool idle)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	/* L2 may have more than the policy for L1 says until its next VM-entry. */
	if (!idle || is_guest_mode(vcpu)) {
		pmu->idle_puts = 0;
		return;
	}

	if (pmu->idle_puts < MAX_IDLE_PUTS)
		pmu->idle_puts++;
	if (pmu->idle_puts == MAX_IDLE_PUTS)
		kvm_make_request(KVM_REQ_PMU, vcpu);
}

/* The bits of the status that an interrupt of a counter sets by freezing. */
static u64 frozen_by_pmi(struct kvm_pmu *pmu)
{
	u64 bits = GLOBAL_STATUS_LBRS_FROZEN | GLOBAL_STATUS_COUNTERS_FROZEN;

	bits &= ~pmu->global_status_rsvd;
	return bits ? kvm_pmu_call(passthrough_freeze)(pmu_to_vcpu(pmu)) & bits : 0;
}

static bool uses_counters(struct kvm_pmu *pmu)
{
	int i;

	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		if (enables(pmu->gp_counters[i].eventsel_hw))
			return true;
	}
	if (pmu->fixed_ctr_ctrl_hw || pmu->lbr.awake)
		return true;

	/* The host's counters run while a guest is entered that doesn't own the PMU. */
	return host_regs.guest_freezes_host && frozen_by_pmi(pmu);
}

/*
 * It is cheap to let a guest that counts nothing keep the PMU, as long as the host
 * doesn't want it.  To have everything exit costs nothing at all, but it takes a while
 * to set up: not each time that a guest stops counting.
 */
static void update_dormant(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	bool dormant = !uses_counters(pmu);

	pmu->idle_puts = 0;
	if (dormant == pmu->dormant || (dormant && is_guest_mode(vcpu)))
		return;

	kvm_passthrough_pmu_reclaim(vcpu);
	pmu->dormant = dormant;
	kvm_pmu_call(passthrough_update)(vcpu);
}

/* has_wrapped() goes by what a counter was when it was loaded, or found in place. */
static void see_overflowed_counters(struct kvm_pmu *pmu)
{
	u64 counters = pmu->left & pmu->global_status;
	struct kvm_pmc *pmc;
	int i;

	if (likely(!counters))
		return;

	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&counters)
		see_counter(pmc);
}

/*
 * What traces shares the overflow status with the guest's counters.  If the host has begun
 * to trace on this CPU since the state was loaded last, or has stopped, or if the vCPU
 * comes from another CPU, what the guest may access without an exit is another matter.
 * The host doesn't begin as long as the state is in hardware: perf recalls it before.
 */
static void follow_host_traces(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (!host_regs.clear_foreign || likely(pmu->host_traces == perf_host_traces()))
		return;

	pmu->host_traces = !pmu->host_traces;

	/* For user space's MSR filter. */
	kvm_vcpu_srcu_read_lock(vcpu);
	kvm_pmu_call(passthrough_update)(vcpu);
	kvm_vcpu_srcu_read_unlock(vcpu);
}

/* See kvm_passthrough_pmu_load(). */
void __kvm_passthrough_pmu_load(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	unsigned int counters = 0, i;
	struct kvm_pmc *pmc;
	u64 host_counters;

	lockdep_assert_irqs_disabled();

	++vcpu->stat.passthrough_pmu_loads;

	pmu->lvtpc_hw = kvm_lapic_get_reg(vcpu->arch.apic, APIC_LVTPC);
	pmu->lvtpc_unmasked = !(pmu->lvtpc_hw & APIC_LVT_MASKED);

	pmu->keep_in_hw = perf_guest_enter() && !has_narrow_counters(pmu);
	perf_load_guest_lvtpc(pmu->lvtpc_hw);

	kvm_pmu_call(passthrough_stop)();

	host_counters = perf_guest_host_counters();
	see_overflowed_counters(pmu);

	pmu->silent_counters = 0;
	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		pmc = &pmu->gp_counters[i];
		if (!is_value_in_hw(pmc))
			counters += load_counter(pmc, host_counters);
		if (enables(pmc->eventsel_hw))
			write_selector(pmc, pmc->eventsel_hw);
	}
	for (i = 0; i < pmu->nr_arch_fixed_counters; i++) {
		pmc = &pmu->fixed_counters[i];
		if (!is_value_in_hw(pmc))
			counters += load_counter(pmc, host_counters);
	}

	if (!has_status(pmu))
		pmu->global_status = 0;
	pmu->status_told = pmu->global_status;

	follow_host_traces(vcpu);
	load_lbr(vcpu);
	kvm_pmu_call(passthrough_load)(vcpu);
	/* perf knows it to be 0. */
	write_fixed_ctrl(pmu, pmu->fixed_ctr_ctrl_hw);

	pmu->in_hw = true;
	pmu->left |= ~X86_GUEST_LBR_BIT;

	trace_kvm_passthrough_pmu_load(vcpu->vcpu_id, counters, pmu->nr_arch_gp_counters,
				       pmu->fixed_ctr_ctrl_hw, pmu->global_ctrl,
				       pmu->global_status);
}

/* Hands the PMU back, with the values of the counters @left in it, and the like. */
static void hand_back(struct kvm_vcpu *vcpu, u64 left)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	unsigned int counters = 0, selectors = 0, i;
	struct kvm_pmc *pmc;

	lockdep_assert_irqs_disabled();

	kvm_pmu_call(passthrough_put)(vcpu);
	request_late_pmi(vcpu);
	if (!(left & X86_GUEST_LBR_BIT))
		put_lbr(vcpu);

	for (i = 0; i < pmu->nr_arch_gp_counters; i++) {
		pmc = &pmu->gp_counters[i];
		if (!(left & BIT_ULL(pmc->idx)))
			counters += put_counter(pmc);
		/* Selectors always exit, hence hold what was written last. */
		if (enables(pmc->eventsel_hw)) {
			write_selector(pmc, 0);
			selectors++;
		}
	}
	for (i = 0; i < pmu->nr_arch_fixed_counters; i++) {
		pmc = &pmu->fixed_counters[i];
		if (!(left & BIT_ULL(pmc->idx)))
			counters += put_counter(pmc);
	}

	/* perf relies on 0 here. */
	write_fixed_ctrl(pmu, 0);

	trace_kvm_passthrough_pmu_put(vcpu->vcpu_id, counters, selectors,
				      pmu->fixed_ctr_ctrl_hw, pmu->global_ctrl,
				      pmu->global_status);

	pmu->in_hw = false;
	pmu->keep_in_hw = false;
	pmu->left = left;
	perf_guest_leave(left);
	note_idle_put(vcpu, !selectors && !pmu->fixed_ctr_ctrl_hw && !pmu->lbr.awake);

	perf_put_guest_lvtpc();
	perf_guest_exit();
}

/* See kvm_passthrough_pmu_put(). */
void __kvm_passthrough_pmu_put(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	hand_back(vcpu, counters_to_leave(pmu) | lbr_to_leave(pmu));
}

/* From here on, nothing of the vCPU is in the PMU. */
static void take_everything_out(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	struct kvm_pmc *pmc;
	int i;

	if (pmu->in_hw) {
		hand_back(vcpu, 0);
		return;
	}

	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&pmu->left)
		put_counter(pmc);
	put_lbr(vcpu);
	pmu->left = 0;
	perf_guest_leave(0);
}

/* See kvm_passthrough_pmu_reclaim(). */
void __kvm_passthrough_pmu_reclaim(struct kvm_vcpu *vcpu)
{
	guard(irqsave)();

	/* perf may have been here first. */
	if (vcpu_to_pmu(vcpu)->left)
		take_everything_out(vcpu);
}

/**
 * kvm_passthrough_pmu_return - perf wants the PMU of this CPU back, or the counters that
 *	a guest's values were left in
 *
 * Context: IRQs off, called by perf, which may hold the locks of its contexts and that
 * of the run queue.  Interrupts anything but what runs with IRQs off.
 */
void kvm_passthrough_pmu_return(void)
{
	struct kvm_vcpu *vcpu = kvm_get_running_vcpu();

	if (WARN_ON_ONCE(!vcpu || !vcpu_to_pmu(vcpu)->left))
		return;

	take_everything_out(vcpu);
}

/**
 * kvm_passthrough_pmu_read_counter - read a counter where it is
 * @pmc: counter of a vCPU that owns the PMU while it runs
 *
 * Context: vCPU loaded.
 *
 * Return: its value.
 */
u64 kvm_passthrough_pmu_read_counter(struct kvm_pmc *pmc)
{
	u64 now;

	guard(irqsave)();

	if (!is_value_in_hw(pmc))
		return pmc->counter;

	rdpmcl(counter_rdpmc(pmc), now);
	return now & pmc_bitmask(pmc);
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_read_counter);

/**
 * kvm_passthrough_pmu_write_counter - write a counter where it is
 * @pmc: counter of a vCPU that owns the PMU while it runs
 * @value: its value, of which superfluous bits are ignored
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_pmu_write_counter(struct kvm_pmc *pmc, u64 value)
{
	guard(irqsave)();

	pmc->counter = value & pmc_bitmask(pmc);
	if (is_value_in_hw(pmc))
		wrmsrl(counter_msr(pmc), counter_hw_value(pmc));
}

/**
 * kvm_passthrough_pmu_read_metrics - read PERF_METRICS where it is
 * @pmu: the vPMU of a vCPU that may read it
 *
 * Context: vCPU loaded.
 *
 * Return: its value.
 */
u64 kvm_passthrough_pmu_read_metrics(struct kvm_pmu *pmu)
{
	u64 now;

	guard(irqsave)();

	if (!pmu->in_hw)
		return pmu->metrics;

	rdpmcl(host_regs.metrics_rdpmc, now);
	return now;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_read_metrics);

/**
 * kvm_passthrough_pmu_write_metrics - write PERF_METRICS where it is
 * @pmu: the vPMU of a vCPU that has it
 * @data: the value
 *
 * Context: vCPU loaded.
 *
 * Return: 0, or 1 if hardware has fewer fields.
 */
int kvm_passthrough_pmu_write_metrics(struct kvm_pmu *pmu, u64 data)
{
	if (kvm_host_pmu_cap.num_metrics < sizeof(data) &&
	    data >> (BITS_PER_BYTE * kvm_host_pmu_cap.num_metrics))
		return 1;

	guard(irqsave)();

	pmu->metrics = data;
	if (pmu->in_hw)
		wrmsrl(host_regs.metrics, data);
	return 0;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_write_metrics);

/**
 * kvm_passthrough_pmu_status - what is the guest's overflow status?
 * @pmu: any vPMU
 *
 * Context: vCPU loaded.
 *
 * Return: the value of GLOBAL_STATUS.
 */
u64 kvm_passthrough_pmu_status(struct kvm_pmu *pmu)
{
	guard(irqsave)();

	if (pmu->in_hw)
		see_status(pmu);
	return pmu->global_status;
}

/**
 * kvm_passthrough_pmu_change_status - change the guest's overflow status where it is
 * @pmu: any vPMU
 * @clear: bits to clear, may have some that are clear or reserved
 * @set: bits to set, only some that are not reserved; they are no overflows
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_pmu_change_status(struct kvm_pmu *pmu, u64 clear, u64 set)
{
	struct kvm_pmc *pmc;
	u64 bits;
	int i;

	guard(irqsave)();

	pmu->global_status = (pmu->global_status & ~clear) | set;
	pmu->status_told = (pmu->status_told & ~clear) | set;
	if (!pmu->in_hw)
		return;

	/* A counter of @set may have wrapped before, see has_wrapped(). */
	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&set)
		see_counter(pmc);

	bits = kvm_pmu_call(passthrough_status_bits)(pmu);
	if (clear & bits)
		wrmsrl(host_regs.status_clear, clear & bits);
	if (set & bits)
		wrmsrl(host_regs.status_set, set & bits);
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_change_status);

/**
 * kvm_passthrough_lbr_wake - the guest is about to use its branch records
 * @vcpu: vCPU that has some
 *
 * It finds them in the registers, which are open, when it is entered next.
 *
 * Context: vCPU loaded.  Not between kvm_passthrough_pmu_load() and
 * kvm_passthrough_pmu_put().
 */
void kvm_passthrough_lbr_wake(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (pmu->lbr.awake)
		return;

	kvm_passthrough_pmu_reclaim(vcpu);
	pmu->lbr.awake = true;
	pmu->idle_puts = 0;
	/* It may be dormant. */
	kvm_make_request(KVM_REQ_PMU, vcpu);
}
EXPORT_SYMBOL_GPL(kvm_passthrough_lbr_wake);

/**
 * kvm_passthrough_lbr_read - read a register of the branch records where it is
 * @vcpu: vCPU that has it
 * @msr: the register
 * @reg: its place in @vcpu's pmu->lbr.regs
 *
 * Context: vCPU loaded.
 *
 * Return: its value.
 */
u64 kvm_passthrough_lbr_read(struct kvm_vcpu *vcpu, u32 msr, u64 *reg)
{
	u64 value;

	guard(irqsave)();

	if (!(vcpu_to_pmu(vcpu)->left & X86_GUEST_LBR_BIT))
		return *reg;

	rdmsrl(msr, value);
	return value;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_lbr_read);

/**
 * kvm_passthrough_lbr_write - write a register of the branch records where it is
 * @vcpu: vCPU that has it
 * @msr: the register
 * @reg: its place in @vcpu's pmu->lbr.regs
 * @value: a value that hardware takes
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_lbr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *reg, u64 value)
{
	guard(irqsave)();

	*reg = value;
	if (vcpu_to_pmu(vcpu)->left & X86_GUEST_LBR_BIT)
		wrmsrl(msr, value);
}
EXPORT_SYMBOL_GPL(kvm_passthrough_lbr_write);

/* See kvm_passthrough_pmu_global_ctrl(). */
void __kvm_passthrough_pmu_read_global_ctrl(struct kvm_pmu *pmu)
{
	guard(irqsave)();

	if (pmu->global_ctrl_stale)
		kvm_pmu_call(passthrough_read_global_ctrl)(pmu_to_vcpu(pmu));
}

/**
 * kvm_passthrough_pmu_write_global_ctrl - write GLOBAL_CTRL where it is
 * @vcpu: vCPU that owns the PMU while it runs
 * @value: the value, a valid one
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_pmu_write_global_ctrl(struct kvm_vcpu *vcpu, u64 value)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	guard(irqsave)();

	pmu->global_ctrl = value;
	pmu->global_ctrl_stale = false;
	kvm_pmu_call(passthrough_write_global_ctrl)(vcpu);
}

/**
 * kvm_passthrough_pmu_handle_pmi - a counter of the running vCPU overflowed
 *
 * The interrupt arrives where it was raised, but not always in time: it may take
 * until after the exit, to when IRQs are enabled again.  Preemption is still off
 * then, and the running vCPU is the one that owns the PMU, or owned it last.  The
 * status of the overflow is where the state is, what is left is to tell the guest.
 *
 * Context: interrupt, called by perf.
 */
void kvm_passthrough_pmu_handle_pmi(void)
{
	struct kvm_vcpu *vcpu = kvm_get_running_vcpu();
	bool requested = false;
	struct kvm_pmu *pmu;
	struct kvm_pmc *pmc;
	int i;

	if (WARN_ON_ONCE(!vcpu || !kvm_vcpu_has_passthrough_pmu(vcpu)))
		return;

	/*
	 * perf keeps back what it knows to be the host's, whose tracing shares LVTPC:
	 * then it is up to request_late_pmi() alone.  What is left is the guest's,
	 * provided that it has a counter that may have made it.
	 *
	 * More can't be demanded here.  If the guest acknowledges an overflow and sets
	 * the counter again, all without a VM-exit, then the next overflow leaves the
	 * same status as the one before and about the same value, and nothing but
	 * this interrupt tells of it.
	 */
	pmu = vcpu_to_pmu(vcpu);
	if (pmu->in_hw) {
		see_status(pmu);
		if (host_regs.pmi_masks) {
			pmu->lvtpc_hw |= APIC_LVT_MASKED;
			pmu->lvtpc_unmasked = false;
		}
	}

	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&pmu->global_status) {
		if (!makes_pmi(pmc))
			continue;

		if (pmu->in_hw) {
			pmu->status_told |= BIT_ULL(pmc->idx);
			see_counter(pmc);
		}
		requested = true;
	}

	if (pmu->in_hw && !has_status(pmu))
		kvm_passthrough_pmu_change_status(pmu, pmu->global_status, 0);

	if (requested) {
		++vcpu->stat.passthrough_pmu_pmis;
		kvm_make_request(KVM_REQ_PMI, vcpu);
	}
}

/*
 * May hardware count what the guest programmed, apart from what user space says?
 *
 * What some events count depends on one more register, e.g. OFFCORE_RSP or the
 * threshold of load latencies.  KVM neither offers these registers to guests nor
 * switches them: such an event would count what the host is interested in.
 */
static bool is_gp_event_sound(u64 eventsel)
{
	return !(eventsel & host_regs.selector_refuse) && !perf_x86_event_has_extra_reg(eventsel);
}

static bool counts_insns(struct kvm_pmc *pmc)
{
	return !((pmc->eventsel ^ kvm_pmu_eventsel.INSTRUCTIONS_RETIRED) &
		 AMD64_RAW_EVENT_MASK_NB);
}

static void set_selector(struct kvm_pmc *pmc, u64 selector)
{
	u64 old;

	guard(irqsave)();

	old = pmc->eventsel_hw;
	pmc->eventsel_hw = selector;
	if (!pmc_to_pmu(pmc)->in_hw || selector == old)
		return;

	if (enables(selector))
		write_selector(pmc, selector);
	else if (enables(old))
		write_selector(pmc, 0);
}

/**
 * kvm_passthrough_pmu_reprogram - work out what hardware runs for a counter
 * @pmc: counter whose selector may have changed
 * @allowed: may the guest count, as it is now, what it wrote to the selector?
 *
 * Starts from what the guest wrote each time.  A counter that isn't allowed to count,
 * or whose event can't be left to hardware, is left in place, but doesn't count.
 * Needs kvm_passthrough_pmu_reprogrammed() afterwards.
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_pmu_reprogram(struct kvm_pmc *pmc, bool allowed)
{
	struct kvm_pmu *pmu = pmc_to_pmu(pmc);
	u64 selector, field;

	if (pmc_is_gp(pmc)) {
		selector = pmc->eventsel & ~(host_regs.selector_clear |
					     host_regs.selector_refuse);
		selector |= host_regs.selector_set;
		if (!allowed || !is_gp_event_sound(pmc->eventsel))
			selector &= ~ARCH_PERFMON_EVENTSEL_ENABLE;
		set_selector(pmc, selector);
	} else {
		field = intel_fixed_bits_by_idx(pmc->idx - KVM_FIXED_PMC_BASE_IDX,
						INTEL_FIXED_BITS_MASK);

		pmu->fixed_ctr_ctrl_hw &= ~field;
		if (allowed)
			pmu->fixed_ctr_ctrl_hw |= pmu->fixed_ctr_ctrl & field &
						  ~host_regs.fixed_clear;
	}

	if (pmc_speculative_in_use(pmc) && counts_insns(pmc))
		pmu->insn_counters |= BIT_ULL(pmc->idx);
	else
		pmu->insn_counters &= ~BIT_ULL(pmc->idx);
}

/**
 * kvm_passthrough_pmu_reprogrammed - let hardware run what was worked out
 * @vcpu: vCPU that owns the PMU while it runs
 *
 * After all counters were worked out: fixed counters share a register, and whether
 * the guest needs the PMU at all is a matter of all of them.
 *
 * Context: vCPU loaded.  IRQs on, unless nothing changes about that need.
 */
void kvm_passthrough_pmu_reprogrammed(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	if (unlikely(pmu->dormant || pmu->idle_puts == MAX_IDLE_PUTS))
		update_dormant(vcpu);

	guard(irqsave)();

	if (pmu->in_hw)
		write_fixed_ctrl(pmu, pmu->fixed_ctr_ctrl_hw);
}

static bool is_selector(struct kvm_pmu *pmu, u32 msr)
{
	u32 offset = msr - host_regs.gp_selector;

	return offset % host_regs.gp_stride == 0 &&
	       offset / host_regs.gp_stride < pmu->nr_arch_gp_counters;
}

/**
 * kvm_passthrough_pmu_fastpath_wrmsr - handle the guest's write in the exit fastpath
 * @vcpu: vCPU that owns the PMU, whose state is in hardware, right after VM-exit
 * @msr: what it writes to, any MSR
 * @data: the value
 *
 * For what a guest writes each time that it switches from one task with events to
 * another, and in each interrupt of a counter: selectors, the control of the fixed
 * counters, and LVTPC.
 *
 * Context: IRQs off, kvm->srcu read side.
 *
 * Return: true if it is done.  If not, nothing has changed.
 */
bool kvm_passthrough_pmu_fastpath_wrmsr(struct kvm_vcpu *vcpu, u32 msr, u64 data)
{
	struct msr_data info = { .index = msr, .data = data };
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);

	/* Hardware's state stays until the fastpath is left, see update_dormant(). */
	if (!pmu->in_hw || pmu->idle_puts == MAX_IDLE_PUTS)
		return false;

	if (msr == APIC_BASE_MSR + (APIC_LVTPC >> 4)) {
		if (kvm_x2apic_write_lvtpc(vcpu, data))
			return false;
		kvm_passthrough_pmu_update_lvtpc(vcpu);
		return true;
	}

	/* There are fixed counters from version 2 on only. */
	if (!is_selector(pmu, msr) &&
	    (!pmu->nr_arch_fixed_counters || msr != host_regs.fixed_ctrl))
		return false;

	if (!kvm_msr_allowed(vcpu, msr, KVM_MSR_FILTER_WRITE) || __kvm_pmu_set_msr(vcpu, &info))
		return false;

	kvm_pmu_count_exit(vcpu, msr);
	if (kvm_check_request(KVM_REQ_PMU, vcpu))
		kvm_pmu_handle_event(vcpu);
	return true;
}

/* Have the counters stopped with an interrupt, until the guest clears the status? */
static bool is_frozen(struct kvm_pmu *pmu)
{
	if (pmu->in_hw)
		see_status(pmu);
	return pmu->global_status & GLOBAL_STATUS_COUNTERS_FROZEN;
}

/* See kvm_passthrough_pmu_is_frozen(). */
bool __kvm_passthrough_pmu_is_frozen(struct kvm_pmu *pmu)
{
	guard(irqsave)();

	return is_frozen(pmu);
}

/* A PMI that hardware does not make, with the bits of @status for its reason */
static void raise_pmi(struct kvm_pmu *pmu, u64 status)
{
	kvm_make_request(KVM_REQ_PMI, pmu_to_vcpu(pmu));
	kvm_passthrough_pmu_change_status(pmu, 0, status | frozen_by_pmi(pmu));
}

/**
 * kvm_passthrough_pmu_freeze - freeze what the guest wants frozen by a PMI
 * @vcpu: vCPU that owns the PMU while it runs, about to be told of a PMI
 *
 * Hardware has done that, if it was the guest that the PMI interrupted.  But it may have
 * come after the VM-exit, with the host's DEBUGCTL.
 *
 * Context: vCPU loaded, which has not run since.
 */
void kvm_passthrough_pmu_freeze(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 frozen;

	if (likely(!pmu->may_freeze))
		return;

	frozen = frozen_by_pmi(pmu);
	if (frozen)
		kvm_passthrough_pmu_change_status(pmu, 0, frozen);
}

/**
 * kvm_passthrough_pmu_count - count an event that KVM emulated
 * @pmc: counter that would have counted the event, and was not frozen before it
 *
 * If that makes the counters freeze, others still count the same event.
 *
 * Context: vCPU loaded.
 */
void kvm_passthrough_pmu_count(struct kvm_pmc *pmc)
{
	struct kvm_pmu *pmu = pmc_to_pmu(pmc);
	bool in_hw;
	u64 now;

	guard(irqsave)();

	in_hw = is_value_in_hw(pmc);
	now = pmc->counter;
	if (in_hw)
		rdpmcl(counter_rdpmc(pmc), now);

	pmc->counter = (now + 1) & pmc_bitmask(pmc);
	if (in_hw)
		wrmsrl(counter_msr(pmc), counter_hw_value(pmc));
	if (pmc->counter)
		return;

	if (wants_pmi(pmc))
		raise_pmi(pmu, BIT_ULL(pmc->idx));
	else
		kvm_passthrough_pmu_change_status(pmu, 0, BIT_ULL(pmc->idx));
}

/* Does hardware count the kernel's instructions with it? */
static bool counts_kernel_insns(struct kvm_pmc *pmc)
{
	struct kvm_pmu *pmu = pmc_to_pmu(pmc);

	if (!counts_insns(pmc))
		return false;

	if (pmc_is_gp(pmc))
		return enables(pmc->eventsel_hw) && pmc->eventsel_hw & ARCH_PERFMON_EVENTSEL_OS;

	return fixed_ctrl_field(pmu->fixed_ctr_ctrl_hw, pmc->idx - KVM_FIXED_PMC_BASE_IDX) &
	       INTEL_FIXED_0_KERNEL;
}

/**
 * kvm_passthrough_pmu_lvtpc_written - the guest's instruction that wrote LVTPC is over
 * @vcpu: vCPU of any VM
 *
 * Where hardware virtualizes the local APIC, it has counted the instruction when KVM
 * hears of it, with an LVTPC that was still masked.  But the overflow that it may have
 * made comes after the write, and so does its interrupt.
 *
 * Context: vCPU loaded; LVTPC has its new value, and hardware the old one.
 */
void kvm_passthrough_pmu_lvtpc_written(struct kvm_vcpu *vcpu)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	u64 counters, overflowed = 0;
	struct kvm_pmc *pmc;
	int i;

	if (!kvm_vcpu_has_passthrough_pmu(vcpu) || pmu->lvtpc_unmasked ||
	    kvm_lapic_get_reg(vcpu->arch.apic, APIC_LVTPC) & APIC_LVT_MASKED)
		return;

	counters = kvm_passthrough_pmu_insn_counters(pmu) &
		   bitmap_read(pmu->all_valid_pmc_idx, 0, X86_PMC_IDX_MAX);
	if (kvm_pmu_has_perf_global_ctrl(pmu))
		counters &= kvm_passthrough_pmu_global_ctrl(pmu);
	if (!counters)
		return;

	guard(irqsave)();

	kvm_for_each_pmc(pmu, pmc, i, (unsigned long *)&counters) {
		u64 now = pmc->counter;

		if (!counts_kernel_insns(pmc) || !makes_pmi(pmc))
			continue;

		if (is_value_in_hw(pmc))
			rdpmcl(counter_rdpmc(pmc), now);
		if (!(now & pmc_bitmask(pmc)))
			overflowed |= BIT_ULL(pmc->idx);
	}
	/* Frozen, they may have stopped there before; this sees the status. */
	if (!overflowed || is_frozen(pmu))
		return;

	if (pmu->global_status & overflowed)
		raise_pmi(pmu, 0);
}

static u32 fixed_counters(struct kvm_pmu *pmu)
{
	return bitmap_read(pmu->all_valid_pmc_idx, KVM_FIXED_PMC_BASE_IDX, 16);
}

/* Bits of GLOBAL_CTRL and GLOBAL_STATUS that are a counter's. */
static u64 counter_bits(struct kvm_pmu *pmu)
{
	return bitmap_read(pmu->all_valid_pmc_idx, 0, 32) |
	       (u64)fixed_counters(pmu) << KVM_FIXED_PMC_BASE_IDX;
}

/**
 * kvm_passthrough_pmu_policy - decide what a vCPU may touch without a VM-exit
 * @vcpu: the vCPU, with its CPUID set
 * @has_full_width: the guest has the full-width aliases of its counters
 * @status_foreign: bits of the host's GLOBAL_STATUS besides those of counters that
 *	somebody else than this guest might set while it runs, or waits for
 *
 * Also makes sure that the vCPU has a local APIC in the kernel, which
 * kvm_passthrough_pmu_load() relies on, and decides whether PERF_METRICS changes hands.
 *
 * Context: vCPU loaded.  IRQs may be on or off.
 *
 * Return: see kvm_passthrough_policy().
 */
struct kvm_passthrough_policy kvm_passthrough_pmu_policy(struct kvm_vcpu *vcpu,
							 bool has_full_width,
							 u64 status_foreign)
{
	struct kvm_pmu *pmu = vcpu_to_pmu(vcpu);
	const struct kvm_passthrough_model host = {
		.version	= kvm_host_pmu_cap.version,
		.nr_gp		= kvm_host_pmu_cap.num_counters_gp,
		.fixed		= BIT(kvm_host_pmu_cap.num_counters_fixed) - 1,
		.width_gp	= kvm_host_pmu_cap.bit_width_gp,
		.width_fixed	= kvm_host_pmu_cap.bit_width_fixed,
		.has_metrics	= host_regs.metrics,
		.ctrl_extra	= host_regs.ctrl_extra,
		.ctrl_harmless	= host_regs.ctrl_harmless,
		.status_extra	= host_regs.status_extra | status_foreign,
		.clear_extra	= host_regs.clear_extra,
		.clear_foreign	= host_regs.clear_foreign & status_foreign,
	};
	const struct kvm_passthrough_model guest = {
		.version	= pmu->version,
		.nr_gp		= pmu->nr_arch_gp_counters,
		.fixed		= fixed_counters(pmu),
		.width_gp	= fls64(pmu->counter_bitmask[KVM_PMC_GP]),
		.width_fixed	= fls64(pmu->counter_bitmask[KVM_PMC_FIXED]),
		.has_metrics	= pmu->has_metrics,
		.ctrl_extra	= ~pmu->global_ctrl_rsvd & ~counter_bits(pmu),
		.status_extra	= ~pmu->global_status_rsvd & ~counter_bits(pmu),
		.clear_extra	= ~pmu->global_status_rsvd & ~counter_bits(pmu),
	};
	const struct kvm_passthrough_switches switches = {
		.owns_pmu	= kvm_vcpu_has_passthrough_pmu(vcpu) &&
				  !KVM_BUG_ON(!lapic_in_kernel(vcpu), vcpu->kvm),
		.rdpmc_backdoor	= enable_vmware_backdoor,
		.rdpmc_beyond_core = host_regs.rdpmc_beyond_core,
		.has_full_width	= has_full_width,
		.nr_legacy	= host_regs.nr_legacy,
	};
	struct kvm_passthrough_policy policy;

	policy = kvm_passthrough_policy(&host, &guest, &switches);

	/* What KVM refuses must not depend on whether the guest is dormant. */
	pmu->global_ctrl_taken = policy.ctrl_taken;
	pmu->status_clear_taken = policy.clear_taken;
	/* If RDPMC does not exit, it reads PERF_METRICS whether or not the guest has it. */
	pmu->switch_metrics = pmu->has_metrics || policy.metrics_read;

	return pmu->dormant ? (struct kvm_passthrough_policy) {} : policy;
}
EXPORT_SYMBOL_GPL(kvm_passthrough_pmu_policy);
