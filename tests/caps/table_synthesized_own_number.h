/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel can't synthesize AVX10: it doesn't know it. */
/* Expect: AVX10: the kernel lacks it, choose another kind */
#define FEATURE_WORD CPUID_7_1_EDX
	FEATURE(synthesized, AVX10)
#undef FEATURE_WORD
