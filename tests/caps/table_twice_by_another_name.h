/* SPDX-License-Identifier: GPL-2.0 */
/* The same bit of the same word by another name is the same feature. */
/* Expect: duplicate case value */
#define X86_FEATURE_SSE3 X86_FEATURE_XMM3
#define FEATURE_WORD CPUID_1_ECX
	FEATURE(hardware, SSE3)
#undef FEATURE_WORD
