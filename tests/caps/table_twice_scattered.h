/* SPDX-License-Identifier: GPL-2.0 */
/* A scattered feature whose place in CPUID has a line already, by another macro and a number of the kernel's own. */
/* Expect: duplicate case value */
#define KVM_X86_FEATURE_REP_GOOD KVM_X86_FEATURE(CPUID_12_EAX, 0)
#define FEATURE_WORD CPUID_12_EAX
	SCATTERED_FEATURE(hardware, REP_GOOD)
#undef FEATURE_WORD
