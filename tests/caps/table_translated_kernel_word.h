/* SPDX-License-Identifier: GPL-2.0 */
/* A word that the kernel has should have the feature: the kernel's number would not be this place's. */
#define KVM_X86_FEATURE_REP_GOOD KVM_X86_FEATURE(CPUID_1_ECX, 4)
#define CAP_WORD CPUID_1_ECX
	CAP_KVM(scattered, REP_GOOD)
#undef CAP_WORD
