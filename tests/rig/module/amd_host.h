/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's counters around the tests of rig_amd and rig_svm, as intel_host.h.  To be
 * included once, by the module's main file.
 */
#ifndef RIG_AMD_HOST_H
#define RIG_AMD_HOST_H

#include "amd.h"
#include "common.h"

static const struct rig_amd_machine *m;

/* What the host had in the registers that the tests change. */
static struct {
	u64 sel[RIG_AMD_COUNTERS], ctl;
	u32 lvtpc;
	bool valid;
} host;

static void pmu_quiesce(void)
{
	int i;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		wr(RIG_AMD_SEL(i), 0);
		wr(RIG_AMD_CTR(i), 0);
	}
	if (m->v2) {
		wr(RIG_AMD_CTL, RIG_AMD_ALL);
		wr(RIG_AMD_STATUS_CLR, RIG_AMD_ALL |
		   (m->freeze ? RIG_AMD_LBRS_FROZEN | RIG_AMD_PMCS_FROZEN : 0));
	}
}

/* To begin a test: finds the machine, or skips the test; keeps what the host has. */
static int host_keep(struct kunit *test)
{
	int i, err;

	host.valid = false;
	m = rig_find_amd(machine);
	err = rig_is_there(test, m, "AMD");
	if (err)
		return err;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		host.sel[i] = rd(RIG_AMD_SEL(i));
		KUNIT_ASSERT_FALSE_MSG(test, host.sel[i] & RIG_SEL_EN,
				       "counter %d is in use; nmi_watchdog=0?", i);
	}
	host.ctl = m->v2 ? rd(RIG_AMD_CTL) : 0;
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
	for (i = 0; i < RIG_AMD_COUNTERS; i++)
		wr(RIG_AMD_SEL(i), host.sel[i]);
	if (m->v2)
		wr(RIG_AMD_CTL, host.ctl);
	rig_apic_write(APIC_LVTPC, host.lvtpc);
	host.valid = false;
}

#endif /* RIG_AMD_HOST_H */
