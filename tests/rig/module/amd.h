/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD's machines as the manuals describe them, for rig_amd and rig_svm.
 *
 * "APM" is the AMD64 Architecture Programmer's Manual, "PPR" the Processor
 * Programming Reference of family 19h, model 11h.
 */
#ifndef RIG_AMD_H
#define RIG_AMD_H

#include "rig.h"

#define RIG_AMD_SEL(n)		(0xc0010200 + 2 * (n))
#define RIG_AMD_CTR(n)		(0xc0010201 + 2 * (n))
#define RIG_AMD_OLD_SEL(n)	(0xc0010000 + (n))	/* of the first four */
#define RIG_AMD_OLD_CTR(n)	(0xc0010004 + (n))
#define RIG_AMD_STATUS		0xc0000300
#define RIG_AMD_CTL		0xc0000301
#define RIG_AMD_STATUS_CLR	0xc0000302
#define RIG_AMD_STATUS_SET	0xc0000303
#define RIG_AMD_DEBUGCTL	0x1d9
#define RIG_AMD_LBR_SELECT	0xc000010e
#define RIG_AMD_DBG_EXTN_CFG	0xc000010f
#define RIG_AMD_LBR_FROM(n)	(0xc0010300 + 2 * (n))
#define RIG_AMD_LBRS		16

#define RIG_AMD_INSN		0xc0
#define RIG_AMD_BRANCH		0xc2
#define RIG_AMD_COND		0xd1
#define RIG_AMD_CYCLES		0x76

#define RIG_AMD_GUESTONLY	BIT_ULL(40)
#define RIG_AMD_HOSTONLY	BIT_ULL(41)
/* event, unit mask, USR, OS, EDGE, INT, EN, INV, counter mask, and the two above */
#define RIG_AMD_SEL_BITS	(GENMASK_ULL(41, 40) | GENMASK_ULL(35, 32) | GENMASK_ULL(31, 22) | \
				 RIG_SEL_INT | GENMASK_ULL(18, 0))

#define RIG_AMD_COUNTERS	6
#define RIG_AMD_WIDTH		GENMASK_ULL(47, 0)
#define RIG_AMD_ALL		GENMASK_ULL(RIG_AMD_COUNTERS - 1, 0)

/* With LbrAndPmcFreeze: bits of DebugCtl, and what they lead to in GlobalStatus */
#define RIG_AMD_FREEZE_LBRS	BIT_ULL(11)
#define RIG_AMD_FREEZE_PMCS	BIT_ULL(12)
#define RIG_AMD_LBRS_FROZEN	BIT_ULL(58)
#define RIG_AMD_PMCS_FROZEN	BIT_ULL(59)

/**
 * struct rig_amd_machine - a processor, from its documentation
 * @name: the machine's name in this project
 * @family: from CPUID Fn0000_0001_EAX, as @model
 * @v2: has PerfMonV2: global control and status; and LbrStack, as all processors with it
 * @freeze: has LbrAndPmcFreeze
 */
struct rig_amd_machine {
	const char *name;
	u8 family, model;
	bool v2, freeze;
};

static const struct rig_amd_machine rig_amd_machines[] = {
	{ .name = "zen1", .family = 0x17, .model = 0x01 },
	{ .name = "zen4", .family = 0x19, .model = 0x11, .v2 = true, .freeze = true },
};

/* As rig_find_machine() of rig.h. */
static inline const struct rig_amd_machine *rig_find_amd(const char *name)
{
	const struct rig_amd_machine *found = NULL, *wanted = NULL;
	int i;

	for (i = 0; i < ARRAY_SIZE(rig_amd_machines); i++) {
		const struct rig_amd_machine *m = &rig_amd_machines[i];

		if (boot_cpu_data.x86_vendor == X86_VENDOR_AMD && boot_cpu_data.x86 == m->family &&
		    boot_cpu_data.x86_model == m->model && cpuid_ecx(0x80000001) & BIT(23))
			found = m;
		if (!strcmp(name, m->name))
			wanted = m;
	}
	if (wanted && wanted != found)
		return ERR_PTR(-ENODEV);
	return *name && !wanted ? NULL : found;
}

#endif /* RIG_AMD_H */
