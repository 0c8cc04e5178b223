// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executes programs of PMU operations on this processor
 *
 * The PMU must be free: no event of perf, no watchdog, no VM that owns it.  While a program runs, interrupts are off
 * and the interrupt table is ours: there is nothing but the program.
 */
#include <linux/fs.h>
#include <linux/irqflags.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/apic.h>
#include <asm/apicdef.h>
#include <asm/desc.h>
#include <asm/fixmap.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/segment.h>
#include <asm/trapnr.h>

#include "program.h"

#define OPS_MAX 10000

void machine_run(struct context *ctx);
extern char machine_page[], machine_gp[], machine_nmi[], machine_back[];

static gate_desc idt[256] __aligned(PAGE_SIZE);
static DEFINE_MUTEX(lock);

static void set_gate(int vector, void *handler, int dpl)
{
	unsigned long addr = (unsigned long)handler;

	idt[vector] = (gate_desc) {
		.offset_low = (u16)addr,
		.offset_middle = (u16)(addr >> 16),
		.offset_high = (u32)(addr >> 32),
		.segment = __KERNEL_CS,
		.bits = { .type = GATE_INTERRUPT, .dpl = dpl, .p = 1 },
	};
}

static bool is_amd(void)
{
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
}

/* What perf has left in the registers that programs write; only those that exist. */
struct kept {
	u32 msr;
	u64 value;
};

static const struct registers {
	u32 from, to;
} intel[] = {
	{ MSR_ARCH_PERFMON_EVENTSEL0, MSR_ARCH_PERFMON_EVENTSEL0 + 7 },
	{ MSR_ARCH_PERFMON_PERFCTR0, MSR_ARCH_PERFMON_PERFCTR0 + 7 },
	{ MSR_CORE_PERF_FIXED_CTR_CTRL, MSR_CORE_PERF_FIXED_CTR_CTRL },
	{ MSR_IA32_DEBUGCTLMSR, MSR_IA32_DEBUGCTLMSR },
	{ MSR_ARCH_LBR_CTL, MSR_ARCH_LBR_CTL },
	{ MSR_LBR_SELECT, MSR_LBR_SELECT },
	{ MSR_CORE_PERF_GLOBAL_CTRL, MSR_CORE_PERF_GLOBAL_CTRL },
}, amd[] = {
	{ MSR_F15H_PERF_CTL, MSR_F15H_PERF_CTL + 11 },
	{ MSR_IA32_DEBUGCTLMSR, MSR_IA32_DEBUGCTLMSR },
	{ MSR_AMD_DBG_EXTN_CFG, MSR_AMD_DBG_EXTN_CFG },
	{ MSR_AMD64_LBR_SELECT, MSR_AMD64_LBR_SELECT },
	{ MSR_AMD64_PERF_CNTR_GLOBAL_CTL, MSR_AMD64_PERF_CNTR_GLOBAL_CTL },
};

static struct kept kept[64];

static int keep(void)
{
	const struct registers *ranges = is_amd() ? amd : intel;
	int i, n = 0, nr = is_amd() ? ARRAY_SIZE(amd) : ARRAY_SIZE(intel);
	u32 msr;

	for (i = 0; i < nr; i++) {
		for (msr = ranges[i].from; msr <= ranges[i].to; msr++) {
			kept[n].msr = msr;
			if (!rdmsrl_safe(msr, &kept[n].value))
				n++;
		}
	}
	return n;
}

static void put_back(int n)
{
	int i;

	/* Whatever froze or counts: stop it first. */
	if (is_amd()) {
		wrmsrl_safe(MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR, ~0ULL);
		wrmsrl_safe(MSR_AMD64_PERF_CNTR_GLOBAL_CTL, 0);
	} else {
		u64 status;

		wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, 0);
		rdmsrl(MSR_CORE_PERF_GLOBAL_STATUS, status);
		wrmsrl(MSR_CORE_PERF_GLOBAL_OVF_CTRL, status);
	}
	for (i = 0; i < n; i++)
		wrmsrl_safe(kept[i].msr, kept[i].value);
}

static void execute(struct context *ctx)
{
	const struct desc_ptr mine = { .size = sizeof(idt) - 1, .address = (unsigned long)idt };
	struct desc_ptr host;
	unsigned long flags;
	u32 lvtpc;
	int n;

	local_irq_save(flags);
	n = keep();
	lvtpc = readl((void __iomem *)(APIC_BASE + APIC_LVTPC));
	store_idt(&host);
	memcpy(idt, (void *)host.address, min_t(size_t, host.size + 1, sizeof(idt)));
	set_gate(X86_TRAP_NMI, machine_nmi, 0);
	set_gate(X86_TRAP_GP, machine_gp, 0);
	set_gate(MACHINE_VECTOR_BACK, machine_back, 3);
	load_idt(&mine);
	machine_run(ctx);
	/* Coming back from user mode left it null. */
	loadsegment(ss, __KERNEL_DS);
	writel(APIC_LVT_MASKED, (void __iomem *)(APIC_BASE + APIC_LVTPC));
	load_idt(&host);
	put_back(n);
	writel(lvtpc, (void __iomem *)(APIC_BASE + APIC_LVTPC));
	local_irq_restore(flags);
}

static int run(const struct native_run *args)
{
	size_t ops_size = args->count * sizeof(struct op), records_size = args->count * sizeof(struct record);
	struct context ctx = {
		.count = args->count,
		.apic_lvtpc = APIC_BASE + APIC_LVTPC,
		.status_msr = args->status_msr,
		.reset_msr = args->reset_msr,
		.user = args->user,
	};
	void *ops, *records = NULL;
	int ret = -ENOMEM;

	BUILD_BUG_ON(sizeof(struct op) != OP_SIZE || sizeof(struct record) != RECORD_SIZE);
	BUILD_BUG_ON(sizeof(struct context) != CTX_SIZE || offsetof(struct context, user) != CTX_USER);
	BUILD_BUG_ON(MACHINE_KERNEL_CS != __KERNEL_CS || MACHINE_USER_CS != __USER_CS ||
		     MACHINE_USER_SS != __USER_DS);

	ops = vzalloc(ops_size);
	records = vzalloc(records_size);
	if (!ops || !records)
		goto out;
	ret = -EFAULT;
	if (copy_from_user(ops, u64_to_user_ptr(args->ops), ops_size))
		goto out;
	ctx.ops = (unsigned long)ops;
	ctx.records = (unsigned long)records;
	execute(&ctx);
	ret = copy_to_user(u64_to_user_ptr(args->records), records, records_size) ? -EFAULT : 0;
out:
	vfree(ops);
	vfree(records);
	return ret;
}

static long native_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct native_run args;
	u64 base;
	int ret;

	if (cmd != NATIVE_RUN)
		return -ENOTTY;
	if (copy_from_user(&args, (void __user *)arg, sizeof(args)))
		return -EFAULT;
	rdmsrl(MSR_IA32_APICBASE, base);
	if (!args.count || args.count > OPS_MAX || base & X2APIC_ENABLE)
		return -EINVAL;
	mutex_lock(&lock);
	ret = run(&args);
	mutex_unlock(&lock);
	args.page = (unsigned long)machine_page;
	if (!ret && copy_to_user((void __user *)arg, &args, sizeof(args)))
		return -EFAULT;
	return ret;
}

static const struct file_operations native_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = native_ioctl,
};

static struct miscdevice native_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "differential",
	.fops = &native_fops,
};

module_misc_device(native_device);

MODULE_DESCRIPTION("Executes programs of PMU operations");
MODULE_LICENSE("GPL");
