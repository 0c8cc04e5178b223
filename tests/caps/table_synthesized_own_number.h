/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel can't synthesize AVX10: it doesn't know it. */
#define CAP_WORD CPUID_7_1_EDX
	CAP(synthesized, AVX10)
#undef CAP_WORD
