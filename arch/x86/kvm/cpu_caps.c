// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compute the CPUID features that KVM offers from its table of features, the
 * kernel's view of the CPU, and the CPU's own CPUID.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/export.h>
#include <linux/kvm_host.h>

#include <asm/cpuid.h>

#include <kunit/visibility.h>

#include "cpu_caps.h"
#include "mmu.h"

u32 kvm_cpu_caps[NR_KVM_CPU_CAPS] __read_mostly;
EXPORT_SYMBOL_GPL(kvm_cpu_caps);

/*
 * One register of the CPU's CPUID, 0 if the CPU doesn't have the leaf: Intel's CPUs
 * return the data of another leaf then (SDM, "CPUID--CPU Identification").
 */
static u32 raw_cpuid_get(const struct kvm_cap_source *src, struct cpuid_reg cpuid)
{
	const u32 class = cpuid.function & 0xc0000000;
	u32 regs[4];	/* indexed by CPUID_EAX etc. */

	/* 0x40000000 is the hypervisor that KVM itself may run on. */
	if (WARN_ON_ONCE(class == 0x40000000))
		return 0;

	src->raw_cpuid(class, 0, regs);
	if (cpuid.function > regs[CPUID_EAX])
		return 0;

	src->raw_cpuid(cpuid.function, cpuid.index, regs);
	return regs[cpuid.reg];
}

static void build_word(u32 *caps, unsigned int word, const struct kvm_cap_source *src)
{
	u32 features = 0, synthesized = 0, emulated = 0, raw = 0;
	const struct kvm_cap *cap;
	unsigned int i;
	u32 bit;

	for (i = 0; i < 32; i++) {
		cap = &kvm_cap_table[word * 32 + i];
		bit = BIT(i);

		switch (cap->kind) {
		case CAP_hardware:
			features |= bit;
			break;
		case CAP_scattered:
			/* The kernel's veto, which the word itself doesn't have. */
			if (test_cpu_cap(src->cpu, cap->feature))
				features |= bit;
			break;
		case CAP_x86_64:
			if (IS_ENABLED(CONFIG_X86_64))
				features |= bit;
			break;
		case CAP_emulated:
			features |= bit;
			emulated |= bit;
			break;
		case CAP_synthesized:
			/*
			 * Only if the kernel has it: synthesized means that CPUID
			 * has no veto, so the kernel's is the only one, also in
			 * words of KVM's own.
			 */
			if (test_cpu_cap(src->cpu, cap->feature)) {
				features |= bit;
				synthesized |= bit;
			}
			break;
		case CAP_raw:
			features |= bit;
			raw |= bit;
			break;
		case CAP_alias:
			/* The original must have been decided upon before. */
			BUILD_BUG_ON(CPUID_1_EDX >= CPUID_8000_0001_EDX);
			features |= caps[CPUID_1_EDX] & bit;
			break;
		case CAP_vendor:
		case CAP_runtime:
		case CAP_undeclared:
			break;
		}
	}

	if (!features)
		return;

	if (word < NCAPINTS)
		features &= src->cpu->x86_capability[word];

	/* The kernel has no say in these, but the CPU has. */
	features |= raw;

	features &= raw_cpuid_get(src, reverse_cpuid[word]) | synthesized;

	/* Neither of them has a say in these. */
	features |= emulated;

	caps[word] = features;
}

/**
 * kvm_build_cpu_caps - compute what KVM offers on a CPU
 * @caps: where to, NR_KVM_CPU_CAPS words
 * @src: the CPU
 *
 * For kvm_set_cpu_caps(), and for tests, which have CPUs of their own.
 */
void kvm_build_cpu_caps(u32 *caps, const struct kvm_cap_source *src)
{
	struct cpuinfo_x86 *cpu = src->cpu;
	unsigned int i;

	BUILD_BUG_ON(ARRAY_SIZE(reverse_cpuid) != NR_KVM_CPU_CAPS);

	/*
	 * Words that have no features in the table stay zero, as KVM doesn't offer
	 * what it doesn't know, and so do those that aren't part of CPUID.
	 */
	memset(caps, 0, NR_KVM_CPU_CAPS * sizeof(*caps));
	for (i = 0; i < NR_KVM_CPU_CAPS; i++) {
		if (reverse_cpuid[i].function)
			build_word(caps, i, src);
	}

	/*
	 * The exceptions.  They follow, because computing a word overwrites what
	 * was in it.
	 */

	/*
	 * PKU not yet implemented for shadow paging and requires OSPKE
	 * to be set on the host. Clear it if that is not the case
	 */
	if (!src->tdp || !cpu_has(cpu, X86_FEATURE_OSPKE))
		__cpu_cap_clear(caps, X86_FEATURE_PKU);

	/* Shadow paging can always split 1 GiB pages. */
	if (!src->tdp && IS_ENABLED(CONFIG_X86_64))
		__cpu_cap_set(caps, X86_FEATURE_GBPAGES);

	/*
	 * Intel and AMD have different bits for each feature of SPEC_CTRL.  Where
	 * one vendor's is present, offer the other's, so that guests can be
	 * modeled after any CPU.  arch/x86/kernel/cpu/bugs.c and the kernel's CPU
	 * code record the features in neutral bits.
	 */
	if (cpu_has(cpu, X86_FEATURE_IBPB) && cpu_has(cpu, X86_FEATURE_IBRS))
		__cpu_cap_set(caps, X86_FEATURE_SPEC_CTRL);
	if (cpu_has(cpu, X86_FEATURE_STIBP))
		__cpu_cap_set(caps, X86_FEATURE_INTEL_STIBP);
	if (cpu_has(cpu, X86_FEATURE_AMD_SSBD))
		__cpu_cap_set(caps, X86_FEATURE_SPEC_CTRL_SSBD);

	if (cpu_has(cpu, X86_FEATURE_IBPB))
		__cpu_cap_set(caps, X86_FEATURE_AMD_IBPB);
	if (cpu_has(cpu, X86_FEATURE_IBRS))
		__cpu_cap_set(caps, X86_FEATURE_AMD_IBRS);
	if (cpu_has(cpu, X86_FEATURE_STIBP))
		__cpu_cap_set(caps, X86_FEATURE_AMD_STIBP);
	if (cpu_has(cpu, X86_FEATURE_SPEC_CTRL_SSBD))
		__cpu_cap_set(caps, X86_FEATURE_AMD_SSBD);
	if (!cpu_has(cpu, X86_BUG_SPEC_STORE_BYPASS))
		__cpu_cap_set(caps, X86_FEATURE_AMD_SSB_NO);
	/*
	 * The preference is to use SPEC CTRL MSR instead of the
	 * VIRT_SPEC MSR.
	 */
	if (cpu_has(cpu, X86_FEATURE_LS_CFG_SSBD) &&
	    !cpu_has(cpu, X86_FEATURE_AMD_SSBD))
		__cpu_cap_set(caps, X86_FEATURE_VIRT_SSBD);

	/* Zen 2 has it, but not in CPUID. */
	if (!cpu_has(cpu, X86_BUG_NULL_SEG))
		__cpu_cap_set(caps, X86_FEATURE_NULL_SEL_CLR_BASE);

	/*
	 * Hide RDTSCP and RDPID if either feature is reported as supported but
	 * probing MSR_TSC_AUX failed.  This is purely a sanity check and
	 * should never happen, but the guest will likely crash if RDTSCP or
	 * RDPID is misreported, and KVM has botched MSR_TSC_AUX emulation in
	 * the past.  For example, the sanity check may fire if this instance of
	 * KVM is running as L1 on top of an older, broken KVM.
	 */
	if (WARN_ON((__cpu_cap_has(caps, X86_FEATURE_RDTSCP) ||
		     __cpu_cap_has(caps, X86_FEATURE_RDPID)) && !src->tsc_aux)) {
		__cpu_cap_clear(caps, X86_FEATURE_RDTSCP);
		__cpu_cap_clear(caps, X86_FEATURE_RDPID);
	}
}
EXPORT_SYMBOL_IF_KUNIT(kvm_build_cpu_caps);

static void host_cpuid(u32 function, u32 index, u32 *regs)
{
	cpuid_count(function, index, &regs[CPUID_EAX], &regs[CPUID_EBX],
		    &regs[CPUID_ECX], &regs[CPUID_EDX]);
}

/**
 * kvm_set_cpu_caps - compute what KVM offers on this host
 *
 * Context: from the vendor module, when it is loaded and knows whether it uses TDP.
 * It then adjusts kvm_cpu_caps to what it can virtualize.
 */
void kvm_set_cpu_caps(void)
{
	const struct kvm_cap_source host = {
		.cpu = &boot_cpu_data,
		.raw_cpuid = host_cpuid,
		.tdp = tdp_enabled,
		.tsc_aux = kvm_is_supported_user_return_msr(MSR_TSC_AUX),
	};

	kvm_build_cpu_caps(kvm_cpu_caps, &host);
}
EXPORT_SYMBOL_GPL(kvm_set_cpu_caps);
