// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts something into the PMU while a guest owns it
 *
 * What guests of some hosts can do (those of SEV-ES have DebugCtl for themselves), and what
 * the host's own hardware does meanwhile (Intel PT, debug stores), is out of reach on the
 * emulated machines.  Only NMIs interrupt a CPU whose PMU is a guest's.  So send it one: its
 * handler does the same to the PMU.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>
#include <asm/nmi.h>

/* The pristine kernel has none; nobody loads the module there. */
#ifndef PERF_GUEST_PMI_VECTOR
#define PERF_GUEST_PMI_VECTOR	0
#endif

static uint cpu;
module_param(cpu, uint, 0644);
MODULE_PARM_DESC(cpu, "CPU that it is done on");

static uint msr;
module_param(msr, uint, 0644);
MODULE_PARM_DESC(msr, "MSR to write, 0 for none");

static unsigned long long value;
module_param(value, ullong, 0644);
MODULE_PARM_DESC(value, "value for the MSR");

static uint vector;
module_param(vector, uint, 0644);
MODULE_PARM_DESC(vector, "interrupt to raise, 0 for none");

static bool armed;
static atomic_t sent, handled;

static void plant(void *unused)
{
	if (msr)
		wrmsrl(msr, value);
	if (vector)
		apic->send_IPI_self(vector);
}

static bool is_guests(void)
{
	return (apic->read(APIC_LVTPC) & (APIC_MODE_MASK | APIC_VECTOR_MASK)) ==
	       (APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR);
}

static int plant_nmi(unsigned int cmd, struct pt_regs *regs)
{
	int n = atomic_read(&sent);

	if (raw_smp_processor_id() != cpu || atomic_read(&handled) == n)
		return NMI_DONE;

	if (READ_ONCE(armed) && is_guests()) {
		WRITE_ONCE(armed, false);
		plant(NULL);
	}
	atomic_set(&handled, n);
	return NMI_HANDLED;
}

/* Until it finds the PMU a guest's. */
static int plant_in_guest(void)
{
	int try, wait;

	WRITE_ONCE(armed, true);
	for (try = 0; try < 10000 && READ_ONCE(armed); try++) {
		preempt_disable();
		if (smp_processor_id() == cpu) {
			preempt_enable();
			return -EINVAL;
		}
		atomic_inc(&sent);
		apic->send_IPI(cpu, NMI_VECTOR);
		preempt_enable();
		for (wait = 0; atomic_read(&handled) != atomic_read(&sent); wait++) {
			if (wait == 1000)
				return -EIO;
			usleep_range(10, 20);
		}
	}
	return xchg(&armed, false) ? -ETIME : 0;
}

static int in_guest_set(const char *val, const struct kernel_param *kp)
{
	return plant_in_guest();
}

static const struct kernel_param_ops in_guest_ops = { .set = in_guest_set };
module_param_cb(in_guest, &in_guest_ops, NULL, 0200);
MODULE_PARM_DESC(in_guest, "write anything: do it as soon as a guest owns the PMU");

static int in_host_set(const char *val, const struct kernel_param *kp)
{
	return smp_call_function_single(cpu, plant, NULL, 1);
}

static const struct kernel_param_ops in_host_ops = { .set = in_host_set };
module_param_cb(in_host, &in_host_ops, NULL, 0200);
MODULE_PARM_DESC(in_host, "write anything: do it now");

static int __init plant_init(void)
{
	return register_nmi_handler(NMI_LOCAL, plant_nmi, NMI_FLAG_FIRST, "plant");
}
module_init(plant_init);

static void __exit plant_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, "plant");
}
module_exit(plant_exit);

MODULE_DESCRIPTION("Puts something into the PMU while a guest owns it");
MODULE_LICENSE("GPL");
