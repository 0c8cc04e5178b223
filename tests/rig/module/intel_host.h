/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's PMU around the tests of rig_pmu and rig_vmx: what it had is kept, what the
 * tests leave is cleared.  To be included once, by the module's main file.
 */
#ifndef RIG_INTEL_HOST_H
#define RIG_INTEL_HOST_H

#include "common.h"

static const struct rig_machine *m;

/* What the host had in the registers that the tests change. */
static struct {
	u64 sel[RIG_GP_MAX], fixed_ctrl, global_ctrl, debugctl;
	u32 lvtpc;
	bool valid;
} host;

/* Bits that GLOBAL_STATUS_SET sets, and GLOBAL_STATUS_RESET clears. */
static u64 status_bits(void)
{
	return rig_gp_mask(m) | rig_fixed_mask(m) | RIG_STATUS_LBR_FRZ | RIG_STATUS_CTR_FRZ |
	       RIG_STATUS_OVF_BUF | (m->metrics ? RIG_STATUS_METRICS : 0) |
	       (cpuid_ebx(7) & BIT(25) ? RIG_STATUS_TRACE : 0) |
	       (cpuid_ebx(7) & BIT(2) ? RIG_STATUS_ASCI : 0);
}

static void pmu_quiesce(void)
{
	int i;

	wr(MSR_CORE_PERF_GLOBAL_CTRL, 0);
	for (i = 0; i < m->gp; i++) {
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, 0);
		wr(MSR_IA32_PMC0 + i, 0);
	}
	wr(MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
	for (i = 0; i < m->fixed; i++)
		wr(MSR_CORE_PERF_FIXED_CTR0 + i, 0);
	if (m->metrics)
		wr(MSR_PERF_METRICS, 0);
	wr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, status_bits() | RIG_STATUS_COND_CHGD);
}

/* To begin a test: finds the machine, or skips the test; keeps what the host has. */
static int host_keep(struct kunit *test)
{
	int i, err;

	host.valid = false;
	m = rig_find_machine(machine);
	err = rig_is_there(test, m, "Intel");
	if (err)
		return err;

	host.global_ctrl = rd(MSR_CORE_PERF_GLOBAL_CTRL);
	host.fixed_ctrl = rd(MSR_CORE_PERF_FIXED_CTR_CTRL);
	for (i = 0; i < m->gp; i++) {
		host.sel[i] = rd(MSR_ARCH_PERFMON_EVENTSEL0 + i);
		KUNIT_ASSERT_FALSE_MSG(test, host.sel[i] & RIG_SEL_EN,
				       "counter %d is in use; nmi_watchdog=0?", i);
	}
	KUNIT_ASSERT_EQ_MSG(test, host.fixed_ctrl, 0, "fixed counters are in use; nmi_watchdog=0?");
	host.debugctl = rd(MSR_IA32_DEBUGCTLMSR);
	host.lvtpc = rig_apic_read(APIC_LVTPC);
	host.valid = true;
	return 0;
}

/* After each test, also one that failed */
static void host_put_back(struct kunit *test)
{
	int i;

	if (!host.valid || pin())
		return;
	pmu_quiesce();
	for (i = 0; i < m->gp; i++)
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + i, host.sel[i]);
	wr(MSR_CORE_PERF_FIXED_CTR_CTRL, host.fixed_ctrl);
	wr(MSR_IA32_DEBUGCTLMSR, host.debugctl);
	wr(MSR_CORE_PERF_GLOBAL_CTRL, host.global_ctrl);
	rig_apic_write(APIC_LVTPC, host.lvtpc);
	host.valid = false;
}

#endif /* RIG_INTEL_HOST_H */
