/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every one of the test modules needs: parameters, registers that may raise #GP,
 * a CPU to stay on.  To be included once, by the module's main file.
 */
#ifndef RIG_COMMON_H
#define RIG_COMMON_H

#include <linux/err.h>
#include <linux/module.h>

#include "rig.h"

static char *machine = "";
module_param(machine, charp, 0444);
MODULE_PARM_DESC(machine, "name of the machine under test; its PMU must then be there");

static char *without = "";
module_param(without, charp, 0444);
MODULE_PARM_DESC(without, "features that the machine was started without");

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

/**
 * rig_is_there() - the beginning of a test: is the machine there, and the CPU?
 * @test: the test; skipped if there is no PMU that the tests know
 * @found: what rig_find_machine() or rig_find_amd() said
 * @vendor: whose PMU
 *
 * Return: 0, with the thread on the CPU; -ENODEV if the machine is another one
 * than was promised.
 */
static inline int rig_is_there(struct kunit *test, const void *found, const char *vendor)
{
	if (IS_ERR(found)) {
		kunit_err(test, "this processor is not '%s', or shows no PMU\n", machine);
		return PTR_ERR(found);
	}
	if (!found)
		kunit_skip(test, "no %s PMU that the tests know", vendor);
	KUNIT_ASSERT_EQ_MSG(test, pin(), 0, "CPU %u is not there", cpu);
	return 0;
}

/*
 * For checks of the emulator's own statistics: a parameter of the module that takes a
 * number when it is written, and calls _do with it.
 */
#define RIG_TIMES_PARAM(_name, _do, _text)						\
	static int _name##_set(const char *val, const struct kernel_param *kp)		\
	{										\
		unsigned int n;								\
		int err = kstrtouint(val, 10, &n);					\
											\
		return err ?: _do(n);							\
	}										\
	static const struct kernel_param_ops _name##_ops = { .set = _name##_set };	\
	module_param_cb(_name, &_name##_ops, NULL, 0200);				\
	MODULE_PARM_DESC(_name, "write n: " _text)

static inline bool vector_pending(int vector)
{
	return rig_apic_read(APIC_IRR + (vector / 32) * 0x10) >> (vector % 32) & 1;
}

/* Does any other interrupt wait? */
static inline bool others_pending(int vector)
{
	u32 irr, i;

	for (i = 0; i < 8; i++) {
		irr = rig_apic_read(APIC_IRR + i * 0x10);
		if (i == vector / 32)
			irr &= ~BIT(vector % 32);
		if (irr)
			return true;
	}
	return false;
}

#endif /* RIG_COMMON_H */
