/* SPDX-License-Identifier: GPL-2.0 */
/* There is no such feature. */
/* Expect: X86_FEATURE_CX17.? undeclared */
#define FEATURE_WORD CPUID_1_ECX
	FEATURE(hardware, CX17)
#undef FEATURE_WORD
