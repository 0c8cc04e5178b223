/* SPDX-License-Identifier: GPL-2.0 */
/* A copy isn't where the original is. */
/* Expect: copies are in 0x80000001.EDX and of 0x1.EDX */
#define FEATURE_WORD CPUID_1_EDX
	FEATURE(aliased, ACPI)
#undef FEATURE_WORD
