/* SPDX-License-Identifier: GPL-2.0 */
/* Copies are of features of 0x1.EDX. */
/* Expect: copies are in 0x80000001.EDX and of 0x1.EDX */
#define FEATURE_WORD CPUID_8000_0001_EDX
	FEATURE(aliased, SMX)
#undef FEATURE_WORD
