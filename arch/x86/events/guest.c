// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of counters that a guest owns
 *
 * The host's PMI is an NMI. An NMI does not tell where it comes from, so the
 * PMI of a guest can't be one as well: raised right before a VM-exit it would
 * be taken for one of the host, and any other NMI for one of the guest. While a
 * guest owns the PMU, LVTPC therefore delivers PERF_GUEST_PMI_VECTOR. Guests
 * run with interrupts off in the host, so such a PMI causes a VM-exit, or waits
 * until the hypervisor turns interrupts on; in either case it comes from the
 * guest that is, or last was, loaded on this CPU.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/lockdep.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <linux/smp.h>

#include <asm/apic.h>
#include <asm/hardirq.h>
#include <asm/idtentry.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>

#include "perf_event.h"

/*
 * Set while LVTPC, and what it reports, is none of the host's business. This is
 * not perf core's notion of who owns the PMU, which changes before and after.
 */
DEFINE_PER_CPU(bool, guest_lvtpc_loaded);
#if IS_ENABLED(CONFIG_KUNIT)
EXPORT_PER_CPU_SYMBOL_GPL(guest_lvtpc_loaded);
#endif

/*
 * Set if the host interrupted by LVTPC while that was a guest's: the interrupt is
 * repeated, but has come in on the guest's vector as well.
 */
static DEFINE_PER_CPU(bool, host_pmi_repeated);

/* Counters that events of the host have left behind wait for being cleared. */
static DEFINE_PER_CPU(bool, clearing_deferred);

/* Functions of their own, so that tests can take their place. */
VISIBLE_IF_KUNIT void x86_write_lvtpc(u32 value)
{
	KUNIT_STATIC_STUB_REDIRECT(x86_write_lvtpc, value);
	apic_write(APIC_LVTPC, value);
}
EXPORT_SYMBOL_IF_KUNIT(x86_write_lvtpc);

/*
 * Not all that interrupts by LVTPC is part of the PMU that a guest owns: if the
 * host uses Intel PT and guests don't, PT traces on while the guest runs.
 */
VISIBLE_IF_KUNIT bool x86_host_traces(void)
{
	KUNIT_STATIC_STUB_REDIRECT(x86_host_traces);
	return intel_pt_expects_pmi();
}
EXPORT_SYMBOL_IF_KUNIT(x86_host_traces);

/**
 * perf_host_traces - does the host trace on this CPU?
 *
 * If so, what traces shares LVTPC and IA32_PERF_GLOBAL_STATUS with the guest that owns
 * the PMU. It does not start while perf_guest_enter() allows interrupts to be on: the
 * hypervisor is called before.
 *
 * Context: Preemption off.
 * Return: true if Intel PT is about to use its bit in IA32_PERF_GLOBAL_STATUS.
 */
bool perf_host_traces(void)
{
	return x86_host_traces();
}
EXPORT_SYMBOL_GPL(perf_host_traces);

/* Has PT filled its buffer, and not been taken care of? */
VISIBLE_IF_KUNIT bool x86_trace_is_full(void)
{
	u64 status;

	KUNIT_STATIC_STUB_REDIRECT(x86_trace_is_full);
	rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);

	return status & MSR_CORE_PERF_GLOBAL_OVF_CTRL_TRACE_TOPA_PMI;
}
EXPORT_SYMBOL_IF_KUNIT(x86_trace_is_full);

/*
 * The same of the branch trace store.  It records nothing of a guest, whose DEBUGCTL is
 * another one, but goes on with what the hypervisor does before and afterwards.
 */
VISIBLE_IF_KUNIT bool x86_branch_trace_is_full(void)
{
	KUNIT_STATIC_STUB_REDIRECT(x86_branch_trace_is_full);
	return intel_bts_is_full();
}
EXPORT_SYMBOL_IF_KUNIT(x86_branch_trace_is_full);

VISIBLE_IF_KUNIT void x86_repeat_host_pmi(void)
{
	KUNIT_STATIC_STUB_REDIRECT(x86_repeat_host_pmi);
	__apic_send_IPI(smp_processor_id(), NMI_VECTOR);
}
EXPORT_SYMBOL_IF_KUNIT(x86_repeat_host_pmi);

static void write_guest_lvtpc(u32 guest_lvtpc)
{
	if (unlikely(x86_host_traces()))
		guest_lvtpc &= ~APIC_LVT_MASKED;

	x86_write_lvtpc(APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR |
			(guest_lvtpc & APIC_LVT_MASKED));
}

/**
 * perf_load_guest_lvtpc - deliver PMIs of this CPU to the hypervisor
 * @guest_lvtpc: LVTPC of the guest's local APIC, of which the mask bit is used:
 *	hardware sets it with each PMI on Intel CPUs, and the guest has no other
 *	means than that bit to get the next one
 *
 * From here to perf_put_guest_lvtpc() NMIs leave the PMU and LVTPC alone: the
 * host's handler would enable all counters, acknowledge overflows of the guest,
 * and turn LVTPC into an NMI again. That must hold before anything of the guest
 * is in the PMU, so the order is: perf_guest_enter(), then this function, then
 * GLOBAL_CTRL = 0 and the guest's state.
 *
 * A PMI of the host that is still on its way at this point finds no handler. It
 * would have to be late by all that perf_guest_enter() does.
 *
 * While the host traces with Intel PT, LVTPC is not masked, whatever the guest
 * wants: a full buffer has to end guest mode. If that lets a PMI of the guest
 * through, the hypervisor's local APIC for the guest drops it.
 *
 * Context: Interrupts off, and kept off until perf_put_guest_lvtpc() unless
 * perf_guest_enter() allowed otherwise.
 */
void perf_load_guest_lvtpc(u32 guest_lvtpc)
{
	lockdep_assert_irqs_disabled();

	WARN_ON_ONCE(__this_cpu_read(guest_lvtpc_loaded));
	__this_cpu_write(guest_lvtpc_loaded, true);

	/* What was repeated has come in by now, on both ways. */
	__this_cpu_write(host_pmi_repeated, false);

	/* An NMI from here on must not see LVTPC as the host's. */
	barrier();

	write_guest_lvtpc(guest_lvtpc);
}
EXPORT_SYMBOL_GPL(perf_load_guest_lvtpc);

/**
 * perf_update_guest_lvtpc - follow a guest that masks or unmasks its PMIs
 * @guest_lvtpc: see perf_load_guest_lvtpc()
 *
 * For hypervisors that keep the PMU. A PMI masks LVTPC on Intel CPUs, hence it is to
 * be written after each of them, too.
 *
 * Context: Interrupts off, between perf_load_guest_lvtpc() and perf_put_guest_lvtpc().
 */
void perf_update_guest_lvtpc(u32 guest_lvtpc)
{
	lockdep_assert_irqs_disabled();

	if (!WARN_ON_ONCE(!__this_cpu_read(guest_lvtpc_loaded)))
		write_guest_lvtpc(guest_lvtpc);
}
EXPORT_SYMBOL_GPL(perf_update_guest_lvtpc);

/*
 * Counters are to be cleared that could be read in user mode, and are a guest's. None
 * is read before perf_put_guest_lvtpc(): nobody else runs until then, and the
 * current task doesn't run in user mode.
 */
void x86_guest_defer_clearing(void)
{
	__this_cpu_write(clearing_deferred, true);
}

/**
 * perf_put_guest_lvtpc - deliver PMIs of this CPU to the host again
 *
 * All counters must be stopped and their overflows acknowledged or saved. The
 * order is: take the guest's state out of the PMU, then this function, then
 * perf_guest_exit(). A PMI that the guest's counters have raised before is not
 * lost, it comes in on the guest's vector as soon as interrupts are on.
 *
 * If Intel PT or the branch trace store has filled the host's buffer meanwhile, its
 * interrupt went to the guest's vector, or was masked: it is repeated here, as an
 * NMI. The hypervisor must have left the bit in IA32_PERF_GLOBAL_STATUS alone that
 * tells of PT. The handler finds the PMU as the guest has left it, that is without
 * anything else to do.
 *
 * What comes in on the guest's vector is not passed on to the hypervisor then. So
 * the latter must look for overflows of the guest by itself when it takes the
 * guest's state out of the PMU.
 *
 * Context: Interrupts off.
 */
void perf_put_guest_lvtpc(void)
{
	bool host_pmi_missed;

	lockdep_assert_irqs_disabled();

	/*
	 * As late as possible, since this function is traced, too. But not after
	 * LVTPC was written: an NMI that comes by itself must not come twice. What
	 * is missed in between is found the next time.
	 */
	host_pmi_missed = (unlikely(x86_host_traces()) && x86_trace_is_full()) ||
			  unlikely(x86_branch_trace_is_full());
	__this_cpu_write(host_pmi_repeated, host_pmi_missed);

	x86_write_lvtpc(APIC_DM_NMI);

	/* See perf_load_guest_lvtpc(). */
	barrier();

	WARN_ON_ONCE(!__this_cpu_read(guest_lvtpc_loaded));
	__this_cpu_write(guest_lvtpc_loaded, false);

	/* The handler does nothing before that. */
	barrier();

	if (unlikely(__this_cpu_read(clearing_deferred))) {
		__this_cpu_write(clearing_deferred, false);
		perf_clear_dirty_counters();
	}

	if (unlikely(host_pmi_missed))
		x86_repeat_host_pmi();
}
EXPORT_SYMBOL_GPL(perf_put_guest_lvtpc);

VISIBLE_IF_KUNIT void x86_tell_hypervisor(void)
{
	KUNIT_STATIC_STUB_REDIRECT(x86_tell_hypervisor);
	perf_guest_handle_passthrough_pmi();
}
EXPORT_SYMBOL_IF_KUNIT(x86_tell_hypervisor);

/*
 * Guests can't make each other's PMIs, and of the host only what traces is able to
 * interrupt while LVTPC is a guest's. Hence the interrupt is the guest's unless
 * perf_put_guest_lvtpc() has found that it is the host's.
 */
VISIBLE_IF_KUNIT void x86_handle_guest_pmi(void)
{
	if (likely(!__this_cpu_read(host_pmi_repeated)))
		x86_tell_hypervisor();
}
EXPORT_SYMBOL_IF_KUNIT(x86_handle_guest_pmi);

/*
 * Handler for PERF_GUEST_PMI_VECTOR.
 */
DEFINE_IDTENTRY_SYSVEC(sysvec_perf_guest_pmi)
{
	apic_eoi();
	inc_irq_stat(perf_guest_pmis);
	x86_handle_guest_pmi();
}
