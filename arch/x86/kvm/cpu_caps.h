/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUID features that KVM offers, and those that a vCPU has ("caps").
 *
 * A feature must be in the table, cpu_caps_table.h, for KVM to use it in any way.
 * All functions below take compile-time constants, and it is a build error if
 *
 *  - the feature is not in the table, as then nobody would ever set it;
 *  - the feature is an aliased one, see below;
 *  - the feature is in a word that Linux made up, which is not part of CPUID.
 */
#ifndef ARCH_X86_KVM_CPU_CAPS_H
#define ARCH_X86_KVM_CPU_CAPS_H

#include <linux/build_bug.h>
#include <linux/kvm_host.h>

#include "reverse_cpuid.h"

/**
 * enum kvm_cpu_cap_kind - who decides whether KVM offers a feature
 * @CPU_CAP_undeclared: Nobody, the feature is not in the table.
 * @CPU_CAP_hardware: CPU and kernel, both must have it.  If the kernel has no number
 *	for the feature, the CPU.
 * @CPU_CAP_x86_64: Like @CPU_CAP_hardware on 64-bit hosts, never on others.
 * @CPU_CAP_passthrough: The CPU alone: it does not matter whether the kernel uses it.
 * @CPU_CAP_synthesized: The kernel alone: it sets the feature where CPUID lacks it,
 *	or clears it where the CPU is known not to have what CPUID claims.
 * @CPU_CAP_emulated: KVM, always: it needs neither CPU nor kernel for it.
 * @CPU_CAP_aliased: A copy of a feature of 0x1.EDX, in 0x80000001.EDX, that AMD's CPUs
 *	have for software that looks for features there.  It needs the original.  It
 *	has no number of its own and cannot be asked for: a guest that is modeled
 *	after Intel's CPUs has the feature without the copy.
 * @CPU_CAP_vendor: kvm_intel or kvm_amd, which sets it after kvm_set_cpu_caps().
 * @CPU_CAP_runtime: Not offered; KVM changes it in a guest's CPUID while it runs.
 */
enum kvm_cpu_cap_kind {
	CPU_CAP_undeclared,
	CPU_CAP_hardware,
	CPU_CAP_x86_64,
	CPU_CAP_passthrough,
	CPU_CAP_synthesized,
	CPU_CAP_emulated,
	CPU_CAP_aliased,
	CPU_CAP_vendor,
	CPU_CAP_runtime,
};

/**
 * struct kvm_cpu_cap - a line of the table
 * @kind: enum kvm_cpu_cap_kind
 * @feature: the number of the feature, X86_FEATURE_*
 */
struct kvm_cpu_cap {
	u8 kind;
	u16 feature;
};

/*
 * Names are pasted before anything could expand them: on 32-bit kernels, DS is a
 * macro of ptrace's, and SPEC_CTRL_SSBD is one of msr-index.h's.
 */
#define FEATURE(_kind, name)						\
	[FEATURE_WORD * 32 + X86_FEATURE_##name % 32] = {		\
		.kind = CPU_CAP_##_kind,				\
		.feature = X86_FEATURE_##name,				\
	},

#define SCATTERED_FEATURE(_kind, name)					\
	[FEATURE_WORD * 32 + KVM_X86_FEATURE_##name % 32] = {		\
		.kind = CPU_CAP_##_kind,				\
		.feature = X86_FEATURE_##name,				\
	},

/* Indexed by place in CPUID, i.e. word * 32 + bit. */
static const struct kvm_cpu_cap kvm_cpu_cap_table[NR_KVM_CPU_CAPS * 32] = {
#include "cpu_caps_table.h"
};

#undef FEATURE
#undef SCATTERED_FEATURE

static __always_inline unsigned int kvm_cpu_cap_word(unsigned int x86_feature)
{
	const unsigned int word = __feature_leaf(x86_feature);
	const unsigned int place = word * 32 + __feature_translate(x86_feature) % 32;

	BUILD_BUG_ON_MSG(kvm_cpu_cap_table[place].kind == CPU_CAP_undeclared,
			 "KVM does not know the feature: add a line to cpu_caps_table.h");
	BUILD_BUG_ON_MSG(kvm_cpu_cap_table[place].kind == CPU_CAP_aliased,
			 "AMD's copy of a feature: use the feature of 0x1.EDX instead");

	return word;
}

static __always_inline bool __cpu_cap_has(const u32 *caps, unsigned int x86_feature)
{
	return caps[kvm_cpu_cap_word(x86_feature)] & __feature_bit(x86_feature);
}

static __always_inline void __cpu_cap_set(u32 *caps, unsigned int x86_feature)
{
	caps[kvm_cpu_cap_word(x86_feature)] |= __feature_bit(x86_feature);
}

static __always_inline void __cpu_cap_clear(u32 *caps, unsigned int x86_feature)
{
	caps[kvm_cpu_cap_word(x86_feature)] &= ~__feature_bit(x86_feature);
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
 * struct kvm_cpu_caps_source - what KVM's caps are computed from
 * @cpu: the CPU as the kernel sees it
 * @raw_cpuid: the CPU's own CPUID; the registers are indexed by CPUID_EAX etc.
 * @tdp: the CPU walks the guest's page tables
 * @tsc_aux: RDTSCP and RDPID can be offered, i.e. MSR_TSC_AUX can be switched
 */
struct kvm_cpu_caps_source {
	struct cpuinfo_x86 *cpu;
	void (*raw_cpuid)(u32 function, u32 index, u32 *regs);
	bool tdp;
	bool tsc_aux;
};

void kvm_build_cpu_caps(u32 *caps, const struct kvm_cpu_caps_source *src);

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
	BUILD_BUG_ON_MSG(x86_feature >= NCAPINTS * 32,
			 "The kernel has no number for the feature: use kvm_cpu_cap_set()");

	if (boot_cpu_has(x86_feature))
		kvm_cpu_cap_set(x86_feature);
}

/**
 * guest_cpu_cap_has - does the vCPU have the feature?
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*, a constant
 *
 * That is, the guest's CPUID has it and KVM supports or emulates it, except for
 * features that kvm_vcpu_after_set_cpuid() adjusts.  A bit test.
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
 * to take it into account.
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
