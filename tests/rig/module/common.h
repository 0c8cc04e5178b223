/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every one of the test modules needs: parameters, registers that may raise #GP,
 * a CPU to stay on.  To be included once, by the module's main file.
 */
#ifndef RIG_COMMON_H
#define RIG_COMMON_H

#include <linux/module.h>

#include "rig.h"

static char *machine = "";
module_param(machine, charp, 0444);
MODULE_PARM_DESC(machine, "name of the machine under test; its PMU must then be there");

static uint cpu;
module_param(cpu, uint, 0444);
MODULE_PARM_DESC(cpu, "CPU to run the tests on");

static uint skid;
module_param(skid, uint, 0444);
MODULE_PARM_DESC(skid, "instructions from an overflow to its interrupt");

#define VECTOR_FIXED	0xf1	/* ours while the tests' interrupt table is loaded */

static u64 rd(u32 msr)
{
	u64 val = 0xdeadbeefdeadbeefULL;

	if (rdmsrl_safe(msr, &val))
		pr_err(KBUILD_MODNAME ": RDMSR %#x: #GP\n", msr);
	return val;
}

static void wr(u32 msr, u64 val)
{
	if (wrmsrl_safe(msr, val))
		pr_err(KBUILD_MODNAME ": WRMSR %#x = %#llx: #GP\n", msr, val);
}

/* Each part of a test runs in a thread of its own. */
static int pin(void)
{
	return set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

static inline bool vector_pending(int vector)
{
	return rig_apic_read(APIC_IRR + (vector / 32) * 0x10) >> (vector % 32) & 1;
}

#endif /* RIG_COMMON_H */
