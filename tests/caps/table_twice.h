/* SPDX-License-Identifier: GPL-2.0 */
/* A second line for a feature: it must not silently win over the first one. */
/* Expect: duplicate case value */
#define FEATURE_WORD CPUID_1_ECX
	FEATURE(emulated, XMM3)
#undef FEATURE_WORD
