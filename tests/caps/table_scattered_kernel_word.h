/* SPDX-License-Identifier: GPL-2.0 */
/* A word that the kernel has should have the feature: the kernel's number would not be this place's. */
/* Expect: the kernel has the word */
#define KVM_X86_FEATURE_REP_GOOD KVM_X86_FEATURE(CPUID_1_ECX, 4)
#define FEATURE_WORD CPUID_1_ECX
	SCATTERED_FEATURE(hardware, REP_GOOD)
#undef FEATURE_WORD
