// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of how KVM's caps are computed, with CPUs made for the purpose.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "cpu_caps.h"

/* A CPU whose CPUID has all bits, or none, or some; and a kernel that has all, or none. */
static u32 raw_value, raw_max_leaf;

static void raw_cpuid(u32 function, u32 index, u32 *regs)
{
	bool is_class = !(function & 0x3fffffff);

	regs[CPUID_EAX] = is_class ? (function & 0xc0000000) + raw_max_leaf : raw_value;
	regs[CPUID_EBX] = raw_value;
	regs[CPUID_ECX] = raw_value;
	regs[CPUID_EDX] = raw_value;
}

static u32 *build(struct kunit *test, u32 kernel, u32 raw)
{
	u32 *caps = kunit_kcalloc(test, NR_KVM_CPU_CAPS, sizeof(*caps), GFP_KERNEL);
	struct cpuinfo_x86 *cpu = kunit_kzalloc(test, sizeof(*cpu), GFP_KERNEL);
	const struct kvm_cpu_caps_source src = {
		.cpu = cpu, .raw_cpuid = raw_cpuid, .tdp = true, .tsc_aux = true,
	};

	KUNIT_ASSERT_NOT_NULL(test, caps);
	KUNIT_ASSERT_NOT_NULL(test, cpu);

	memset(cpu->x86_capability, kernel, sizeof(cpu->x86_capability));
	raw_value = raw;
	kvm_build_cpu_caps(caps, &src);
	return caps;
}

/* What follows the table, see kvm_build_cpu_caps(): not decided by the kind. */
static u32 exceptions(unsigned int word)
{
	switch (word) {
	case CPUID_7_ECX:
		return __feature_bit(X86_FEATURE_PKU);
	case CPUID_7_EDX:
		return __feature_bit(X86_FEATURE_SPEC_CTRL) |
		       __feature_bit(X86_FEATURE_INTEL_STIBP) |
		       __feature_bit(X86_FEATURE_SPEC_CTRL_SSBD);
	case CPUID_8000_0008_EBX:
		return __feature_bit(X86_FEATURE_AMD_IBPB) |
		       __feature_bit(X86_FEATURE_AMD_IBRS) |
		       __feature_bit(X86_FEATURE_AMD_STIBP) |
		       __feature_bit(X86_FEATURE_AMD_SSBD) |
		       __feature_bit(X86_FEATURE_AMD_SSB_NO) |
		       __feature_bit(X86_FEATURE_VIRT_SSBD);
	case CPUID_8000_0021_EAX:
		return __feature_bit(X86_FEATURE_NULL_SEL_CLR_BASE);
	}
	return 0;
}

/* Each word, each bit: is it offered by exactly those CPUs and kernels that its kind demands? */
static void each_kind_in_each_word(struct kunit *test)
{
	const struct kvm_cpu_cap *cap;
	unsigned int i, place;
	bool kernel, raw, want;
	u32 *caps;

	raw_max_leaf = 0xff;
	for (i = 0; i < 4; i++) {
		kernel = i & 1;
		raw = i & 2;
		caps = build(test, kernel ? 0xff : 0, raw ? ~0u : 0);

		for (place = 0; place < NR_KVM_CPU_CAPS * 32; place++) {
			if (exceptions(place / 32) & BIT(place % 32))
				continue;

			cap = &kvm_cpu_cap_table[place];
			switch (cap->kind) {
			case CPU_CAP_hardware:
				/* The kernel has no veto on features that it does not know. */
				want = raw && (kernel || cap->feature / 32 >= NCAPINTS);
				break;
			case CPU_CAP_x86_64:
				want = raw && kernel && IS_ENABLED(CONFIG_X86_64);
				break;
			case CPU_CAP_passthrough:
				want = raw;
				break;
			case CPU_CAP_synthesized:
				want = kernel;
				break;
			case CPU_CAP_emulated:
				want = true;
				break;
			case CPU_CAP_aliased:
				want = raw && kernel;
				break;
			default:
				want = false;
				break;
			}
			KUNIT_EXPECT_EQ_MSG(test, !!(caps[place / 32] & BIT(place % 32)), want,
					    "word %u bit %u kernel %d raw %d",
					    place / 32, place % 32, kernel, raw);
		}
	}
}

/* A guest on a vulnerable CPU must not believe that it is immune, whatever CPUID has there. */
static void synthesized_needs_the_kernel(struct kunit *test)
{
	u32 *caps;

	raw_max_leaf = 0xff;
	caps = build(test, 0, ~0u);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_TSA_SQ_NO));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_TSA_L1_NO));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_TSA_FILL_NO));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SRSO_NO));

	caps = build(test, 0xff, 0);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_TSA_SQ_NO));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_SRSO_NO));
}

/*
 * Features that the kernel keeps in a word of its own: the word of CPUID is one that
 * the kernel's view of the CPU is not applied to as a whole.
 */
static void scattered_features_have_their_kinds(struct kunit *test)
{
	u32 *caps;

	raw_max_leaf = 0xff;
	caps = build(test, 0, ~0u);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SGX1));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_CONSTANT_TSC));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_RRSBA_CTRL));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_PERFMON_V2));

	caps = build(test, 0xff, 0);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SGX1));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_RRSBA_CTRL));

	caps = build(test, 0xff, ~0u);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_SGX1));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_CONSTANT_TSC));
}

/* Intel's CPUs return some other leaf for those that they don't have. */
static void leaves_beyond_the_last(struct kunit *test)
{
	u32 *caps;

	raw_max_leaf = 0x23;
	caps = build(test, 0xff, ~0u);
	KUNIT_EXPECT_EQ(test, caps[CPUID_24_0_EBX], 0);
	KUNIT_EXPECT_NE(test, caps[CPUID_12_EAX], 0);

	raw_max_leaf = 0x1f;
	caps = build(test, 0xff, ~0u);
	KUNIT_EXPECT_EQ(test, caps[CPUID_8000_0022_EAX], 0);
	KUNIT_EXPECT_NE(test, caps[CPUID_8000_001F_EAX], 0);
}

static void copies(struct kunit *test)
{
	const u32 all = 0x0183f3ff;	/* APM: CPUID Fn8000_0001 EDX, "same as" */
	struct cpuinfo_x86 *cpu = kunit_kzalloc(test, sizeof(*cpu), GFP_KERNEL);
	u32 caps[NR_KVM_CPU_CAPS], *amd;
	const struct kvm_cpu_caps_source src = {
		.cpu = cpu, .raw_cpuid = raw_cpuid, .tdp = true, .tsc_aux = true,
	};

	KUNIT_ASSERT_NOT_NULL(test, cpu);
	raw_max_leaf = 0xff;

	amd = build(test, 0xff, ~0u);
	KUNIT_EXPECT_EQ(test, amd[CPUID_8000_0001_EDX] & all, all);

	/* Intel: the kernel doesn't have the copies. */
	memset(cpu->x86_capability, 0xff, sizeof(cpu->x86_capability));
	cpu->x86_capability[CPUID_8000_0001_EDX] = ~all;
	kvm_build_cpu_caps(caps, &src);
	KUNIT_EXPECT_EQ(test, caps[CPUID_8000_0001_EDX] & all, 0);
	KUNIT_EXPECT_EQ(test, caps[CPUID_1_EDX] & all, all);

	/* clearcpuid=pat: the kernel knows of the original only. */
	memset(cpu->x86_capability, 0xff, sizeof(cpu->x86_capability));
	cpu->x86_capability[CPUID_1_EDX] &= ~__feature_bit(X86_FEATURE_PAT);
	kvm_build_cpu_caps(caps, &src);
	KUNIT_EXPECT_EQ(test, caps[CPUID_8000_0001_EDX] & all,
			all & ~__feature_bit(X86_FEATURE_PAT));
}

static void build_on(struct kvm_cpu_caps_source *src, u32 *caps)
{
	memset(caps, 0xff, NR_KVM_CPU_CAPS * sizeof(*caps));
	kvm_build_cpu_caps(caps, src);
}

/*
 * What the kinds don't decide: features that depend on how KVM runs its guests, and
 * those of one vendor that the CPU of another makes possible.  Words are computed
 * first, so none of this may get lost.
 */
static void exceptions_follow_the_table(struct kunit *test)
{
	struct cpuinfo_x86 *cpu = kunit_kzalloc(test, sizeof(*cpu), GFP_KERNEL);
	struct kvm_cpu_caps_source src = {
		.cpu = cpu, .raw_cpuid = raw_cpuid, .tdp = true, .tsc_aux = true,
	};
	u32 caps[NR_KVM_CPU_CAPS];

	KUNIT_ASSERT_NOT_NULL(test, cpu);
	raw_max_leaf = 0xff;

	/* PKU takes TDP and the kernel's OSPKE, whatever the CPU has. */
	raw_value = ~0u;
	memset(cpu->x86_capability, 0xff, sizeof(cpu->x86_capability));
	build_on(&src, caps);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_PKU));
	src.tdp = false;
	build_on(&src, caps);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_PKU));
	src.tdp = true;
	cpu->x86_capability[CPUID_7_ECX] &= ~__feature_bit(X86_FEATURE_OSPKE);
	build_on(&src, caps);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_PKU));

	/* A CPU without anything, not even a bug ... */
	raw_value = 0;
	memset(cpu->x86_capability, 0, sizeof(cpu->x86_capability));
	build_on(&src, caps);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_GBPAGES));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SPEC_CTRL));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_IBPB));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_VIRT_SSBD));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_SSB_NO));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_NULL_SEL_CLR_BASE));

	/* ... has large pages in KVM's own page tables, nevertheless. */
	src.tdp = false;
	build_on(&src, caps);
	KUNIT_EXPECT_EQ(test, __cpu_cap_has(caps, X86_FEATURE_GBPAGES),
			IS_ENABLED(CONFIG_X86_64));

	set_cpu_cap(cpu, X86_BUG_SPEC_STORE_BYPASS);
	set_cpu_cap(cpu, X86_BUG_NULL_SEG);
	set_cpu_cap(cpu, X86_FEATURE_IBPB);
	build_on(&src, caps);
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_SSB_NO));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_NULL_SEL_CLR_BASE));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_IBPB));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_IBRS));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SPEC_CTRL));

	set_cpu_cap(cpu, X86_FEATURE_IBRS);
	set_cpu_cap(cpu, X86_FEATURE_STIBP);
	set_cpu_cap(cpu, X86_FEATURE_LS_CFG_SSBD);
	build_on(&src, caps);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_SPEC_CTRL));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_IBRS));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_INTEL_STIBP));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_STIBP));
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_VIRT_SSBD));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_SPEC_CTRL_SSBD));

	/* SPEC_CTRL is the better place for SSBD. */
	set_cpu_cap(cpu, X86_FEATURE_AMD_SSBD);
	build_on(&src, caps);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_SPEC_CTRL_SSBD));
	KUNIT_EXPECT_FALSE(test, __cpu_cap_has(caps, X86_FEATURE_VIRT_SSBD));
	set_cpu_cap(cpu, X86_FEATURE_SPEC_CTRL_SSBD);
	build_on(&src, caps);
	KUNIT_EXPECT_TRUE(test, __cpu_cap_has(caps, X86_FEATURE_AMD_SSBD));
}

static struct kunit_case cpu_caps_cases[] = {
	KUNIT_CASE(each_kind_in_each_word),
	KUNIT_CASE(synthesized_needs_the_kernel),
	KUNIT_CASE(scattered_features_have_their_kinds),
	KUNIT_CASE(leaves_beyond_the_last),
	KUNIT_CASE(copies),
	KUNIT_CASE(exceptions_follow_the_table),
	{}
};

static struct kunit_suite cpu_caps_suite = {
	.name = "kvm-x86-cpu-caps",
	.test_cases = cpu_caps_cases,
};

kunit_test_suite(cpu_caps_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of KVM's table of CPUID features");
MODULE_LICENSE("GPL");
