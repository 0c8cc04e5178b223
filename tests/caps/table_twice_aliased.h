/* SPDX-License-Identifier: GPL-2.0 */
/* A copy of a feature has one line. */
/* Expect: duplicate case value */
#define FEATURE_WORD CPUID_8000_0001_EDX
	FEATURE(aliased, PAT)
#undef FEATURE_WORD
