/* SPDX-License-Identifier: GPL-2.0 */
/* Only 0x80000001.EDX has copies. */
/* Expect: copies are in 0x80000001.EDX and of 0x1.EDX */
#define FEATURE_WORD CPUID_8000_0001_ECX
	FEATURE(aliased, CLFLUSH)
#undef FEATURE_WORD
