/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the emulated machine share: the machines as the manuals
 * describe them, and access to the registers that the tests drive.
 *
 * "SDM" is the Intel 64 and IA-32 Architectures Software Developer's Manual.
 */
#ifndef RIG_H
#define RIG_H

#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/apic.h>
#include <asm/apicdef.h>
#include <asm/cpufeature.h>
#include <asm/fixmap.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/processor.h>

#define RIG_MSR_GLOBAL_STATUS_SET	0x391
#define RIG_MSR_GLOBAL_INUSE		0x392

#define RIG_EVENT_INSN		0x00c0	/* instructions retired */
#define RIG_EVENT_CYCLES	0x003c	/* unhalted core cycles */
#define RIG_EVENT_BRANCH	0x00c4	/* all branches retired */
#define RIG_EVENT_NONE		0x0fe7	/* a select that names no event */

#define RIG_SEL_USR	BIT_ULL(16)
#define RIG_SEL_OS	BIT_ULL(17)
#define RIG_SEL_EDGE	BIT_ULL(18)
#define RIG_SEL_INT	BIT_ULL(20)
#define RIG_SEL_ANY	BIT_ULL(21)
#define RIG_SEL_EN	BIT_ULL(22)
#define RIG_SEL_INV	BIT_ULL(23)
#define RIG_SEL_CMASK(n) ((u64)(n) << 24)
#define RIG_SEL(event)	((event) | RIG_SEL_USR | RIG_SEL_OS | RIG_SEL_EN)

#define RIG_FIXED_OS	1ULL
#define RIG_FIXED_USR	2ULL
#define RIG_FIXED_ANY	4ULL
#define RIG_FIXED_PMI	8ULL
#define RIG_FIXED(i, bits)	((u64)(bits) << (4 * (i)))

#define RIG_STATUS_METRICS	BIT_ULL(48)
#define RIG_STATUS_TRACE	BIT_ULL(55)
#define RIG_STATUS_LBR_FRZ	BIT_ULL(58)
#define RIG_STATUS_CTR_FRZ	BIT_ULL(59)
#define RIG_STATUS_ASCI		BIT_ULL(60)
#define RIG_STATUS_OVF_BUF	BIT_ULL(62)
#define RIG_STATUS_COND_CHGD	BIT_ULL(63)

#define RIG_PERF_CAP_FW_WRITE	BIT_ULL(13)
#define RIG_PERF_CAP_BASELINE	BIT_ULL(14)
#define RIG_PERF_CAP_METRICS	BIT_ULL(15)

#define RIG_GLOBAL_METRICS	BIT_ULL(48)

#define RIG_DEBUGCTL_FREEZE	BIT_ULL(12)

#define RIG_GP_MAX	8
#define RIG_FIXED_MAX	4

/**
 * struct rig_machine - a processor, from its documentation
 * @name: the machine's name in this project
 * @model: display model of family 6 (CPUID.01H:EAX)
 * @version: architectural PMU version
 * @gp: number of general-purpose counters
 * @fixed: number of fixed counters
 * @width: width of both kinds of counter in bits
 * @cond: select and umask of conditional branches retired
 * @any_deprecated: AnyThread is deprecated, hence reserved
 * @metrics: has PERF_METRICS
 * @vmx_save: has the VM-exit control "save IA32_PERF_GLOBAL_CTRL"
 * @trace: has Intel PT
 * @sgx: has SGX
 * @sgx_enabled: its firmware has enabled SGX
 */
struct rig_machine {
	const char *name;
	u8 model;
	u8 version;
	u8 gp;
	u8 fixed;
	u8 width;
	u16 cond;
	bool any_deprecated;
	bool metrics;
	bool vmx_save;
	bool trace;
	bool sgx, sgx_enabled;
};

static const struct rig_machine rig_machines[] = {
	{
		.name = "skylake-x", .model = 0x55, .version = 4, .gp = 4, .fixed = 3,
		.width = 48, .cond = 0x01c4, .trace = true,
	}, {
		.name = "icelake", .model = 0x7e, .version = 5, .gp = 8, .fixed = 4,
		.width = 48, .cond = 0x11c4, .any_deprecated = true, .metrics = true,
		.trace = true, .sgx = true,
	}, {
		.name = "sapphire-rapids", .model = 0x8f, .version = 5, .gp = 8, .fixed = 4,
		.width = 48, .cond = 0x11c4, .any_deprecated = true, .metrics = true,
		.vmx_save = true, .trace = true, .sgx = true, .sgx_enabled = true,
	},
};

/**
 * rig_find_machine() - the documented processor that this CPU says it is
 * @name: name of the machine under test, empty if nobody said
 *
 * Return: the entry; NULL if the machine is not one with an Intel PMU (the
 * tests are then skipped); ERR_PTR(-ENODEV) if @name promises a PMU and the
 * processor is another one or shows none.
 */
static inline const struct rig_machine *rig_find_machine(const char *name)
{
	const struct rig_machine *found = NULL, *wanted = NULL;
	int i;

	for (i = 0; i < ARRAY_SIZE(rig_machines); i++) {
		const struct rig_machine *m = &rig_machines[i];

		if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL && boot_cpu_data.x86 == 6 &&
		    boot_cpu_data.x86_model == m->model && boot_cpu_data.cpuid_level >= 0xa &&
		    (cpuid_eax(0xa) & 0xff))
			found = m;
		if (!strcmp(name, m->name))
			wanted = m;
	}
	if (wanted && wanted != found)
		return ERR_PTR(-ENODEV);
	return *name && !wanted ? NULL : found;
}

/* General-purpose and fixed counters as GLOBAL_CTRL and GLOBAL_STATUS have them. */
static inline u64 rig_gp_mask(const struct rig_machine *m)
{
	return GENMASK_ULL(m->gp - 1, 0);
}

static inline u64 rig_fixed_mask(const struct rig_machine *m)
{
	return GENMASK_ULL(32 + m->fixed - 1, 32);
}

static inline u64 rig_width_mask(const struct rig_machine *m)
{
	return GENMASK_ULL(m->width - 1, 0);
}

/* The kernel's own accessors are not for modules. */
static inline u32 rig_apic_read(u32 reg)
{
	u64 base, val;

	rdmsrl(MSR_IA32_APICBASE, base);
	if (base & X2APIC_ENABLE) {
		rdmsrl(APIC_BASE_MSR + (reg >> 4), val);
		return val;
	}
	return readl((void __iomem *)(APIC_BASE + reg));
}

static inline void rig_apic_write(u32 reg, u32 val)
{
	u64 base;

	rdmsrl(MSR_IA32_APICBASE, base);
	if (base & X2APIC_ENABLE)
		wrmsrl(APIC_BASE_MSR + (reg >> 4), val);
	else
		writel(val, (void __iomem *)(APIC_BASE + reg));
}

static inline bool rig_rdpmc_safe(u32 index, u64 *val)
{
	u32 lo = 0, hi = 0;
	int err = 0;

	asm volatile("1: rdpmc\n\t"
		     "2:\n\t"
		     _ASM_EXTABLE_TYPE_REG(1b, 2b, EX_TYPE_EFAULT_REG, %[err])
		     : "=a" (lo), "=d" (hi), [err] "+r" (err)
		     : "c" (index), "0" (lo), "1" (hi));
	*val = (u64)hi << 32 | lo;
	return !err;
}

/**
 * struct rig_idt - a copy of the interrupt table in which tests replace gates
 *
 * The gates must be 4096 bytes long and stay where they are while loaded.
 */
struct rig_idt {
	gate_desc gates[256];
	struct desc_ptr host;
};

static inline void rig_idt_copy(struct rig_idt *idt)
{
	store_idt(&idt->host);
	memset(idt->gates, 0, sizeof(idt->gates));
	memcpy(idt->gates, (void *)idt->host.address,
	       min_t(size_t, idt->host.size + 1, sizeof(idt->gates)));
}

static inline void rig_idt_set(struct rig_idt *idt, int vector, void *handler)
{
	unsigned long addr = (unsigned long)handler;

	idt->gates[vector] = (gate_desc) {
		.offset_low = (u16)addr,
		.offset_middle = (u16)(addr >> 16),
		.offset_high = (u32)(addr >> 32),
		.segment = __KERNEL_CS,
		.bits = { .type = GATE_INTERRUPT, .p = 1 },
	};
}

/* IRQs off.  Until rig_idt_unload() only traps that the caller provides for may occur. */
static inline void rig_idt_load(struct rig_idt *idt)
{
	const struct desc_ptr mine = {
		.size = sizeof(idt->gates) - 1,
		.address = (unsigned long)idt->gates,
	};

	load_idt(&mine);
}

static inline void rig_idt_unload(struct rig_idt *idt)
{
	load_idt(&idt->host);
}

#endif /* RIG_H */
