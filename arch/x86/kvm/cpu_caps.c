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
 * What must hold for the lines of the table.  They are cases of one switch, because
 * two lines for one bit, the second of which would win in the table, are an error
 * then: "duplicate case value".
 */
#define LINUX_WORDS							\
	(BIT_ULL(CPUID_LNX_1) | BIT_ULL(CPUID_LNX_2) | BIT_ULL(CPUID_LNX_3) |	\
	 BIT_ULL(CPUID_LNX_4) | BIT_ULL(CPUID_LNX_5))

#define FEATURE(kind, name)							\
	case FEATURE_WORD * 32 + X86_FEATURE_##name % 32: {			\
		static_assert(!(BIT_ULL(FEATURE_WORD) & LINUX_WORDS),		\
			      #name ": Linux made the word up, CPUID has another one");	\
		static_assert(CPU_CAP_##kind == CPU_CAP_aliased ||		\
			      X86_FEATURE_##name / 32 == (int)FEATURE_WORD,	\
			      #name ": move it to its word, or use SCATTERED_FEATURE()"); \
		static_assert(CPU_CAP_##kind != CPU_CAP_aliased ||		\
			      (X86_FEATURE_##name / 32 == CPUID_1_EDX &&	\
			       CPUID_8000_0001_EDX == (int)FEATURE_WORD),	\
			      #name ": copies are in 0x80000001.EDX and of 0x1.EDX"); \
		static_assert(CPU_CAP_##kind != CPU_CAP_synthesized ||		\
			      X86_FEATURE_##name / 32 < NCAPINTS,		\
			      #name ": the kernel lacks it, choose another kind"); \
		break;								\
	}

#define SCATTERED_FEATURE(kind, name)						\
	case FEATURE_WORD * 32 + KVM_X86_FEATURE_##name % 32: {			\
		static_assert(KVM_X86_FEATURE_##name / 32 == (int)FEATURE_WORD,	\
			      #name ": move it to the word of KVM_X86_FEATURE_" #name);	\
		static_assert(KVM_X86_FEATURE_##name / 32 >= NCAPINTS,		\
			      #name ": the kernel has the word, and should have it there"); \
		static_assert(X86_FEATURE_##name / 32 < NCAPINTS,		\
			      #name ": the kernel lacks it, use FEATURE()");	\
		static_assert(CPU_CAP_##kind != CPU_CAP_aliased,		\
			      #name ": copies are in 0x80000001.EDX and of 0x1.EDX"); \
		break;								\
	}

static void __maybe_unused check_table(unsigned int place)
{
	switch (place) {
#include "cpu_caps_table.h"
	}
}

#undef FEATURE
#undef SCATTERED_FEATURE
#undef LINUX_WORDS

/*
 * One register of the CPU's CPUID, 0 if the CPU doesn't have the leaf: Intel's CPUs
 * return the data of another leaf then (SDM, "CPUID--CPU Identification").
 */
static u32 raw_cpuid_get(const struct kvm_cpu_caps_source *src, struct cpuid_reg cpuid)
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

/* Features that the kernel does not know need the CPU only. */
static bool kernel_allows(struct cpuinfo_x86 *cpu, u16 feature)
{
	return feature / 32 >= NCAPINTS || test_cpu_cap(cpu, feature);
}

static void build_word(u32 *caps, unsigned int word, const struct kvm_cpu_caps_source *src)
{
	struct cpuinfo_x86 *cpu = src->cpu;
	u32 if_cpu_has = 0, always = 0;
	const struct kvm_cpu_cap *cap;
	unsigned int i;
	u32 bit;

	for (i = 0; i < 32; i++) {
		cap = &kvm_cpu_cap_table[word * 32 + i];
		bit = BIT(i);

		switch (cap->kind) {
		case CPU_CAP_hardware:
			if (kernel_allows(cpu, cap->feature))
				if_cpu_has |= bit;
			break;
		case CPU_CAP_x86_64:
			if (IS_ENABLED(CONFIG_X86_64) && kernel_allows(cpu, cap->feature))
				if_cpu_has |= bit;
			break;
		case CPU_CAP_passthrough:
			if_cpu_has |= bit;
			break;
		case CPU_CAP_synthesized:
			/* CPUID has no veto, so the kernel's is the only one. */
			if (test_cpu_cap(cpu, cap->feature))
				always |= bit;
			break;
		case CPU_CAP_emulated:
			always |= bit;
			break;
		case CPU_CAP_aliased:
			/* The original must have been decided upon before. */
			BUILD_BUG_ON(CPUID_1_EDX >= CPUID_8000_0001_EDX);
			if_cpu_has |= caps[CPUID_1_EDX] & cpu->x86_capability[word] & bit;
			break;
		case CPU_CAP_vendor:
		case CPU_CAP_runtime:
		case CPU_CAP_undeclared:
			break;
		}
	}

	if (if_cpu_has)
		if_cpu_has &= raw_cpuid_get(src, reverse_cpuid[word]);

	caps[word] = if_cpu_has | always;
}

/**
 * kvm_build_cpu_caps - compute what KVM offers on a CPU
 * @caps: where to, NR_KVM_CPU_CAPS words
 * @src: the CPU
 *
 * For kvm_set_cpu_caps(), and for tests, which have CPUs of their own.
 */
void kvm_build_cpu_caps(u32 *caps, const struct kvm_cpu_caps_source *src)
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
	const struct kvm_cpu_caps_source host = {
		.cpu = &boot_cpu_data,
		.raw_cpuid = host_cpuid,
		.tdp = tdp_enabled,
		.tsc_aux = kvm_is_supported_user_return_msr(MSR_TSC_AUX),
	};

	kvm_build_cpu_caps(kvm_cpu_caps, &host);
}
EXPORT_SYMBOL_GPL(kvm_set_cpu_caps);
