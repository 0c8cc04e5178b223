/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel keeps elsewhere is no copy of anything in 0x1.EDX. */
/* Expect: copies are in 0x80000001.EDX and of 0x1.EDX */
#define KVM_X86_FEATURE_REP_GOOD KVM_X86_FEATURE(CPUID_12_EAX, 4)
#define FEATURE_WORD CPUID_12_EAX
	SCATTERED_FEATURE(aliased, REP_GOOD)
#undef FEATURE_WORD
