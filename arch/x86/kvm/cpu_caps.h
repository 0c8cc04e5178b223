/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Capabilities: the CPUID features that KVM offers, and those that a vCPU has.
 *
 * A feature must be in the table, cpu_caps_table.h, for KVM to use it in any way;
 * all functions below take compile-time constants, and it is a build error if
 *
 *  - the feature is not in the table, so nobody would ever set it;
 *  - the feature is an alias, see below;
 *  - the feature is in a word that Linux made up, which isn't in any CPUID.
 */
#ifndef ARCH_X86_KVM_CPU_CAPS_H
#define ARCH_X86_KVM_CPU_CAPS_H

#include <linux/build_bug.h>
#include <linux/kvm_host.h>

#include "reverse_cpuid.h"

/**
 * enum kvm_cap_kind - who decides whether KVM offers a feature
 * @CAP_undeclared: Nobody, the feature isn't in the table.
 * @CAP_hardware: CPU and kernel must have it.  If the word is KVM's own, the CPU.
 * @CAP_scattered: The same for words of KVM's own: the kernel keeps the feature in
 *	another word, and must have it there.
 * @CAP_x86_64: Like @CAP_hardware on 64-bit hosts, never on others.
 * @CAP_emulated: KVM, always: it needs neither CPU nor kernel for it.
 * @CAP_synthesized: The kernel alone: it sets the feature where CPUID lacks it, or
 *	clears it because the CPU doesn't deserve it.
 * @CAP_raw: The CPU alone: it doesn't matter that the kernel doesn't use it.
 * @CAP_alias: A copy of a feature of 0x1.EDX, in 0x80000001.EDX, that AMD's CPUs
 *	have for software that looks for features there.  Needs the original.  It
 *	has no number of its own and can't be asked for: a guest that is modeled
 *	after Intel's CPUs has the feature without the copy.
 * @CAP_vendor: kvm_intel or kvm_amd, which sets it after kvm_set_cpu_caps().
 * @CAP_runtime: Not offered; KVM changes it in a guest's CPUID while it runs.
 */
enum kvm_cap_kind {
	CAP_undeclared,
	CAP_hardware,
	CAP_scattered,
	CAP_x86_64,
	CAP_emulated,
	CAP_synthesized,
	CAP_raw,
	CAP_alias,
	CAP_vendor,
	CAP_runtime,
};

/* @feature: the kernel's number of it */
struct kvm_cap {
	u8 kind;
	u16 feature;
};

/*
 * The word in progress must be one of CPUID's, and the feature's own.  Aliases are
 * the exception, and so are features that the kernel keeps elsewhere: for those,
 * the word must be one of KVM's own, and "elsewhere" one of the kernel's.
 */
#define CAP_WORD_NR		((int)CAP_WORD)		/* the words are in two enums */

#define CAP_FITS_hardware(f)	((f) / 32 == CAP_WORD_NR)
#define CAP_FITS_scattered(f)	((f) < 0)		/* never, CAP_KVM() is for it */
#define CAP_FITS_x86_64(f)	((f) / 32 == CAP_WORD_NR)
#define CAP_FITS_emulated(f)	((f) / 32 == CAP_WORD_NR)
#define CAP_FITS_synthesized(f)	((f) / 32 == CAP_WORD_NR && CAP_WORD_NR < NCAPINTS)
#define CAP_FITS_raw(f)		((f) / 32 == CAP_WORD_NR)
#define CAP_FITS_alias(f)	((f) / 32 == CPUID_1_EDX && CAP_WORD_NR == CPUID_8000_0001_EDX)
#define CAP_FITS_vendor(f)	((f) / 32 == CAP_WORD_NR)
#define CAP_FITS_runtime(f)	((f) / 32 == CAP_WORD_NR)

#define CAP_WORD_IS_CPUID						\
	(CAP_WORD_NR != CPUID_LNX_1 && CAP_WORD_NR != CPUID_LNX_2 &&	\
	 CAP_WORD_NR != CPUID_LNX_3 && CAP_WORD_NR != CPUID_LNX_4 &&		\
	 CAP_WORD_NR != CPUID_LNX_5)

/*
 * Names are pasted before anything could expand them: on 32-bit kernels, DS is a
 * macro of ptrace's, and SPEC_CTRL_SSBD is one of msr-index.h's.
 */
#define CAP(_kind, name)						\
	[CAP_WORD * 32 + X86_FEATURE_##name % 32] = {			\
		.kind = CAP_##_kind +					\
			BUILD_BUG_ON_ZERO(!CAP_WORD_IS_CPUID) +		\
			BUILD_BUG_ON_ZERO(!CAP_FITS_##_kind(X86_FEATURE_##name)), \
		.feature = X86_FEATURE_##name,				\
	},

#define CAP_KVM(_kind, name)						\
	[CAP_WORD * 32 + KVM_X86_FEATURE_##name % 32] = {		\
		.kind = CAP_##_kind +					\
			BUILD_BUG_ON_ZERO(CAP_WORD_NR < NCAPINTS) +	\
			BUILD_BUG_ON_ZERO(KVM_X86_FEATURE_##name / 32 != CAP_WORD_NR) + \
			BUILD_BUG_ON_ZERO(CAP_##_kind == CAP_alias) +	\
			BUILD_BUG_ON_ZERO(X86_FEATURE_##name >= NCAPINTS * 32), \
		.feature = X86_FEATURE_##name,				\
	},

/* Indexed by place, i.e. word * 32 + bit. */
static const struct kvm_cap kvm_cap_table[NR_KVM_CPU_CAPS * 32] = {
#include "cpu_caps_table.h"
};

/* None of this is of use, or would do the right thing, anywhere else. */
#undef CAP
#undef CAP_KVM
#undef CAP_WORD_NR
#undef CAP_WORD_IS_CPUID
#undef CAP_FITS_hardware
#undef CAP_FITS_scattered
#undef CAP_FITS_x86_64
#undef CAP_FITS_emulated
#undef CAP_FITS_synthesized
#undef CAP_FITS_raw
#undef CAP_FITS_alias
#undef CAP_FITS_vendor
#undef CAP_FITS_runtime

static __always_inline unsigned int kvm_cap_word(unsigned int x86_feature)
{
	const unsigned int word = __feature_leaf(x86_feature);
	const unsigned int place = word * 32 + __feature_translate(x86_feature) % 32;

	BUILD_BUG_ON(kvm_cap_table[place].kind == CAP_undeclared);
	BUILD_BUG_ON(kvm_cap_table[place].kind == CAP_alias);

	return word;
}

static __always_inline bool __cpu_cap_has(const u32 *caps, unsigned int x86_feature)
{
	return caps[kvm_cap_word(x86_feature)] & __feature_bit(x86_feature);
}

static __always_inline void __cpu_cap_set(u32 *caps, unsigned int x86_feature)
{
	caps[kvm_cap_word(x86_feature)] |= __feature_bit(x86_feature);
}

static __always_inline void __cpu_cap_clear(u32 *caps, unsigned int x86_feature)
{
	caps[kvm_cap_word(x86_feature)] &= ~__feature_bit(x86_feature);
}

/*
 * What KVM offers, i.e. KVM_GET_SUPPORTED_CPUID.  Constant once the vendor module
 * has been loaded.
 *
 * Unlike "struct cpuinfo_x86.x86_capability", kvm_cpu_caps doesn't need to be
 * aligned to sizeof(unsigned long) because it's not accessed via bitops.
 */
extern u32 kvm_cpu_caps[NR_KVM_CPU_CAPS] __read_mostly;

void kvm_set_cpu_caps(void);

/**
 * struct kvm_cap_source - what KVM's caps are computed from
 * @cpu: the CPU as the kernel sees it
 * @raw_cpuid: the CPU's own CPUID; the registers are indexed by CPUID_EAX etc.
 * @tdp: the CPU walks the guest's page tables
 * @tsc_aux: RDTSCP and RDPID can be offered, i.e. MSR_TSC_AUX can be switched
 */
struct kvm_cap_source {
	struct cpuinfo_x86 *cpu;
	void (*raw_cpuid)(u32 function, u32 index, u32 *regs);
	bool tdp;
	bool tsc_aux;
};

void kvm_build_cpu_caps(u32 *caps, const struct kvm_cap_source *src);

/**
 * kvm_cpu_cap_has - does KVM offer the feature?
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * Return: true if it does.
 */
static __always_inline bool kvm_cpu_cap_has(unsigned int x86_feature)
{
	return __cpu_cap_has(kvm_cpu_caps, x86_feature);
}

/**
 * kvm_cpu_cap_set - offer a feature
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * Context: while the vendor module is loaded, after kvm_set_cpu_caps(), which
 * overwrites all that was there before.
 */
static __always_inline void kvm_cpu_cap_set(unsigned int x86_feature)
{
	__cpu_cap_set(kvm_cpu_caps, x86_feature);
}

/**
 * kvm_cpu_cap_clear - don't offer a feature
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * Context: as kvm_cpu_cap_set().
 */
static __always_inline void kvm_cpu_cap_clear(unsigned int x86_feature)
{
	__cpu_cap_clear(kvm_cpu_caps, x86_feature);
}

/**
 * kvm_cpu_cap_check_and_set - offer a feature if the kernel has it
 * @x86_feature: X86_FEATURE_*, a constant, which the kernel knows
 *
 * Context: as kvm_cpu_cap_set().
 */
static __always_inline void kvm_cpu_cap_check_and_set(unsigned int x86_feature)
{
	/* Beyond the kernel's words are its bugs. */
	BUILD_BUG_ON(x86_feature >= NCAPINTS * 32);

	if (boot_cpu_has(x86_feature))
		kvm_cpu_cap_set(x86_feature);
}

/**
 * guest_cpu_cap_has - does the vCPU have the feature?
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * That is, the guest's CPUID has it and KVM supports or emulates it, give or take
 * what kvm_vcpu_after_set_cpuid() adjusts.  A bit test.
 *
 * Return: true if it has.
 */
static __always_inline bool guest_cpu_cap_has(struct kvm_vcpu *vcpu,
					      unsigned int x86_feature)
{
	return __cpu_cap_has(vcpu->arch.cpu_caps, x86_feature);
}

/**
 * guest_cpu_cap_set - give a vCPU a feature, whatever its CPUID says
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * For what the guest can use without KVM being able to prevent it, so that KVM has
 * to reckon with it.
 *
 * Context: from kvm_vcpu_after_set_cpuid(), or if the feature changes at runtime.
 */
static __always_inline void guest_cpu_cap_set(struct kvm_vcpu *vcpu,
					      unsigned int x86_feature)
{
	__cpu_cap_set(vcpu->arch.cpu_caps, x86_feature);
}

/**
 * guest_cpu_cap_clear - take a feature from a vCPU, whatever its CPUID says
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * Context: as guest_cpu_cap_set().
 */
static __always_inline void guest_cpu_cap_clear(struct kvm_vcpu *vcpu,
						unsigned int x86_feature)
{
	__cpu_cap_clear(vcpu->arch.cpu_caps, x86_feature);
}

/**
 * guest_cpu_cap_change - set or clear a feature of a vCPU, whatever its CPUID says
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*, a constant
 * @has: does the vCPU have the feature?
 *
 * Context: as guest_cpu_cap_set().
 */
static __always_inline void guest_cpu_cap_change(struct kvm_vcpu *vcpu,
						 unsigned int x86_feature,
						 bool has)
{
	if (has)
		guest_cpu_cap_set(vcpu, x86_feature);
	else
		guest_cpu_cap_clear(vcpu, x86_feature);
}

#endif /* ARCH_X86_KVM_CPU_CAPS_H */
