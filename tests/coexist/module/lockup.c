// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locks a CPU up: writing a number of milliseconds to the parameter `spin` keeps the CPU
 * of the writer busy for that long, with interrupts off; or until another one writes Y to
 * the parameter `stop`.
 */
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static bool stop;
module_param(stop, bool, 0600);
MODULE_PARM_DESC(stop, "end it");

static int spin_set(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;
	unsigned long flags;
	u64 end;
	int err;

	err = kstrtouint(val, 0, &ms);
	if (err)
		return err;
	if (ms > 60000)
		return -ERANGE;

	local_irq_save(flags);
	/* The clock that the NMI handler may read, too */
	end = ktime_get_mono_fast_ns() + ms * NSEC_PER_MSEC;
	while (!READ_ONCE(stop) && ktime_get_mono_fast_ns() < end)
		cpu_relax();
	local_irq_restore(flags);

	return 0;
}

static const struct kernel_param_ops spin_ops = { .set = spin_set };

module_param_cb(spin, &spin_ops, NULL, 0200);
MODULE_PARM_DESC(spin, "keep this CPU busy for so many milliseconds, interrupts off");

MODULE_DESCRIPTION("Locks a CPU up for a while");
MODULE_LICENSE("GPL");
